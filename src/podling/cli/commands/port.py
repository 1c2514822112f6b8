"""``podling port``."""

from __future__ import annotations

from podling.cli.commands.selecting import LATEST, all_flag
from podling.cli.flags import Command
from podling.errors import InvalidArgument, NotFound
from podling.values.gotext import parse_uint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Container


def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """List the published ports of a container, or where one of them is."""
    everything, latest = said.get("all", False), said.get("latest", False)
    if everything and (latest or args):
        raise InvalidArgument("--all cannot be used with --latest or a container")
    if not (args or everything or latest):
        raise InvalidArgument("you must supply a running container name or id")
    containers = context.engine.containers
    if everything:
        running = [container for container, state in containers.list_with_states() if state.status == "running"]
        for container in running:
            for port, address in _mappings(container):
                context.out.line(f"{container.id[:12]}\t{port} -> {address}")
        return
    container = containers.latest() if latest else containers.find(args[0])
    wanted = args[0 if latest else 1:]
    if not wanted:
        for port, address in _mappings(container):
            context.out.line(f"{port} -> {address}")
        return
    _show_one(context, container, wanted[0])


def _show_one(context: Context, container: Container, text: str) -> None:
    number, _, protocol = text.partition("/")
    wanted = f"{parse_uint(number)}/{protocol or 'tcp'}"
    found = [address for port, address in _mappings(container) if port == wanted]
    if not found:
        raise NotFound(f'failed to find published port "{wanted}"')
    for address in found:
        context.out.line(address)


def _mappings(container: Container) -> list[tuple[str, str]]:
    """(container port with protocol, host address with port) for each published port."""
    found = []
    for port in container.ports:
        host = port.host_ip or "0.0.0.0"
        for number in range(port.length):
            shown = f"[{host}]" if ":" in host else host
            found.append((f"{port.container_port + number}/{port.protocol}", f"{shown}:{port.host_port + number}"))
    return found


PORT = Command(
    "port", "[options] CONTAINER [PORT]", "List port mappings or a specific mapping for the container",
    "List port mappings for the CONTAINER, or look up the public-facing port that is NAT-ed to the PRIVATE_PORT",
    (all_flag("Display port information for all containers"), LATEST), run, args=(0, 2, ""), complete="containers",
    examples=("{} --all", "{} ctrID 80/tcp", "{} --latest 80"),
)

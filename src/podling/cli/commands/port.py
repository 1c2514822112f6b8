"""``podling port``."""

from __future__ import annotations

from podling.cli.commands.selecting import LATEST, all_flag, one
from podling.cli.flags import Command
from podling.errors import InvalidArgument, NotFound
from podling.values import gotext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.cli.context import Context
    from podling.values.ports import PortMapping

_SHORT_ID = 12


def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show where a container's ports are published, or one of them."""
    every = said.get("all", False)
    if every and args:
        raise InvalidArgument("no arguments are needed with --all")
    if every:
        for container, state in context.engine.containers.list_with_states():
            if state.status == "running":
                for port, place in _published(container.ports):
                    context.out.line(f"{container.id[:_SHORT_ID]}\t{port} -> {place}")
        return
    container, wanted = one(context, said, args, no_name="you must supply a running container name or id")
    if not wanted:
        for port, place in _published(container.ports):
            context.out.line(f"{port} -> {place}")
        return
    number, _, protocol = wanted[0].partition("/")
    gotext.parse_uint(number, bits=16)
    places = [place for port, place in _published(container.ports) if port == f"{number}/{protocol or 'tcp'}"]
    if not places:
        raise NotFound(f'failed to find published port "{wanted[0]}"')
    for place in places:
        context.out.line(place)


def _published(ports: tuple[PortMapping, ...]) -> Iterator[tuple[str, str]]:
    """``80/tcp`` and ``0.0.0.0:8080`` of each published port, ranges one by one."""
    for mapping in ports:
        address = mapping.host_ip or "0.0.0.0"
        address = f"[{address}]" if ":" in address else address
        for protocol in mapping.protocol.split(","):
            for offset in range(mapping.length):
                yield f"{mapping.container_port + offset}/{protocol}", f"{address}:{mapping.host_port + offset}"


PORT = Command(
    "port", "[options] CONTAINER [PORT]", "List port mappings or a specific mapping for the container",
    "List port mappings for the CONTAINER, or look up the public-facing port that is NAT-ed to the PRIVATE_PORT\n",
    (all_flag("Display port information for all containers"), LATEST),
    run, args=(0, 2, ""), examples=("{} --all", "{} ctrID 80/tcp"), complete="containers none",
)

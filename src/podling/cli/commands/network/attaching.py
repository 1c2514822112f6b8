"""``podling network connect``, ``disconnect`` and ``reload``."""

from __future__ import annotations

from podling.cli.commands.selecting import LATEST, all_flag, selection
from podling.cli.flags import Command, Flag
from podling.cli.several import each
from podling.engine.networks import attaching
from podling.engine.select import select
from podling.errors import InvalidArgument
from podling.values.addresses import parse_ip, parse_mac
from podling.values.gotext import quote
from podling.values.isolation import NetworkAttachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Container


def connect(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """A container joins a network."""
    network, name = args
    attachment = NetworkAttachment(network=network, aliases=said.get("alias", ()), static_mac=said.get("mac_address", ""),
                                   static_ips=tuple(said[key] for key in ("ip", "ip6") if key in said))
    attaching.connect(context.engine, context.engine.containers.find(name), attachment)


def disconnect(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """A container leaves a network."""
    network, name = args
    attaching.disconnect(context.engine, context.engine.containers.find(name), network, force=said.get("force", False))


def reload(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Do the firewall's part of containers' networks again and print their ids."""
    chosen = selection(said, args)
    containers = attaching.running(context.engine) if chosen.all else select(context.engine, chosen)

    def again(container: Container) -> None:
        attaching.reload(context.engine, container)
        context.out.line(container.id)

    return each(context, containers, again)


def _address(flag: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            return parse_ip(text)
        except InvalidArgument:
            raise InvalidArgument(f'invalid argument {quote(text)} for "{flag}" flag: failed to parse IP: {quote(text)}\n'
                                  "See 'podling network connect --help'") from None

    return parse


CONNECT = Command(
    "connect", "[options] NETWORK CONTAINER", "Add container to a network", "Add container to a network",
    (
        Flag("--alias", help="network scoped alias for container", kind="slice"),
        Flag("--ip", help="set a static ipv4 address for this container network", metavar="ip", parse=_address("--ip")),
        Flag("--ip6", help="set a static ipv6 address for this container network", metavar="ip", parse=_address("--ip6")),
        Flag("--mac-address", help="set a static mac address for this container network", parse=parse_mac),
    ),
    connect, args=(2, 2, ""), examples=("{} web secondary",), complete="networks containers",
)
DISCONNECT = Command(
    "disconnect", "[options] NETWORK CONTAINER", "Disconnect a container from a network", "Remove container from a network",
    (Flag("--force", "-f", "force removal of container from network", kind="bool"),),
    disconnect, args=(2, 2, ""), examples=("{} web secondary",), complete="networks containers",
)
RELOAD = Command(
    "reload", "[options] [CONTAINER...]", "Reload firewall rules for one or more containers",
    "Reload container networks, recreating firewall rules",
    (all_flag("Reload network configuration of all containers"), LATEST),
    reload, examples=("{} 3c13ef6dd843", "{} test1 test2"), complete="containers",
)

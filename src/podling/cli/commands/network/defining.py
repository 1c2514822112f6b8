"""``podling network create``, ``update`` and ``rm``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.cli.several import each
from podling.engine.networks import definitions
from podling.engine.networks.definitions import CreateNetworkOptions
from podling.errors import InUse, InvalidArgument, NoSuchNetwork
from podling.values.addresses import parse_ip
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_TO_STRING = "invalid string being converted to IP address"


def create(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Define a network and print its name."""
    if (parent := said.get("macvlan")) is not None:
        context.note("The --macvlan option is deprecated, use `--driver macvlan --opt parent=<device>` instead")
        said = {**said, "driver": "macvlan", "interface": parent}
    options = CreateNetworkOptions(
        name=args[0] if args else "", labels=_pairs(said.get("label", ()), "labels", "label"),
        options=_pairs(said.get("opt", ()), "options", "label"),
        **context.options(said, "driver", "subnets", "gateways", "ranges", "routes", "ipv6", "internal", "disable_dns",
                          "dns_servers", "interface", "ipam_driver", "ignore"))
    context.out.line(definitions.create(context.engine, options).name)


def _pairs(texts: tuple[str, ...], many: str, one: str) -> dict[str, str]:
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise InvalidArgument(f"failed to parse {many}: invalid {one} format: {quote(text)}")
        found[name] = value
    return found


def _gateway(text: str) -> str:
    """One address of ``--gateway``."""
    try:
        return parse_ip(text.strip())
    except InvalidArgument:
        raise InvalidArgument(f'invalid argument {quote(text)} for "--gateway" flag: {_TO_STRING}: {text}\n'
                              "See 'podling network create --help'") from None


def update(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Change a network's DNS servers and print the name that was given."""
    definitions.update(context.engine, args[0], add=said.get("dns_add", ()), drop=said.get("dns_drop", ()))
    context.out.line(args[0])


def rm(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Remove networks; exit code 1 where one does not exist, 2 where containers are on one."""
    force, timeout = said.get("force", False), said.get("time")
    if timeout is not None and not force:
        raise InvalidArgument("--force option must be specified to use the --time option")

    def remove(name: str) -> None:
        try:
            definitions.remove(context.engine, name, force=force, timeout=timeout)
        except NoSuchNetwork:
            if not force:
                raise
            return
        context.out.line(name)

    return each(context, args, remove, exit_codes={NoSuchNetwork: 1, InUse: 2})


CREATE = Command(
    "create", "[options] [NAME]", "Create networks for containers and pods", "Create networks for containers and pods",
    (
        Flag("--disable-dns", help="disable dns plugin", kind="bool"),
        Flag("--dns", help="DNS servers this network will use", kind="slice", into="dns_servers"),
        Flag("--driver", "-d", "driver to manage the network", default_text="bridge", choices=("bridge", "macvlan", "ipvlan")),
        Flag("--gateway", help="IPv4 or IPv6 gateway for the subnet", kind="slice", into="gateways", metavar="ipSlice",
             default_text="[]", parse=_gateway),
        Flag("--ignore", help="Don't fail if network already exists", kind="bool"),
        Flag("--interface-name", help="interface name which is used by the driver", into="interface"),
        Flag("--internal", help="restrict external access from this network", kind="bool"),
        Flag("--ip-range", help="allocate container IP from range", kind="array", into="ranges"),
        Flag("--ipam-driver", help="IP Address Management Driver", choices=("host-local", "dhcp", "none")),
        Flag("--ipv6", help="enable IPv6 networking", kind="bool"),
        Flag("--label", help="set metadata on a network", kind="array"),
        Flag("--macvlan", hidden=True),
        Flag("--opt", "-o", "Set driver specific options", kind="array", default_text="[]",
             choices=("mode=", "parent=", "mtu=", "vlan=", "isolate=", "metric=", "vrf=", "bclim=", "no_default_route=")),
        Flag("--route", help="static routes", kind="array", into="routes"),
        Flag("--subnet", help="subnets in CIDR format", kind="array", into="subnets"),
    ),
    create, args=(0, 1, ""), examples=("{} podman1",),
)
UPDATE = Command(
    "update", "[options] NETWORK", "Update an existing podling network", "Update an existing podling network",
    (
        Flag("--dns-add", help="add network level nameservers", kind="slice"),
        Flag("--dns-drop", help="remove network level nameservers", kind="slice"),
    ),
    update, args=(1, 1, ""), examples=("{} podman1",), complete="networks",
)
RM = Command(
    "rm", "[options] NETWORK [NETWORK...]", "Remove networks", "Remove networks",
    (
        Flag("--force", "-f", "remove any containers using network", kind="bool"),
        Flag("--time", "-t", "Seconds to wait for running containers to stop before killing the container", kind="int",
             default_text="10", aliases=("--timeout",)),
    ),
    rm, args=(1, None, ""), aliases=("remove",), examples=("{} podman",), complete="networks",
)

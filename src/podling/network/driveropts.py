"""The options of networks' drivers (``network create --opt``): which there are, and in which form they are kept. Pure."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.values.gotext import parse_bool, parse_int, parse_uint, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MACVLAN_MODES = ("", "private", "vepa", "bridge", "passthru")
IPVLAN_MODES = ("", "l2", "l3", "l3s")
# Docker's names for options of ours.
_DOCKERS = {"com.docker.network.driver.mtu": "mtu"}
_DOCKERS_BRIDGE_NAME = "com.docker.network.bridge.name"


def from_docker(options: dict[str, str]) -> tuple[dict[str, str], str]:
    """(a bridge's options with Podman's names in place of Docker's, the interface's name where one of them says it)."""
    found = {_DOCKERS.get(name, name): value for name, value in options.items()}
    return found, found.pop(_DOCKERS_BRIDGE_NAME, "")


def checked(driver: str, options: dict[str, str]) -> dict[str, str]:
    """The options of a bridge, macvlan or ipvlan network in the form in which they are kept, by name; InvalidArgument."""
    known = _OPTIONS[driver]
    found = {}
    for name in sorted(options):
        if name not in known:
            raise InvalidArgument(f"unsupported {driver} network option {name}", hint=f"the options are: {', '.join(sorted(known))}")
        found[name] = known[name](options[name])
    return found


def _mtu(text: str) -> str:
    value = parse_int(text, function="Atoi") if text else 0
    if value < 0:
        raise InvalidArgument(f"mtu {text} is less than zero")
    if value > 65535:                            # the kernel's, and a bridge's, limit
        raise InvalidArgument(f"mtu {text} is greater than 65535")
    return text


def _vlan(text: str) -> str:
    if not 0 <= parse_int(text or "0", function="Atoi") <= 4094:
        raise InvalidArgument(f"vlan ID {text} must be between 0 and 4094")
    return text


def _isolate(text: str) -> str:
    if text == "strict":
        return text
    try:
        return "true" if text and parse_bool(text) else "false"
    except InvalidArgument as error:
        raise InvalidArgument("failed to parse isolate option") from error


def _flag(text: str) -> str:
    return "true" if parse_bool(text) else "false"


def _metric(text: str) -> str:
    parse_uint(text, bits=32)
    return text


def _bclim(text: str) -> str:
    try:
        parse_int(text, bits=32)
    except InvalidArgument as error:
        raise InvalidArgument('failed to parse "bclim" option') from error
    return text


def _vrf(text: str) -> str:
    if not text:
        raise InvalidArgument("invalid vrf name")
    return text


def _mode(driver: str, modes: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in modes:
            raise InvalidArgument(f"unknown {driver} mode {quote(text)}", hint=f"one of {', '.join(mode for mode in modes if mode)}")
        return text

    return check


_OPTIONS: dict[str, dict[str, Callable[[str], str]]] = {
    "bridge": {"mtu": _mtu, "vlan": _vlan, "isolate": _isolate, "metric": _metric, "no_default_route": _flag, "vrf": _vrf,
               "mode": _mode("bridge", ("", "managed", "unmanaged"))},
    "macvlan": {"mode": _mode("macvlan", MACVLAN_MODES), "metric": _metric, "mtu": _mtu, "no_default_route": _flag, "bclim": _bclim},
    "ipvlan": {"mode": _mode("ipvlan", IPVLAN_MODES), "metric": _metric, "mtu": _mtu, "no_default_route": _flag},
}

"""Namespace and network modes (``container:web``, ``host``, ``private``) and security options as values."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.record import Record
from podling.values.addresses import parse_ip, parse_mac
from podling.values.gotext import parse_bool, parse_uint, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Namespace(Record):
    """How a container gets one namespace.

    ``mode``: private, host, container, ns, none, shareable (ipc), bridge, slirp4netns, pasta (net), keep-id, auto, nomap
    (user). ``value``: the container's name or id, the namespace's path, or the mode's options as they were written.
    """

    mode: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.mode}:{self.value}" if self.value else self.mode


class NetworkAttachment(Record):
    """One network that a container joins, and how."""

    network: str                 # name or id; "" means the network that is configured as the default
    aliases: tuple[str, ...] = ()
    static_ips: tuple[str, ...] = ()
    static_mac: str = ""
    interface: str = ""          # name inside the container; "" means ethN
    options: dict[str, str] = {}     # for the network's driver (Podman 5): host_interface_name=..., mode=...

    def __str__(self) -> str:
        """The ``--network`` text that :func:`parse_network` reads back."""
        options = [f"ip={address}" for address in self.static_ips]
        options += [f"mac={self.static_mac}"] if self.static_mac else []
        options += [f"alias={alias}" for alias in self.aliases]
        options += [f"interface_name={self.interface}"] if self.interface else []
        options += [f"{name}={value}" for name, value in self.options.items()]
        return ":".join([self.network or "bridge", *([",".join(options)] if options else [])])


class SecurityOptions(Record):
    """What ``--security-opt`` and ``--privileged`` ask for."""

    seccomp: str = ""            # a profile's path, "unconfined", or "" for the default profile
    apparmor: str = ""
    label_disable: bool = False
    label_options: tuple[str, ...] = ()
    no_new_privileges: bool = False
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()     # paths (which may hold shell wildcards), or ("ALL",)
    proc_options: tuple[str, ...] = ()


# --- namespaces -------------------------------------------------------------------------------------------------------

KINDS = ("pid", "ipc", "uts", "cgroup", "user")


def parse_namespace(kind: str, text: str) -> Namespace:
    """The value of ``--pid``, ``--ipc``, ``--uts``, ``--cgroupns``, ``--userns`` (``kind``: one of KINDS).

    InvalidArgument in Podman's words for a mode that this kind does not have. The network has :func:`parse_network`.
    """
    if kind == "ipc" and text in ("shareable", "", "none"):
        return Namespace(mode=text or "shareable")
    if kind == "user":
        return _parse_user_namespace(text)
    return _parse_namespace(text)


def _parse_namespace(text: str) -> Namespace:
    mode, colon, value = text.partition(":")
    if text in ("host", "private", ""):
        return Namespace(mode=text or "private")
    if text == "pod":
        raise _not_in_a_pod()
    if mode not in ("ns", "container") or not colon:
        raise InvalidArgument(f"unrecognized namespace mode {text} passed")
    return _joined(mode, value)


def _not_in_a_pod() -> InvalidArgument:
    return InvalidArgument("cannot use pod namespace as container is not joining a pod or pod has no infra container: "
                           "invalid argument")


def _joined(mode: str, value: str) -> Namespace:
    if not value:
        shown = "path" if mode == "ns" else mode
        raise InvalidArgument(f"invalid config provided: namespace mode {shown} requires a value")
    return Namespace(mode=mode, value=value)


def _parse_user_namespace(text: str) -> Namespace:
    mode, colon, options = text.partition(":")
    if text == "":
        return Namespace(mode="host")
    if text == "nomap" or (mode in ("keep-id", "auto") and not colon):
        return Namespace(mode=text)
    if mode not in ("keep-id", "auto"):
        return _parse_namespace(text)
    known = ("uid", "gid", "size") if mode == "keep-id" else ("size", "uidmapping", "gidmapping")
    for option in options.split(","):
        name, equals, value = option.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid option specified: {quote(option)}")
        if name not in known:
            raise InvalidArgument(f"unknown option specified: {quote(name)}")
        if name in ("uid", "gid", "size"):
            parse_uint(value, bits=32)
        else:
            _check_mapping(value)
    return Namespace(mode=mode, value=options)


def _check_mapping(text: str) -> None:
    """InvalidArgument unless the text is ``container:host:size``."""
    parts = text.split(":")
    if len(parts) != 3:
        raise InvalidArgument(f"initializing ID mappings: {text} setting is malformed expected [\"uint32:uint32:uint32\"]")
    for part in parts:
        parse_uint(part, bits=32)


# --- networks ---------------------------------------------------------------------------------------------------------

_NOT_A_SECOND_NETWORK = (
    "bridge", "slirp4netns", "pasta", "pod", "none", "default", "private", "path", "container", "host",
)


def parse_network(texts: str | Iterable[str]) -> tuple[Namespace, tuple[NetworkAttachment, ...]]:
    """All ``--network`` values of a container -> (mode, networks in the order asked, each once).

    ``bridge`` alone gives no network: the configured default one is meant. With options (``bridge:ip=10.88.0.9``) or beside
    other networks it is an attachment whose ``network`` is "". InvalidArgument in Podman's words.
    """
    asked = [texts] if isinstance(texts, str) else list(texts)
    first = asked[0] if asked else ""
    mode, attachments = _parse_first(first)
    if len(asked) > 1:
        if mode.mode != "bridge":
            raise InvalidArgument("cannot set multiple networks without bridge network mode, selected mode "
                                  f"{'path' if mode.mode == 'ns' else mode.mode}: invalid argument")
        attachments = attachments or [NetworkAttachment(network="")]
        attachments += [_parse_further(text) for text in asked[1:]]
    by_name = {attachment.network: attachment for attachment in attachments}   # as Podman: the last options count
    return mode, tuple(by_name.values())


def _parse_first(text: str) -> tuple[Namespace, list[NetworkAttachment]]:
    name, colon, options = text.partition(":")
    if text in ("", "default", "private"):
        return Namespace(mode="private"), []
    if text in ("none", "host"):
        return Namespace(mode=text), []
    if text == "pod":
        raise _not_in_a_pod()
    if colon and name in ("ns", "container"):
        return _joined(name, options), []
    if name in ("slirp4netns", "pasta"):
        return Namespace(mode=name, value=options), []
    bridge = Namespace(mode="bridge")
    if name == "bridge":
        return bridge, [_parse_options("", options)] if options else []
    if colon:
        if not name:
            raise InvalidArgument("network name cannot be empty")
        return bridge, [_parse_named(name, options)]
    names = text.split(",")
    if "" in names:
        raise InvalidArgument("network name cannot be empty")
    return bridge, [NetworkAttachment(network=each) for each in names]


def _parse_further(text: str) -> NetworkAttachment:
    """A second or later ``--network``."""
    name, _, options = text.partition(":")
    if not name:
        raise InvalidArgument("network name cannot be empty: invalid argument")
    if name in _NOT_A_SECOND_NETWORK:
        raise InvalidArgument(f"can only set extra network names, selected mode {name} conflicts with bridge: invalid argument")
    return _parse_named(name, options)


def _parse_named(name: str, options: str) -> NetworkAttachment:
    try:
        return _parse_options(name, options)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid option for network {name}: {error.message}") from None


def _parse_options(network: str, text: str) -> NetworkAttachment:
    aliases: list[str] = []
    addresses: list[str] = []
    mac = interface = ""
    further: dict[str, str] = {}
    for option in text.split(",") if text else ():
        name, _, value = option.partition("=")
        if name in ("ip", "ip6"):
            addresses.append(_parse_address(value))
        elif name == "mac":
            mac = parse_mac(value)
        elif name in ("alias", "interface_name") and not value:
            raise InvalidArgument(f"{name} cannot be empty")
        elif name == "alias":
            aliases.append(value)
        elif name == "interface_name":
            interface = value
        else:
            further[name] = value
    return NetworkAttachment(network=network, aliases=tuple(aliases), static_ips=tuple(addresses), static_mac=mac,
                             interface=interface, options=further)


def _parse_address(text: str) -> str:
    try:
        return parse_ip(text)
    except InvalidArgument:
        raise InvalidArgument(f"invalid ip address {quote(text)}") from None


# --- security ---------------------------------------------------------------------------------------------------------


def parse_security_opts(texts: Iterable[str]) -> SecurityOptions:
    """All ``--security-opt`` values of a container; ``:`` is accepted for ``=`` as by Docker. InvalidArgument otherwise."""
    found = SecurityOptions()
    for text in texts:
        found = _with_security_opt(found, text)
    return found


def _with_security_opt(found: SecurityOptions, text: str) -> SecurityOptions:
    if text == "no-new-privileges":
        return found.replace(no_new_privileges=True)
    mark = "=" if "=" in text else ":"
    name, separator, value = text.partition(mark)
    if not separator:
        raise InvalidArgument(f"invalid --security-opt 1: {quote(text)}")
    if name == "label":
        if value == "disable":
            return found.replace(label_disable=True)
        return found.replace(label_options=(*found.label_options, value))
    if name == "mask":
        return found.replace(mask=(*found.mask, *value.split(":")))
    if name == "unmask":
        return _unmasked(found, value.split(":"))
    if name == "systempaths":
        if value != "unconfined":
            raise InvalidArgument(f"invalid systempaths option {quote(value)}, only `unconfined` is supported")
        return _unmasked(found, ["ALL"])
    if name == "proc-opts":
        return found.replace(proc_options=tuple(value.split(",")))
    if name in ("apparmor", "seccomp"):
        return found.replace(**{name: value})
    if name == "no-new-privileges":
        try:
            return found.replace(no_new_privileges=parse_bool(value))
        except InvalidArgument:
            pass  # the words below say it as Podman does
    raise InvalidArgument(f"invalid --security-opt 2: {quote(text)}")


def _unmasked(found: SecurityOptions, paths: list[str]) -> SecurityOptions:
    together = (*found.unmask, *paths)
    return found.replace(unmask=("ALL",) if any(path.upper() == "ALL" for path in together) else together)

"""Namespace and network modes (``container:web``, ``host``, ``private``) and security options as values."""

from __future__ import annotations

from podling.record import Record


class Namespace(Record):
    """How a container gets one namespace.

    ``mode``: private, host, container, ns, none, shareable (ipc), bridge, slirp4netns, pasta (net), keep-id, auto, nomap
    (user). ``value``: the container's name or id, the namespace's path, or the mode's options as they were written.
    """

    mode: str
    value: str = ""


class NetworkAttachment(Record):
    """One network that a container joins, and how."""

    network: str
    aliases: tuple[str, ...] = ()
    static_ips: tuple[str, ...] = ()
    static_mac: str = ""
    interface: str = ""          # name inside the container; "" means ethN


class SecurityOptions(Record):
    """What ``--security-opt`` and ``--privileged`` ask for."""

    seccomp: str = ""            # a profile's path, "unconfined", or "" for the default profile
    apparmor: str = ""
    label_disable: bool = False
    label_options: tuple[str, ...] = ()
    no_new_privileges: bool = False
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()     # paths, or ("ALL",)
    proc_options: tuple[str, ...] = ()

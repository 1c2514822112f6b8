"""The files that a container finds in /etc and /run because it is a container: resolv.conf, hosts, hostname, passwd, ...

They are written anew for each start into a directory of the container that dies with a reboot, and bind-mounted by the
specification. Entries of passwd and group are appended to the container's own files where its root can be written, so that
``useradd`` goes on working in it.
"""

from __future__ import annotations

import os

from podling.errors import InvalidArgument
from podling.linux import files, rootless
from podling.record import Record
from podling.runtime import users
from podling.runtime.accounts import new_lines
from podling.runtime.hosts import Entry, hosts_text, parse_hosts
from podling.runtime.resolv import resolv_conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podling.model import ContainerConfig, Facts

ZONEINFO = "/usr/share/zoneinfo"
_ZONE_LIMIT = 1 << 20


class EtcSettings(Record):
    """What the files depend on beside the container: settings of the engine and of this host."""

    base_hosts: str = ""                     # "" the host's own file, "none", "image", or a path
    host_internal: str = ""                  # address of host.containers.internal; "" means: find it, "none": leave it out
    engine: str = "podling"                  # with version, for /run/.containerenv
    graphroot: str = ""
    shared: dict[str, str] = {}              # files of the container whose network is joined: path in it -> host file
    host_resolv_conf: str = "/etc/resolv.conf"


def write_files(config: ContainerConfig, facts: Facts, directory: str, settings: EtcSettings, *,
                hostname: str) -> dict[str, str]:
    """Write the container's files into ``directory``; path in the container -> host file, for ``Facts.etc_files``.

    ``hostname``: what ``runtime.spec.hostname`` gives. Needs ``facts.rootfs`` and, for networks, ``facts.network``.
    """
    writer = _Writer(directory, root_of(config.uid_map), root_of(config.gid_map or config.uid_map))
    found: dict[str, str] = {}
    found.update(_network_files(config, facts, settings, writer, hostname))
    if config.manage_hostname:
        found["/etc/hostname"] = writer.write("hostname", hostname + "\n")
    if config.passwd:
        found.update(_account_files(config, facts, writer))
    if config.tz:
        found["/etc/localtime"] = writer.write_bytes("localtime", _zone(config))
    found["/run/.containerenv"] = writer.write(".containerenv", containerenv(config, settings))
    for directory in config.chroot_dirs:
        found.update({directory + path: file for path, file in list(found.items()) if path.startswith("/etc/")})
    return found


class _Writer:
    """Writes files that belong to the container's root."""

    def __init__(self, directory: str, uid: int, gid: int) -> None:
        self.directory, self.uid, self.gid = directory, uid, gid

    def write(self, name: str, text: str) -> str:
        return self.write_bytes(name, text.encode("utf-8", "surrogateescape"))

    def write_bytes(self, name: str, content: bytes) -> str:
        """Not atomic: nobody reads it before the container starts, and each start writes it anew."""
        path = f"{self.directory}/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)       # whatever the umask is
            if (self.uid, self.gid) != (0, 0):
                os.fchown(fd, self.uid, self.gid)
            files.write_all(fd, content)
        finally:
            os.close(fd)
        return path


def root_of(id_map: Iterable[str]) -> int:
    """The host's number of the container's 0."""
    for line in id_map:
        inside, outside, _ = line.split(":")
        if inside == "0":
            return int(outside)
    return 0


# --- network ----------------------------------------------------------------------------------------------------------


def _network_files(config: ContainerConfig, facts: Facts, settings: EtcSettings, writer: _Writer,
                   hostname: str) -> dict[str, str]:
    if config.net_ns.mode == "container" and settings.shared:
        return _shared_files(config, settings, hostname)
    found = {}
    if config.manage_hosts:
        found["/etc/hosts"] = writer.write("hosts", _hosts(config, facts, settings, hostname))
    if config.manage_resolv_conf and config.net_ns.mode != "none":
        addresses = [address for status in facts.network.values() for address in status.addresses]
        found["/etc/resolv.conf"] = writer.write("resolv.conf", resolv_conf(
            host_network=config.net_ns.mode == "host", netns=config.net_ns.value if config.net_ns.mode == "ns" else "",
            ipv6=any(":" in address for address in addresses), config=config, statuses=tuple(facts.network.values()),
            host_file=settings.host_resolv_conf))
    return found


def _shared_files(config: ContainerConfig, settings: EtcSettings, hostname: str) -> dict[str, str]:
    """The other container's files, its hosts with our names added: one network, so 127.0.0.1 is right for both."""
    found = {}
    hosts = settings.shared.get("/etc/hosts")
    if hosts and config.manage_hosts:
        known = {name for entry in parse_hosts(files.read_text(hosts)) for name in entry.names}
        missing = [name for name in (hostname, config.name) if name and name not in known]
        if missing:
            with open(hosts, "a", encoding="utf-8") as file:      # O_APPEND: one write, whole
                file.write(Entry(address="127.0.0.1", names=tuple(dict.fromkeys(missing))).line())
        found["/etc/hosts"] = hosts
    resolv = settings.shared.get("/etc/resolv.conf")
    if resolv and config.manage_resolv_conf:
        found["/etc/resolv.conf"] = resolv
    return found


def _hosts(config: ContainerConfig, facts: Facts, settings: EtcSettings, hostname: str) -> str:
    names = tuple(dict.fromkeys(name for name in (hostname, config.name) if name))
    own = [Entry(address=address.partition("/")[0], names=names)
           for status in facts.network.values() for address in status.addresses]
    if config.net_ns.mode == "none":
        own = [Entry(address="127.0.0.1", names=names)]
    internal = settings.host_internal
    if internal == "none":
        internal = ""
    elif not internal:
        internal = host_address(facts)
    return hosts_text(_base_hosts(config.hosts_file or settings.base_hosts, facts.rootfs), config.add_host, own, internal)


def _base_hosts(setting: str, rootfs: str) -> str:
    if setting == "none":
        return ""
    if setting == "image":
        return users.read_inside(rootfs, "/etc/hosts")
    try:
        return files.read_text(setting or "/etc/hosts")
    except FileNotFoundError:
        if setting:
            raise
        return ""


def host_address(facts: Facts) -> str:
    """An address of this host that the container reaches: its gateway, else the one that this host talks from."""
    gateways = [gateway for status in facts.network.values() for gateway in status.gateways]
    if gateways:
        return next((gateway for gateway in gateways if ":" not in gateway), gateways[0])
    return _outward_address()


def _outward_address() -> str:
    """The address of the interface that packets to the outside leave from; "" without one. Nothing is sent."""
    import _socket  # socket itself takes 5 ms to import

    for family, outside in ((_socket.AF_INET, "192.0.2.1"), (_socket.AF_INET6, "2001:db8::1")):
        try:
            probe = _socket.socket(family, _socket.SOCK_DGRAM)
        except OSError:
            continue
        try:
            probe.connect((outside, 9))
            return str(probe.getsockname()[0])
        except OSError:
            continue
        finally:
            probe.close()
    return ""


# --- accounts ---------------------------------------------------------------------------------------------------------


def _account_files(config: ContainerConfig, facts: Facts, writer: _Writer) -> dict[str, str]:
    """Entries for a user and a group given as numbers that the image does not know, and for accounts of this host."""
    if not (config.user or config.host_users or config.user_ns.mode == "keep-id"):
        return {}
    taken = {mount.destination for mount in config.mounts}
    found = {}
    for path, entry in zip(("/etc/passwd", "/etc/group"), new_lines(config, users.Accounts(facts.rootfs)), strict=True):
        if not entry or path in taken or "/etc" in taken:
            continue
        if config.read_only:
            text = users.read_inside(facts.rootfs, path)
            found[path] = writer.write(os.path.basename(path), _with_line(text, entry))
        else:
            _append_inside(facts.rootfs, path, entry, writer)
    return found


def _with_line(text: str, line: str) -> str:
    return text + ("" if not text or text.endswith("\n") else "\n") + line


def _append_inside(rootfs: str, path: str, line: str, writer: _Writer) -> None:
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
        try:
            fd = files.open_beneath(root, path.lstrip("/"), flags, 0o644)
        except (FileNotFoundError, NotADirectoryError):
            return         # a root without /etc has no accounts to read either
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = "\n" + line
            elif not size and writer.uid:
                os.fchown(fd, writer.uid, writer.gid)
            files.write_all(fd, line.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)
    finally:
        os.close(root)


# --- the rest ---------------------------------------------------------------------------------------------------------


def containerenv(config: ContainerConfig, settings: EtcSettings) -> str:
    """The content of /run/.containerenv: who the container is, but only a privileged one is told."""
    mounted = settings.graphroot and any(mount.source.startswith("/") and settings.graphroot.startswith(mount.source)
                                         for mount in config.mounts)
    last = "graphRootMounted=1" if mounted else ""
    if not config.privileged:
        return last
    values: Mapping[str, str] = {"engine": settings.engine, "name": config.name, "id": config.id, "image": config.image_name,
                                 "imageid": config.image_id}
    lines = [f'{name}="{_escape(value)}"' for name, value in values.items()]
    lines.append(f"rootless={int(rootless.owner() is not None)}")
    return "\n".join([*lines, last])


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _zone(config: ContainerConfig) -> bytes:
    """The content of the time zone's file, ``local`` being the host's own."""
    if config.tz == "local":
        path = os.path.realpath("/etc/localtime")
    else:
        path = os.path.realpath(f"{ZONEINFO}/{config.tz}")
        if ".." in config.tz.split("/") or config.tz.startswith("/") or not os.path.isfile(path):
            raise InvalidArgument(f"finding timezone for container {config.id}: unknown time zone {config.tz}")
    return files.read_bytes(path, _ZONE_LIMIT)


def prepare_root(rootfs: str, config: ContainerConfig) -> None:
    """Give the root file system /etc/mtab, with an /etc where it has none: old programs look there for what is mounted."""
    try:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidArgument(f"root file system {rootfs} cannot be opened") from error
    owner = root_of(config.uid_map), root_of(config.gid_map or config.uid_map)
    try:
        _make_owned(lambda: os.mkdir("etc", 0o755, dir_fd=root), "etc", root, owner)
        try:
            etc = files.open_beneath(root, "etc", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            _make_owned(lambda: os.symlink("/proc/mounts", "mtab", dir_fd=etc), "mtab", etc, owner)
        finally:
            os.close(etc)
    finally:
        os.close(root)


def _make_owned(make: Callable[[], None], name: str, directory: int, owner: tuple[int, int]) -> None:
    """Make something that belongs to the container's root, where it is missing."""
    try:
        make()
        if owner != (0, 0):
            os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return             # it is there, or the root cannot be written: either way not worth failing for


def make_working_directory(config: ContainerConfig, facts: Facts) -> None:
    """Make the container's working directory where it should be made, owned by its user; Podman's errors otherwise.

    A directory below a mount is left to the runtime, which sees the mount.
    """
    wanted = config.working_dir or "/"
    if any(wanted == mount.destination or wanted.startswith(mount.destination.rstrip("/") + "/") for mount in config.mounts):
        return
    path = files.resolve_in_root(facts.rootfs, wanted)
    if os.path.isdir(path):
        return
    if os.path.lexists(path):
        raise InvalidArgument(f'workdir "{wanted}" exists on container {config.id}, but is not a directory')
    if not config.create_working_dir:
        raise InvalidArgument(f'workdir "{wanted}" does not exist on container {config.id}')
    above, root = [path], (root_of(config.uid_map), root_of(config.gid_map or config.uid_map))
    while not os.path.lexists(os.path.dirname(above[-1])):
        above.append(os.path.dirname(above[-1]))
    files.make_directories(path, 0o755)
    for directory in above[1:] if root != (0, 0) else ():
        os.chown(directory, *root)
    os.chown(path, _outside(config.uid_map, facts.uid), _outside(config.gid_map or config.uid_map, facts.gid))


def _outside(id_map: Iterable[str], number: int) -> int:
    """The host's number of a container's."""
    for line in id_map:
        inside, outside, size = (int(field) for field in line.split(":"))
        if inside <= number < inside + size:
            return outside + number - inside
    return number

"""Users and groups inside a root file system: ``web``, ``101``, ``web:www``, ``101:102`` -> numbers, groups and home.

The image's ``/etc/passwd`` and ``/etc/group`` are read with every symbolic link kept inside the root, only where they are
regular files, and only up to a size: an image may be hostile.
"""

from __future__ import annotations

import os
import stat

from podling.errors import Corrupt, InvalidArgument, NoSuchAccount
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podling.model import ContainerConfig, Facts

LARGEST_ID = (1 << 31) - 1
KEEP_GROUPS = "keep-groups"
_FILE_LIMIT = 8 << 20


class User(Record):
    """Who a process runs as. ``groups``: supplementary, without double ones; ``name`` "" where /etc/passwd has none."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = ""
    name: str = ""


class PasswdEntry(Record):
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str = ""


class GroupEntry(Record):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


class Accounts:
    """The accounts of a root file system. Each file is read once, when it is first needed."""

    def __init__(self, rootfs: str, *, passwd: str = "", group: str = "") -> None:
        """``passwd``, ``group``: host files that the container will see in place of the root's own."""
        self.rootfs = rootfs
        self._passwd_file, self._group_file = passwd, group
        self._passwd: list[PasswdEntry] | None = None
        self._groups: list[GroupEntry] | None = None

    @property
    def users(self) -> list[PasswdEntry]:
        """The lines of /etc/passwd, the first of two equal ones counts."""
        if self._passwd is None:
            self._passwd = list(parse_passwd(self._read("/etc/passwd", self._passwd_file)))
        return self._passwd

    @property
    def groups(self) -> list[GroupEntry]:
        """The lines of /etc/group."""
        if self._groups is None:
            self._groups = list(parse_group(self._read("/etc/group", self._group_file)))
        return self._groups

    def _read(self, path: str, instead: str) -> str:
        return read_inside(self.rootfs, path) if not instead else _read_host(instead)

    def user(self, name_or_id: str) -> PasswdEntry | None:
        """The user of this name, or else of this number."""
        number = _number(name_or_id)
        return next((user for user in self.users if user.name == name_or_id or user.uid == number), None)

    def group(self, name_or_id: str) -> GroupEntry | None:
        """The group of this name, or else of this number."""
        number = _number(name_or_id)
        return next((group for group in self.groups if group.name == name_or_id or group.gid == number), None)


def accounts(config: ContainerConfig, facts: Facts) -> Accounts:
    """The accounts that the container will see: those of a file or an /etc that the user mounts come first."""
    found = {"/etc/passwd": "", "/etc/group": ""}
    for mount in config.mounts:
        source = facts.volumes.get(mount.source, mount.source) if mount.kind == "volume" else mount.source
        if mount.kind not in ("bind", "volume"):
            continue
        if mount.destination in found:
            found[mount.destination] = source
        elif mount.destination == "/etc":
            found = {path: have or os.path.join(source, os.path.basename(path)) for path, have in found.items()}
    return Accounts(facts.rootfs, passwd=found["/etc/passwd"], group=found["/etc/group"])


def lookup(known: Accounts, text: str, group_add: Iterable[str] = ()) -> User:
    """The user that ``text`` (``user``, ``uid``, ``user:group``, ...; "" is root) names.

    Numbers need no entry. Raises InvalidArgument in Podman's words for names that are not there and numbers that cannot be.
    """
    name, _, group_name = text.partition(":")
    entry = known.user(name or "0")
    if entry is not None:
        uid, gid, home, matched = entry.uid, entry.gid, entry.home, entry.name
    else:
        uid, gid, home, matched = _uid(name or "0"), 0, "", ""
    groups: list[int] = []
    if group_name:
        gid = _gid(known, group_name)
    if text:
        groups.append(gid)     # Podman names the group of a user that was asked for among the others
    groups += [_added_gid(known, word) for word in group_add if word != KEEP_GROUPS]
    if not group_name and matched:
        groups += [group.gid for group in known.groups if matched in group.members]
    return User(uid=uid, gid=gid, groups=tuple(dict.fromkeys(groups)), home=home, name=matched)


def _uid(text: str) -> int:
    number = _number(text)
    if number is None:
        raise NoSuchAccount(f"unable to find user {text}: no matching entries in passwd file")
    return _in_range(number)


def _gid(known: Accounts, text: str) -> int:
    entry = known.group(text)
    if entry is not None:
        return entry.gid
    number = _number(text)
    if number is None:
        raise NoSuchAccount(f"unable to find group {text}: no matching entries in group file")
    return _in_range(number)


def _added_gid(known: Accounts, text: str) -> int:
    entry = known.group(text)
    number = entry.gid if entry is not None else _number(text)
    if number is None:
        raise NoSuchAccount(f"looking up supplemental groups: Unable to find group {text}: no matching entries in group file")
    return _in_range(number)


def _in_range(number: int) -> int:
    if number > LARGEST_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{LARGEST_ID}")
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


# --- the files --------------------------------------------------------------------------------------------------------


def parse_passwd(text: str) -> Iterator[PasswdEntry]:
    """The usable lines of /etc/passwd; those without numbers are left out rather than taken for root's."""
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= 4:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                yield PasswdEntry(name=fields[0], uid=uid, gid=gid, home=fields[5] if len(fields) > 5 else "")


def parse_group(text: str) -> Iterator[GroupEntry]:
    """The usable lines of /etc/group."""
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= 3:
            gid = _number(fields[2])
            if gid is not None:
                members = fields[3].split(",") if len(fields) > 3 and fields[3] else []
                yield GroupEntry(name=fields[0], gid=gid, members=tuple(members))


def read_inside(rootfs: str, path: str, limit: int = _FILE_LIMIT) -> str:
    """The text of a regular file inside a root file system; "" where there is none."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            # Nonblocking, so that a named pipe in the file's place does not wait for a writer.
            fd = files.open_beneath(root, path.lstrip("/"), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return ""          # not there, a link to nowhere, a loop
    finally:
        os.close(root)
    return _regular_text(fd, path, limit)


def _read_host(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    return _regular_text(fd, path, _FILE_LIMIT)


def _regular_text(fd: int, path: str, limit: int) -> str:
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise Corrupt(f"{path} in the container's root file system is not a regular file")
        return files.read_descriptor(fd, path, limit).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)

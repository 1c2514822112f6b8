"""Podling for an ordinary user: who it is, and the user namespace in which that user is root.

What was entered is told to children by environment variables. They have the names that Podman gives them, so that ``podling`` works
within ``podman unshare`` and ``podman`` within ``podling unshare``. They count only where the process is in a user namespace.
"""

from __future__ import annotations

import os

from podling.errors import Refused
from podling.linux import userns
from podling.record import Record

_ENTERED, _UID, _GID = "_CONTAINERS_USERNS_CONFIGURED", "_CONTAINERS_ROOTLESS_UID", "_CONTAINERS_ROOTLESS_GID"


class Owner(Record):
    """The ordinary user that a podling works for; the ids are those outside of its user namespace."""

    uid: int
    gid: int
    name: str
    home: str


def owner() -> Owner | None:
    """The ordinary user who started this, before and after the user namespace is entered and in children; None for true root."""
    if os.geteuid() != 0:
        return _owner(os.geteuid(), os.getegid())
    return _owner(int(os.environ[_UID]), int(os.environ.get(_GID) or os.environ[_UID])) if entered() else None


def entered() -> bool:
    """Whether this process is root within an ordinary user's namespace."""
    return (bool(os.environ.get(_ENTERED)) and os.environ.get(_UID, "").isdigit() and os.geteuid() == 0
            and not userns.is_initial(userns.uid_map()))


def _owner(uid: int, gid: int) -> Owner:
    """With the account's name and home; $HOME counts more, as everywhere."""
    import pwd

    home = os.environ.get("HOME", "")
    try:
        account = pwd.getpwuid(uid)
    except KeyError:                             # a user of a directory service that is away, or of nobody's
        return Owner(uid=uid, gid=gid, name=os.environ.get("USER") or str(uid), home=home or "/")
    return Owner(uid=uid, gid=gid, name=account.pw_name, home=home or account.pw_dir)


def mark(who: Owner, runtime_directory: str) -> None:
    """Tell this process and its children that the user's namespace is entered."""
    os.environ.update({_ENTERED: "done", _UID: str(who.uid), _GID: str(who.gid), "XDG_RUNTIME_DIR": runtime_directory})


def has_one_id() -> bool:
    """Whether this process is in a user namespace of one user and one group, where nobody else's files can be had."""
    return sum(ids.size for ids in userns.uid_map()) == 1


def runtime_directory(who: Owner) -> str:
    """The user's directory for what dies with a reboot: $XDG_RUNTIME_DIR, /run/user/UID, or one of our own in /tmp.

    It is the user's alone: a directory of somebody else (``su`` leaves the variable as it is) does not count, and Refused is
    raised where somebody else sits in /tmp at our place.
    """
    for path in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{who.uid}"):
        if path.startswith("/") and _is_own(path):
            return path.rstrip("/")
    path = f"/tmp/podling-run-{who.uid}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not _is_own(path):
            raise Refused(f"{path} is not a private directory of user {who.name}",
                          hint=f"remove it, or set XDG_RUNTIME_DIR to a directory of {who.name}") from None
    return path


def _is_own(path: str) -> bool:
    """Whether it is a directory, of this process' user, that nobody else can write to."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_mode & 0o170022 == 0o040000 and status.st_uid == os.geteuid()

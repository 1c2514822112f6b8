"""Layers seen as one tree, without mounting them: what overlay would show.

Directories are given topmost first. A name that a layer has hides what is below, unless both are directories; an opaque
directory and a whiteout (a device 0:0) end the search.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_KIND, _DIR, _CHR = 0o170000, 0o040000, 0o020000
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def lookup(directories: Sequence[str], path: str) -> list[str]:
    """The host paths that ``path`` (relative, no links in it) is made of, topmost first; [] where there is no such thing.

    Several for a directory, exactly one for anything else.
    """
    found = list(directories)
    for name in path.split("/"):
        if not all(is_directory(part) for part in found[:1]):
            return []
        found = _below(found, name)
        if not found:
            return []
    return found


def merged(directories: Sequence[str]) -> dict[str, list[str]]:
    """The names in a directory that is made of these, each with what it is made of (as :func:`lookup`)."""
    names: dict[str, list[str]] = {}
    closed: set[str] = set()
    for directory in directories:
        for name in os.listdir(directory):
            if name in closed:
                continue
            kept, ends = _part(f"{directory}/{name}", first=name not in names)
            if kept:
                names.setdefault(name, []).append(f"{directory}/{name}")
            if ends:
                closed.add(name)
        if is_opaque(directory):
            break
    return names


def _below(directories: Sequence[str], name: str) -> list[str]:
    found: list[str] = []
    for directory in directories:
        path = f"{directory}/{name}"
        if os.path.lexists(path):
            kept, ends = _part(path, first=not found)
            if kept:
                found.append(path)
            if ends:
                break
    return found


def _part(path: str, *, first: bool) -> tuple[bool, bool]:
    """(this is part of what is seen, nothing below is)."""
    status = os.lstat(path)
    kind = status.st_mode & _KIND
    if kind == _DIR:
        return True, is_opaque(path)
    return first and not (kind == _CHR and status.st_rdev == 0), True


def is_directory(path: str) -> bool:
    """Whether it is a directory, not a link to one."""
    try:
        return os.lstat(path).st_mode & _KIND == _DIR
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_opaque(directory: str) -> bool:
    """Whether a directory hides those below."""
    for name in _OPAQUE:
        try:
            if os.getxattr(directory, name, follow_symlinks=False) == b"y":
                return True
        except OSError:                      # not there, or not for us to see
            continue
    return False

"""The names of an archive's members as paths beneath a root; nothing here touches a file."""

from __future__ import annotations

from podling.errors import Corrupt
from podling.store.archive.headers import LONGEST_NAME

WHITEOUT = b".wh."
META = b".wh..wh."
OPAQUE = b".wh..wh..opq"


def clean(name: bytes) -> bytes:
    """A path relative to the root without empty parts, ``.`` and ``..``; b"" is the root. Corrupt where it leads out of it."""
    path = name[2:] if name[:2] == b"./" else name
    if path[-1:] == b"/":
        path = path[:-1]
    if path and path[0] not in b"./" and path[-1] != 47 and b"//" not in path and b"/." not in path and 0 not in path \
            and len(path) <= LONGEST_NAME:
        return path                          # as nearly all are
    if 0 in name:
        raise Corrupt(f"archive: {name!r} is no valid name")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise Corrupt(f"archive: {as_text(name)!r} is outside of the directory it is unpacked to")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    path = b"/".join(parts)
    if len(path) > LONGEST_NAME:
        raise Corrupt(f"archive: a name of {len(path)} bytes, more than the {LONGEST_NAME} that are possible")
    return path


def as_text(name: bytes) -> str:
    """A name for an error message."""
    return name.decode("utf-8", "backslashreplace")

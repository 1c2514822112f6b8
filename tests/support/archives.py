"""Tars for tests: written by hand to the last bit, by tarfile, or by programs; and trees to compare."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING

from podling.store.archive.extract import UnpackOptions
from podling.store.archive.pack import pack
from podling.store.archive.unpack import Unpacked, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR, GNU = b"ustar\x0000", b"ustar  \0"


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int = 0,
    mode: int = 0o644,
    uid: int | None = None,
    gid: int | None = None,
    mtime: int = 1_700_000_000,
    link: bytes = b"",
    magic: bytes = USTAR,
    prefix: bytes = b"",
    device: tuple[int, int] = (0, 0),
    fields: dict[int, bytes] | None = None,
) -> bytes:
    """One header block with a right checksum. ``fields``: bytes put at these offsets, whatever they mean."""
    block = bytearray(BLOCK)
    uid = os.geteuid() if uid is None else uid
    gid = os.getegid() if gid is None else gid
    for offset, value in (
        (0, name[:100]),
        (100, octal(mode, 8)),
        (108, octal(uid, 8)),
        (116, octal(gid, 8)),
        (124, octal(size, 12)),
        (136, octal(mtime, 12)),
        (156, kind),
        (157, link[:100]),
        (257, magic),
        (329, octal(device[0], 8)),
        (337, octal(device[1], 8)),
        (345, prefix),
        *(fields or {}).items(),
    ):
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def member(name: bytes, content: bytes = b"", kind: bytes = b"0", **fields: object) -> bytes:
    return header(name, kind, size=len(content), **fields) + padded(content)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **fields: object) -> bytes:
    return header(name, b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", mode=0o777, link=target)


def hard_link(name: bytes, target: bytes, **fields: object) -> bytes:
    return header(name, b"1", link=target, **fields)  # type: ignore[arg-type]


def pax(records: Iterable[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    body = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        body += b"%d %b=%b\n" % (rest + len(str(length)), key, value)
    return member(b"././@PaxHeader", body, kind)


def gnu_long(text: bytes, kind: bytes = b"L") -> bytes:
    return member(b"././@LongLink", text + b"\0", kind, magic=GNU)


def archive(*members: bytes, end: bytes = END) -> bytes:
    return b"".join(members) + end


def by_tarfile(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar as Python's standard library writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, content in members:
            info.size = len(content)
            info.uid, info.gid = os.geteuid(), os.getegid()
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def reader(data: bytes, most: int = 1 << 20) -> Callable[[int], bytes]:
    """``read(n)`` over some bytes, never more than ``most`` at once."""
    file = io.BytesIO(data)
    return lambda size: file.read(min(size, most))


def unpack_into(layer: Path, data: bytes, *, most: int = 1 << 20, **options: object) -> Unpacked:
    """Unpack into a new layer directory."""
    layer.mkdir()
    fd = os.open(layer, os.O_RDONLY)
    try:
        return unpack(reader(data, most), fd, UnpackOptions(**options))
    finally:
        os.close(fd)


def packed(layer: Path) -> bytes:
    return b"".join(pack(str(layer)))


def assert_round_trip(layer: Path, data: bytes, **options: object) -> Unpacked:
    """Unpack and pack: the same bytes, and what is said of them is right."""
    unpacked = unpack_into(layer, data, **options)
    assert unpacked.diff_id == digest(data)
    assert unpacked.tar_size == len(data)
    assert packed(layer) == data
    return unpacked


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def snapshot(top: Path | str, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """Everything below a directory that a tar can say: path -> (kind, mode, uid, gid, content, mtime, xattrs, first name)."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for parent, names, files in os.walk(top):
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(parent, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue                     # overlay lists whiteouts in a directory that only one layer has
            short = os.path.relpath(path, top)
            found[short] = (
                stat.S_IFMT(status.st_mode),
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                _content(path, status),
                status.st_mtime_ns if times else 0,
                _xattrs(path),
                inodes.setdefault(status.st_ino, short) if not stat.S_ISDIR(status.st_mode) else "",
            )
    return found


def _content(path: str, status: os.stat_result) -> object:
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return file.read()
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    return status.st_rdev


def _xattrs(path: str) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names if name != "security.selinux")

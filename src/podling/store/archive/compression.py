"""Compressed data: gzip and zstd streams read as what they hold, raw deflate and checksums for our own files.

isal does gzip at twice the speed of zlib; where it is not installed, zlib does it.
"""

from __future__ import annotations

import zlib

from podling import libraries
from podling.errors import Corrupt, Unsupported

libraries.add_site_packages()
try:
    from isal import isal_zlib as fast
except ImportError:
    fast = zlib  # type: ignore[misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Read = Callable[[int], bytes]

GZIP_MAGIC = b"\x1f\x8b\x08"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"                 # a zstd frame that holds no data begins with 0x50 to 0x5f and these
_INPUT = 1 << 18

crc32 = fast.crc32


def deflate(data: bytes) -> bytes:
    """Raw deflate, quickly."""
    compressor = fast.compressobj(1, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def inflate(data: bytes, size: int) -> bytes:
    """What :func:`deflate` made of ``size`` bytes; Corrupt where it is anything else."""
    decompressor = fast.decompressobj(-15)
    try:
        found = decompressor.decompress(data, size + 1)
    except (zlib.error, fast.error) as error:
        raise Corrupt(f"compressed data: {error}") from None
    if len(found) != size:
        raise Corrupt(f"compressed data: expected {size} bytes, found {len(found)}")
    return found


def kind_of(start: bytes) -> str:
    """What data that begin so are compressed with: "gzip", "zstd" or ""."""
    if start.startswith(GZIP_MAGIC):
        return "gzip"
    if start.startswith(ZSTD_MAGIC) or (start[1:4] == _SKIPPABLE and start[0] & 0xF0 == 0x50):
        return "zstd"
    return ""


def decompressed(read: Read) -> Read:
    """The content of a gzip, zstd or plain stream, told apart by its first bytes; another ``read`` with the same contract.

    ``read(n)`` returns up to ``n`` bytes, b"" at the end. A stream that is cut off is Corrupt.
    """
    start = b""
    while len(start) < 4:
        more = read(_INPUT)
        if not more:
            break
        start += more
    kind = kind_of(start)
    if kind == "gzip":
        return _Decompressing(read, start, kind, lambda: fast.decompressobj(31), (zlib.error, fast.error)).read
    if kind == "zstd":
        zstd, error = _zstd()
        return _ZstdDecompressing(read, start, kind, zstd, error).read
    return _Pushback(read, start).read


def _zstd() -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore] # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise Unsupported("this layer is compressed with zstd, and the Python package backports.zstd is not installed",
                              hint="pip install backports.zstd") from None
    return zstd.ZstdDecompressor, (zstd.ZstdError,)


class _Pushback:
    """A stream whose first bytes have been read already."""

    def __init__(self, read: Read, start: bytes) -> None:
        self._read = read
        self._start = start

    def read(self, size: int) -> bytes:
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        return self._read(size)


class _Decompressing:
    """A compressed stream, which may have several members one after the other."""

    def __init__(self, read: Read, start: bytes, kind: str, make: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
        self._input = _Pushback(read, start).read
        self._kind = kind
        self._make = make
        self._errors = errors
        self._member: Any = None             # None between members
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; fewer only at the end, so that the reader's chunks are large."""
        parts = []
        missing = size
        while missing:
            data = self._some(missing)
            if not data:
                break
            missing -= len(data)
            if not missing and not parts:
                return data
            parts.append(data)
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        while True:
            if self._member is None:
                self._rest = self._rest or self._input(_INPUT)
                if not self._rest or self._is_filling(self._rest):
                    return b""
                self._member = self._make()
            data = self._step(size)
            if data:
                return data

    def _step(self, size: int) -> bytes:
        """Some data out of the current member; b"" where it needs more input, or has ended."""
        member = self._member
        if not self._rest and not self._has_pending():
            self._rest = self._input(_INPUT)
        ended = not self._rest
        try:
            data: bytes = self._decompress(member, size)
        except self._errors as error:
            raise Corrupt(f"{self._kind} stream: {error}") from None
        if member.eof:
            self._rest = member.unused_data
            self._member = None
        elif ended and not data:             # not before it was asked: data may be pending inside
            raise Corrupt(f"{self._kind} stream: cut off")
        return data

    def _has_pending(self) -> bool:
        return False

    def _decompress(self, member: Any, size: int) -> bytes:
        data: bytes = member.decompress(self._rest, size)
        self._rest = member.unconsumed_tail
        return data

    def _is_filling(self, rest: bytes) -> bool:
        """Zeros after the last gzip member are filling, as for gzip itself; the rest of the input is read and dropped."""
        if rest.strip(b"\0"):
            return False
        while rest := self._input(_INPUT):
            if rest.strip(b"\0"):
                raise Corrupt(f"{self._kind} stream: something follows its end")
        self._rest = b""
        return True


class _ZstdDecompressing(_Decompressing):
    """zstd's objects keep what they have not used yet to themselves."""

    def _has_pending(self) -> bool:
        return not self._member.needs_input

    def _decompress(self, member: Any, size: int) -> bytes:
        data: bytes = member.decompress(self._rest, size)
        self._rest = b""
        return data

"""Raw deflate and CRC-32 for our own files: by isal, several times as quick as zlib, or by zlib where isal is not installed."""

from __future__ import annotations

import zlib

from podling import libraries
from podling.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    fast = zlib
else:
    libraries.add_site_packages()
    try:
        from isal import isal_zlib as fast
    except ImportError:                      # it exists for 64 bit machines only
        fast = zlib

_ERRORS: tuple[type[Exception], ...] = (zlib.error, getattr(fast, "IsalError", zlib.error))
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
    except _ERRORS as error:
        raise Corrupt(f"compressed data: {error}") from None
    if len(found) != size:
        raise Corrupt(f"compressed data: expected {size} bytes, found {len(found)}")
    return found

"""Compressed streams: gzip (by isal, twice as quick as zlib), zstd, xz, bzip2, and none.

A stream is a function ``read(size) -> bytes`` that returns b"" at the end. What a stream is its first bytes say, not its name.
"""

from __future__ import annotations

import zlib

from podling import libraries
from podling.errors import Corrupt, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Decoder(Protocol):
        """What isal's, the standard library's and zstd's decompressors have in common."""

        @property
        def eof(self) -> bool:
            """Whether the member's end was reached."""

        @property
        def needs_input(self) -> bool:
            """Whether all of the input so far was used."""

        @property
        def unused_data(self) -> bytes:
            """The input that follows the member's end."""

        def decompress(self, data: bytes, max_length: int = ...) -> bytes:
            """At most ``max_length`` bytes of output."""

    class Encoder(Protocol):
        """What the compressors have in common."""

        def compress(self, data: bytes, /) -> bytes:
            """Some output, perhaps none yet."""

        def flush(self) -> bytes:
            """The rest of the output."""


INPUT_CHUNK = 1 << 18
OUTPUT_BLOCK = 1 << 20   # what isal writes depends on how its input is cut: cut it always like this, and digests repeat
GZIP_LEVEL = 2          # of isal's 0 to 3: 620 MB/s, 6 % larger than zlib's 6 at 46 MB/s
ZSTD_LEVEL = 1          # 220 MB/s, 3 % smaller than that gzip; 3 takes half as long again for 9 % less
XZ_MEMORY = 128 << 20   # bytes; what `xz -9` needs is 65 MiB
_MAGIC = ((b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"))
MAGIC_LENGTH = 6


def sniff(beginning: bytes) -> str:
    """The compression that the first MAGIC_LENGTH bytes of a stream tell: gzip, zstd, xz, bzip2 or "" for none."""
    for magic, name in _MAGIC:
        if beginning.startswith(magic):
            return name
    if beginning[1:4] == b"\x2a\x4d\x18" and 0x50 <= beginning[0] <= 0x5F:  # a skippable frame before the first real one
        return "zstd"
    return ""


class _ZlibDecoder:
    """zlib's decompressor in the form of the others, where isal is missing (it is built for 64 bit machines only)."""

    def __init__(self) -> None:
        self.inner = zlib.decompressobj(31)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As bz2.BZ2Decompressor.decompress."""
        output = self.inner.decompress(self.inner.unconsumed_tail + data, max(0, max_length))
        self.needs_input = not self.inner.unconsumed_tail and len(output) < max_length
        return output

    @property
    def eof(self) -> bool:
        """Whether the stream's end was reached."""
        return self.inner.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the stream's end."""
        return self.inner.unused_data


def _gzip_tools() -> tuple[Callable[[], Decoder], Callable[[int], Encoder], type[Exception]]:
    libraries.add_site_packages()
    try:
        from isal import igzip_lib, isal_zlib
    except ImportError:
        return _ZlibDecoder, lambda _: zlib.compressobj(6, wbits=31), zlib.error
    error: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # an instance in its stubs
    return (lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
            lambda level: isal_zlib.compressobj(level, wbits=31), error)


def preload() -> None:
    """Load the library for gzip, before processes are forked that would each load it."""
    _gzip_tools()


def _zstd() -> Any:
    """The module."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # from Python 3.14 on
    except ImportError:
        libraries.add_site_packages()
        try:
            from backports import zstd
        except ImportError:
            raise Unsupported("this image is compressed with zstd, and the Python package backports.zstd is missing",
                              hint="pip install backports.zstd") from None
    return zstd


def _decoder(kind: str) -> tuple[Callable[[], Decoder], type[Exception]]:
    """(what makes a decoder for one member of the stream, the error it raises)."""
    if kind == "gzip":
        make, _, error = _gzip_tools()
        return make, error
    if kind == "zstd":
        zstd = _zstd()
        return zstd.ZstdDecompressor, zstd.ZstdError
    if kind == "xz":
        import lzma  # 1 ms, and hardly any image has it

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY), lzma.LZMAError
    if kind == "bzip2":
        import bz2  # as above

        return bz2.BZ2Decompressor, OSError
    raise Unsupported(f"compression {kind!r} is not supported")


class Decompressed:
    """A compressed stream as what it was before; never more in memory than was asked for and one chunk of input.

    Several members one after the other are one stream, as gzip and zstd define it; zeros may follow the last.
    """

    def __init__(self, read: Callable[[int], bytes], kind: str, *, chunk: int = INPUT_CHUNK) -> None:
        self.source = read
        self.kind = kind
        self.chunk = chunk
        self.make, self.error = _decoder(kind)
        self.decoder = self.make()
        self.finished = False

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, b"" at the end; Corrupt where the stream is broken or ends too early."""
        while not self.finished:
            data = b""
            if self.decoder.eof:
                if not self._next_member():
                    break
                data = self.rest
            elif self.decoder.needs_input:
                data = self.source(self.chunk)
                if not data:
                    raise Corrupt(f"{self.kind} stream ends too early")
            try:
                output = self.decoder.decompress(data, size)
            except (self.error, EOFError) as error:
                raise Corrupt(f"{self.kind} stream is broken: {str(error)[:200]}") from None
            if output:
                return output
        return b""

    def _next_member(self) -> bool:
        """Begin with the member after the one that ended; False where none follows."""
        rest = self.decoder.unused_data
        while not rest.strip(b"\0"):
            rest = self.source(self.chunk)
            if not rest:
                self.finished = True
                return False
        while len(rest) < MAGIC_LENGTH and (more := self.source(self.chunk)):
            rest += more
        if sniff(rest) != self.kind:
            raise Corrupt(f"unknown bytes follow the end of the {self.kind} stream")
        self.decoder, self.rest = self.make(), rest
        return True


class Plain:
    """A stream whose first bytes were already taken."""

    def __init__(self, read: Callable[[int], bytes], beginning: bytes) -> None:
        self.source = read
        self.beginning = beginning

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, b"" at the end."""
        if self.beginning:
            data, self.beginning = self.beginning[:size], self.beginning[size:]
            return data
        return self.source(size)


def decompressed(read: Callable[[int], bytes]) -> tuple[Callable[[int], bytes], str]:
    """(the stream without its compression, the name of that or ""), told by its first bytes."""
    beginning = b""
    while len(beginning) < MAGIC_LENGTH and (data := read(INPUT_CHUNK)):
        beginning += data
    kind = sniff(beginning)
    source = Plain(read, beginning).read
    return (Decompressed(source, kind).read if kind else source), kind


def compressor(kind: str, level: int | None = None, *, alongside: bool = False) -> Encoder:
    """What compresses as gzip or zstd; the same input in blocks of OUTPUT_BLOCK gives the same output.

    ``alongside``: zstd takes the input and compresses it in a thread, so that its caller makes the next meanwhile. That costs some
    megabytes, and the output is a little different, but always the same.
    """
    if kind == "gzip":
        _, make, _ = _gzip_tools()
        return make(GZIP_LEVEL if level is None else min(level, 3))
    if kind == "zstd":
        zstd = _zstd()
        parameter = zstd.CompressionParameter
        threads = min(int(alongside), parameter.nb_workers.bounds()[1])      # none where the library was built without
        encoder: Encoder = zstd.ZstdCompressor(options={
            parameter.compression_level: ZSTD_LEVEL if level is None else level, parameter.nb_workers: threads})
        return encoder
    raise Unsupported(f"compression format {kind!r} is not supported", hint="use gzip or zstd")


def frame_maker(level: int | None = None) -> Callable[[bytes], bytes]:
    """What makes one zstd frame of some bytes, again and again: with one call each, twice as quick as ``compress`` and ``flush``."""
    encoder = _zstd().ZstdCompressor(ZSTD_LEVEL if level is None else level)
    mode = encoder.FLUSH_FRAME
    return lambda data: encoder.compress(data, mode)

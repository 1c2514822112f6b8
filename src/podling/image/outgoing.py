"""The form in which layers leave: compressed, with or without a table of contents, encrypted or not."""

from __future__ import annotations

from podling.image import manifest
from podling.image.compression import OUTPUT_BLOCK, compressor
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.image.compression import Encoder
    from podling.image.encryption.jwe import PublicKey
    from podling.image.encryption.layers import Encrypted

CHUNKED = "zstd:chunked"                     # zstd with a table of contents, which the descriptor's annotations tell of


class Form(Record):
    """What becomes of each layer. ``compression``: gzip, zstd, zstd:chunked, "" for none.

    ``recipients``: whom layers are encrypted for, if anybody; ``encrypted``: which layers, negative ones counted from the last; all
    where it is empty.
    """

    compression: str = "gzip"
    level: int | None = None
    recipients: tuple[PublicKey, ...] = ()
    encrypted: tuple[int, ...] = ()

    @property
    def needs_oci(self) -> bool:
        """Whether Docker's manifests cannot describe it: they know no zstd and have no annotations."""
        return self.compression.startswith("zstd") or bool(self.recipients)

    def encrypts(self, number: int, total: int) -> bool:
        """Whether this one of so many layers is encrypted."""
        return bool(self.recipients) and (not self.encrypted or number in [chosen % total for chosen in self.encrypted])

    def media_type(self, number: int, total: int, *, docker: bool) -> str:
        """The layer's media type."""
        kind = manifest.layer_type(docker=docker, compression="zstd" if self.compression == CHUNKED else self.compression)
        return kind + (manifest.ENCRYPTED if self.encrypts(number, total) else "")

    def blob(self, tar: Iterator[bytes], number: int, total: int, *, alongside: bool = False) -> Blob | Encrypted:
        """The layer as it leaves, to be iterated over once. ``alongside``: it may be compressed in a thread, a processor is free."""
        if not self.encrypts(number, total):
            return Blob(tar, self.compression, self.level, alongside=alongside)
        from podling.image.encryption.layers import Encrypted

        # a table of contents would be of no use
        return Encrypted(iter(Blob(tar, "zstd" if self.compression == CHUNKED else self.compression, self.level)), list(self.recipients))


class Blob:
    """One layer on its way out, iterated over once; then ``annotations`` are what its descriptor says beside digest and size."""

    def __init__(self, tar: Iterator[bytes], compression: str = "", level: int | None = None, *, alongside: bool = False) -> None:
        self.annotations: dict[str, str] = {}
        self._tar = tar
        self._compression = compression
        self._level = level
        self._alongside = alongside

    def __iter__(self) -> Iterator[bytes]:
        if self._compression == CHUNKED:
            from podling.image.chunked.writing import Chunked

            chunked = Chunked(self._tar, self._level)
            yield from chunked
            self.annotations = chunked.annotations
        elif self._compression:
            yield from compressed(self._tar, self._compression, self._level, alongside=self._alongside)
        else:
            yield from self._tar


def compressed(source: Iterator[bytes], kind: str = "gzip", level: int | None = None, *, alongside: bool = False) -> Iterator[bytes]:
    """The stream compressed; the same bytes however the source cuts its pieces."""
    encoder: Encoder | None = None
    for block in _blocks(source):
        encoder = encoder or compressor(kind, level, alongside=alongside and len(block) == OUTPUT_BLOCK)    # not for what is small
        yield encoder.compress(block)
    yield (encoder or compressor(kind, level)).flush()


def _blocks(source: Iterator[bytes]) -> Iterator[bytes]:
    """The stream in pieces of OUTPUT_BLOCK, but for the last."""
    parts: list[memoryview] = []
    missing = OUTPUT_BLOCK
    for piece in source:
        rest = memoryview(piece)
        while len(rest) >= missing:
            parts.append(rest[:missing])
            rest = rest[missing:]
            yield b"".join(parts)
            parts, missing = [], OUTPUT_BLOCK
        if rest:
            parts.append(rest)
            missing -= len(rest)
    if parts:
        yield b"".join(parts)

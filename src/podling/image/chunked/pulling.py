"""A layer brought into the store by its parts, where that saves enough; and the record of what a layer holds, for the next one."""

from __future__ import annotations

from podling import log
from podling.errors import Corrupt, PodlingError, explain
from podling.image.chunked import toc
from podling.image.chunked.kept import KeptRanges
from podling.image.manifest import ESTARGZ_TABLE
from podling.store import chunks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podling.image.manifest import Descriptor
    from podling.image.registry.ranges import Ranges
    from podling.store.layers import Layer, Layers

SMALL = 1 << 16                              # bytes that come sooner than the table of contents and then what is missing
WORTH = 0.8                                  # of the blob; who has to fetch more fetches all of it, in one stream


class _Whole(PodlingError):
    """The layer is to be downloaded whole."""


def add(layers: Layers, diff_id: str, descriptor: Descriptor, ranges: Ranges, *, parents: Callable[[], Sequence[Layer]],
        progress: Callable[[int], None]) -> bool | None:
    """Store a layer; whether anything was fetched. None where it is to be downloaded whole: nothing of it is stored then.

    What came before a download broke off is kept for the next one.
    """
    kept = KeptRanges(layers.graphroot, descriptor, ranges)
    adding = _Adding(layers, descriptor, kept, progress)
    try:
        layers.add(adding.read, diff_id=diff_id, parents=parents, chunks=adding.index)
    except _Whole as error:
        log.debug(explain(error))
        kept.discard()
        return None
    except Corrupt as error:
        kept.discard()
        if kept.reused:
            log.debug(f"fetching parts of {descriptor.digest} anew, what an earlier run left may be damaged: {explain(error)}")
            return add(layers, diff_id, descriptor, ranges, parents=parents, progress=progress)
        log.warning(f"blob {descriptor.digest} cannot be put together from its parts, it is downloaded whole: {explain(error)}")
        return None
    else:
        kept.discard()
    finally:
        kept.close()
    log.debug(f"blob {descriptor.digest}: {kept.fetched} of {descriptor.size} bytes fetched, {kept.reused} were here already")
    return kept.fetched + kept.reused > 0


class _Adding:
    """One layer. Nothing is asked of the registry before the first read."""

    def __init__(self, layers: Layers, descriptor: Descriptor, ranges: KeptRanges, progress: Callable[[int], None]) -> None:
        self.layers = layers
        self.descriptor = descriptor
        self.ranges = ranges
        self.progress = progress
        self.what = f"blob {descriptor.digest}"
        self._files: toc.Files = {}
        self._tar: Iterator[bytes] | None = None

    def read(self, _size: int) -> bytes:
        """The next piece of the tar."""
        if self._tar is None:
            if self.descriptor.size < SMALL or self.layers.database.row("SELECT 1 FROM layers LIMIT 1") is None:
                raise _Whole(f"{self.what}: it is small, or the store holds nothing of it")
            self._tar = self._begin()
        return next(self._tar, b"")

    def _begin(self) -> Iterator[bytes]:
        from podling.image.registry.ranges import NoRanges

        where = toc.positions(self.descriptor.annotations, self.descriptor.size)
        try:
            if where is not None:
                return self._zstd_chunked(where)
            if ESTARGZ_TABLE in self.descriptor.annotations:
                return self._estargz()
        except NoRanges as error:
            raise _Whole(f"{self.what}: {explain(error)}") from error
        raise _Whole(f"{self.what}: its manifest does not say where its table of contents is")

    def _zstd_chunked(self, where: toc.Positions) -> Iterator[bytes]:
        from podling.image.chunked.parts import Parts, Plan

        self._files, split = toc.read(where, self.ranges.read, self.what)
        plan = Plan(self._files, self.layers)
        self._decide(plan.ranges)
        return Parts(plan, split, self.ranges).tar(self.progress)

    def _estargz(self) -> Iterator[bytes]:
        from podling.image.chunked import estargz

        table = estargz.Table(self.descriptor.annotations[ESTARGZ_TABLE], self.descriptor.size, self.ranges.read, self.what)
        plan = estargz.Plan(table, self.layers)
        self._files = table.files
        self._decide(plan.ranges)
        return estargz.tar(plan, self.ranges, self.progress)

    def _decide(self, wanted: list[tuple[int, int]]) -> None:
        size = self.ranges.missing(wanted)
        log.debug(f"{self.what}: {size} of {self.descriptor.size} bytes are missing, in {len(wanted)} ranges")
        if size > WORTH * self.descriptor.size:
            raise _Whole(f"{self.what}: the store holds too little of it")

    def index(self) -> bytes:
        """What the layer holds."""
        return chunks.packed(chunks.of_table(self._files))


def index_of(descriptor: Descriptor, fetch: Callable[[int, int], bytes]) -> bytes:
    """What a layer holds whose blob was downloaded whole; ``fetch(start, end)`` reads it. b"" where its table is of no use."""
    where, what = toc.positions(descriptor.annotations, descriptor.size), f"blob {descriptor.digest}"
    try:
        if where is not None:
            files, _ = toc.read(where, fetch, what)
        elif ESTARGZ_TABLE in descriptor.annotations:
            from podling.image.chunked import estargz

            files = estargz.Table(descriptor.annotations[ESTARGZ_TABLE], descriptor.size, fetch, what).files
        else:
            return b""
        return chunks.packed(chunks.of_table(files))
    except Corrupt as error:
        log.debug(f"what {what} holds is not recorded: {explain(error)}")
        return b""

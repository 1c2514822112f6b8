"""A layer brought into the store by its parts, where that saves enough; and the record of what a layer holds, for the next one."""

from __future__ import annotations

from podling import log
from podling.errors import Corrupt, PodlingError, explain
from podling.image.chunked import toc
from podling.store import chunks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podling.image.manifest import Descriptor
    from podling.image.registry.ranges import Ranges
    from podling.store.layers import Layer, Layers

WORTH = 0.8                                  # of the blob; who has to fetch more fetches all of it, in one stream


class _Whole(PodlingError):
    """The layer is to be downloaded whole."""


def add(layers: Layers, diff_id: str, descriptor: Descriptor, ranges: Ranges, *, parents: Callable[[], Sequence[Layer]],
        progress: Callable[[int], None]) -> bool | None:
    """Store a layer; whether anything was fetched. None where it is to be downloaded whole: nothing of it is stored then."""
    where = toc.positions(descriptor.annotations, descriptor.size)
    if where is None:
        return None
    adding = _Adding(layers, descriptor, ranges, where, progress)
    try:
        layers.add(adding.read, diff_id=diff_id, parents=parents, chunks=adding.index)
    except _Whole:
        return None
    except Corrupt as error:
        log.warning(f"blob {descriptor.digest} cannot be put together from its parts, it is downloaded whole: {explain(error)}")
        return None
    log.debug(f"blob {descriptor.digest}: {ranges.fetched} of {descriptor.size} bytes fetched")
    return ranges.fetched > 0


class _Adding:
    """One layer. Nothing is asked of the registry before the first read."""

    def __init__(self, layers: Layers, descriptor: Descriptor, ranges: Ranges, where: toc.Positions,
                 progress: Callable[[int], None]) -> None:
        self.layers = layers
        self.descriptor = descriptor
        self.ranges = ranges
        self.where = where
        self.progress = progress
        self._files: toc.Files = {}
        self._tar: Iterator[bytes] | None = None

    def read(self, _size: int) -> bytes:
        """The next piece of the tar."""
        if self._tar is None:
            self._tar = self._begin()
        return next(self._tar, b"")

    def _begin(self) -> Iterator[bytes]:
        from podling.image.chunked.parts import Parts, Plan
        from podling.image.registry.ranges import NoRanges

        what = f"blob {self.descriptor.digest}"
        if self.layers.database.row("SELECT 1 FROM layers LIMIT 1") is None:
            raise _Whole("the store holds nothing")
        try:
            self._files, split = toc.read(self.where, self.ranges.read, what)
        except NoRanges as error:
            raise _Whole(f"{what}: {explain(error)}") from error
        plan = Plan(self._files, self.layers)
        log.debug(f"{what}: {plan.size} of {self.descriptor.size} bytes are not in the store, in {len(plan.ranges)} ranges")
        if plan.size > WORTH * self.descriptor.size:
            raise _Whole(f"{what}: the store holds too little of it")
        parts = Parts(plan, split, self.ranges)
        for piece in parts.tar():
            self.progress(parts.position)
            yield piece

    def index(self) -> bytes:
        """What the layer holds."""
        return chunks.packed(chunks.of_table(self._files))


def index_of(descriptor: Descriptor, fetch: Callable[[int, int], bytes]) -> bytes:
    """What a layer holds whose blob was downloaded whole; ``fetch(start, end)`` reads it. b"" where its table is of no use."""
    where = toc.positions(descriptor.annotations, descriptor.size)
    if where is None:
        return b""
    try:
        files, _ = toc.read(where, fetch, f"blob {descriptor.digest}")
        return chunks.packed(chunks.of_table(files))
    except Corrupt as error:
        log.debug(f"what blob {descriptor.digest} holds is not recorded: {explain(error)}")
        return b""

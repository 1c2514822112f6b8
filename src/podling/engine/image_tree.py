"""``image tree``: an image's layers, or with ``children`` what was built on them."""

from __future__ import annotations

from podling.record import Record
from podling.store import ancestry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.model import Image


class TreeLayer(Record):
    """A layer of the tree. ``names``: of the images whose topmost layer it is; ``size`` in bytes of its tar."""

    key: str
    size: int
    names: tuple[str, ...] = ()


def tree(engine: Engine, image: Image, *, children: bool = False) -> list[TreeLayer]:
    """The image's layers, lowest first; with ``children`` also those of the images that were built on it."""
    tops = _top_names(engine)
    stacks = [engine.images.layers(image)]
    if children and not image.store:
        stacks += [engine.images.layers(engine.images.get(image_id)) for image_id in ancestry.descendants(engine.database, image.id)]
    found: dict[str, TreeLayer] = {}
    for stack in stacks:
        for layer in stack:
            key = layer.key
            found.setdefault(key, TreeLayer(key=key, size=layer.tar_size, names=tuple(tops.get(key, ()))))
    return list(found.values())


def _top_names(engine: Engine) -> dict[str, list[str]]:
    """Key of a layer -> names of the images that end in it."""
    tops: dict[str, list[str]] = {}
    for image in engine.images.list():
        layers = engine.images.layers(image)
        if layers and image.names:
            tops.setdefault(layers[-1].key, []).extend(image.names)
    return tops

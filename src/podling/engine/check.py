"""``system check``: every layer is read and compared with its digest; what is damaged is mended from where it came.

1. A layer's tar is put together from its files and hashed; ``quick`` only looks whether its parts are there.
2. ``repair`` downloads the layer from a registry that is known to have it, in any compressed form in which it was seen, makes it
   anew aside, checks it, and exchanges the two directories in one step.
3. What cannot be mended is reported; with ``force`` its images go, and their containers.
"""

from __future__ import annotations

import os

from podling import log
from podling.engine import registries, transfers
from podling.engine.images import remove_image
from podling.engine.options import RegistryOptions
from podling.errors import Corrupt, PodlingError, explain
from podling.image.compression import decompressed
from podling.image.manifest import Descriptor
from podling.record import Record
from podling.store import mapped
from podling.store.adding import mend
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.engine.engine import Engine
    from podling.store.layers import Layer


class CheckOptions(Record):
    """``system check``."""

    quick: bool = False
    repair: bool = False
    force: bool = False
    registry: RegistryOptions = RegistryOptions()


class Damage(Record):
    """A damaged layer: why, names or ids of the images that have it, and what became of it: "", mended or removed."""

    diff_id: str
    reason: str
    images: tuple[str, ...] = ()
    outcome: str = ""


def check(engine: Engine, options: CheckOptions) -> list[Damage]:
    """All damage that is found, lower layers first, each with what was done about it."""
    engine.images.layer_store.hold()
    found = []
    try:
        for layer, position_in in _layers(engine):
            reason = _fault(engine, layer, quick=options.quick)
            if reason:
                found.append(_treat(engine, layer, position_in, reason, options))
    finally:
        engine.images.layer_store.release()
    if options.repair:
        engine.images.collect()
    return found


def _layers(engine: Engine) -> list[tuple[Layer, tuple[str, int]]]:
    """Every layer that an image has, with (one of the images, its position there), the lowest first."""
    rows = engine.database.rows("SELECT layer_id, min(position), image_id FROM image_layers GROUP BY layer_id ORDER BY 2")
    return [(engine.images.layer_store.get(layer_id), (image_id, position)) for layer_id, position, image_id in rows]


def _fault(engine: Engine, layer: Layer, *, quick: bool) -> str:
    """What is wrong with a layer, "" where nothing is."""
    from podling.store.archive.pack import Packer

    try:
        if quick:
            if not os.path.isdir(layer.path):
                return f"{layer.path} is missing"
            Packer(os.path.dirname(layer.path)).close()
        else:
            for _ in engine.images.layer_store.open_tar(layer):
                continue
    except (Corrupt, OSError) as error:
        return explain(error)
    return ""


def _treat(engine: Engine, layer: Layer, position_in: tuple[str, int], reason: str, options: CheckOptions) -> Damage:
    images = [row[0] for row in engine.database.rows("SELECT image_id FROM image_layers WHERE layer_id = ?", layer.id)]
    names = tuple((engine.images.get(image_id).names or (image_id,))[0] for image_id in images)
    damage = Damage(diff_id=layer.diff_id, reason=reason, images=names)
    if not options.repair:
        return damage
    if _mended(engine, layer, position_in, options):
        mapped.forget(engine.paths.graphroot, layer.key)
        return damage.replace(outcome="mended")
    if not options.force:
        return damage
    for image_id in images:
        remove_image(engine, engine.images.get(image_id), force=True, prune_parents=False)
    return damage.replace(outcome="removed")


def _mended(engine: Engine, layer: Layer, position_in: tuple[str, int], options: CheckOptions) -> bool:
    image_id, position = position_in
    parents = engine.images.layer_store.of_image(image_id)[:position]
    rows = engine.database.rows(
        "SELECT b.digest, b.size, b.media_type, l.repository FROM blobs b JOIN blob_locations l ON l.digest = b.digest "
        "WHERE b.diff_id = ?", layer.diff_id)
    for digest, size, media_type, repository in rows:
        descriptor = Descriptor(media_type=media_type, digest=digest, size=size)
        try:
            _download(engine, layer, parents, descriptor, repository, options)
        except (PodlingError, OSError) as error:
            log.warning(f"mending layer {layer.diff_id} from {repository}: {explain(error)}")
            continue
        return True
    return False


def _download(engine: Engine, layer: Layer, parents: tuple[Layer, ...], descriptor: Descriptor, repository: str,
              options: CheckOptions) -> None:
    from podling.image.registry import blobs

    endpoint = registries.configured().endpoints(reference.parse(repository))[-1]
    registry = transfers.access(options.registry, endpoint).open(endpoint.reference.registry)
    try:
        chunks = blobs.stream(registry, endpoint.reference.repository, descriptor)
        plain, _ = decompressed(_reader(chunks.__next__))
        mend(engine.images.layer_store, layer, plain, parents)
    finally:
        registry.close()


def _reader(following: Callable[[], bytes]) -> Callable[[int], bytes]:
    """Chunks as a stream; a chunk may be longer than asked for, which decompression does not mind."""

    def read(_size: int) -> bytes:
        try:
            return following()
        except StopIteration:
            return b""

    return read

"""The one way an image comes into the store: found, checked against the policy, its layers stored, then known.

Several layers at once, in forked processes, each downloaded, verified, decompressed, hashed and unpacked in one pipeline.
Layers that the store has are not read at all.
"""

from __future__ import annotations

import os
import time

from podling import jsontext, log
from podling.database import Database
from podling.errors import Corrupt, PodlingError, SignatureRejected, explain
from podling.image import workers
from podling.image.compression import decompressed
from podling.image.manifest import ENCRYPTED, ESTARGZ_TABLE, LAYER_TYPES, ZSTD_TABLE
from podling.store.layers import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from podling.image.encryption.jwe import PrivateKey
    from podling.image.encryption.layers import LayerKey
    from podling.image.manifest import Descriptor
    from podling.image.places import Found, LayerStream, Source
    from podling.model import Image
    from podling.store.images import Images
    from podling.store.layers import Layer

    Progress = Callable[..., None]

WORKERS = 4
WHOLE, IN_PARTS = "whole", "in parts"
TABLES = (ZSTD_TABLE, ESTARGZ_TABLE)
_PARENT_PAUSE = 0.005                        # seconds between two looks for a layer that another process stores


def ignore_progress(kind: str, **fields: Any) -> None:
    """Nobody watches."""


def store(images: Images, source: Source, found: Found, *, names: Iterable[str] = (), repo_digests: Iterable[str] = (),
          repository: str = "", keys: Sequence[PrivateKey] = (), progress: Progress | None = None) -> Image:
    """Store a found image with its layers. ``repository``: the registry's repository that is known to hold its blobs now;
    ``keys``: what may decrypt its layers.

    The policy must have let it in: SignatureRejected for an image that no gate has seen.
    """
    signatures = found.signatures
    if signatures is None:
        raise SignatureRejected(f"{source.identity}: no signature policy was asked whether it may come in")
    report = progress or ignore_progress
    report("message", text="Getting image source signatures")
    if signatures:
        report("message", text="Checking if image destination supports signatures")
    found = _unlocked(found, keys)
    layers, read = _store_layers(images.layer_store, source, found, report)
    report("begin", key="config", label=f"Copying config {_config_digest(found)[:10]}", total=len(found.config))
    report("end", key="config", result="done")
    report("message", text="Writing manifest to image destination")
    _remember_blobs(images.database, found, repository, read)
    image = images.add(config=found.config, manifest=found.manifest, media_type=found.media_type, layers=layers, names=names,
                       repo_digests=repo_digests, manifests=found.others, signatures=signatures)
    report("message", text="Storing signatures")
    return image


def _unlocked(found: Found, keys: Sequence[PrivateKey]) -> Found:
    """The image with what decrypts each of its encrypted layers; before anything of them is downloaded."""
    locked = {number: layer for number, layer in enumerate(found.layers) if layer.media_type.endswith(ENCRYPTED)}
    if not locked:
        return found
    from podling.image.encryption.layers import unwrap  # a library for cryptography

    return found.replace(layer_keys={number: unwrap(layer.annotations, keys, f"layer {layer.digest}") for number, layer in locked.items()})


def _config_digest(found: Found) -> str:
    from podling.image import digests

    return digests.digest_of(found.config).removeprefix("sha256:")


def _store_layers(store_layers: Layers, source: Source, found: Found, report: Progress) -> tuple[list[Layer], set[int]]:
    """(the image's layers, held: those that were there, and the others brought by workers; which of them were read whole)."""
    store_layers.hold()
    present: list[Layer] = []
    for diff_id in found.diff_ids:
        layer = store_layers.reuse(diff_id, present)
        if layer is None:
            break
        present.append(layer)
    missing = list(range(len(present), len(found.diff_ids)))
    for number, descriptor in enumerate(found.layers):
        label = f"Copying blob {descriptor.digest.partition(':')[2][:12]}"
        report("begin", key=f"{number}", label=label, total=descriptor.size)
        if number < len(present):
            report("end", key=f"{number}", result="skipped: already exists")

    def task(position: int, tell: Callable[..., None]) -> str:
        return _store_layer(store_layers, source, found, missing[position], tell)

    def seen(position: int, event: dict[str, Any]) -> None:
        key = f"{missing[position]}"
        if "done" in event:
            report("advance", key=key, done=event["done"])
        else:
            report("end", key=key, result=event["result"])

    if missing:
        source.prepare()
        from podling.store import adding  # noqa: F401  before the fork, not in each child
    count = WORKERS if source.is_remote else workers.for_layers([found.layers[number].size for number in missing], WORKERS)
    ways = workers.run(len(missing), task, workers=count, progress=seen, database=store_layers.database)
    for number in missing:
        layer = store_layers.find(found.diff_ids[number], present)
        if layer is None:
            raise PodlingError(f"layer {found.diff_ids[number]} was removed while its image was stored", hint="try again")
        present.append(layer)
    return present, {number for number, way in zip(missing, ways, strict=True) if way == WHOLE}


def _store_layer(store_layers: Layers, source: Source, found: Found, number: int, tell: Callable[..., None]) -> str:
    """In a worker: bring one layer into the store; how: WHOLE, IN_PARTS, or "" where it was there already."""
    database = Database(store_layers.database.path)
    try:
        layers = Layers(database, store_layers.graphroot, store_layers.rules)
        try:
            way = _read_layer(layers, source, found, number, tell)
        except _SpoiltDownload as error:
            log.debug(f"downloading {found.layers[number].digest} anew, what an earlier run left is damaged: {explain(error)}")
            way = _read_layer(layers, source, found, number, tell)
        finally:
            layers.release()                 # the parent holds what was stored
    finally:
        database.close()
    tell(result="done" if way else "skipped: already exists")
    return way


class _SpoiltDownload(Corrupt):
    """A layer was wrong whose first bytes an earlier run had left, perhaps before a power cut."""


def _read_layer(layers: Layers, source: Source, found: Found, number: int, tell: Callable[..., None]) -> str:
    parent, descriptor = os.getppid(), found.layers[number]
    lock = found.layer_keys.get(number)
    has_table = lock is None and any(name in descriptor.annotations for name in TABLES)
    if has_table and (ranges := source.ranges(found, number)) is not None:
        from podling.image.chunked import pulling

        used = pulling.add(layers, found.diff_ids[number], descriptor, ranges, progress=lambda done: tell(done=done),
                           parents=lambda: _lower_layers(layers, found, number, parent))
        if used is not None:
            return IN_PARTS if used else ""
    with source.layer(found, number, lambda done: tell(done=done)) as stream:
        plain: Callable[[int], bytes] | None = None

        def read(size: int) -> bytes:
            nonlocal plain
            if plain is None:
                plain, _ = decompressed(stream.read if lock is None else _decrypted(stream, lock))
            return plain(size)

        try:
            layers.add(read, diff_id=found.diff_ids[number], parents=lambda: _lower_layers(layers, found, number, parent),
                       chunks=(lambda: _index(descriptor, stream)) if has_table else None)
            if plain is not None:
                stream.finish()
        except Corrupt as error:
            stream.forget()
            if stream.resumed:
                raise _SpoiltDownload("") from error
            raise
    return WHOLE if plain is not None else ""


def _decrypted(stream: LayerStream, lock: LayerKey) -> Callable[[int], bytes]:
    from podling.image.encryption.layers import decrypted

    return decrypted(stream.read, lock, stream.what)


def _index(descriptor: Descriptor, stream: LayerStream) -> bytes:
    """What the layer holds, by the table of contents in its blob."""
    from podling.image.chunked import pulling

    return pulling.index_of(descriptor, stream.fetch)


def _lower_layers(layers: Layers, found: Found, number: int, parent: int) -> list[Layer]:
    """The layers below, each waited for until its own worker has stored it."""
    lower: list[Layer] = []
    while len(lower) < number:
        layer = layers.find(found.diff_ids[len(lower)], lower)
        if layer is not None:
            lower.append(layer)
        elif os.getppid() != parent:
            raise PodlingError("the process that stores this image has ended")
        else:
            time.sleep(_PARENT_PAUSE)
    return lower


def _remember_blobs(database: Database, found: Found, repository: str, read: set[int]) -> None:
    """Keep which compressed blob is which layer, and where it is: a push sends none that a registry has.

    ``read``: the layers whose blobs were downloaded whole and verified. Of the others only the manifest says what they are, and no
    push believes it: a blob of another content would take the layer's place in every image that has it.
    """
    rows = [(descriptor.digest, diff_id, descriptor.size, descriptor.media_type, number not in read)
            for number, (descriptor, diff_id) in enumerate(zip(found.layers, found.diff_ids, strict=True))
            if LAYER_TYPES.get(descriptor.media_type)]
    tables = [(descriptor.digest, jsontext.dumps(descriptor.annotations)) for descriptor in found.layers
              if any(name in descriptor.annotations for name in TABLES)]
    with database.transaction():
        database.run_many("INSERT INTO blobs (digest, diff_id, size, media_type, claimed) VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) "
                          "DO UPDATE SET diff_id = excluded.diff_id, claimed = 0 WHERE NOT excluded.claimed", rows)
        database.run_many("INSERT OR IGNORE INTO blob_annotations (digest, annotations) VALUES (?, ?)", tables)
        if repository:
            database.run_many("INSERT OR IGNORE INTO blob_locations (digest, repository) VALUES (?, ?)",
                              [(row[0], repository) for row in rows])

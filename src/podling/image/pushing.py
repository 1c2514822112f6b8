"""An image sent to a registry: what the registry has is not sent, and an image just pulled keeps its digest.

1. For each layer the compressed forms in which it was seen are looked for in the destination, then mounted from another
   repository of the same registry.
2. What is missing is compressed and uploaded as it is read from the store, several layers at once.
3. If the layers ended up as the image's own manifest has them, that manifest is sent, byte for byte; otherwise a new one.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import InvalidArgument, RegistryError
from podling.image import digests, manifest, workers
from podling.image.compression import preload
from podling.image.manifest import LAYER_TYPES, Descriptor, Manifest
from podling.image.outgoing import CHUNKED, Form
from podling.image.registry import blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.image.encryption.layers import Encrypted
    from podling.image.outgoing import Blob
    from podling.image.remote import Access
    from podling.image.signatures.signing import Signing
    from podling.model import Image
    from podling.store.images import Images
    from podling.values.reference import Reference

WORKERS = 2
THREADS = 4                                  # where all layers are small: registries answer slowly
SMALL = 4 << 20                              # bytes of a layer that is sent in one request, not in two


class Push:
    """One push."""

    def __init__(self, images: Images, image: Image, reference: Reference, access: Access, *, form: Form,
                 force: bool = False, manifest_type: str = "", signing: Signing | None = None,
                 by_digest: bool = False, progress: Callable[..., None]) -> None:
        """``form``: of the layers; ``force``: what the registry has of another compression does not count; ``manifest_type``: oci,
        v2s2, or "" for the image's own. ``by_digest``: no tag is written, a list will name the manifest."""
        self.images = images
        self.image = image
        self.reference = reference
        self.access = access
        self.form = form
        self.force = force
        self.signing = signing
        self.by_digest = by_digest
        self.written = (b"", "")                  # the manifest that was sent, and its media type
        self.progress = progress
        self.own = [(stored, manifest.parse_manifest(stored.content, stored.media_type)) for stored in images.manifests(image)
                    if stored.media_type not in manifest.INDEX_TYPES]
        self.is_docker = {"oci": False, "v2s2": True}.get(
            manifest_type, image.media_type != manifest.OCI_MANIFEST and not form.needs_oci)
        self.layers = images.layers(image)
        self.repository = f"{reference.registry}/{reference.repository}"
        self.registry = access.open(reference.registry)
        large = [layer for layer in self.layers if layer.tar_size > SMALL]
        self.has_free_processor = len(os.sched_getaffinity(0)) > min(WORKERS, len(large))

    def run(self) -> str:
        """Send the image; the digest of its manifest."""
        self.registry.ping()
        if self.signing is not None:
            self.signing.prepare(self.registry)
        for number, layer in enumerate(self.layers):
            self.progress("begin", key=f"{number}", label=f"Copying blob {_short(layer.diff_id, 12)}",
                          total=layer.tar_size)
        candidates = [self._candidates(number) for number in range(len(self.layers))]
        config = self.images.config_bytes(self.image)
        self.progress("begin", key="config", label=f"Copying config {_short(digests.digest_of(config))}", total=len(config))

        def task(number: int, tell: Callable[..., None]) -> list[Any]:
            return self._layer(number, candidates[number], tell) if number < len(candidates) else self._config(config)

        preload()
        from podling.store.archive import pack  # noqa: F401  before the fork, not in each child

        are_small = not workers.for_layers([layer.tar_size for layer in self.layers], WORKERS)
        *results, _ = workers.run(len(self.layers) + 1, task, workers=THREADS if are_small else WORKERS, progress=self._seen,
                                  waiting=are_small)
        self.progress("end", key="config", result="done")
        sent = [Descriptor(media_type=media_type, digest=digest, size=size, annotations=annotations)
                for digest, size, media_type, annotations, _ in results]
        self._remember(sent, [made for *_, made in results])
        content, media_type = self._manifest(tuple(sent), config)
        self.progress("message", text="Writing manifest to image destination")
        self.written = content, media_type
        target = digests.digest_of(content) if self.by_digest else self.reference.digest or self.reference.tag or "latest"
        if self.reference.digest and digests.digest_of(content) != self.reference.digest:
            raise InvalidArgument(f"the image's manifest has the digest {digests.digest_of(content)}, it cannot be pushed as "
                                  f"{self.reference}", hint="push it by a tag")
        signatures = self.signing.make(digests.digest_of(content), self.progress) if self.signing is not None else []
        digest = self.registry.put_manifest(self.reference.repository, target, content, media_type)
        if self.signing is not None:
            self.progress("message", text="Storing signatures")
            self.signing.write(self.registry, digest, signatures)
        return digest

    def _seen(self, number: int, event: dict[str, Any]) -> None:
        if "done" in event:
            self.progress("advance", key=f"{number}", done=event["done"])
        else:
            self.progress("end", key=f"{number}", result=event["result"])

    def _candidates(self, number: int) -> list[tuple[Descriptor, list[str]]]:
        """The forms in which the registry may have a layer, the image's own first, each with repositories that hold it."""
        if self.form.encrypts(number, len(self.layers)):
            return []                        # each time with another key
        diff_id, wanted = self.layers[number].diff_id, self.form.compression
        found: dict[str, Descriptor] = {}
        for _, parsed in self.own:
            if len(parsed.layers) == len(self.layers):
                found.setdefault(parsed.layers[number].digest, parsed.layers[number])
        rows = self.images.database.rows("SELECT digest, size, media_type, annotations FROM blobs LEFT JOIN blob_annotations "
                                         "USING (digest) WHERE diff_id = ? AND NOT claimed", diff_id)
        for digest, size, media_type, said in rows:
            found.setdefault(digest, Descriptor(media_type=media_type, digest=digest, size=size,
                                                annotations=jsontext.loads(said) if said else {}))
        prefix = self.reference.registry + "/"
        usable = []
        for descriptor in found.values():
            kind = LAYER_TYPES.get(descriptor.media_type)
            has_table = manifest.ZSTD_TABLE in descriptor.annotations
            if kind is None or (self.force and (CHUNKED if has_table else kind) != wanted) or (
                    wanted == CHUNKED and kind == "zstd" and not has_table):
                continue
            places = [place.removeprefix(prefix) for (place,) in self.images.database.rows(
                "SELECT repository FROM blob_locations WHERE digest = ? AND repository LIKE ?", descriptor.digest, prefix + "%")]
            usable.append((descriptor, [place for place in places if place != self.reference.repository]))
        return usable

    def _layer(self, number: int, candidates: list[tuple[Descriptor, list[str]]], tell: Callable[..., None]) -> list[Any]:
        """In a worker: [digest, size, media type, annotations, whether we made it] of the layer as the registry has it now."""
        repository = self.reference.repository
        for descriptor, _ in candidates:
            if blobs.size_of(self.registry, repository, descriptor.digest) in (descriptor.size, -1):
                tell(result="skipped: already exists")
                return self._kept(descriptor)
        mounted, session = self._mounted(candidates)
        if mounted is not None:
            tell(result="skipped: already exists")
            return self._kept(mounted)
        made: list[Blob | Encrypted] = []    # one for each try
        if self.layers[number].tar_size <= SMALL:
            content = b"".join(self._begin(number, tell, made))
            digest, size = digests.digest_of(content), len(content)
            blobs.upload_bytes(self.registry, repository, content, digest, session=session)
        else:
            digest, size = blobs.upload_stream(self.registry, repository, lambda: self._begin(number, tell, made),
                                               self.layers[number].diff_id, session=session)
        tell(result="done")
        kind = self.form.media_type(number, len(self.layers), docker=self.is_docker)
        return [digest, size, kind, made[-1].annotations, True]

    def _kept(self, descriptor: Descriptor) -> list[Any]:
        kind = manifest.layer_type(docker=self.is_docker, compression=LAYER_TYPES[descriptor.media_type])
        return [descriptor.digest, descriptor.size, kind, descriptor.annotations, False]

    def _mounted(self, candidates: list[tuple[Descriptor, list[str]]]) -> tuple[Descriptor | None, str]:
        """(the form of a layer that the registry took over from another repository, or None; where it began an upload instead)."""
        repository, session = self.reference.repository, ""
        for descriptor, place in [(descriptor, place) for descriptor, places in candidates for place in places]:
            try:
                is_there, begun = blobs.mount(self.registry, repository, descriptor.digest, place)
            except RegistryError:
                continue                     # without the right to read there it is uploaded
            if session and (begun or is_there):
                blobs.cancel(self.registry, repository, session)
            session = begun or session
            if is_there:
                return descriptor, ""
        return None, session

    def _begin(self, number: int, tell: Callable[..., None], made: list[Blob | Encrypted]) -> Iterator[bytes]:
        tar = self._counted(self.images.open_tar(self.image, self.layers[number]), tell)
        made.append(self.form.blob(tar, number, len(self.layers), alongside=self.has_free_processor))
        return iter(made[-1])

    @staticmethod
    def _counted(tar: Iterator[bytes], tell: Callable[..., None]) -> Iterator[bytes]:
        done = 0
        for piece in tar:
            done += len(piece)
            tell(done=done)
            yield piece

    def _config(self, content: bytes) -> list[Any]:
        """In a worker, as one more layer."""
        digest = digests.digest_of(content)
        if blobs.size_of(self.registry, self.reference.repository, digest) is None:
            blobs.upload_bytes(self.registry, self.reference.repository, content, digest)
        return []

    def _manifest(self, sent: tuple[Descriptor, ...], config: bytes) -> tuple[bytes, str]:
        """(the image's own manifest if its layers are those that were sent, else a new one; its media type)."""
        wanted = [descriptor.digest for descriptor in sent]
        for stored, parsed in self.own:
            if parsed.is_docker == self.is_docker and [layer.digest for layer in parsed.layers] == wanted:
                return stored.content, stored.media_type
        described = Manifest(
            media_type=manifest.DOCKER_MANIFEST if self.is_docker else manifest.OCI_MANIFEST, layers=sent,
            config=Descriptor(media_type=manifest.DOCKER_CONFIG if self.is_docker else manifest.OCI_CONFIG,
                              digest=digests.digest_of(config), size=len(config)))
        return manifest.build(described), described.media_type

    def _remember(self, sent: list[Descriptor], made: list[bool]) -> None:
        database = self.images.database
        with database.transaction():
            for descriptor, layer, ours in zip(sent, self.layers, made, strict=True):
                if descriptor.media_type.endswith(manifest.ENCRYPTED):
                    continue
                database.run("INSERT INTO blobs (digest, diff_id, size, media_type, claimed) VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) "
                             "DO UPDATE SET diff_id = excluded.diff_id, claimed = 0 WHERE NOT excluded.claimed",
                             descriptor.digest, layer.diff_id, descriptor.size, descriptor.media_type, not ours)
                if descriptor.annotations:
                    database.run("INSERT OR IGNORE INTO blob_annotations (digest, annotations) VALUES (?, ?)", descriptor.digest,
                                 jsontext.dumps(descriptor.annotations))
                database.run("INSERT OR IGNORE INTO blob_locations (digest, repository) VALUES (?, ?)", descriptor.digest,
                             self.repository)


def _short(digest: str, length: int = 10) -> str:
    return digest.partition(":")[2][:length]

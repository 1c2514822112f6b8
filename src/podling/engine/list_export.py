"""``manifest push`` to places that are no registries: ``dir:``, ``oci:`` and ``oci-archive:``, in the forms that Podman writes."""

from __future__ import annotations

import os

from podling.engine import image_lists
from podling.errors import InvalidArgument
from podling.image import digests, manifest, saving, transfer
from podling.image.manifest import Descriptor
from podling.image.outgoing import Form
from podling.image.tarfiles import Planned
from podling.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.engine.engine import Engine
    from podling.engine.image_lists import PushListOptions
    from podling.image.places import Place

_CHUNK = 1 << 20


def push(engine: Engine, listed: list[tuple[dict[str, Any], str]], place: Place, options: PushListOptions) -> str:
    """Write a list's index, with ``all`` its images first; (descriptor, its source or "") are the instances. The index's digest."""
    if place.transport not in ("dir", "oci", "oci-archive"):
        raise InvalidArgument(f'copying multiple images: destination transport "{place.transport}" does not support copying multiple '
                              "images as a group", hint="push to a registry, dir:, oci: or oci-archive:")
    if options.signing.any:
        raise InvalidArgument(f"Cannot determine canonical Docker reference for destination {place}",
                              hint="only lists in registries are signed")
    path = place.path
    if place.transport == "oci-archive":
        if not saving.is_new_file(path):
            raise InvalidArgument(f"{path}: an archive of a list is written to a file, not to a pipe or a device")
        path = f"{path}.{files.unique_name()}"
    target = _Target(path, oci=place.transport != "dir")
    try:
        sent = list(target.instances(engine, listed, options)) if options.all else [entry for entry, _ in listed]
        index, kind = image_lists.index_of(sent, options)
        digest = target.finish(index, kind, place.name)
        if place.transport == "oci-archive":
            _pack(path, place.path)
    finally:
        if place.transport == "oci-archive":
            files.remove_tree(path)
    return digest


class _Target:
    """A directory that gets blobs by digest: an OCI layout, or ``dir:``."""

    def __init__(self, path: str, *, oci: bool) -> None:
        self.path = path
        self.oci = oci
        self.blobs = f"{path}/blobs/sha256" if oci else path
        files.make_directories(self.blobs, 0o755)

    def instances(self, engine: Engine, listed: list[tuple[dict[str, Any], str]], options: PushListOptions) -> Iterator[dict[str, Any]]:
        """The list's descriptors, each once its image is written, with the digest that it has here."""
        report = options.progress or transfer.ignore_progress
        form = Form(compression=options.compression_format or ("gzip" if self.oci else ""), level=options.compression_level)
        for number, (entry, source) in enumerate(listed, 1):
            report("message", text=f"Copying image {entry['digest']} ({number}/{len(listed)})")
            if source:
                with image_lists.Repository(source.removeprefix("docker://"), options.registry) as origin:
                    yield self._copied(entry, origin)
                continue
            export = saving.Export(engine.images, [(image_lists.local_image(engine, entry["digest"]), ())], report)
            content, media_type = export.write_image(self.blobs, form, oci=self.oci or form.needs_oci)
            yield {**entry, "mediaType": media_type, "digest": self._put_manifest(content), "size": len(content)}

    def _copied(self, entry: dict[str, Any], origin: image_lists.Repository) -> dict[str, Any]:
        """An image of a registry, its manifest and blobs unchanged."""
        from podling.image.registry import blobs

        content, media_type = origin.registry.manifest(origin.name, entry["digest"])
        parsed = manifest.parse_manifest(content, media_type)
        for blob in (*parsed.layers, parsed.config):
            what = f"reading blob {blob.digest} of {origin.registry.host}/{origin.name}"
            origin.registry.patiently(what, lambda blob=blob, what=what: self._put(  # type: ignore[misc]
                blob, blobs.stream(origin.registry, origin.name, blob), what))
        self._put_manifest(content)
        return entry

    def _put(self, blob: Descriptor, pieces: Iterator[bytes], what: str) -> None:
        place = f"{self.blobs}/{blob.digest.partition(':')[2]}"
        if os.path.exists(place):
            return
        digester = digests.Digester(blob.digest.partition(":")[0])
        with files.Aside(f"{self.blobs}/.{files.unique_name()}") as new:
            for piece in pieces:
                digester.update(piece)
                files.write_all(new.fd, piece)
            if digester.digest != blob.digest:
                raise digests.mismatch(what, blob.digest, digester.digest)
            new.become(place)

    def _put_manifest(self, content: bytes) -> str:
        digest = digests.digest_of(content)
        suffix = "" if self.oci else ".manifest.json"
        files.write_atomic(f"{self.blobs}/{digest.partition(':')[2]}{suffix}", content, 0o644)
        return digest

    def finish(self, index: bytes, kind: str, name: str) -> str:
        """Write what makes the directory whole; the index's digest."""
        digest = digests.digest_of(index)
        if not self.oci:
            files.write_atomic(f"{self.path}/manifest.json", index, 0o644)
            files.write_atomic(f"{self.path}/version", saving.DIR_VERSION, 0o644)
            return digest
        self._put_manifest(index)
        described = Descriptor(media_type=kind, digest=digest, size=len(index), annotations={manifest.REF_NAME: name} if name else {})
        saving.write_index(self.path, [described])
        return digest


def _pack(directory: str, path: str) -> None:
    """The layout in a directory as an archive at ``path``."""
    names = [os.path.relpath(os.path.join(parent, name), directory) for parent, _, found in os.walk(directory) for name in found]
    names.sort(key=lambda name: (name not in ("oci-layout", "index.json"), name))
    members = [Planned(name=name, size=os.stat(f"{directory}/{name}").st_size, layer=number) for number, name in enumerate(names)]

    def content(number: int) -> Iterator[bytes]:
        with open(f"{directory}/{names[number]}", "rb") as file:
            while piece := file.read(_CHUNK):
                yield piece

    saving.write_archive(path, members, content)

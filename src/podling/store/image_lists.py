"""Manifest lists in the store: images of their own whose manifest is an index, and that have no layers.

Their id is that of a configuration which holds nothing but when the list was made, so that it stays while the list changes.
``list_sources`` remembers where an instance is that is not an image of this store.
"""

from __future__ import annotations

import os
import time

from podling import jsontext
from podling.errors import Corrupt, InvalidArgument, NotFound
from podling.values.units import format_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.model import Image
    from podling.store.images import Images

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def create(images: Images, name: str) -> Image:
    """An empty list under a full name."""
    document = {"created": format_rfc3339(time.time_ns(), local=False), "architecture": "", "os": "", "config": {},
                "rootfs": {"type": "layers", "diff_ids": []}, "list": os.urandom(16).hex()}
    return images.add(config=jsontext.dumps(document).encode(), manifest=_content([], {}), media_type=OCI_INDEX, layers=(), names=[name])


def _content(entries: list[dict[str, Any]], annotations: dict[str, str]) -> bytes:
    return jsontext.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries,
                           **({"annotations": annotations} if annotations else {})}).encode()


def is_list(image: Image) -> bool:
    """Whether the image is a manifest list."""
    return image.media_type in (OCI_INDEX, DOCKER_LIST) and not image.store


def check(image: Image) -> None:
    """InvalidArgument unless the image is a list."""
    if not is_list(image):
        raise InvalidArgument(f"{image.names[0] if image.names else image.id}: image is not a manifest list")


def entries(images: Images, image: Image) -> list[dict[str, Any]]:
    """The list's descriptors, as they are in its JSON."""
    found: list[dict[str, Any]] = _document(images, image)["manifests"]
    return found


def annotations_of(images: Images, image: Image) -> dict[str, str]:
    """The annotations of the list itself."""
    found: dict[str, str] = _document(images, image).get("annotations") or {}
    return found


def _document(images: Images, image: Image) -> dict[str, Any]:
    check(image)
    row = images.database.row("SELECT content FROM image_manifests WHERE image_id = ? AND digest = ?", image.id, image.digest)
    if row is None:
        raise Corrupt(f"{image.id}: the manifest list has lost its manifest")
    found: dict[str, Any] = jsontext.loads(bytes(row[0]))
    return found


def annotate(images: Images, image: Image, said: dict[str, str]) -> None:
    """Give the list itself these annotations as well."""
    _write(images, image, _content(entries(images, image), {**annotations_of(images, image), **said}))


def _write(images: Images, image: Image, content: bytes) -> None:
    from hashlib import sha256

    digest = f"sha256:{sha256(content).hexdigest()}"
    with images.database.transaction():
        images.database.run("DELETE FROM image_manifests WHERE image_id = ?", image.id)
        images.database.run("INSERT INTO image_manifests (image_id, digest, media_type, content) VALUES (?, ?, ?, ?)",
                            image.id, digest, OCI_INDEX, content)
        images.database.run("UPDATE images SET digest = ? WHERE id = ?", digest, image.id)


def source(images: Images, image: Image, digest: str) -> str:
    """Where an instance is: ``docker://...``, or "" for an image of this store."""
    row = images.database.row("SELECT source FROM list_sources WHERE image_id = ? AND digest = ?", image.id, digest)
    return "" if row is None else str(row[0])


def replace(images: Images, image: Image, changed: list[dict[str, Any]], sources: dict[str, str] | None = None) -> None:
    """Give the list other descriptors, in one transaction; ``sources``: digest -> where a new one is."""
    with images.database.transaction():
        _write(images, image, _content(changed, annotations_of(images, image)))
        known = {entry["digest"] for entry in changed}
        for (old,) in images.database.rows("SELECT digest FROM list_sources WHERE image_id = ?", image.id):
            if old not in known:
                images.database.run("DELETE FROM list_sources WHERE image_id = ? AND digest = ?", image.id, old)
        for digest, place in (sources or {}).items():
            images.database.run("INSERT OR REPLACE INTO list_sources (image_id, digest, source) VALUES (?, ?, ?)",
                                image.id, digest, place)


def entry_of(listed: list[dict[str, Any]], digest: str) -> dict[str, Any]:
    """The descriptor with this digest; NotFound in Podman's words."""
    for entry in listed:
        if entry["digest"] == digest:
            return entry
    raise NotFound(f'no instance matching digest "{digest}" found in manifest list: file does not exist')

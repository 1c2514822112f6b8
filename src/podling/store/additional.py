"""Image stores of Podman, Buildah and CRI-O (containers/storage), used where they are, read-only.

    overlay-images/images.json                  images: names, top layer, list of "big data"
    overlay-images/<id>/<name>                  big data: configuration and manifests; names in base64 after a "=" where need be
    overlay-layers/layers.json                  layers: parent, digests, sizes
    overlay-layers/<id>.tar-split.gz            what is needed to write a layer's tar again
    overlay/<id>/diff                           a layer, an overlay lower directory
    vfs-images, vfs-layers, vfs/dir/<id>        the same for the driver vfs, where each directory is a whole tree

Nothing is written there, and no lock of that store is taken: it replaces its files as a whole, and an image that is not
complete at this moment is not seen.
"""

from __future__ import annotations

import binascii
import os

from podling import jsontext
from podling.errors import Corrupt, NoSuchImage, NotFound
from podling.linux.files import read_bytes
from podling.model import Image
from podling.record import Record
from podling.store import naming
from podling.values.units import parse_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.store.images import StoredManifest

_DRIVERS = ("overlay", "vfs")
_LIST_LIMIT = 256 << 20
_DATA_LIMIT = 16 << 20


class StoredLayer(Record):
    """A layer of an additional store; fields as those of our own. ``path`` is one lower directory."""

    key: str
    diff_id: str
    size: int
    tar_size: int
    path: str


class AdditionalStore:
    """One store, read when it is first asked for something; later changes there are seen by the next process."""

    def __init__(self, path: str) -> None:
        """``path``: its graph root, for example /var/lib/containers/storage."""
        self.path = path.rstrip("/") or "/"
        self._driver = ""
        self._records: dict[str, dict[str, Any]] | None = None
        self._layers: dict[str, dict[str, Any]] = {}
        self._images: list[Image] = []

    # --- images -------------------------------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        """Its images, the newest first; [] where there is no store."""
        self._load()
        return self._images

    def find(self, image_id: str) -> Image | None:
        """The image of this id."""
        return next((image for image in self.images() if image.id == image_id), None)

    def get(self, image_id: str) -> Image:
        """As :meth:`find`; NoSuchImage where there is none."""
        found = self.find(image_id)
        if found is None:
            raise NoSuchImage(f"{image_id}: image not known in {self.path}")
        return found

    def named(self, name: str) -> Image | None:
        """The image of a full name with tag, digest, or both."""
        named, at, digest = name.partition("@")
        wanted = f"{naming.repository(named)}@{digest}" if at else name
        return next((image for image in self.images() if wanted in (image.repo_digests if at else image.names)), None)

    def config_bytes(self, image_id: str) -> bytes:
        """An image's configuration."""
        return self._data(image_id, f"sha256:{image_id}")

    def manifests(self, image_id: str) -> list[StoredManifest]:
        """An image's manifests, the one it was stored with first."""
        from podling.store.images import StoredManifest

        record = self._record(image_id)
        found: dict[str, StoredManifest] = {}
        for name in sorted(record.get("big-data-names") or (), key=lambda name: name != "manifest"):
            if name == "manifest" or name.startswith("manifest-sha256:"):
                digest = (record.get("big-data-digests") or {}).get(name) or name.partition("-")[2]
                content = self._data(image_id, name)
                found.setdefault(digest, StoredManifest(digest=digest, media_type=_media_type(content), content=content))
        return list(found.values())

    def signatures(self, image_id: str, digest: str) -> list[bytes]:
        """The signatures of the manifest with this digest: one piece of big data, cut by the sizes in the metadata."""
        record = self._record(image_id)
        try:
            metadata = jsontext.loads(record.get("metadata") or "{}")
            sizes = (metadata.get("signatures-sizes") or {}).get(digest) or metadata.get("signature-sizes") or []
        except (ValueError, AttributeError, TypeError) as error:
            raise Corrupt(f"{self.path}: the metadata of image {image_id} cannot be read") from error
        names = record.get("big-data-names") or ()
        name = next((name for name in (f"signature-{digest.partition(':')[2]}", "signatures") if name in names), "")
        if not sizes or not name:
            return []
        data, found = self._data(image_id, name), []
        for size in sizes:
            found.append(data[:_integer(size)])
            data = data[_integer(size):]
        return found

    # --- layers -------------------------------------------------------------------------------------------------------

    def layers(self, image_id: str) -> tuple[StoredLayer, ...]:
        """An image's layers, lowest first."""
        found = []
        for record in self._chain(self._record(image_id)):
            size = _integer(record.get("diff-size"))
            found.append(StoredLayer(key=record["id"], diff_id=str(record.get("diff-digest") or ""), size=size, tar_size=size,
                                     path=self._directory(record["id"])))
        return tuple(found[::-1])

    def layer_directories(self, image_id: str) -> list[str]:
        """The directories that overlay puts together, topmost first."""
        chain = self._chain(self._record(image_id))
        if self._driver == "vfs":
            chain = chain[:1]                # each directory is a whole tree
        return [self._directory(record["id"]) for record in chain]

    def open_tar(self, layer: StoredLayer) -> Iterator[bytes]:
        """The tar of a layer, byte for byte as that store got it; its digest is checked."""
        from podling.store.tarsplit import assemble  # hashlib and gzip are not for `run`

        return assemble(layer.path, f"{self.path}/{self._driver}-layers/{layer.key}.tar-split.gz", layer.diff_id)

    def _directory(self, layer_id: str) -> str:
        return f"{self.path}/vfs/dir/{layer_id}" if self._driver == "vfs" else f"{self.path}/overlay/{layer_id}/diff"

    def _chain(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """The records of an image's layers, topmost first; Corrupt where one is missing."""
        chain: list[dict[str, Any]] = []
        layer_id = image.get("layer") or ""
        while layer_id:
            record = self._layers.get(layer_id)
            if record is None or len(chain) > len(self._layers):
                raise Corrupt(f"{self.path}: image {image.get('id')}: layer not known: {layer_id}")
            chain.append(record)
            layer_id = record.get("parent") or ""
        return chain

    # --- reading ------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        if self._records is not None:
            return
        self._records = {}
        for driver in _DRIVERS:
            if os.path.exists(f"{self.path}/{driver}-images/images.json"):
                self._driver = driver
                break
        else:
            return
        # Images first: a layer that an image needs is written before the image.
        images = self._list(f"{self._driver}-images/images.json")
        for name in ("layers.json", "volatile-layers.json"):
            self._layers.update((record["id"], record) for record in self._list(f"{self._driver}-layers/{name}"))
        found = []
        for record in images:
            try:
                chain = self._chain(record)
            except Corrupt:
                continue                     # being pulled, or being removed
            if all(os.path.isdir(self._directory(layer["id"])) for layer in chain) and not _incomplete(chain):
                self._records[record["id"]] = record
                found.append(self._image(record, chain))
        self._images = sorted(found, key=lambda image: -image.created)

    def _list(self, name: str) -> list[dict[str, Any]]:
        path = f"{self.path}/{name}"
        try:
            records = jsontext.loads(read_bytes(path, _LIST_LIMIT) or b"[]")
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise Corrupt(f"{path}: {error}") from None
        return [record for record in records or () if isinstance(record, dict) and _is_name(record.get("id"))]

    def _image(self, record: dict[str, Any], chain: list[dict[str, Any]]) -> Image:
        names = [str(name) for name in record.get("names") or ()]
        digest = str(record.get("digest") or "")
        digests = [digest] if digest else []
        known: dict[str, str] = record.get("big-data-digests") or {}
        digests += [value for name, value in known.items() if name.startswith("manifest-sha256:") and value not in digests]
        sizes: dict[str, int] = record.get("big-data-sizes") or {}
        tags = [name for name in names if "@" not in name]
        return Image(id=record["id"], digest=digest, names=tuple(tags), digest_names=tuple([name for name in names if "@" in name]),
                     repo_digests=naming.repo_digests(names, digests, ()),
                     created=self._created(record), read_only=True, store=self.path,
                     size=sum(_integer(layer.get("diff-size")) for layer in chain) + sum(map(_integer, sizes.values())))

    @staticmethod
    def _created(record: dict[str, Any]) -> int:
        text = record.get("created")
        return parse_rfc3339(text) if isinstance(text, str) and text else 0

    def _record(self, image_id: str) -> dict[str, Any]:
        self._load()
        record = (self._records or {}).get(image_id)
        if record is None:
            raise NoSuchImage(f"{image_id}: image not known in {self.path}")
        return record

    def _data(self, image_id: str, name: str) -> bytes:
        path = f"{self.path}/{self._driver}-images/{self._record(image_id)['id']}/{data_name(name)}"
        try:
            return read_bytes(path, _DATA_LIMIT)
        except FileNotFoundError:
            raise NotFound(f"{path}: image {image_id} has no {name}") from None


def data_name(name: str) -> str:
    """The file name of a piece of big data: itself if it is all letters, digits and dots, else base64 after "="."""
    if name and all(character.isascii() and (character.isalnum() or character == ".") for character in name):
        return name
    return "=" + binascii.b2a_base64(name.encode(), newline=False).decode()


def _is_name(value: object) -> bool:
    """Whether it can be an id; it becomes part of paths."""
    return isinstance(value, str) and bool(value) and all(c.isascii() and (c.isalnum() or c in "-_") for c in value)


def _incomplete(chain: list[dict[str, Any]]) -> bool:
    """Whether that store has marked a layer as not whole yet."""
    return any((layer.get("flags") or {}).get("incomplete") for layer in chain)


def _integer(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _media_type(content: bytes) -> str:
    try:
        value = jsontext.loads(content)
    except ValueError:
        return ""
    said = value.get("mediaType") if isinstance(value, dict) else None
    return said if isinstance(said, str) and said else "application/vnd.oci.image.manifest.v1+json"

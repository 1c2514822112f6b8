"""``containers-storage:``: an image in a store of Podman, Buildah or CRI-O as a source; nothing there is written."""

from __future__ import annotations

from podling.errors import InvalidArgument, NotFound, Unsupported
from podling.image import digests, manifest
from podling.image.places import Found, LayerStream, Place, Source, config_diff_ids
from podling.record import Record
from podling.store import naming
from podling.store.additional import AdditionalStore
from podling.values.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podling.model import Image, Platform

PODMAN_GRAPHROOT = "/var/lib/containers/storage"


class StorePlace(Record):
    """``[driver@graphroot+runroot:options]name``; ``graphroot`` "" where the place names none."""

    graphroot: str
    name: str


def parse_store_place(place: Place) -> StorePlace:
    """What follows ``containers-storage:``."""
    if not place.path.startswith("["):
        return StorePlace(graphroot="", name=place.path)
    inside, bracket, name = place.path[1:].partition("]")
    if not bracket or not name:
        raise InvalidArgument(f'invalid image reference "containers-storage:{place.path}"')
    graphroot = inside.partition("@")[2] if "@" in inside else inside
    return StorePlace(graphroot=graphroot.partition("+")[0].partition(":")[0], name=name)


class StorageSource(Source):
    """One image of such a store."""

    transport = "containers-storage"

    def __init__(self, place: StorePlace, default: str = PODMAN_GRAPHROOT) -> None:
        self.store = AdditionalStore(place.graphroot or default)
        self.name = place.name
        self.identity = f"[overlay@{self.store.path}]{place.name}"

    def find(self, wanted: tuple[Platform, ...]) -> list[Found]:
        """The image of the name or id."""
        image = self._image()
        config = self.store.config_bytes(image.id)
        digests.verify(config, f"sha256:{image.id}", f"reading the configuration of {self.identity}")
        diff_ids = config_diff_ids(config)
        for stored in self.store.manifests(image.id):
            if stored.media_type in manifest.INDEX_TYPES:
                continue
            parsed = manifest.parse_manifest(stored.content, stored.media_type)
            if len(parsed.layers) == len(diff_ids):
                signatures = self.admitted(stored.content)
                return [Found(manifest=stored.content, media_type=parsed.media_type, config=config, layers=parsed.layers,
                              diff_ids=diff_ids, names=image.names, digest=digests.digest_of(stored.content), signatures=signatures)]
        raise Unsupported(f"image {image.id} in {self.store.path} has no manifest that can be read")

    def _image(self) -> Image:
        if naming.is_id(self.name):
            return self.store.get(self.name)
        for candidate in naming.candidates(parse(self.name), None):
            found = self.store.named(candidate)
            if found is not None:
                return found
        matching = [image for image in self.store.images() if naming.is_prefix(self.name) and image.id.startswith(self.name)]
        if len(matching) != 1:
            raise NotFound(f'reference "{self.identity}" does not resolve to an image ID: identifier is not an image')
        return matching[0]

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer's tar, put together from its files; that store's digest of it is checked."""
        image = self.store.get(digests.digest_of(found.config).partition(":")[2])
        layers = self.store.layers(image.id)
        tar = self.store.open_tar(layers[number])
        return LayerStream(_read(tar), f"reading layer {found.diff_ids[number]} of {self.store.path}", None)


def _read(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        if not rest:
            rest = next((chunk for chunk in chunks if chunk), b"")
        data, rest = rest[:size], rest[size:]
        return data

    return read

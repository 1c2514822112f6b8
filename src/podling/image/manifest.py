"""Manifests and indexes, Docker's and OCI's: read from whoever wrote them, written for registries and archives.

What is read comes from strangers: its length, nesting and types are checked, and whatever is wrong becomes a Corrupt error
that names the field. Nothing here verifies a digest; that is done where the bytes arrive (:mod:`podling.image.digests`).
"""

from __future__ import annotations

from podling import jsontext
from podling.errors import Corrupt, InvalidArgument, NotFound, Unsupported
from podling.image.jsonfields import Fields, load_object
from podling.image.platforms import format_platform
from podling.model import Platform
from podling.record import Record
from podling.values.reference import parse_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MANIFEST_LIMIT = 4 << 20
CONFIG_LIMIT = 4 << 20
NESTED_INDEXES = 4
MOST_LAYERS = 500            # that overlay mounts

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
MANIFEST_TYPES = (DOCKER_MANIFEST, OCI_MANIFEST)
INDEX_TYPES = (DOCKER_LIST, OCI_INDEX)

# Media type of a layer -> its compression. What a layer really is its first bytes say; this tells layers from other things.
LAYER_TYPES = {
    DOCKER_LAYER: "",
    DOCKER_LAYER + ".gzip": "gzip",
    DOCKER_LAYER + ".zstd": "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
    OCI_LAYER: "",
    OCI_LAYER + "+gzip": "gzip",
    OCI_LAYER + "+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
}
ENCRYPTED = "+encrypted"     # behind the type of a layer that ocicrypt encrypted
# annotations of layers with a table of contents: the digest of that
ZSTD_TABLE = "io.github.containers.zstd-chunked.manifest-checksum"
ESTARGZ_TABLE = "containerd.io/snapshot/stargz/toc.digest"
REF_NAME = "org.opencontainers.image.ref.name"


class Descriptor(Record):
    """What a manifest says of a blob: its type, digest (``sha256:...``) and size in bytes."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    platform: Platform | None = None
    artifact_type: str = ""


class Manifest(Record):
    """One image: its configuration and its layers, the lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}

    @property
    def is_docker(self) -> bool:
        """Whether it is in Docker's format rather than OCI's."""
        return self.media_type == DOCKER_MANIFEST


class Index(Record):
    """Manifests for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}


# --- reading ----------------------------------------------------------------------------------------------------------


def parse(content: bytes, media_type: str = "") -> Manifest | Index:
    """The manifest or index in ``content``. ``media_type`` is what its sender called it; its own ``mediaType`` counts more.

    Corrupt where it breaks its format, Unsupported for schema 1, for an artifact that is no image and for a type of manifest
    or layer that is not known.
    """
    fields = Fields(load_object(content, "manifest", limit=MANIFEST_LIMIT), "manifest")
    kind = _kind(fields, media_type.partition(";")[0].strip().lower())
    return _index(fields, kind) if kind in INDEX_TYPES else _manifest(fields, kind)


def parse_manifest(content: bytes, media_type: str = "") -> Manifest:
    """As :func:`parse`, where an index will not do."""
    found = parse(content, media_type)
    if isinstance(found, Index):
        raise Corrupt(f"expected the manifest of one image, found an index ({found.media_type})")
    return found


def _kind(fields: Fields, said: str) -> str:
    """The media type: the manifest's own, else what its sender said, else what its fields tell."""
    own = fields.text("mediaType")
    version = fields.integer("schemaVersion")
    if own in SCHEMA_1 or said in SCHEMA_1 or version == 1 or "fsLayers" in fields.values:
        raise Unsupported("Docker's manifest schema 1 is not supported, it is deprecated since 2017",
                          hint="push the image again with a current tool: it writes schema 2 or OCI")
    if version != 2:
        raise Corrupt(f"manifest: unknown schemaVersion {version}")
    has_list, has_layers = "manifests" in fields.values, "layers" in fields.values or "config" in fields.values
    if has_list and has_layers:  # the same bytes would be an image to one reader and an index to another (CVE-2021-41190)
        raise Corrupt('manifest: has both "manifests" and "layers" or "config", so that it is not clear what it is')
    kind = own or (said if said in MANIFEST_TYPES + INDEX_TYPES else OCI_INDEX if has_list else OCI_MANIFEST)
    if kind not in MANIFEST_TYPES + INDEX_TYPES:
        raise Unsupported(f"unsupported manifest media type {kind!r}")
    if (kind in INDEX_TYPES) == has_layers or (kind in MANIFEST_TYPES) == has_list:
        raise Corrupt(f"manifest: is called {kind}, but has not that type's fields")
    if said in MANIFEST_TYPES + INDEX_TYPES and (said in INDEX_TYPES) != (kind in INDEX_TYPES):
        raise Corrupt(f"manifest: was sent as {said}, but calls itself {kind}")
    return kind


def _manifest(fields: Fields, kind: str) -> Manifest:
    config = _descriptor(fields.object("config"))
    artifact = fields.text("artifactType") or config.media_type
    if config.media_type not in (DOCKER_CONFIG, OCI_CONFIG):
        if artifact == "application/vnd.oci.empty.v1+json" or not config.media_type:
            artifact = "unknown"
        raise Unsupported(f"this is an artifact of type {artifact!r}, not a container image")
    layers = tuple([_descriptor(layer) for layer in fields.objects("layers")])
    if len(layers) > MOST_LAYERS:
        raise Unsupported(f"the image has {len(layers)} layers; no more than {MOST_LAYERS} can be mounted")
    for position, layer in enumerate(layers):
        check_layer_type(layer.media_type, f"layers[{position}]")
    return Manifest(media_type=kind, config=config, layers=layers, annotations=fields.text_map("annotations"))


def check_layer_type(media_type: str, where: str) -> None:
    """Unsupported unless it is the type of a layer that we can unpack."""
    if media_type.removesuffix(ENCRYPTED) in LAYER_TYPES:
        return
    raise Unsupported(f"{where} has the unknown media type {media_type!r}")


def _index(fields: Fields, kind: str) -> Index:
    manifests = tuple([_descriptor(item) for item in fields.objects("manifests")])
    return Index(media_type=kind, manifests=manifests, annotations=fields.text_map("annotations"))


def _descriptor(fields: Fields) -> Descriptor:
    platform = None
    if fields.values.get("platform") is not None:
        said = fields.object("platform")
        platform = Platform(os=said.text("os"), architecture=said.text("architecture"), variant=said.text("variant"))
    return Descriptor(
        media_type=fields.text("mediaType"), digest=checked_digest(fields.text("digest"), f"{fields.where}: digest"),
        size=fields.integer("size"), urls=fields.texts("urls"), annotations=fields.text_map("annotations"), platform=platform,
        artifact_type=fields.text("artifactType"))


def checked_digest(text: str, where: str) -> str:
    """The digest, if it has the form of one that we can verify; Corrupt otherwise."""
    try:
        parse_digest(text)
    except InvalidArgument as error:
        raise Corrupt(f"{where}: {text[:100]!r}: {error.message}") from None
    return text


# --- choosing ---------------------------------------------------------------------------------------------------------


def choose(index: Index, wanted: tuple[Platform, ...]) -> Descriptor:
    """The descriptor for the first of the wanted platforms that the index has.

    Like Podman, one without a platform is taken where nothing matches. NotFound names what there is.
    """
    for platform in wanted:
        for item in index.manifests:
            if item.platform == platform:
                return item
    for item in index.manifests:
        if item.platform is None and item.media_type in (*MANIFEST_TYPES, *INDEX_TYPES, ""):
            return item
    first = wanted[0]
    known = [item.platform for item in index.manifests if item.platform is not None and item.platform.os != "unknown"]
    there = sorted({format_platform(platform) for platform in known})
    raise NotFound(f'no image found in manifest list for architecture "{first.architecture}", variant "{first.variant}", '
                   f'OS "{first.os}"', hint=f"it has: {', '.join(there)}" if there else None)


# --- writing ----------------------------------------------------------------------------------------------------------


def build(manifest: Manifest) -> bytes:
    """A manifest's JSON, its fields in the order in which Docker and Podman write them."""
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": manifest.media_type,
                             "config": _plain(manifest.config, manifest.is_docker),
                             "layers": [_plain(layer, manifest.is_docker) for layer in manifest.layers]}
    if manifest.annotations and not manifest.is_docker:
        value["annotations"] = manifest.annotations
    return jsontext.dumps(value).encode()


def build_index(manifests: Iterable[Descriptor], *, media_type: str = OCI_INDEX) -> bytes:
    """An index's JSON. The ``index.json`` of an OCI layout has no mediaType of its own: give ""."""
    value: dict[str, Any] = {"schemaVersion": 2}
    if media_type:
        value["mediaType"] = media_type
    value["manifests"] = [_plain(item, docker=False) for item in manifests]
    return jsontext.dumps(value).encode()


def _plain(descriptor: Descriptor, docker: bool) -> dict[str, Any]:
    if docker:
        plain: dict[str, Any] = {"mediaType": descriptor.media_type, "size": descriptor.size, "digest": descriptor.digest}
    else:
        plain = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    if descriptor.urls:
        plain["urls"] = list(descriptor.urls)
    if descriptor.annotations and not docker:
        plain["annotations"] = descriptor.annotations
    if descriptor.platform is not None:
        platform = {"architecture": descriptor.platform.architecture, "os": descriptor.platform.os}
        if descriptor.platform.variant:
            platform["variant"] = descriptor.platform.variant
        plain["platform"] = platform
    return plain


def layer_type(*, docker: bool, compression: str) -> str:
    """The media type of a layer in one of the two formats; ``compression``: "", gzip or zstd."""
    if docker:
        return DOCKER_LAYER + (f".{compression}" if compression else "")
    return OCI_LAYER + (f"+{compression}" if compression else "")


def converted(manifest: Manifest, *, docker: bool) -> Manifest:
    """The same image in the other format; the blobs, and so their digests, stay what they are."""
    if manifest.is_docker == docker:
        return manifest
    layers = tuple([layer.replace(media_type=layer_type(docker=docker, compression=LAYER_TYPES[layer.media_type]))
                    for layer in manifest.layers])
    config = manifest.config.replace(media_type=DOCKER_CONFIG if docker else OCI_CONFIG)
    return Manifest(media_type=DOCKER_MANIFEST if docker else OCI_MANIFEST, config=config, layers=layers,
                    annotations={} if docker else manifest.annotations)

"""Signatures in a registry, as cosign puts them there: an OCI image tagged ``sha256-HEX.sig`` whose layers are what is signed.

The signature itself, and a certificate or a log's promise where there is one, are annotations of the layer.
"""

from __future__ import annotations

from podling import jsontext
from podling.errors import Corrupt, NotInRegistry
from podling.image import digests, manifest
from podling.image.jsonfields import Fields, load_object
from podling.image.manifest import Descriptor, Manifest
from podling.image.registry import blobs
from podling.image.signatures.stored import LIMIT, MOST, Signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from podling.image.registry.client import Registry


def tag_of(digest: str) -> str:
    """The tag under which the signatures of a manifest are."""
    return digest.replace(":", "-", 1) + ".sig"


def read(registry: Registry, repository: str, digest: str) -> list[Signature]:
    """The signatures and other attachments of a manifest."""
    known = _manifest(registry, repository, digest)
    if known is None:
        return []
    return [Signature(content=blobs.read(registry, repository, layer, LIMIT), media_type=layer.media_type,
                      annotations=dict(layer.annotations)) for layer in known.layers]


def _manifest(registry: Registry, repository: str, digest: str) -> Manifest | None:
    try:
        content, media_type = registry.manifest(repository, tag_of(digest))
    except NotInRegistry:
        return None
    what = f"{registry.host}/{repository}:{tag_of(digest)}"
    fields = Fields(load_object(content, what, limit=manifest.MANIFEST_LIMIT), what)
    kind = fields.text("mediaType") or media_type.partition(";")[0].strip()
    if kind != manifest.OCI_MANIFEST:
        raise Corrupt(f"unexpected MIME type for sigstore attachment manifest {what}: {kind!r}")
    layers = [_descriptor(layer) for layer in fields.objects("layers")]
    if len(layers) > MOST:
        raise Corrupt(f"{what} has {len(layers)} signatures, more than the {MOST} that are allowed")
    return Manifest(media_type=kind, config=_descriptor(fields.object("config")), layers=tuple(layers),
                    annotations=fields.text_map("annotations"))


def _descriptor(fields: Fields) -> Descriptor:
    digest = manifest.checked_digest(fields.text("digest"), fields.where)
    return Descriptor(media_type=fields.text("mediaType"), digest=digest, size=fields.integer("size"),
                      annotations=fields.text_map("annotations"))


# --- writing ----------------------------------------------------------------------------------------------------------


def write(registry: Registry, repository: str, digest: str, signatures: Sequence[Signature]) -> None:
    """Add signatures to those that a manifest has; one that is there already is not added again."""
    known = _manifest(registry, repository, digest)
    layers = list(known.layers) if known is not None else []
    for signature in signatures:
        descriptor = Descriptor(media_type=signature.media_type, digest=digests.digest_of(signature.content),
                                size=len(signature.content), annotations=signature.annotations)
        if descriptor not in layers:
            _upload(registry, repository, signature.content, descriptor.digest)
            layers.append(descriptor)
    config = _config(registry, repository, known, layers)
    described = Descriptor(media_type=manifest.OCI_CONFIG, digest=digests.digest_of(config), size=len(config))
    _upload(registry, repository, config, described.digest)
    content = manifest.build(Manifest(media_type=manifest.OCI_MANIFEST, config=described, layers=tuple(layers),
                                      annotations=known.annotations if known is not None else {}))
    registry.put_manifest(repository, tag_of(digest), content, manifest.OCI_MANIFEST)


def _upload(registry: Registry, repository: str, content: bytes, digest: str) -> None:
    if blobs.size_of(registry, repository, digest) is None:
        blobs.upload_bytes(registry, repository, content, digest)


def _config(registry: Registry, repository: str, known: Manifest | None, layers: list[Descriptor]) -> bytes:
    """The configuration of the image of signatures; what another program wrote into it stays."""
    values: dict[str, Any] = {"architecture": "", "os": "", "config": {}}
    if known is not None:
        text = blobs.read(registry, repository, known.config, manifest.CONFIG_LIMIT)
        values = load_object(text, "the configuration of the image of signatures", limit=manifest.CONFIG_LIMIT)
    values["rootfs"] = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
    return jsontext.dumps(values).encode()

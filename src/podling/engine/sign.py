"""``image sign``: signatures of images that are in a registry already, put where ``push --sign-by`` puts them."""

from __future__ import annotations

from podling.engine import registries, transfers, trust
from podling.engine.options import RegistryOptions
from podling.errors import InvalidArgument
from podling.image import digests, manifest
from podling.image.places import parse_place
from podling.image.signatures import lookaside, signing
from podling.record import Record
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.image.registry.client import Registry
    from podling.values.reference import Reference


class SignOptions(Record):
    """``image sign``."""

    sign_by: str                             # a GPG key
    directory: str | None = None             # where the signatures go instead
    all: bool = False                        # each image of an index, not the index
    registry: RegistryOptions = RegistryOptions()


def sign(name: str, options: SignOptions) -> list[str]:
    """Sign what a registry has under a name (``docker://HOST/PATH[:TAG|@DIGEST]``); the paths of the signatures."""
    place = parse_place(name)
    if place is None:
        raise InvalidArgument(f'invalid image name "{name}", unknown transport', hint=f"write it as docker://{name}")
    if place.transport != "docker":
        raise InvalidArgument(f"cannot determine canonical Docker reference for destination {name}")
    wanted = reference.parse(place.path).with_tag()
    endpoint = registries.configured().endpoints(wanted)[-1]
    base = f"file://{options.directory}" if options.directory else lookaside.writable(
        trust.signature_places().lookaside(str(endpoint.reference), write=True))
    registry = transfers.access(options.registry, endpoint).open(endpoint.reference.registry)
    try:
        signed = _digests(registry, endpoint.reference, name, every=options.all)
    finally:
        registry.close()
    return [lookaside.append(lookaside.directory_of(base, endpoint.reference, digest),
                             signing.sign_simple(digest, wanted, options.sign_by)) for digest in signed]


def _digests(registry: Registry, where: Reference, name: str, *, every: bool) -> list[str]:
    """The digest of what the name stands for, or of all that it lists."""
    registry.ping()
    content, media_type = registry.manifest(where.repository, where.digest or where.tag)
    if not every:
        return [digests.digest_of(content)]
    parsed = manifest.parse(content, media_type)
    if not isinstance(parsed, manifest.Index):
        raise InvalidArgument(f"{name} is not a multi-architecture image (manifest type {parsed.media_type})")
    return list(dict.fromkeys(item.digest for item in parsed.manifests))

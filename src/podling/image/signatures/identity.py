"""Whether the name that a signature was made for fits the image that is wanted: signedIdentity of policy.json."""

from __future__ import annotations

from podling import jsontext
from podling.config.requirements import normalized
from podling.errors import InvalidArgument, SignatureRejected
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.requirements import SignedIdentity
    from podling.values.reference import Reference


def check(identity: SignedIdentity, wanted: Reference | None, signed: str, image: str) -> None:
    """SignatureRejected unless a signature for ``signed`` may stand for ``wanted`` (None: an image that has no name)."""
    if not _matches(identity, wanted, signed, image):
        raise SignatureRejected(f"Signature for identity {jsontext.dumps(signed)} is not accepted")


def _matches(identity: SignedIdentity, wanted: Reference | None, signed: str, image: str) -> bool:
    try:
        signature = normalized(signed)
    except InvalidArgument:
        return False
    if identity.kind == "exactReference":
        return _is_whole(signature) and str(signature) == identity.name
    if identity.kind == "exactRepository":
        return signature.name == identity.name
    if wanted is None:
        raise SignatureRejected(f"Docker reference match attempted on image {image} with no known Docker reference identity",
                                hint="name what must be signed: signedIdentity of type exactReference or exactRepository")
    if identity.kind == "matchExact":
        return _is_whole(wanted) and _is_whole(signature) and str(signature) == str(wanted)
    if identity.kind == "matchRepository":
        return signature.name == wanted.name
    if identity.kind == "matchRepoDigestOrExact":
        return _repo_digest_or_exact(wanted, signature)
    if identity.kind == "remapIdentity":
        renamed = _remapped(identity, wanted)
        return renamed is not None and _repo_digest_or_exact(renamed, signature)
    return False


def _is_whole(name: Reference) -> bool:
    return bool(name.tag or name.digest)


def _repo_digest_or_exact(wanted: Reference, signature: Reference) -> bool:
    """By tag: the very same name. By digest: any name in the repository, since the signature names the digest too."""
    if not _is_whole(signature):
        return False
    if wanted.tag:
        return str(signature) == str(wanted)
    return bool(wanted.digest) and signature.name == wanted.name


def _remapped(identity: SignedIdentity, wanted: Reference) -> Reference | None:
    """The name with the prefix replaced, unchanged where it does not begin so; None where the result is no name."""
    name = wanted.name
    if name != identity.prefix and not name.startswith(identity.prefix + "/"):
        return wanted
    text = identity.signed_prefix + str(wanted)[len(identity.prefix):]
    try:
        found = reference.parse(text)
    except InvalidArgument:
        return None
    return found if str(found) == text and not found.is_short else None

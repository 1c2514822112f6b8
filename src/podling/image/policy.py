"""Whether an image may come in: the requirements of policy.json, evaluated before anything but the manifest is read.

A :class:`Gate` stands in every source. It is asked once for each image, when its manifest is known; what it lets through
carries its signatures (``Found.signatures``), and the store takes nothing else.

The words of refusals are Podman's.
"""

from __future__ import annotations

from podling.config.requirements import ACCEPT, GPG_KEYS, REJECT, SIGNED_BASE_LAYER, SIGNED_BY
from podling.errors import Corrupt, InvalidArgument, PolicyForbids, SignatureRejected, explain, hints
from podling.image import digests
from podling.image.signatures.stored import BUNDLE_ANNOTATION, CERTIFICATE_ANNOTATION, CHAIN_ANNOTATION, COSIGN, SIGNATURE_ANNOTATION
from podling.linux import files
from podling.record import Record
from podling.values.reference import parse_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podling.config.policy import Policy
    from podling.config.requirements import KeySource, Requirement
    from podling.image.places import Source
    from podling.image.signatures.keys import PublicKey
    from podling.image.signatures.payload import Payload
    from podling.image.signatures.stored import Signature
    from podling.values.reference import Reference

_KEY_LIMIT = 4 << 20
_REJECTED = "Source image rejected"
_NONE = "A signature was required, but no signature exists"


class Judged(Record):
    """An image at the gate. ``shown``: as errors name it; ``reference``: the name it is wanted by, None where it has none."""

    shown: str
    reference: Reference | None
    manifest: bytes
    signatures: tuple[Signature, ...]


class Gate:
    """The policy in front of one source."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def check_place(self, transport: str, scope: str, shown: str) -> None:
        """PolicyForbids where no image may come from there, whatever it carries."""
        for requirement in self.policy.requirements(transport, scope):
            if requirement.kind == REJECT:
                raise PolicyForbids(f"{_REJECTED}: Running image {shown} is rejected by policy.",
                                    hint=f"What is allowed is said in {self.policy.path}")

    def check_unsigned(self, transport: str, shown: str) -> None:
        """Refused where the policy asks for anything of what has neither name nor signatures, such as a tar."""
        for requirement in self.policy.requirements(transport, ""):
            check(requirement, Judged(shown=shown, reference=None, manifest=b"", signatures=()))

    def admit(self, source: Source, manifest: bytes, *, listed: bool = False) -> tuple[bytes, ...]:
        """The image's signatures, as they are stored, once all that the policy requires is met; Refused otherwise.

        ``listed``: an index named the manifest.
        """
        requirements = self.policy.requirements(source.transport, source.scope)
        self.check_place(source.transport, source.scope, source.shown)
        signatures = tuple(source.signatures(digests.digest_of(manifest), listed=listed))
        image = Judged(shown=source.shown, reference=source.wanted, manifest=manifest, signatures=signatures)
        for requirement in requirements:
            check(requirement, image)
        return tuple([signature.to_bytes() for signature in signatures])


def check(requirement: Requirement, image: Judged) -> None:
    """SignatureRejected or PolicyForbids unless the image meets the requirement."""
    if requirement.kind == ACCEPT:
        return
    if requirement.kind == REJECT:
        raise PolicyForbids(f"{_REJECTED}: Running image {image.shown} is rejected by policy.")
    if requirement.kind == SIGNED_BASE_LAYER:
        raise SignatureRejected(f"{_REJECTED}: signedBaseLayer not implemented yet!")
    simple = requirement.kind == SIGNED_BY
    candidates = [signature for signature in image.signatures
                  if signature.is_simple is simple and (simple or signature.media_type == COSIGN)]
    accept: Callable[[Requirement, Judged, Signature], None] = _accept_simple if simple else _accept_sigstore
    _one_of(candidates, lambda signature: accept(requirement, image, signature), "" if simple else _others(image))


def _others(image: Judged) -> str:
    """What there is instead of signatures of sigstore."""
    simple = sum(signature.is_simple for signature in image.signatures)
    more = sum(not signature.is_simple and signature.media_type != COSIGN for signature in image.signatures)
    return f" ({simple} non-sigstore signatures, {more} sigstore non-signature attachments)" if simple or more else ""


def _one_of(signatures: Sequence[Signature], accept: Callable[[Signature], None], others: str) -> None:
    """One accepted signature is enough; SignatureRejected with the reasons against each of them."""
    refusals: list[Exception] = []
    for signature in signatures:
        try:
            accept(signature)
        except (SignatureRejected, Corrupt, InvalidArgument, OSError) as error:
            refusals.append(error)
        else:
            return
    if not refusals:
        raise SignatureRejected(f"{_REJECTED}: {_NONE}{others}")
    if len(refusals) == 1:
        said = hints(refusals[0])
        raise SignatureRejected(f"{_REJECTED}: {explain(refusals[0])}", hint=said[0] if said else None)
    words = "; ".join(explain(error) for error in refusals)
    raise SignatureRejected(f"{_REJECTED}: None of the signatures were accepted, reasons: {words}")


def _check_signed(requirement: Requirement, image: Judged, said: Payload) -> None:
    """SignatureRejected unless what is signed is this manifest, under a name that fits."""
    from podling.image.signatures import identity

    try:
        algorithm, _ = parse_digest(said.digest)
    except InvalidArgument as error:
        raise SignatureRejected(f"Signature for digest {said.digest[:200]!r}: {error.message}") from None
    if digests.digest_of(image.manifest, algorithm) != said.digest:
        raise SignatureRejected(f"Signature for digest {said.digest} does not match")
    identity.check(requirement.identity, image.reference, said.reference, image.shown)


def _contents(source: KeySource) -> list[tuple[str, bytes]]:
    """(what it is called, content) of each key."""
    found = []
    for path in source.paths:
        try:
            found.append((path, files.read_bytes(path, _KEY_LIMIT)))
        except OSError as error:
            raise SignatureRejected(f"open {explain(error)}" if error.filename else f"reading {path}: {explain(error)}",
                                    hint=f"The policy names {path} as a trusted key; it must be there and readable") from None
    return found + [("the key in the policy", data) for data in source.data]


# --- GPG --------------------------------------------------------------------------------------------------------------


def _accept_simple(requirement: Requirement, image: Judged, signature: Signature) -> None:
    from podling.image.signatures import payload
    from podling.image.signatures.gpg import Keyring

    if requirement.key_type != GPG_KEYS:
        raise SignatureRejected(f'Unimplemented "keyType" value "{requirement.key_type}"')
    with Keyring([content for _, content in _contents(requirement.keys)]) as keyring:
        if not keyring.fingerprints:
            raise SignatureRejected("No public keys imported")
        verified = keyring.verify(signature.content)
    _check_signed(requirement, image, payload.parse(verified.content, payload.SIMPLE_TYPE))


# --- sigstore ---------------------------------------------------------------------------------------------------------


def _accept_sigstore(requirement: Requirement, image: Judged, signature: Signature) -> None:
    import binascii

    from podling.image.signatures import payload
    from podling.image.signatures.keys import verifies

    text = _annotation(signature, SIGNATURE_ANNOTATION)
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise SignatureRejected("the signature is not base64") from None
    keys = _signers(requirement, signature, text)
    if not any(verifies(key, raw, signature.content) for key in keys):
        raise SignatureRejected("cryptographic signature verification failed: invalid signature when validating ASN.1 encoded signature"
                                if len(keys) == 1 else "cryptographic signature verification failed with all the keys")
    _check_signed(requirement, image, payload.parse(signature.content, payload.SIGSTORE_TYPE))


def _annotation(signature: Signature, name: str) -> str:
    if name not in signature.annotations:
        raise SignatureRejected(f"missing {name} annotation")
    return signature.annotations[name]


def _signers(requirement: Requirement, signature: Signature, text: str) -> list[PublicKey]:
    """The keys, any of which must have made the signature; certificates and the log's promise are verified here."""
    from podling.image.signatures import keys, rekor

    if requirement.fulcio is not None or requirement.pki is not None:
        return [_certified(requirement, signature, text)]
    found = [keys.load_public(content, name) for name, content in _contents(requirement.keys)]
    if not requirement.rekor:
        return found
    bundle, logs = _annotation(signature, BUNDLE_ANNOTATION).encode(), _logs(requirement)
    logged, refusal = [], SignatureRejected("no key")
    for key in found:
        try:
            rekor.logged_at(logs, bundle, rekor.LoggedSignature(signer=keys.public_pem(key), signature=text, content=signature.content))
            logged.append(key)
        except SignatureRejected as error:
            refusal = error
    if not logged:
        raise refusal
    return logged


def _logs(requirement: Requirement) -> list[PublicKey]:
    from podling.image.signatures import keys

    found = [keys.load_public(content, name) for name, content in _contents(requirement.rekor)]
    if not all(keys.is_ecdsa(key) for key in found):
        raise SignatureRejected("the policy's key of Rekor is not an ECDSA key")
    return found


def _certified(requirement: Requirement, signature: Signature, text: str) -> PublicKey:
    """The key of the certificate that came with the signature, if the policy's authority gave it to whom it names."""
    import datetime

    from podling.image.signatures import certificates, rekor

    pem = _annotation(signature, CERTIFICATE_ANNOTATION).encode()
    leaf = certificates.load_untrusted(pem, "the signer's certificate")
    if len(leaf) != 1:
        raise SignatureRejected("unexpected number of certificates present in certificate PEM block")
    between = signature.annotations.get(CHAIN_ANNOTATION, "")
    offered = certificates.load_untrusted(between.encode(), "the chain of certificates") if between else ()
    if requirement.pki is not None:
        given = _certificates(requirement.pki.intermediates) if requirement.pki.intermediates else ()
        chain = certificates.Chain(roots=_certificates(requirement.pki.roots), intermediates=(*given, *offered),
                                   at=datetime.datetime.now(datetime.UTC))
        return certificates.pki_key(requirement.pki, leaf[0], chain)
    assert requirement.fulcio is not None
    seconds = rekor.logged_at(_logs(requirement), _annotation(signature, BUNDLE_ANNOTATION).encode(),
                              rekor.LoggedSignature(signer=pem, signature=text, content=signature.content))
    chain = certificates.Chain(roots=_certificates(requirement.fulcio.ca), intermediates=offered,
                               at=datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    return certificates.fulcio_key(requirement.fulcio, leaf[0], chain)


def _certificates(source: KeySource) -> tuple:  # type: ignore[type-arg]
    from podling.image.signatures import certificates

    return tuple([one for name, content in _contents(source) for one in certificates.load(content, name)])

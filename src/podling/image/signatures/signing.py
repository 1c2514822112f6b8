"""Signatures that a push makes: who signs, and where the signatures go.

1. Everything that can fail is tried before a byte is sent: keys are there, passphrases fit, places can be written.
2. The manifest's digest is signed before the manifest is sent, so that no tag appears unsigned because a key was missing.
3. The signatures are written after the manifest: GPG's beside the registry (in it, where it keeps them), sigstore's in it.
"""

from __future__ import annotations

import base64
import time

from podling.errors import InvalidArgument
from podling.image.signatures import gpg, lookaside, payload
from podling.image.signatures.payload import Payload
from podling.image.signatures.stored import (
    BUNDLE_ANNOTATION,
    CERTIFICATE_ANNOTATION,
    CHAIN_ANNOTATION,
    COSIGN,
    LIMIT,
    SIGNATURE_ANNOTATION,
    Signature,
)
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.config.registries_d import SignaturePlaces
    from podling.image.registry.client import Registry
    from podling.image.signatures.keys import PrivateKey
    from podling.values.reference import Reference


class Signers(Record):
    """Who signs. ``gpg_key``: as gpg names it, "" for none; ``key_file``: a private key of sigstore; ``passphrase`` for either.

    ``fulcio_url`` with an identity ``token``: who has no key; ``rekor_url``: the log that is told of sigstore's signatures.
    """

    gpg_key: str = ""
    key_file: str = ""
    passphrase: str | None = None
    fulcio_url: str = ""
    token: str = ""
    rekor_url: str = ""

    @property
    def uses_sigstore(self) -> bool:
        """Whether one of them signs with sigstore."""
        return bool(self.key_file or self.fulcio_url)


class Signing:
    """The signing of one push. ``wanted``: the name that the image gets, ``reference``: where it is sent."""

    def __init__(self, signers: Signers, places: SignaturePlaces, *, wanted: Reference, reference: Reference) -> None:
        self.signers = signers
        self.wanted = wanted
        self.reference = reference
        self._key: PrivateKey | None = None
        where = str(reference.without_tag())
        self._base = places.lookaside(where, write=True)
        if signers.uses_sigstore:
            if not places.attachments(where):
                raise InvalidArgument("writing sigstore attachments is disabled by configuration",
                                      hint=f"set use-sigstore-attachments: true for {where} in registries.d")
            self._key = _private_key(signers)

    def prepare(self, registry: Registry) -> None:
        """InvalidArgument where the signatures could not be written afterwards."""
        registry.ping()
        if self.signers.gpg_key and not registry.keeps_signatures:
            lookaside.writable(self._base)

    def make(self, digest: str, report: Callable[..., None]) -> list[Signature]:
        """The signatures of a manifest."""
        found = []
        if self.signers.gpg_key:
            report("message", text="Creating signature: Signing image using simple signing")
            found.append(sign_simple(digest, self.wanted, self.signers.gpg_key, self.signers.passphrase))
        if self._key is not None:
            report("message", text="Creating signature: Signing image using a sigstore signature")
            found.append(sign_sigstore(digest, self.wanted, self._key, self.signers))
        return found

    def write(self, registry: Registry, digest: str, signatures: list[Signature]) -> None:
        """Put the signatures where they belong."""
        simple = [signature for signature in signatures if signature.is_simple]
        others = [signature for signature in signatures if not signature.is_simple]
        if simple and registry.keeps_signatures:
            from podling.image.signatures import extension

            extension.write(registry, self.reference.repository, digest, simple)
        elif simple:
            lookaside.write(self._base, self.reference, digest, simple)
        if others:
            from podling.image.signatures import attachments

            attachments.write(registry, self.reference.repository, digest, others)


def sign_simple(digest: str, name: Reference, key: str, passphrase: str | None = None) -> Signature:
    """GPG's signature that this manifest may go by this name."""
    text = payload.build(_said(digest, name), payload.SIMPLE_TYPE)
    return Signature(content=gpg.sign(text, key, passphrase))


def sign_sigstore(digest: str, name: Reference, key: PrivateKey, signers: Signers | None = None) -> Signature:
    """sigstore's signature that this manifest may go by this name, certified and logged where the signers say so."""
    from podling.image.signatures import keys

    text = payload.build(_said(digest, name), payload.SIGSTORE_TYPE)
    signature = base64.b64encode(keys.sign(key, text)).decode()
    annotations = {SIGNATURE_ANNOTATION: signature}
    signer = keys.public_pem(key.public_key())
    if signers is not None and (signers.fulcio_url or signers.rekor_url):
        from podling.image.signatures import services
        from podling.image.signatures.rekor import LoggedSignature

        if signers.fulcio_url:
            annotations[CERTIFICATE_ANNOTATION], annotations[CHAIN_ANNOTATION] = services.certificate(
                signers.fulcio_url, signers.token, key)
            signer = annotations[CERTIFICATE_ANNOTATION].encode()
        annotations[BUNDLE_ANNOTATION] = services.log(signers.rekor_url,
                                                      LoggedSignature(signer=signer, signature=signature, content=text))
    return Signature(content=text, media_type=COSIGN, annotations=annotations)


def _said(digest: str, name: Reference) -> Payload:
    return Payload(digest=digest, reference=str(name), creator=payload.CREATOR, timestamp=int(time.time()))


def _private_key(signers: Signers) -> PrivateKey:
    from podling.image.signatures import keys

    if not signers.key_file:
        return keys.new_key()
    return keys.load_private(files.read_bytes(signers.key_file, LIMIT), signers.passphrase or "", signers.key_file)

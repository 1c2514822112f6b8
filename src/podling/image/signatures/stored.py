"""One signature, and the bytes that it is in lookaside files, in ``dir:`` and in our store: those of containers/image."""

from __future__ import annotations

import binascii

from podling import jsontext
from podling.errors import Corrupt
from podling.image.jsonfields import Fields, load_object
from podling.record import Record

LIMIT = 4 << 20                              # bytes of one signature
MOST = 128                                   # signatures of one image
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
BUNDLE_ANNOTATION = "dev.sigstore.cosign/bundle"
CERTIFICATE_ANNOTATION = "dev.sigstore.cosign/certificate"
CHAIN_ANNOTATION = "dev.sigstore.cosign/chain"
# First bytes of an OpenPGP message: compressed data, one-pass signature, signature; in the old and the new form of packets.
_OPENPGP = frozenset((*range(0xA0, 0xA4), 0xC8, *range(0x90, 0x94), 0xC4, *range(0x88, 0x8C), 0xC2))


class Signature(Record):
    """A signature as it came, of which nothing is verified.

    ``media_type``: "" for simple signing, where ``content`` is the whole OpenPGP message; otherwise ``content`` is the signed
    text, and the signature is among the ``annotations``.
    """

    content: bytes
    media_type: str = ""
    annotations: dict[str, str] = {}

    @property
    def is_simple(self) -> bool:
        """Whether it is one of GPG."""
        return not self.media_type

    def to_bytes(self) -> bytes:
        """Its bytes; :func:`from_bytes` gives it back."""
        if self.is_simple:
            marked = self.content[:1] and self.content[0] in _OPENPGP
            return self.content if marked else b"\0simple-signing\n" + self.content
        content = binascii.b2a_base64(self.content, newline=False).decode()
        values = {"mimeType": self.media_type, "payload": content, "annotations": self.annotations}
        return b"\0sigstore-json\n" + jsontext.dumps(values).encode()


def from_bytes(data: bytes, what: str) -> Signature:
    """The signature that these bytes are; Corrupt, beginning with ``what``."""
    if not data:
        raise Corrupt(f"{what}: empty signature blob")
    if data[0] in _OPENPGP:
        return Signature(content=data)
    if data[0]:
        raise Corrupt(f"{what}: unrecognized signature format, starting with binary {data[0]:#x}")
    name, newline, rest = data[1:].partition(b"\n")
    if not newline:
        raise Corrupt(f"{what}: invalid signature format, missing newline")
    if name == b"simple-signing":
        return Signature(content=rest)
    if name == b"sigstore-json":
        return _sigstore(rest, what)
    raise Corrupt(f"{what}: unrecognized signature format {name[:40]!r}")


def _sigstore(data: bytes, what: str) -> Signature:
    fields = Fields(load_object(data, what, limit=2 * LIMIT), what)
    media_type = fields.text("mimeType")
    if not media_type:
        raise Corrupt(f"{what}: mimeType is missing")
    try:
        content = binascii.a2b_base64(fields.text("payload"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise Corrupt(f"{what}: payload is not base64") from None
    return Signature(content=content, media_type=media_type, annotations=fields.text_map("annotations"))

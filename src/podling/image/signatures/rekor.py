"""Rekor: that a transparency log has seen a signature, and when.

The log's promise (a signed entry timestamp) comes with the signature as JSON, in the annotation ``dev.sigstore.cosign/bundle``. The
log signs the canonical form (RFC 8785) of the entry: who, what, which signature.
"""

from __future__ import annotations

import binascii
import hashlib

from podling import jsontext
from podling.errors import SignatureRejected
from podling.image.signatures.keys import pem_block, verifies
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from podling.image.signatures.keys import PublicKey

_LARGEST_NUMBER = 1 << 53                    # beyond it the canonical form of a number is another


class LoggedSignature(Record):
    """What the log must have seen. ``signer``: the PEM of a certificate or a public key; ``signature``: base64."""

    signer: bytes
    signature: str
    content: bytes


def logged_at(keys: Sequence[PublicKey], bundle: bytes, logged: LoggedSignature) -> int:
    """When the log of one of these keys saw the signature, in seconds since 1970; SignatureRejected."""
    top = _object(_load(bundle, "Rekor SET"), ("SignedEntryTimestamp", "Payload"), "Rekor SET")
    entry = _object(top["Payload"], ("body", "integratedTime", "logIndex", "logID"), "Rekor SET payload")
    for name in ("integratedTime", "logIndex"):
        value = entry[name]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST_NUMBER:
            raise _invalid(f"{name} is not a number that can be")
    for name in ("body", "logID"):
        if not isinstance(entry[name], str) or not entry[name].isascii() or not entry[name].isprintable():
            raise _invalid(f"{name} is not a plain string")
    canonical = jsontext.dumps({name: entry[name] for name in sorted(entry)}).encode()
    promise = _base64(top["SignedEntryTimestamp"], "SignedEntryTimestamp")
    if not any(verifies(key, promise, canonical) for key in keys):
        raise _invalid("cryptographic signature verification of Rekor SET failed")
    _check_body(_load(_base64(entry["body"], "body"), "Rekor entry"), logged)
    return int(entry["integratedTime"])


def _check_body(value: Any, logged: LoggedSignature) -> None:
    """Numbers as in containers/image: 1. the kind of entry; 2. the signer; 3. the signature; 4. what is signed."""
    body = _object(value, ("apiVersion", "kind", "spec"), "Rekor entry")
    if (body["kind"], body["apiVersion"]) != ("hashedrekord", "0.0.1"):                                     # 1
        raise _invalid(f"unsupported entry {body['kind']!r} {body['apiVersion']!r}"[:200])
    spec = _object(body["spec"], ("data", "signature"), "Rekor entry: spec")
    signature = _object(spec["signature"], ("content", "publicKey"), "Rekor entry: signature")
    key = _object(signature["publicKey"], ("content",), "Rekor entry: publicKey")
    said = pem_block(_base64(key["content"], "publicKey"), "the public key in Rekor's entry")
    if said != pem_block(logged.signer, "the signer's key"):                                                # 2
        raise _invalid("publicKey in Rekor SET does not match the signature's")
    if _base64(signature["content"], "signature") != _base64(logged.signature, "the signature"):            # 3
        raise _invalid("signature in Rekor SET does not match")
    digest = _object(_object(spec["data"], ("hash",), "Rekor entry: data")["hash"], ("algorithm", "value"), "Rekor entry: hash")
    if digest["algorithm"] != "sha256" or digest["value"] != hashlib.sha256(logged.content).hexdigest():    # 4
        raise _invalid("hash in Rekor SET does not match what was signed")


def _load(text: bytes, what: str) -> Any:
    try:
        return jsontext.loads_strict(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"{what} is not JSON: {str(error)[:100]}") from None


def _object(value: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    """The object, which has exactly these members."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise _invalid(f"{what} has not exactly the members {', '.join(names)}")
    return value


def _base64(value: Any, what: str) -> bytes:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError, TypeError):
        raise _invalid(f"{what} is not base64") from None


def _invalid(why: str) -> SignatureRejected:
    return SignatureRejected(f"Invalid Rekor SET: {why}")

"""The services of sigstore that a signer asks: Fulcio for a certificate, Rekor to log a signature."""

from __future__ import annotations

import base64
import binascii
import hashlib

from podling import jsontext
from podling.errors import Corrupt, InvalidArgument, RegistryError
from podling.image.jsonfields import Fields, load_object
from podling.image.registry.connection import Connection
from podling.image.signatures import certificates, keys
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.image.signatures.keys import PrivateKey
    from podling.image.signatures.rekor import LoggedSignature

_LIMIT = 1 << 20
_SEGMENTS = 3                                # of a JSON web token


def certificate(url: str, token: str, key: PrivateKey) -> tuple[str, str]:
    """(certificate, chain), both PEM, that Fulcio gives for a key to whom the identity token names."""
    subject = _subject(token)
    proof = keys.sign(key, subject.encode())
    body = {"publicKey": {"content": _base64(keys.public_der(key)), "algorithm": "ecdsa"}, "signedEmailAddress": _base64(proof)}
    answer = _post(url, "/api/v1/signingCert", body, {"Authorization": f"Bearer {token}", "Accept": "application/pem-certificate-chain"})
    chain = certificates.load(answer, f"the answer of {url}")
    if keys.public_pem(certificates.key_of(chain[0])) != keys.public_pem(key.public_key()):
        raise Corrupt(f"the certificate that {url} gave is for another key")
    return certificates.to_pem(chain[:1]), certificates.to_pem(chain[1:])


def _subject(token: str) -> str:
    """Whom the token is for: a verified mail address, else its subject. Fulcio verifies the token, we only read it."""
    parts = token.split(".")
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)) if len(parts) == _SEGMENTS else b""
    except (binascii.Error, ValueError):
        text = b""
    claims = Fields(load_object(text or b"-", "the identity token", limit=_LIMIT), "the identity token")
    found = claims.text("email") or claims.text("sub")
    if not found:
        raise InvalidArgument("the identity token names nobody: it has neither email nor sub")
    return found


def log(url: str, logged: LoggedSignature) -> str:
    """The log's promise for a signature (the bundle that goes into an annotation), once it is logged."""
    entry = {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(logged.content).hexdigest()}},
        "signature": {"content": logged.signature, "publicKey": {"content": _base64(logged.signer)}}}}
    answer = load_object(_post(url, "/api/v1/log/entries", entry, {"Accept": "application/json"}), f"the answer of {url}", limit=_LIMIT)
    if len(answer) != 1:
        raise Corrupt(f"{url} answers with {len(answer)} entries, not with one")
    fields = Fields(answer, f"the answer of {url}").object(next(iter(answer)))
    promise = fields.object("verification").text("signedEntryTimestamp")
    said = {"body": fields.text("body"), "integratedTime": fields.integer("integratedTime"), "logIndex": fields.integer("logIndex"),
            "logID": fields.text("logID")}
    if not promise or not said["body"]:
        raise Corrupt(f"{url} logged the signature, but does not promise it")
    return jsontext.dumps({"SignedEntryTimestamp": promise, "Payload": said})


def _post(url: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> bytes:
    parts = urls.split(url)
    if parts.scheme not in ("http", "https") or not parts.authority:
        raise InvalidArgument(f"{url} is not the URL of a server")
    connection = Connection(parts.authority)
    try:
        answer = connection.send("POST", url.rstrip("/") + path, headers={"Content-Type": "application/json", **headers},
                                 body=jsontext.dumps(body).encode())
        content = answer.body(_LIMIT)
    finally:
        connection.close()
    if answer.status not in (200, 201):
        words = " ".join(content[:300].decode(errors="replace").split())
        raise RegistryError(f"{url}{path}: the server answers {answer.status}: {words}")
    return content


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

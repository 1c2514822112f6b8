"""A sigstore of our own: an authority that gives certificates for minutes, and a log that promises what it saw."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.server
import json
import threading
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podling.image.signatures import keys, payload
from podling.image.signatures.payload import Payload
from podling.image.signatures.stored import (
    BUNDLE_ANNOTATION,
    CERTIFICATE_ANNOTATION,
    CHAIN_ANNOTATION,
    COSIGN,
    SIGNATURE_ANNOTATION,
    Signature,
)

ISSUER, MAIL = "https://issuer.example.org", "dev@example.org"
CODE_SIGNING = x509.oid.ExtendedKeyUsageOID.CODE_SIGNING
_ISSUER_V1, _ISSUER_V2 = "1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(thing: Any) -> bytes:
    """A certificate, or the public half of a key."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return keys.public_pem(thing.public_key())


def issue(subject: str, key: Any, issuer: tuple[x509.Certificate, Any] | None, *extensions: tuple[x509.ExtensionType, bool],
          begin: datetime.datetime | None = None, days: float = 1.0) -> x509.Certificate:
    """A certificate for a key, by an authority (None: by itself)."""
    begin = begin or datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else [])
    builder = x509.CertificateBuilder(
        issuer_name=issuer[0].subject if issuer else name, subject_name=name, public_key=key.public_key(),
        serial_number=x509.random_serial_number(), not_valid_before=begin, not_valid_after=begin + datetime.timedelta(days=days))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def authority(path_length: int | None = None) -> tuple[x509.ExtensionType, bool]:
    """The extension that makes a certificate one of an authority."""
    return x509.BasicConstraints(ca=True, path_length=path_length), True


def mail_name(*mails: str) -> tuple[x509.ExtensionType, bool]:
    """The extension with the signer's mail addresses."""
    return x509.SubjectAlternativeName([x509.RFC822Name(mail) for mail in mails]), True


def oidc_issuer(issuer: str, *, der: bool = False) -> tuple[x509.ExtensionType, bool]:
    """Fulcio's extension that says who knew the signer, in its first or its second form."""
    raw = issuer.encode()
    content = bytes([0x0C, len(raw)]) + raw if der else raw
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(_ISSUER_V2 if der else _ISSUER_V1), content), False


def code_signing() -> tuple[x509.ExtensionType, bool]:
    """The extension that says what a certificate is for."""
    return x509.ExtendedKeyUsage([CODE_SIGNING]), False


class Sigstore:
    """Root, intermediate, log."""

    def __init__(self) -> None:
        self.root_key, self.between_key, self.log_key = new_key(), new_key(), new_key()
        self.root = issue("root", self.root_key, None, authority(1))
        self.between = issue("between", self.between_key, (self.root, self.root_key), authority(0), code_signing())

    def leaf(self, key: Any, *extensions: tuple[x509.ExtensionType, bool], begin: datetime.datetime | None = None) -> x509.Certificate:
        """A certificate for ten minutes; without extensions it is one as Fulcio gives them."""
        usual = (mail_name(MAIL), oidc_issuer(ISSUER), oidc_issuer(ISSUER, der=True), code_signing())
        return issue("", key, (self.between, self.between_key), *(extensions or usual), begin=begin, days=10 / 1440)

    def promise(self, signer: bytes, signature: bytes, content: bytes, *, at: float | None = None, **changes: Any) -> str:
        """What the log gives for a signature that it saw."""
        body = {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}},
            "signature": {"content": _base64(signature), "publicKey": {"content": _base64(signer)}}}}
        return self.promise_for({**body, **changes}, at=at)

    def promise_for(self, body: Any, *, at: float | None = None) -> str:
        """What the log gives for an entry."""
        seconds = datetime.datetime.now(datetime.UTC).timestamp() if at is None else at
        entry = {"body": _base64(json.dumps(body).encode()), "integratedTime": int(seconds), "logIndex": 7,
                 "logID": hashlib.sha256(pem(self.log_key)).hexdigest()}
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        promise = self.log_key.sign(canonical, ec.ECDSA(hashes.SHA256()))
        return json.dumps({"SignedEntryTimestamp": _base64(promise), "Payload": entry})

    def sign(self, digest: str, name: str, *, certificate: x509.Certificate | None = None, key: Any = None,
             at: float | None = None) -> Signature:
        """A signature as cosign makes it without a key of one's own."""
        key = key or new_key()
        leaf = pem(certificate or self.leaf(key))
        content = payload.build(Payload(digest=digest, reference=name), payload.SIGSTORE_TYPE)
        signature = keys.sign(key, content)
        return Signature(content=content, media_type=COSIGN, annotations={
            SIGNATURE_ANNOTATION: _base64(signature), CERTIFICATE_ANNOTATION: leaf.decode(),
            CHAIN_ANNOTATION: (pem(self.between) + pem(self.root)).decode(),
            BUNDLE_ANNOTATION: self.promise(leaf, signature, content, at=at)})


class Services:
    """Fulcio and Rekor on a loopback port, as a context; ``token`` is what Fulcio takes for proof of identity."""

    def __init__(self, authority: Sigstore) -> None:
        self.authority = authority
        claims = base64.urlsafe_b64encode(json.dumps({"iss": ISSUER, "sub": "123", "email": MAIL}).encode()).rstrip(b"=").decode()
        self.token = f"head.{claims}.proof"
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = owner.answer(self.path, body, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Services:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, body: Any, login: str) -> tuple[int, bytes]:
        """(status, body)."""
        if path == "/api/v1/signingCert":
            if login != f"Bearer {self.token}":
                return 401, b'{"message": "who are you?"}'
            key = serialization.load_der_public_key(base64.b64decode(body["publicKey"]["content"]))
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(base64.b64decode(body["signedEmailAddress"]), MAIL.encode(), ec.ECDSA(hashes.SHA256()))
            leaf = self.authority.leaf(_Public(key))
            return 201, pem(leaf) + pem(self.authority.between) + pem(self.authority.root)
        if path == "/api/v1/log/entries":
            said = body["spec"]
            promise = json.loads(self.authority.promise_for(body))
            entry = {**promise["Payload"], "verification": {"signedEntryTimestamp": promise["SignedEntryTimestamp"]}}
            return 201, json.dumps({said["data"]["hash"]["value"]: entry}).encode()
        return 404, b"{}"


class _Public:
    """A public key in the place of a private one."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def public_key(self) -> Any:
        return self.key


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""JSON Web Encryption (RFC 7516) in the two JSON forms, as far as ocicrypt uses it: a secret for one or several recipients.

The content key is random and encrypts the secret by A256GCM; RSA keys get it by RSA-OAEP, keys on NIST's curves by ECDH-ES+A256KW.
"""

from __future__ import annotations

import binascii
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from podling import jsontext, libraries
from podling.errors import Corrupt, Unsupported
from podling.image.jsonfields import load_object

libraries.add_site_packages()

from cryptography.exceptions import InvalidTag  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash  # noqa: E402
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_LIMIT = 1 << 20
_CONTENT = "A256GCM"
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_WRAPPING = {"ECDH-ES+A128KW": 16, "ECDH-ES+A192KW": 24, "ECDH-ES+A256KW": 32}


def encrypt(secret: bytes, recipients: list[PublicKey]) -> bytes:
    """The secret for these keys, each of which can decrypt it alone."""
    key, nonce = AESGCM.generate_key(256), os.urandom(12)
    protected = _encode(jsontext.dumps({"enc": _CONTENT}).encode())
    sealed = AESGCM(key).encrypt(nonce, secret, protected.encode())
    wrapped = [_wrapped(key, recipient) for recipient in recipients]
    value: dict[str, Any] = {"protected": protected}
    value.update(wrapped[0] if len(wrapped) == 1 else {"recipients": wrapped})
    value.update(iv=_encode(nonce), ciphertext=_encode(sealed[:-16]), tag=_encode(sealed[-16:]))
    return jsontext.dumps(value).encode()


def _wrapped(key: bytes, recipient: PublicKey) -> dict[str, Any]:
    if isinstance(recipient, rsa.RSAPublicKey):
        return {"header": {"alg": "RSA-OAEP"}, "encrypted_key": _encode(recipient.encrypt(key, _oaep(hashes.SHA1())))}  # noqa: S303
    name = _curve_name(recipient)
    own = ec.generate_private_key(_CURVES[name])
    point, size = own.public_key().public_numbers(), (recipient.curve.key_size + 7) // 8
    shared = _derived(own.exchange(ec.ECDH(), recipient), "ECDH-ES+A256KW")
    epk = {"kty": "EC", "crv": name, "x": _encode(point.x.to_bytes(size, "big")), "y": _encode(point.y.to_bytes(size, "big"))}
    return {"header": {"alg": "ECDH-ES+A256KW", "epk": epk}, "encrypted_key": _encode(aes_key_wrap(shared, key))}


def decrypt(text: bytes, key: PrivateKey) -> bytes | None:
    """The secret, None where it is not meant for this key. Corrupt where it is no JWE, Unsupported for other algorithms."""
    value = load_object(text, "a wrapped key", limit=_LIMIT)
    try:
        protected = jsontext.loads(_decode(value["protected"]))
        listed = value.get("recipients") or [value]
        sealed = _decode(value["ciphertext"]) + _decode(value["tag"])
        bound = value["protected"] + (f".{value['aad']}" if value.get("aad") else "")
        for recipient in listed:
            header = {**(value.get("unprotected") or {}), **(recipient.get("header") or {}), **protected}
            found = _unwrapped(header, _decode(recipient["encrypted_key"]), key)
            if found is None:
                continue
            if header.get("enc") != _CONTENT or header.get("zip"):
                raise Unsupported(f"a layer's key is encrypted with {str(header.get('enc'))[:40]!r}; only {_CONTENT} is supported")
            return AESGCM(found).decrypt(_decode(value["iv"]), sealed, bound.encode())
    except InvalidTag:
        return None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Corrupt(f"a wrapped key is malformed: {error}") from None
    return None


def _unwrapped(header: dict[str, Any], wrapped: bytes, key: PrivateKey) -> bytes | None:
    """The content key, None where it is for another key."""
    algorithm = header.get("alg")
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm not in ("RSA-OAEP", "RSA-OAEP-256"):
            return None
        try:
            return key.decrypt(wrapped, _oaep(hashes.SHA1() if algorithm == "RSA-OAEP" else hashes.SHA256()))  # noqa: S303
        except ValueError:
            return None
    epk = header.get("epk") or {}
    if algorithm not in _WRAPPING or epk.get("crv") != _curve_name(key):
        return None
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(_decode(epk["x"]), "big"), int.from_bytes(_decode(epk["y"]), "big"), key.curve)
    shared = _derived(key.exchange(ec.ECDH(), numbers.public_key()), algorithm, _decode(header.get("apu") or ""),
                      _decode(header.get("apv") or ""))
    try:
        return aes_key_unwrap(shared, wrapped)
    except InvalidUnwrap:
        return None


def _derived(shared: bytes, algorithm: str, first: bytes = b"", second: bytes = b"") -> bytes:
    """The wrapping key of ECDH-ES (RFC 7518, 4.6.2)."""
    size = _WRAPPING[algorithm]
    told = b"".join([len(part).to_bytes(4, "big") + part for part in (algorithm.encode(), first, second)])
    return ConcatKDFHash(hashes.SHA256(), size, told + (8 * size).to_bytes(4, "big")).derive(shared)


def _oaep(algorithm: hashes.HashAlgorithm) -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=None)


def _curve_name(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> str:
    for name, curve in _CURVES.items():
        if curve.name == key.curve.name:
            return name
    raise Unsupported(f"keys on the curve {key.curve.name} are not supported", hint="use RSA, or P-256, P-384 or P-521")


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None

"""sigstore's keys: public ones that verify, and private ones in cosign's encrypted form that sign.

ECDSA (P-256, P-384, P-521), RSA and Ed25519; always over SHA-256, but for Ed25519, which hashes by itself. The mathematics is that
of ``cryptography`` and, for the box around a private key, of libsodium (PyNaCl); both load only when they are needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from podling import libraries
from podling.errors import Corrupt, InvalidArgument, SignatureRejected
from podling.image.jsonfields import Fields, load_object

libraries.add_site_packages()

from cryptography import exceptions, x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

__all__ = ["exceptions", "is_ecdsa", "load_private", "load_public", "new_key", "pem_block", "public_der", "public_pem", "serialization",
           "sign", "usable", "verifies", "x509"]
_PRIVATE_TYPES = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_LEAST_RSA_BITS = 2048
_KEY_LIMIT = 64 << 10
_MOST_MEMORY = 512 << 20                     # bytes that deriving a key may take


# --- verifying --------------------------------------------------------------------------------------------------------


def load_public(pem: bytes, what: str) -> PublicKey:
    """The public key in a PEM text; Corrupt, beginning with ``what``."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise Corrupt(f"{what} is not a public key in PEM form: {str(error)[:200]}") from None
    return usable(key, what)


def usable(key: object, what: str) -> PublicKey:
    """The key, if it is of a kind that signs images; Corrupt otherwise."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise Corrupt(f"{what}: only keys for ECDSA (P-256, P-384, P-521), RSA (2048 bits and more) and Ed25519 are supported")


def is_ecdsa(key: PublicKey) -> bool:
    """Whether it is an ECDSA key, the only kind that logs have."""
    return isinstance(key, ec.EllipticCurvePublicKey)


def verifies(key: PublicKey, signature: bytes, content: bytes) -> bool:
    """Whether the key has signed this content."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, content)
    except exceptions.InvalidSignature:
        return False
    return True


def public_pem(key: PublicKey) -> bytes:
    """The key as PEM, as Go's encoder writes it."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_der(key: PrivateKey) -> bytes:
    """The public half of a private key as DER."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def new_key() -> PrivateKey:
    """A key that is used once, for a certificate of minutes."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_block(text: bytes, what: str) -> bytes:
    """The bytes in a PEM text that holds exactly one block; SignatureRejected."""
    lines = [line.strip() for line in text.strip().splitlines()]
    begins = [number for number, line in enumerate(lines) if line.startswith(b"-----BEGIN ")]
    if begins != [0] or not lines[-1].startswith(b"-----END "):
        raise SignatureRejected(f"{what} is not one block of PEM")
    try:
        return binascii.a2b_base64(b"".join(lines[1:-1]), strict_mode=True)
    except binascii.Error:
        raise SignatureRejected(f"{what} is not one block of PEM") from None


# --- signing ----------------------------------------------------------------------------------------------------------


def sign(key: PrivateKey, content: bytes) -> bytes:
    """A signature of the content."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(content, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(content)


def load_private(pem: bytes, passphrase: str, what: str) -> PrivateKey:
    """The key in cosign's encrypted PEM; InvalidArgument for a wrong passphrase, Corrupt for what is no such key."""
    lines = pem.decode("ascii", "replace").strip().splitlines()
    kind = lines[0].strip().removeprefix("-----BEGIN ").removesuffix("-----") if lines else ""
    if kind not in _PRIVATE_TYPES:
        raise Corrupt(f"{what} is not a private key of sigstore: it begins with {lines[0][:60] if lines else ''!r}",
                      hint="cosign generate-key-pair makes one")
    try:
        text = binascii.a2b_base64("".join(line.strip() for line in lines[1:-1]), strict_mode=True)
    except (binascii.Error, ValueError):
        raise Corrupt(f"{what}: it is not PEM") from None
    der = _opened(Fields(load_object(text, what, limit=_KEY_LIMIT), what), passphrase)
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm) as error:
        raise Corrupt(f"{what}: {str(error)[:200]}") from None
    if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)):
        usable(key.public_key(), what)
        return key
    raise Corrupt(f"{what}: keys of this kind are not supported")


def _opened(fields: Fields, passphrase: str) -> bytes:
    """What is in the box: scrypt makes a key of the passphrase, which opens a secretbox."""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    derivation, cipher = fields.object("kdf"), fields.object("cipher")
    if derivation.text("name") != "scrypt" or cipher.text("name") != "nacl/secretbox":
        raise Corrupt(f"{fields.where}: encrypted by {derivation.text('name')[:40]!r} and {cipher.text('name')[:40]!r}, not by scrypt "
                      "and nacl/secretbox")
    costs = derivation.object("params")
    try:
        key = hashlib.scrypt(passphrase.encode(), salt=_base64(derivation, "salt"), n=costs.integer("N"), r=costs.integer("r"),
                             p=costs.integer("p"), dklen=SecretBox.KEY_SIZE, maxmem=_MOST_MEMORY)
    except (ValueError, OverflowError, MemoryError) as error:
        raise Corrupt(f"{fields.where}: scrypt: {error}") from None
    nonce = _base64(cipher, "nonce")
    if len(nonce) != SecretBox.NONCE_SIZE:
        raise Corrupt(f"{fields.where}: the nonce has {len(nonce)} bytes, not {SecretBox.NONCE_SIZE}")
    try:
        return SecretBox(key).decrypt(_base64(fields, "ciphertext"), nonce)
    except CryptoError:
        raise InvalidArgument(f"{fields.where}: decrypt: the passphrase is wrong, or the key is damaged") from None


def _base64(fields: Fields, name: str) -> bytes:
    try:
        return base64.b64decode(fields.text(name), validate=True)
    except (binascii.Error, ValueError):
        raise Corrupt(f"{fields.where}: {name} is not base64") from None

"""The key files that ``--encryption-key PROTOCOL:FILE`` and ``--decryption-key FILE[:PASSPHRASE]`` name."""

from __future__ import annotations

import os

from podling import libraries
from podling.errors import InvalidArgument, Unsupported
from podling.linux.files import read_bytes

libraries.add_site_packages()

from cryptography import x509  # noqa: E402
from cryptography.exceptions import UnsupportedAlgorithm  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.image.encryption.jwe import PrivateKey, PublicKey

_LIMIT = 1 << 20
_OTHERS = ("pgp", "pkcs7", "pkcs11", "provider")


def recipient(text: str) -> PublicKey:
    """The public key that ``jwe:FILE`` names. InvalidArgument, Unsupported for ocicrypt's other protocols."""
    protocol, colon, path = text.partition(":")
    if not colon:
        raise InvalidArgument(f"invalid recipient {text!r}: it names no protocol", hint="for example --encryption-key jwe:public.pem")
    if protocol in _OTHERS:
        raise Unsupported(f"layers are not encrypted by {protocol}:", hint="use jwe: with an RSA or EC public key")
    if protocol != "jwe":
        raise InvalidArgument(f"invalid recipient {text!r}: provided protocol not recognized", hint="use jwe:FILE")
    data = _read(path)
    for load in (serialization.load_pem_public_key, serialization.load_der_public_key):
        try:
            return _usable(load(data), path)
        except (ValueError, UnsupportedAlgorithm):
            continue
    raise InvalidArgument(f"{path} is not a public key", hint="a file as of 'openssl pkey -in private.pem -pubout' is wanted")


def private(text: str) -> PrivateKey:
    """The key of ``FILE``, ``FILE:PASSPHRASE``, ``FILE:pass=...``, ``FILE:file=PATH`` or ``FILE:fd=NUMBER``. InvalidArgument."""
    path, colon, rest = text.partition(":")
    data, password = _read(path), _passphrase(rest) if colon else None
    for load in (serialization.load_pem_private_key, serialization.load_der_private_key):
        for candidate in (password, None):   # a passphrase that is not needed does no harm
            try:
                return _usable_private(load(data, candidate), path)
            except TypeError as error:
                if "encrypted" in str(error) and password is None:
                    raise InvalidArgument(f"{path}: the key is protected by a passphrase",
                                          hint=f"give it: --decryption-key {path}:file=PATH") from None
            except (ValueError, UnsupportedAlgorithm):
                continue
    if _is_certificate(data):
        raise Unsupported(f"{path}: layers are not decrypted by certificates (pkcs7)", hint="give the private key of a jwe: recipient")
    raise InvalidArgument(f"{path} is no private key that can be read" + (" with this passphrase" if password else ""))


def _passphrase(text: str) -> bytes:
    kind, equals, value = text.partition("=")
    if equals and kind == "file":
        return _read(value).rstrip(b"\r\n")
    if equals and kind == "fd":
        if not value.isdigit():
            raise InvalidArgument(f"could not parse file descriptor {value!r}")
        return os.read(int(value), 4096).rstrip(b"\r\n")
    return (value if equals and kind == "pass" else text).encode()


def _read(path: str) -> bytes:
    try:
        return read_bytes(path, _LIMIT)
    except OSError as error:
        raise InvalidArgument(f"unable to read file {path}") from error


def _usable(key: object, path: str) -> PublicKey:
    if isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        return key
    raise InvalidArgument(f"{path}: only RSA and EC keys can encrypt layers")


def _usable_private(key: object, path: str) -> PrivateKey:
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        return key
    raise InvalidArgument(f"{path}: only RSA and EC keys can decrypt layers")


def _is_certificate(data: bytes) -> bool:
    try:
        x509.load_pem_x509_certificate(data)
    except ValueError:
        return False
    return True

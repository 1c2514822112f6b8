"""A layer's bytes encrypted and decrypted, and the annotations that carry how (https://github.com/containers/ocicrypt, docs).

    org.opencontainers.image.enc.keys.jwe      base64 of a JWE, several with commas between; in it the key, the nonce, the plain digest
    org.opencontainers.image.enc.pubopts       base64 of JSON: the cipher, and an HMAC of what is encrypted

The plain bytes are handed on before the HMAC is checked, which is at the end: nobody may keep them before the end has come.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
from base64 import b64decode, b64encode

from podling import jsontext, libraries
from podling.errors import Corrupt, InvalidArgument, Unsupported
from podling.image.encryption import jwe
from podling.image.jsonfields import load_object
from podling.record import Record

libraries.add_site_packages()

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from podling.image.encryption.jwe import PrivateKey, PublicKey

SUFFIX = "+encrypted"
PREFIX = "org.opencontainers.image.enc."
KEYS = PREFIX + "keys.jwe"
PUBLIC = PREFIX + "pubopts"
CIPHER = "AES_256_CTR_HMAC_SHA256"
_LIMIT = 1 << 20
_MOST_WRAPPED = 64


class LayerKey(Record):
    """What decrypts one layer, and the HMAC of what is encrypted."""

    key: bytes
    nonce: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "LayerKey()"                  # never in a log or a traceback


class Encrypted:
    """Bytes being encrypted with a new key; iterate once, then ``annotations`` tell the recipients how to decrypt them."""

    def __init__(self, plain: Iterator[bytes], recipients: list[PublicKey]) -> None:
        self.annotations: dict[str, str] = {}
        self._plain = plain
        self._recipients = recipients

    def __iter__(self) -> Iterator[bytes]:
        key, nonce = os.urandom(32), os.urandom(16)
        cipher = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
        digest, mac = hashlib.sha256(), hmac.new(key, digestmod=hashlib.sha256)
        for piece in self._plain:
            digest.update(piece)
            sealed = cipher.update(piece)
            mac.update(sealed)
            yield sealed
        secret = {"symkey": _text(key), "digest": f"sha256:{digest.hexdigest()}", "cipheroptions": {"nonce": _text(nonce)}}
        public = {"cipher": CIPHER, "hmac": _text(mac.digest()), "cipheroptions": {}}
        self.annotations = {KEYS: _text(jwe.encrypt(jsontext.dumps(secret).encode(), self._recipients)),
                            PUBLIC: _text(jsontext.dumps(public).encode())}


def unwrap(annotations: dict[str, str], keys: Sequence[PrivateKey], what: str) -> LayerKey:
    """What one of the keys finds in a layer's annotations; InvalidArgument, saying which flag to give, where none fits."""
    wrapped = annotations.get(KEYS)
    if not wrapped:
        others = [name.removeprefix(PREFIX + "keys.") for name in annotations if name.startswith(PREFIX + "keys.")]
        raise Unsupported(f"{what} is encrypted for {', '.join(others) or 'nobody'}; only keys of the kind jwe are supported")
    if not keys:
        raise InvalidArgument(f"{what} is encrypted: missing private key needed for decryption", hint="give it: --decryption-key FILE")
    for text in wrapped.split(",")[:_MOST_WRAPPED]:
        for key in keys:
            secret = jwe.decrypt(_bytes(text, what), key)
            if secret is not None:
                return _layer_key(load_object(secret, what, limit=_LIMIT), annotations, what)
    raise InvalidArgument(f"{what} is encrypted: none of the private keys could be used for decryption",
                          hint="give the one that it was encrypted for: --decryption-key FILE")


def _layer_key(secret: dict[str, Any], annotations: dict[str, str], what: str) -> LayerKey:
    public = load_object(_bytes(annotations.get(PUBLIC, ""), what), what, limit=_LIMIT)
    if public.get("cipher") != CIPHER:
        raise Unsupported(f"{what} is encrypted by the cipher {str(public.get('cipher'))[:60]!r}; only {CIPHER} is supported")
    options: dict[str, Any] = {}
    for told in (secret.get("cipheroptions"), public.get("cipheroptions")):
        options |= told if isinstance(told, dict) else {}
    found = LayerKey(key=_bytes(secret.get("symkey"), what), nonce=_bytes(options.get("nonce"), what),
                     mac=_bytes(public.get("hmac") or options.get("hmac"), what))
    if len(found.key) != 32 or len(found.nonce) != 16 or len(found.mac) != 32:
        raise Corrupt(f"{what}: what its key is has another length than the cipher wants")
    return found


def decrypted(read: Callable[[int], bytes], layer: LayerKey, what: str) -> Callable[[int], bytes]:
    """The plain stream. It ends only if all of it was right: Corrupt otherwise.

    The digest that is wrapped with the key is not looked at: Podman puts there that of the layer before it compressed it.
    """
    cipher = Cipher(algorithms.AES(layer.key), modes.CTR(layer.nonce)).decryptor()
    mac = hmac.new(layer.key, digestmod=hashlib.sha256)

    def plain(size: int) -> bytes:
        sealed = read(size)
        if sealed:
            mac.update(sealed)
            return cipher.update(sealed)
        if not hmac.compare_digest(mac.digest(), layer.mac):
            raise Corrupt(f"{what} was changed after it was encrypted: its HMAC does not fit")
        return b""

    return plain


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(text: object, what: str) -> bytes:
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else b""
    except binascii.Error:
        raise Corrupt(f"{what}: an annotation of its encryption is not base64") from None

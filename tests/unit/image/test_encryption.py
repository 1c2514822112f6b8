"""Encrypted layers: what JWE wraps, what the cipher makes, and what of a stranger's annotations is not believed."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from podling.errors import Corrupt, InvalidArgument, Unsupported
from podling.image.encryption import jwe
from podling.image.encryption.layers import KEYS, PUBLIC, Encrypted, LayerKey, decrypted, unwrap
from podling.image.outgoing import Form

if TYPE_CHECKING:
    from collections.abc import Callable

RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
CURVES = [ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]


@pytest.mark.parametrize("key", [RSA, *CURVES], ids=["RSA", "P-256", "P-384", "P-521"])
def test_each_recipient_decrypts_alone(key: Any) -> None:
    for recipients in ([key], [OTHER, key]):
        text = jwe.encrypt(b"the secret", [one.public_key() for one in recipients])
        for recipient in recipients:
            assert jwe.decrypt(text, recipient) == b"the secret"
        stranger = rsa.generate_private_key(65537, 2048) if isinstance(key, rsa.RSAPrivateKey) else ec.generate_private_key(key.curve)
        assert jwe.decrypt(text, stranger) is None


# RFC 7516, appendix A.1 in the flattened form: RSA-OAEP and A256GCM, made by others
RFC = {
    "protected": "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ",
    "encrypted_key": (
        "OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGeipsEdY3mx_etLbbWSrFr05kLzcSr4qKAq7YN7e9jwQRb23nfa6c9d-StnImGyFDbSv0"
        "4uVuxIp5Zms1gNxKKK2Da14B8S4rzVRltdYwam_lDp5XnZAYpQdb76FdIKLaVmqgfwX7XWRxv2322i-vDxRfqNzo_tETKzpVLzfiwQyeyPGLBIO56YJ7eObdv0je81860ppamav"
        "o35UgoRdbYaBcoh9QcfylQr66oc6vFWXRcZ_ZT2LawVCWTIy3brGPi6UklfCpIMfIjf7iGdXKHzg"),
    "iv": "48V1_ALb6US04U3b",
    "ciphertext": "5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A",
    "tag": "XFBoMYUZodetZdvTiFvSkQ",
}


def test_the_key_of_another_is_not_guessed() -> None:
    assert jwe.decrypt(json.dumps(RFC).encode(), RSA) is None


@pytest.mark.parametrize("change", [
    lambda value: value.pop("protected"), lambda value: value.update(protected="!"), lambda value: value.update(iv=3),
    lambda value: value.update(recipients=[3]), lambda value: value.update(header={"alg": "ECDH-ES+A256KW", "epk": {"crv": "P-256"}}),
    lambda value: value.update(header={"alg": "ECDH-ES+A256KW", "epk": {"crv": "P-256", "x": "AA", "y": "AA"}}),
    lambda value: value.update(tag="AAAA"), lambda value: value.update(header=7), lambda value: value.pop("encrypted_key")])
def test_malformed_keys_are_errors_or_nobodys(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(jwe.encrypt(b"x", [CURVES[0].public_key()]))
    change(value)
    with contextlib.suppress(Corrupt, Unsupported):
        assert jwe.decrypt(json.dumps(value).encode(), CURVES[0]) is None


def encrypted(data: bytes) -> tuple[bytes, dict[str, str]]:
    layer = Encrypted(iter([data[:1000], data[1000:]]), [RSA.public_key()])
    return b"".join(layer), layer.annotations


def plain(data: bytes, key: LayerKey) -> bytes:
    pieces = iter([data[:77], data[77:]])
    read = decrypted(lambda _: next(pieces, b""), key, "it")
    return b"".join(iter(lambda: read(1 << 16), b""))


def test_what_was_encrypted_is_decrypted() -> None:
    data = random.Random(1).randbytes(100_000)
    sealed, annotations = encrypted(data)
    assert len(sealed) == len(data)
    assert sealed != data
    assert encrypted(data)[0] != sealed
    key = unwrap(annotations, [OTHER, RSA], "it")
    assert plain(sealed, key) == data
    for changed in (sealed[:-1], sealed + b"x", sealed[:50] + bytes([sealed[50] ^ 1]) + sealed[51:]):
        with pytest.raises(Corrupt, match="HMAC"):
            plain(changed, key)


def test_annotations_are_checked() -> None:
    _, annotations = encrypted(b"x")
    with pytest.raises(InvalidArgument, match="missing private key"):
        unwrap(annotations, [], "it")
    with pytest.raises(InvalidArgument, match="none of the private keys"):
        unwrap(annotations, [OTHER], "it")
    with pytest.raises(Unsupported, match="pgp"):
        unwrap({"org.opencontainers.image.enc.keys.pgp": "x"}, [RSA], "it")
    for public in ({"cipher": "ROT13"}, {}):
        with pytest.raises(Unsupported, match="cipher"):
            unwrap({**annotations, PUBLIC: base64.b64encode(json.dumps(public).encode()).decode()}, [RSA], "it")
    sealed = jwe.encrypt(json.dumps({"symkey": 7, "cipheroptions": [1], "digest": {}}).encode(), [RSA.public_key()])
    for broken in ({KEYS: base64.b64encode(sealed).decode()}, {PUBLIC: "*"}, {KEYS: "*"},
                   {PUBLIC: base64.b64encode(b'{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"QQ=="}').decode()}):
        with pytest.raises(Corrupt):
            unwrap({**annotations, **broken}, [RSA], "it")


def test_which_layers_are_encrypted() -> None:
    key = (RSA.public_key(),)
    assert [Form(recipients=key).encrypts(number, 3) for number in range(3)] == [True] * 3
    assert [Form(recipients=key, encrypted=(-1, 0)).encrypts(number, 3) for number in range(3)] == [True, False, True]
    assert not Form().encrypts(0, 1)

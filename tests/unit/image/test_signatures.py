"""Signatures without programs: payloads, names, sigstore's keys, certificates and logs, and the policy over them."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from podling.config import requirements
from podling.config.registries_d import SignaturePlaces
from podling.errors import Corrupt, InvalidArgument, PolicyForbids, RegistryError, SignatureRejected
from podling.image import digests, policy, transfer
from podling.image.places import Found, Source
from podling.image.policy import Judged
from podling.image.remote import Access, Remote
from podling.image.signatures import identity, keys, payload, signing, stored
from podling.image.signatures.payload import Payload
from podling.image.signatures.signing import Signers, Signing
from podling.image.signatures.stored import (
    BUNDLE_ANNOTATION,
    CERTIFICATE_ANNOTATION,
    CHAIN_ANNOTATION,
    COSIGN,
    SIGNATURE_ANNOTATION,
    Signature,
)
from podling.values import reference
from tests.support import sigstore
from tests.support.signing import cosign_pem, new_key, public_pem
from tests.support.sigstore import ISSUER, MAIL, Services, Sigstore

MANIFEST = b'{"schemaVersion":2}'
DIGEST = digests.digest_of(MANIFEST)
NAME = "localhost:5000/a/b:1"


# --- payloads ---------------------------------------------------------------------------------------------------------


def test_the_payload_is_that_of_containers_image():
    said = Payload(digest=DIGEST, reference=NAME, creator="atomic 5.22.0", timestamp=1700000000)
    assert payload.build(said, payload.SIMPLE_TYPE) == (
        '{"critical":{"identity":{"docker-reference":"localhost:5000/a/b:1"},"image":{"docker-manifest-digest":"' + DIGEST + '"},'
        '"type":"atomic container signature"},"optional":{"creator":"atomic 5.22.0","timestamp":1700000000}}').encode()
    assert payload.parse(payload.build(said, payload.SIMPLE_TYPE), payload.SIMPLE_TYPE) == said
    bare = Payload(digest=DIGEST, reference=NAME)
    assert payload.parse(payload.build(bare, payload.SIGSTORE_TYPE), payload.SIGSTORE_TYPE) == bare


def valid(**changes):
    value = json.loads(payload.build(Payload(digest=DIGEST, reference=NAME), payload.SIMPLE_TYPE))
    return {**value, **changes}


@pytest.mark.parametrize("bad", [
    [], {}, valid(more=1), valid(optional=None), valid(optional=[]), valid(critical={}), valid(optional={"creator": 1}),
    valid(optional={"timestamp": 1.5}), valid(optional={"timestamp": "1"}), valid(optional={"timestamp": None}),
    valid(optional={"timestamp": True}), valid(critical={**valid()["critical"], "type": payload.SIGSTORE_TYPE}),
    valid(critical={**valid()["critical"], "more": 1}), valid(critical={**valid()["critical"], "image": {}}),
    valid(critical={**valid()["critical"], "identity": {"docker-reference": 1}}),
])
def test_other_payloads_are_invalid(bad):
    with pytest.raises(SignatureRejected, match="Invalid signature: "):
        payload.parse(json.dumps(bad).encode(), payload.SIMPLE_TYPE)


@pytest.mark.parametrize("text", [b"", b"{", b'{"critical":{},"critical":{},"optional":{}}', b"\xff", b"[" * 4000, b"null"])
def test_texts_that_are_no_payload(text):
    with pytest.raises(SignatureRejected):
        payload.parse(text, payload.SIMPLE_TYPE)


def test_what_is_optional_may_say_more_or_nothing():
    assert payload.parse(json.dumps(valid(optional={"more": [1]})).encode(), payload.SIMPLE_TYPE).creator is None
    cosign = json.dumps({**valid(optional=None), "critical": {**valid()["critical"], "type": payload.SIGSTORE_TYPE}})
    assert payload.parse(cosign.encode(), payload.SIGSTORE_TYPE).digest == DIGEST
    assert payload.parse(json.dumps(valid(optional={"timestamp": 1e9})).encode(), payload.SIMPLE_TYPE).timestamp == 10**9


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["critical", "optional", "type", "image", "identity", "docker-reference", "timestamp",
                                         "docker-manifest-digest", "creator", "default", "transports", "docker", "", "keyPath", "keyType",
                                         "signedIdentity", "fulcio"]) | st.text(max_size=4), inner, max_size=4), max_leaves=12)


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_read_or_rejected(text):
    try:
        payload.parse(text, payload.SIMPLE_TYPE)
    except SignatureRejected:
        pass


@given(JSON)
def test_any_policy_is_read_or_wrong(value):
    from podling.config.policy import parse

    for content in (value, {"default": value}, {"default": [value]}, {"default": [{"type": "reject"}], "transports": value},
                    {"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x", "signedIdentity": value}]}):
        try:
            parse(content, "/p")
        except requirements.WrongPolicy:
            pass


# --- stored signatures ------------------------------------------------------------------------------------------------


def test_signatures_survive_being_stored():
    for signature in (*[Signature(content=content) for content in (b"\x90\x0d\x03", b"\xa3\x02x", b"plain", b"")],
                      Signature(content=b"\0\xff", media_type=COSIGN, annotations={"a": "é", SIGNATURE_ANNOTATION: "YQ=="})):
        assert stored.from_bytes(signature.to_bytes(), "x") == signature
    assert Signature(content=b"\x90\x0d").to_bytes() == b"\x90\x0d"
    assert Signature(content=b"{}", media_type="m").to_bytes() == b'\0sigstore-json\n{"mimeType":"m","payload":"e30=","annotations":{}}'


@pytest.mark.parametrize("data", [b"", b"<html>", b"\0", b"\0simple-signing", b"\0other\nx", b"\0sigstore-json\n{}", b"\0sigstore-json\n[]",
                                  b'\0sigstore-json\n{"mimeType":"m","payload":"!"}', b'\0sigstore-json\n{"mimeType":1}'])
def test_other_bytes_are_no_signature(data):
    with pytest.raises(Corrupt, match="here"):
        stored.from_bytes(data, "here")


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"\0sigstore-json\n" + data))
def test_any_bytes_are_a_signature_or_corrupt(data):
    try:
        stored.from_bytes(data, "here")
    except Corrupt:
        pass


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "wanted", "signed", "accepted"), [
    ("matchRepoDigestOrExact", NAME, NAME, True), ("matchRepoDigestOrExact", NAME, "localhost:5000/a/b:2", False),
    ("matchRepoDigestOrExact", NAME, "localhost:5000/a/b", False), ("matchRepoDigestOrExact", NAME, f"localhost:5000/a/b@{DIGEST}", False),
    ("matchRepoDigestOrExact", f"localhost:5000/a/b@{DIGEST}", "localhost:5000/a/b:2", True),
    ("matchRepoDigestOrExact", f"localhost:5000/a/b@{DIGEST}", "localhost:5000/a/c:2", False),
    ("matchRepoDigestOrExact", f"localhost:5000/a/b@{DIGEST}", "localhost:5000/a/b", False),
    ("matchRepoDigestOrExact", "docker.io/library/nginx:1", "nginx:1", True), ("matchRepoDigestOrExact", NAME, "not a name", False),
    ("matchExact", NAME, NAME, True), ("matchExact", f"localhost:5000/a/b@{DIGEST}", NAME, False),
    ("matchRepository", NAME, "localhost:5000/a/b", True), ("matchRepository", NAME, "localhost:5000/a/b:9", True),
    ("matchRepository", NAME, "localhost:5000/a/bb:1", False), ("matchRepository", NAME, "", False),
])
def test_names_that_fit(kind, wanted, signed, accepted):
    rule = requirements.SignedIdentity(kind=kind)
    if accepted:
        identity.check(rule, reference.parse(wanted), signed, "x")
    else:
        with pytest.raises(SignatureRejected, match="Signature for identity"):
            identity.check(rule, reference.parse(wanted), signed, "x")


def test_names_that_are_given_or_remapped():
    exact = requirements.SignedIdentity(kind="exactReference", name="a.io/b:1")
    repository = requirements.SignedIdentity(kind="exactRepository", name="a.io/b")
    for rule, signed, accepted in ((exact, "a.io/b:1", True), (exact, "a.io/b:2", False), (exact, "a.io/b", False),
                                   (repository, "a.io/b:2", True), (repository, "a.io/b", True), (repository, "a.io/c", False)):
        for wanted in (None, reference.parse("other.io/x:9")):
            if accepted:
                identity.check(rule, wanted, signed, "dir:/x")
            else:
                with pytest.raises(SignatureRejected):
                    identity.check(rule, wanted, signed, "dir:/x")
    remap = requirements.SignedIdentity(kind="remapIdentity", prefix="mirror.io/hub", signed_prefix="docker.io")
    identity.check(remap, reference.parse("mirror.io/hub/library/nginx:1"), "docker.io/library/nginx:1", "x")
    identity.check(remap, reference.parse("quay.io/x:1"), "quay.io/x:1", "x")
    for wanted, signed in (("mirror.io/hub/library/nginx:1", "mirror.io/hub/library/nginx:1"), ("mirror.io/hubs/x:1", "docker.io/s/x:1"),
                           ("mirror.io/hub/nginx:1", "docker.io/library/nginx:1"), ("mirror.io/hub:1", "docker.io:1")):
        with pytest.raises(SignatureRejected):
            identity.check(remap, reference.parse(wanted), signed, "x")
    with pytest.raises(SignatureRejected, match="no known Docker reference identity"):
        identity.check(requirements.SignedIdentity(), None, NAME, "dir:/x")


# --- sigstore's keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_keys_of_each_kind_sign_and_verify(kind):
    key = new_key(kind)
    again = keys.load_private(cosign_pem(key, "secret"), "secret", "here")
    signature = keys.sign(again, b"text")
    public = keys.load_public(public_pem(key), "here")
    assert keys.verifies(public, signature, b"text")
    assert not keys.verifies(public, signature, b"other text")
    assert not keys.verifies(public, signature[:-1], b"text")
    assert not keys.verifies(public, b"", b"text")
    assert not keys.verifies(keys.load_public(public_pem(new_key(kind)), "here"), signature, b"text")
    assert keys.public_pem(public) == public_pem(key)


def test_private_keys_that_cannot_be_opened():
    key = new_key("ecdsa")
    assert keys.load_private(cosign_pem(key, "", name="ENCRYPTED COSIGN PRIVATE KEY"), "", "here").key_size == 256
    with pytest.raises(InvalidArgument, match="here: decrypt: the passphrase is wrong"):
        keys.load_private(cosign_pem(key, "right"), "wrong", "here")
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    good = cosign_pem(key, "x").decode().splitlines()
    text = json.loads(base64.b64decode("".join(good[1:-1])))

    def changed(**changes):
        return "\n".join([good[0], base64.b64encode(json.dumps({**text, **changes}).encode()).decode(), good[-1]]).encode()

    for bad in (b"", plain, b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n!\n-----END X-----\n", changed(kdf={"name": "none"}),
                changed(cipher={"name": "rot13"}), changed(kdf={**text["kdf"], "params": {"N": 1 << 40, "r": 8, "p": 1}}),
                changed(kdf={**text["kdf"], "params": {"N": 3, "r": 8, "p": 1}}), changed(cipher={**text["cipher"], "nonce": "YQ=="}),
                changed(ciphertext="!"), changed(kdf=1)):
        with pytest.raises(Corrupt, match="here"):
            keys.load_private(bad, "x", "here")


def test_public_keys_that_are_not_for_this():
    from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

    for bad in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP224R1()), x25519.X25519PrivateKey.generate()):
        with pytest.raises(Corrupt, match="only keys for"):
            keys.load_public(public_pem(bad), "here")
    with pytest.raises(Corrupt, match="here is not a public key"):
        keys.load_public(b"no key", "here")


def test_what_skopeo_made():
    """A key, a signature and its form in a ``dir:``, all made by skopeo 1.18."""
    golden = json.loads((Path(__file__).parent / "golden/skopeo-1.18-sigstore.json").read_text())
    key = keys.load_private(golden["private"].encode(), golden["passphrase"], "here")
    assert keys.public_pem(key.public_key()) == golden["public"].encode()
    signature = stored.from_bytes(golden["signature"].encode("latin-1"), "here")
    assert json.loads(signature.to_bytes().partition(b"\n")[2]) == json.loads(golden["signature"].partition("\n")[2])
    image = Judged(shown="x", reference=reference.parse(golden["name"]), manifest=golden["manifest"].encode(), signatures=(signature,))
    policy.check(requirement(keyData=data(golden["public"].encode())), image)
    said = payload.parse(signature.content, payload.SIGSTORE_TYPE)
    assert payload.build(said, payload.SIGSTORE_TYPE) == signature.content


# --- the policy over signatures of sigstore ---------------------------------------------------------------------------


def requirement(tmp_path=None, **members):
    return requirements.parse({"type": "sigstoreSigned", **members}, "here")


def data(text: bytes) -> str:
    return base64.b64encode(text).decode()


def judged(*signatures, name=NAME):
    return Judged(shown=f"docker://{name}", reference=reference.parse(name), manifest=MANIFEST, signatures=signatures)


def signed(key, *, digest=DIGEST, name=NAME, **annotations):
    content = payload.build(Payload(digest=digest, reference=name), payload.SIGSTORE_TYPE)
    return Signature(content=content, media_type=COSIGN,
                     annotations={SIGNATURE_ANNOTATION: data(keys.sign(key, content)), **annotations})


def rejected(rule, image, words):
    with pytest.raises(SignatureRejected) as caught:
        policy.check(rule, image)
    assert caught.value.message.startswith("Source image rejected: ")
    assert words in caught.value.message


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_signatures_by_key(kind, tmp_path):
    key, other = new_key(kind), new_key(kind)
    rule = requirement(keyData=data(public_pem(key)))
    policy.check(rule, judged(signed(key)))
    policy.check(rule, judged(signed(other), signed(key)))
    (tmp_path / "k").write_bytes(public_pem(key))
    policy.check(requirement(keyPath=str(tmp_path / "k")), judged(signed(key)))
    policy.check(requirement(keyDatas=[data(public_pem(other)), data(public_pem(key))]), judged(signed(key)))
    rejected(rule, judged(signed(other)), "cryptographic signature verification failed")
    rejected(rule, judged(), "A signature was required, but no signature exists")
    rejected(rule, judged(Signature(content=b"\x90"), Signature(content=b"x", media_type="text/plain")),
             "but no signature exists (1 non-sigstore signatures, 1 sigstore non-signature attachments)")
    rejected(rule, judged(signed(key, digest="sha256:" + "0" * 64)), "does not match")
    rejected(rule, judged(signed(key, digest="md5:00")), "Signature for digest")
    rejected(rule, judged(signed(key, name="localhost:5000/a/c:1")), 'Signature for identity "localhost:5000/a/c:1" is not accepted')
    changed = signed(key).replace(content=signed(key).content.replace(b"5000", b"5001"))
    rejected(rule, judged(changed), "cryptographic signature verification failed")
    rejected(rule, judged(signed(key).replace(annotations={})), f"missing {SIGNATURE_ANNOTATION} annotation")
    rejected(rule, judged(signed(key, **{SIGNATURE_ANNOTATION: "!"})), "not base64")
    rejected(requirement(keyPath=str(tmp_path / "missing")), judged(signed(key)), f"open {tmp_path}/missing: no such file or directory")
    rejected(requirement(keyData=data(b"nonsense")), judged(signed(key)), "is not a public key")


def test_other_requirements():
    policy.check(requirements.parse({"type": "insecureAcceptAnything"}, ""), judged())
    with pytest.raises(PolicyForbids, match=r"Running image docker://localhost:5000/a/b:1 is rejected by policy\."):
        policy.check(requirements.parse({"type": "reject"}, ""), judged(signed(new_key("ecdsa"))))
    rejected(requirements.parse({"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}, ""), judged(), "not implemented")
    rejected(requirements.parse({"type": "signedBy", "keyType": "X509Certificates", "keyPath": "/x"}, ""),
             judged(Signature(content=b"\x90")), 'Unimplemented "keyType" value "X509Certificates"')


def test_signatures_by_key_that_a_log_must_have_seen():
    world, key = Sigstore(), new_key("ecdsa")
    rule = requirement(keyData=data(public_pem(key)), rekorPublicKeyData=data(sigstore.pem(world.log_key)))
    plain = signed(key)
    raw = base64.b64decode(plain.annotations[SIGNATURE_ANNOTATION])

    def logged(*arguments, **changes):
        return plain.replace(annotations={**plain.annotations, BUNDLE_ANNOTATION: world.promise(*arguments, **changes)})

    policy.check(rule, judged(logged(public_pem(key), raw, plain.content)))
    rejected(rule, judged(plain), f"missing {BUNDLE_ANNOTATION} annotation")
    rejected(rule, judged(logged(public_pem(new_key("ecdsa")), raw, plain.content)), "publicKey in Rekor SET does not match")
    rejected(rule, judged(logged(public_pem(key), raw + b"x", plain.content)), "signature in Rekor SET does not match")
    rejected(rule, judged(logged(public_pem(key), raw, b"other")), "hash in Rekor SET does not match")
    rejected(rule, judged(logged(public_pem(key), raw, plain.content, kind="intoto")), "unsupported entry")
    rejected(rule, judged(logged(public_pem(key), raw, plain.content, more=1)), "has not exactly the members")
    bundle = json.loads(world.promise(public_pem(key), raw, plain.content))
    for changed in ({**bundle, "SignedEntryTimestamp": data(b"x")}, {**bundle, "more": 1}, [], {},
                    {**bundle, "Payload": {**bundle["Payload"], "integratedTime": 5}}, {**bundle, "Payload": 1},
                    {**bundle, "Payload": {**bundle["Payload"], "logIndex": "7"}}):
        changed_one = plain.replace(annotations={**plain.annotations, BUNDLE_ANNOTATION: json.dumps(changed)})
        rejected(rule, judged(changed_one), "Invalid Rekor SET")
    other = requirement(keyData=data(public_pem(key)), rekorPublicKeyData=data(sigstore.pem(sigstore.new_key())))
    rejected(other, judged(logged(public_pem(key), raw, plain.content)), "verification of Rekor SET failed")


# --- without a key of one's own ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    return Sigstore()


def fulcio(world, *, root=None, issuer=ISSUER, mail=MAIL):
    return requirement(fulcio={"caData": data(sigstore.pem(root or world.root)), "oidcIssuer": issuer, "subjectEmail": mail},
                       rekorPublicKeyData=data(sigstore.pem(world.log_key)))


def test_certificates_for_minutes(world):
    policy.check(fulcio(world), judged(world.sign(DIGEST, NAME)))
    # the certificate has expired since, but the log saw the signature while it was good
    hour_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    key = sigstore.new_key()
    old = Sigstore()
    old.root = sigstore.issue("root", old.root_key, None, sigstore.authority(1), begin=hour_ago)
    old.between = sigstore.issue("between", old.between_key, (old.root, old.root_key), sigstore.authority(0), begin=hour_ago)
    expired = old.leaf(key, begin=hour_ago)
    policy.check(fulcio(old), judged(old.sign(DIGEST, NAME, key=key, certificate=expired, at=hour_ago.timestamp() + 60)))
    rejected(fulcio(old), judged(old.sign(DIGEST, NAME, key=key, certificate=expired)), "expired or is not yet valid")


def test_certificates_of_others(world):
    good = world.sign(DIGEST, NAME)
    stranger = Sigstore()
    rejected(fulcio(world, root=stranger.root), judged(good), "certificate signed by unknown authority")
    rejected(fulcio(world, issuer="https://other"), judged(good), f'Unexpected Fulcio OIDC issuer "{ISSUER}"')
    rejected(fulcio(world, mail="other@example.org"), judged(good), 'Required email "other@example.org" not found')
    rejected(fulcio(world), judged(stranger.sign(DIGEST, NAME)), "verification of Rekor SET failed")
    rejected(fulcio(world), judged(world.sign(DIGEST, "localhost:5000/x:1")), "is not accepted")
    rejected(fulcio(world), judged(world.sign("sha256:" + "0" * 64, NAME)), "does not match")
    for name in (CERTIFICATE_ANNOTATION, BUNDLE_ANNOTATION, SIGNATURE_ANNOTATION):
        less = {key: value for key, value in good.annotations.items() if key != name}
        rejected(fulcio(world), judged(good.replace(annotations=less)), f"missing {name} annotation")
    for name, value in ((CERTIFICATE_ANNOTATION, "none"), (CHAIN_ANNOTATION, "none"),
                        (CERTIFICATE_ANNOTATION, good.annotations[CERTIFICATE_ANNOTATION] * 2)):
        rejected(fulcio(world), judged(good.replace(annotations={**good.annotations, name: value})), "certificate")
    without = {key: value for key, value in good.annotations.items() if key != CHAIN_ANNOTATION}
    rejected(fulcio(world), judged(good.replace(annotations=without)), "unknown authority")


@pytest.mark.parametrize(("extensions", "words"), [
    ((sigstore.mail_name(MAIL), sigstore.code_signing()), "missing the issuer extension"),
    ((sigstore.mail_name(MAIL), sigstore.oidc_issuer(ISSUER), sigstore.oidc_issuer("https://b", der=True)), "inconsistent OIDC issuer"),
    ((sigstore.mail_name(MAIL), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), b"\x0c\x05a"), False)),
     "invalid ASN.1"),
    ((sigstore.oidc_issuer(ISSUER), sigstore.code_signing()), "Required email"),
    ((sigstore.mail_name(MAIL), sigstore.oidc_issuer(ISSUER), (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False)),
     "incompatible key usage"),
    ((sigstore.mail_name(MAIL), sigstore.oidc_issuer(ISSUER), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"), True)),
     "unhandled critical extension 1.2.3"),
    ((sigstore.mail_name(MAIL), sigstore.oidc_issuer(ISSUER), sigstore.authority()), "one of an authority"),
])
def test_certificates_with_something_wrong(world, extensions, words):
    key = sigstore.new_key()
    rejected(fulcio(world), judged(world.sign(DIGEST, NAME, key=key, certificate=world.leaf(key, *extensions))), words)


def test_chains_that_do_not_hold(world):
    """Who is no authority cannot issue, paths have lengths, a name alone is no signature."""
    key, middle = sigstore.new_key(), sigstore.new_key()
    usual = (sigstore.mail_name(MAIL), sigstore.oidc_issuer(ISSUER), sigstore.code_signing())
    holder = world.leaf(middle)
    below = sigstore.issue("deeper", middle, (world.between, world.between_key), sigstore.authority())
    false = sigstore.issue("between", middle, None, sigstore.authority())
    constrained = sigstore.issue("between", middle, (world.root, world.root_key), sigstore.authority(), (x509.NameConstraints(
        permitted_subtrees=[x509.RFC822Name("example.com")], excluded_subtrees=None), True))
    server = sigstore.issue("between", middle, (world.root, world.root_key), sigstore.authority(),
                            (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False))
    for issuer in (holder, below, false, constrained, server):
        leaf = sigstore.issue("leaf", key, (issuer, middle), *usual)
        signature = world.sign(DIGEST, NAME, key=key, certificate=leaf)
        chain = (sigstore.pem(issuer) + sigstore.pem(world.between) + sigstore.pem(world.root)).decode()
        changed = signature.replace(annotations={**signature.annotations, CHAIN_ANNOTATION: chain})
        rejected(fulcio(world), judged(changed), "unknown authority")


def test_certificates_of_an_own_authority(world):
    key = sigstore.new_key()
    hosts = x509.SubjectAlternativeName([x509.DNSName("build.example.org"), x509.DNSName("*.ci.example.org"), x509.RFC822Name(MAIL)])
    leaf = world.leaf(key, (hosts, False), sigstore.code_signing())
    signature = world.sign(DIGEST, NAME, key=key, certificate=leaf)

    def pki(**members):
        return requirement(pki={"caRootsData": data(sigstore.pem(world.root)), **members})

    for members in ({"subjectEmail": MAIL}, {"subjectHostname": "build.example.org"}, {"subjectHostname": "a.ci.example.org"},
                    {"subjectEmail": MAIL, "subjectHostname": "build.example.org"}):
        policy.check(pki(**members), judged(signature))
    bare = signature.replace(annotations={name: signature.annotations[name] for name in (SIGNATURE_ANNOTATION, CERTIFICATE_ANNOTATION)})
    policy.check(pki(subjectEmail=MAIL, caIntermediatesData=data(sigstore.pem(world.between))), judged(bare))
    rejected(pki(subjectEmail=MAIL), judged(bare), "unknown authority")
    for members, words in (({"subjectEmail": "x@y"}, "Required email"), ({"subjectHostname": "other.org"}, "Unexpected subject hostname"),
                           ({"subjectHostname": "a.b.ci.example.org"}, "Unexpected subject hostname"),
                           ({"subjectEmail": MAIL, "subjectHostname": "other.org"}, "Unexpected subject hostname")):
        rejected(pki(**members), judged(signature), words)


@given(st.sampled_from([CERTIFICATE_ANNOTATION, CHAIN_ANNOTATION, BUNDLE_ANNOTATION, SIGNATURE_ANNOTATION]),
       st.integers(0, 1 << 16), st.characters(max_codepoint=300), st.integers(0, 4))
def test_any_change_of_an_annotation_is_rejected_in_words(world, name, place, put_in, left_out):
    """Whatever a stranger puts there, it is a refusal and not a fault of ours."""
    good = world.sign(DIGEST, NAME)
    text = good.annotations[name]
    at = place % len(text)                   # every signature is of another length
    changed = text[:at] + put_in + text[at + left_out:]
    try:
        policy.check(fulcio(world), judged(good.replace(annotations={**good.annotations, name: changed})))
    except SignatureRejected:
        return
    assert name == CHAIN_ANNOTATION or "".join(changed.split()) == "".join(text.split())


def test_services_certify_and_log():
    """Signing without a key of one's own, with a Fulcio and a Rekor on the loopback."""
    authority, name = Sigstore(), reference.parse(NAME)
    with Services(authority) as services:
        signers = Signers(fulcio_url=services.url, token=services.token, rekor_url=services.url + "/")
        made = signing.sign_sigstore(DIGEST, name, keys.new_key(), signers)
        policy.check(fulcio(authority), judged(made))
        own = new_key("ed25519")
        logged = signing.sign_sigstore(DIGEST, name, own, Signers(key_file="x", rekor_url=services.url))
        rule = requirement(keyData=data(public_pem(own)), rekorPublicKeyData=data(sigstore.pem(authority.log_key)))
        policy.check(rule, judged(logged))
        with pytest.raises(RegistryError, match=r"the server answers 401: .*who are you"):
            signing.sign_sigstore(DIGEST, name, keys.new_key(), signers.replace(token=services.token + "x"))
        with pytest.raises(RegistryError, match="the server answers 404"):
            signing.sign_sigstore(DIGEST, name, own, Signers(key_file="x", rekor_url=services.url + "/elsewhere"))
        for token in ("", "a.b", "a.e30.c", "a.!.c"):
            with pytest.raises((Corrupt, InvalidArgument), match="identity token"):
                signing.sign_sigstore(DIGEST, name, keys.new_key(), signers.replace(token=token))


# --- where they are ---------------------------------------------------------------------------------------------------


class OpenShift:
    """The part of OpenShift's registry that keeps signatures, on the loopback."""

    def __init__(self) -> None:
        self.kept: list[dict[str, object]] = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_list = self.path == f"/extensions/v2/a/b/signatures/{DIGEST}"
                self._answer(200 if is_list or self.path == "/v2/" else 404, {"signatures": owner.kept} if is_list else {})

            def do_PUT(self) -> None:
                owner.kept.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(201, {})

            def _answer(self, status: int, value: object) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("X-Registry-Supports-Signatures", "1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_a_registry_that_keeps_signatures_itself(tmp_path):
    one, two = Signature(content=b"\x90one"), Signature(content=b"\x90two")
    places = SignaturePlaces(builtin="https://cannot-be-written")
    with OpenShift() as server:
        name = reference.parse(f"{server.host}/a/b:1")
        source = Remote(name, Access(insecure=True, retries=0), str(tmp_path), name=name, places=places)
        with source:
            signing_of_push = Signing(Signers(gpg_key="x"), places, wanted=name, reference=name)
            signing_of_push.prepare(source.registry)
            assert source.signatures(DIGEST, listed=False) == []
            signing_of_push.write(source.registry, DIGEST, [one])
            signing_of_push.write(source.registry, DIGEST, [one, two])
            assert [entry["type"] for entry in server.kept] == ["atomic", "atomic"]
            assert all(str(entry["name"]).startswith(f"{DIGEST}@") for entry in server.kept)
            server.kept.append({"schemaVersion": 9, "type": "future"})
            assert source.signatures(DIGEST, listed=False) == [one, two]
            server.kept.append({"schemaVersion": 2, "type": "atomic", "content": "!"})
            with pytest.raises(Corrupt, match="content is not base64"):
                source.signatures(DIGEST, listed=False)


def test_no_store_takes_what_no_gate_has_seen():
    found = Found(manifest=MANIFEST, media_type="", config=b"{}", layers=(), diff_ids=())
    with pytest.raises(SignatureRejected, match="no signature policy was asked"):
        transfer.store(None, Source(), found)

"""policy.json: which requirements an image must meet."""

from __future__ import annotations

import base64
import json

import pytest

from podling.config import policy, requirements
from podling.config.policy import Policy, scopes_of
from podling.config.requirements import FulcioRoots, KeySource, PkiRoots, Requirement, SignedIdentity, WrongPolicy
from podling.errors import Corrupt, PolicyMissing, hints

ACCEPT = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]
SIGNED = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]
FULCIO = {"caPath": "/ca", "oidcIssuer": "https://issuer", "subjectEmail": "a@b"}


def parse(**content):
    return policy.parse({"default": REJECT, **content}, "/etc/containers/policy.json")


def one(**members):
    return requirements.parse(members, "here")


def kinds(found, transport, identity):
    return [requirement.kind for requirement in found.requirements(transport, identity)]


def test_scopes_of_a_name():
    assert scopes_of("docker", "a.b.io:5000/c/d:tag") == ["a.b.io:5000/c/d:tag", "a.b.io:5000/c/d", "a.b.io:5000/c",
                                                          "a.b.io:5000", "*.b.io", "*.io"]
    assert scopes_of("docker", "localhost:5000/x:1") == ["localhost:5000/x:1", "localhost:5000/x", "localhost:5000"]
    assert scopes_of("docker", "docker.io/library/nginx@sha256:00")[:2] == ["docker.io/library/nginx@sha256:00",
                                                                             "docker.io/library/nginx"]
    assert scopes_of("dir", "/a/b/") == ["/a/b", "/a"]
    assert scopes_of("docker-archive", "") == []
    assert scopes_of("docker-daemon", "") == []
    assert scopes_of("docker-daemon", "docker.io/library/x:1")[1] == "docker.io/library/x"
    assert scopes_of("containers-storage", "[overlay@/r]a.io/c:1") == [
        "[overlay@/r]a.io/c:1", "[overlay@/r]a.io/c", "[overlay@/r]a.io", "[overlay@/r]", "[/r]"]
    assert scopes_of("containers-storage", "[overlay@/r]@0123") == ["[overlay@/r]@0123", "[overlay@/r]", "[/r]"]


def test_the_most_specific_scope_counts():
    docker = {"docker.io": ACCEPT, "docker.io/library/nginx": SIGNED, "*.trusted.org": ACCEPT, "": SIGNED}
    found = parse(transports={"docker": docker, "dir": {"/data": ACCEPT}})
    assert kinds(found, "docker", "docker.io/library/nginx:1") == ["signedBy"]
    assert kinds(found, "docker", "docker.io/library/redis:1") == ["insecureAcceptAnything"]
    assert kinds(found, "docker", "x.trusted.org/a:1") == ["insecureAcceptAnything"]
    assert kinds(found, "docker", "quay.io/a:1") == ["signedBy"]
    assert kinds(found, "dir", "/data/x") == ["insecureAcceptAnything"]
    assert kinds(found, "dir", "/database") == ["reject"]
    assert kinds(found, "oci", "/x") == ["reject"]


@pytest.mark.parametrize("bad", [
    [], {}, {"default": []}, {"default": [{"type": "nonsense"}]}, {"default": ["reject"]}, {"default": ACCEPT, "unknown": 1},
    {"default": [{"type": "reject", "keyPath": "/x"}]}, {"default": ACCEPT, "transports": []}, {"default": None},
    {"default": ACCEPT, "transports": {"docker": []}}, {"default": ACCEPT, "transports": {"docker": {"a.io": []}}},
    {"default": "reject"}, {"default": [{}]}, {"default": [{"type": None}]}, {"default": [{"type": ["reject"]}]},
    {"default": ACCEPT, "transports": {"dir": {"relative": ACCEPT}}}, {"default": ACCEPT, "transports": {"dir": {"/": ACCEPT}}},
    {"default": ACCEPT, "transports": {"oci": {"/a/../b": ACCEPT}}}, {"default": ACCEPT, "transports": {"oci": {"//a": ACCEPT}}},
    {"default": ACCEPT, "transports": {"docker-archive": {"/a": ACCEPT}}},
    {"default": ACCEPT, "transports": {"docker-daemon": {"sha256:00": ACCEPT}}},
    {"default": ACCEPT, "transports": {"containers-storage": {"docker.io": ACCEPT}}},
])
def test_a_policy_with_mistakes_is_refused(bad, tmp_path):
    with pytest.raises(WrongPolicy):
        policy.parse(bad, "/p")
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(Corrupt, match=f'invalid policy in "{path}"') as caught:
        policy.load({}, home="/nowhere", named=str(path))
    assert str(path) in hints(caught.value)[0]


def test_requirements_are_read():
    assert one(**SIGNED[0]) == Requirement(kind="signedBy", key_type="GPGKeys", keys=KeySource(paths=("/k",)))
    assert one(type="signedBy", keyType="GPGKeys", keyPaths=["/a", "/b"], signedIdentity={"type": "matchRepository"}) == Requirement(
        kind="signedBy", key_type="GPGKeys", keys=KeySource(paths=("/a", "/b")), identity=SignedIdentity(kind="matchRepository"))
    data = base64.b64encode(b"key").decode()
    assert one(type="signedBy", keyType="GPGKeys", keyData=data).keys == KeySource(data=(b"key",))
    assert one(type="sigstoreSigned", keyDatas=[data, data]).keys == KeySource(data=(b"key", b"key"))
    found = one(type="sigstoreSigned", fulcio=FULCIO, rekorPublicKeyPath="/r")
    assert found.fulcio == FulcioRoots(ca=KeySource(paths=("/ca",)), oidc_issuer="https://issuer", subject_email="a@b")
    assert found.rekor == KeySource(paths=("/r",))
    found = one(type="sigstoreSigned", pki={"caRootsPath": "/ca", "subjectHostname": "x.org"})
    assert found.pki == PkiRoots(roots=KeySource(paths=("/ca",)), intermediates=KeySource(), subject_hostname="x.org")


@pytest.mark.parametrize("bad", [
    {"keyType": "GPGKeys"}, {"keyType": "GPGKeys", "keyPath": "/a", "keyData": "YQ=="}, {"keyPath": "/a"},
    {"keyType": "OtherKeys", "keyPath": "/a"}, {"keyType": "GPGKeys", "keyPaths": []}, {"keyType": "GPGKeys", "keyData": "!"},
    {"keyType": "GPGKeys", "keyData": "YQ"}, {"keyType": "GPGKeys", "keyPath": 1}, {"keyType": "GPGKeys", "keyPath": ""},
    {"keyType": "GPGKeys", "keyPath": "/a", "keypath": "/b"}, {"keyType": "GPGKeys", "keyPath": "/a", "keyDatas": ["YQ=="]},
    {"keyType": "GPGKeys", "keyPath": "/a", "signedIdentity": {}},
    {"keyType": "GPGKeys", "keyPath": "/a", "signedIdentity": {"type": "matchAnything"}},
    {"keyType": "GPGKeys", "keyPath": "/a", "signedIdentity": {"type": "matchExact", "dockerReference": "x"}},
])
def test_mistakes_in_signed_by(bad):
    with pytest.raises(WrongPolicy, match="here"):
        one(type="signedBy", **bad)


@pytest.mark.parametrize("bad", [
    {}, {"keyPath": "/a", "keyDatas": ["YQ=="]}, {"fulcio": FULCIO}, {"fulcio": FULCIO, "keyPath": "/a", "rekorPublicKeyPath": "/r"},
    {"fulcio": {**FULCIO, "caData": "YQ=="}, "rekorPublicKeyPath": "/r"}, {"fulcio": {"caPath": "/a"}, "rekorPublicKeyPath": "/r"},
    {"fulcio": {**FULCIO, "more": 1}, "rekorPublicKeyPath": "/r"}, {"keyType": "GPGKeys", "keyPath": "/a"},
    {"pki": {"caRootsPath": "/a"}}, {"pki": {"subjectEmail": "a@b"}},
    {"pki": {"caRootsPath": "/a", "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/r"},
    {"keyPath": "/a", "rekorPublicKeyPath": "/r", "rekorPublicKeyData": "YQ=="},
])
def test_mistakes_in_sigstore_signed(bad):
    with pytest.raises(WrongPolicy, match="here"):
        one(type="sigstoreSigned", **bad)


@pytest.mark.parametrize(("said", "expected"), [
    ({"type": "matchExact"}, SignedIdentity(kind="matchExact")),
    ({"type": "exactReference", "dockerReference": "nginx:1"},
     SignedIdentity(kind="exactReference", name="docker.io/library/nginx:1")),
    ({"type": "exactRepository", "dockerRepository": "a.io/b"}, SignedIdentity(kind="exactRepository", name="a.io/b")),
    ({"type": "remapIdentity", "prefix": "mirror.io:5000", "signedPrefix": "docker.io/library"},
     SignedIdentity(kind="remapIdentity", prefix="mirror.io:5000", signed_prefix="docker.io/library")),
])
def test_identities_are_read(said, expected):
    assert requirements.parse_identity(said, "here") == expected


@pytest.mark.parametrize("bad", [
    {"type": "exactReference", "dockerReference": "nginx"}, {"type": "exactReference"},
    {"type": "exactReference", "dockerReference": "UPPER:1"}, {"type": "exactRepository"},
    {"type": "remapIdentity", "prefix": "a.io"}, {"type": "remapIdentity", "prefix": "a.io/b:1", "signedPrefix": "b.io"},
    {"type": "remapIdentity", "prefix": "a.io/", "signedPrefix": "b.io"}, {"type": "remapIdentity", "prefix": "a", "signedPrefix": "b.io"},
])
def test_mistakes_in_identities(bad):
    with pytest.raises(WrongPolicy):
        requirements.parse_identity(bad, "here")


def test_files_are_found_in_order(tmp_path):
    home, etc = tmp_path / "home", tmp_path / "etc"
    etc.mkdir()
    with pytest.raises(PolicyMissing, match=f"open {etc}/policy.json: no such file or directory") as caught:
        policy.load({}, home=str(home), administrator=str(etc))
    assert f"{etc}/policy.json" in hints(caught.value)[0]
    (etc / "policy.json").write_text(json.dumps({"default": REJECT}))
    assert policy.load({}, home=str(home), administrator=str(etc)) == Policy(
        default=(Requirement(kind="reject"),), path=f"{etc}/policy.json")
    (home / ".config/containers").mkdir(parents=True)
    (home / ".config/containers/policy.json").write_text(json.dumps({"default": ACCEPT}))
    assert policy.load({}, home=str(home), administrator=str(etc)).default[0].kind == "insecureAcceptAnything"
    named = policy.load({}, home=str(home), named=str(etc / "policy.json"))
    assert (named.default[0].kind, named.path) == ("reject", str(etc / "policy.json"))


@pytest.mark.parametrize("text", [
    "{", "", "[", '{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}',
    '{"default": [{"type": "reject", "type": "insecureAcceptAnything"}]}', '{"default": [{"type": "reject"}]} x', "[" * 5000, "\0",
    '{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"a": [{"type": "reject"}], "a": []}}}',
])
def test_a_file_that_cannot_be_read_is_no_policy(tmp_path, text):
    with pytest.raises(PolicyMissing):
        policy.load({}, home="/nowhere", named=f"{tmp_path}/missing")
    (tmp_path / "policy.json").write_text(text)
    with pytest.raises(Corrupt, match=f'invalid policy in "{tmp_path}/policy.json"'):
        policy.load({}, home="/nowhere", administrator=str(tmp_path))


def test_a_policy_that_is_a_directory_or_a_broken_link_is_no_policy(tmp_path):
    (tmp_path / "policy.json").mkdir()
    with pytest.raises(Corrupt, match=r"policy\.json"):
        policy.load({}, home="/nowhere", administrator=str(tmp_path))
    own = tmp_path / "home/.config/containers"
    own.mkdir(parents=True)
    (own / "policy.json").symlink_to("/nowhere")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/policy.json").write_text(json.dumps({"default": ACCEPT}))
    with pytest.raises(PolicyMissing):
        policy.load({}, home=str(tmp_path / "home"), administrator=str(tmp_path / "etc"))

"""policy.json: which requirements an image must meet."""

from __future__ import annotations

import json

import pytest

from podling.config import policy
from podling.config.policy import Policy, scopes_of
from podling.errors import Corrupt, PolicyForbids, Unsupported

ACCEPT = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]
SIGNED = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]


def parse(**content):
    return policy.parse({"default": REJECT, **content}, "/etc/containers/policy.json")


def kinds(found, transport, identity):
    return [requirement.kind for requirement in found.requirements(transport, identity)]


def test_scopes_of_a_name():
    assert scopes_of("docker", "a.b.io:5000/c/d:tag") == ["a.b.io:5000/c/d:tag", "a.b.io:5000/c/d", "a.b.io:5000/c",
                                                          "a.b.io:5000", "*.b.io", "*.io"]
    assert scopes_of("docker", "docker.io/library/nginx@sha256:00")[:2] == ["docker.io/library/nginx@sha256:00",
                                                                             "docker.io/library/nginx"]
    assert scopes_of("dir", "/a/b/") == ["/a/b", "/a", "/"]
    assert scopes_of("docker-daemon", "sha256:00") == ["sha256:00"]


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


def test_accepting_rejecting_and_what_cannot_be_verified():
    Policy().check("docker", "docker.io/library/nginx:1")
    with pytest.raises(PolicyForbids, match=r"Running image docker://docker\.io/x:1 is rejected by policy"):
        parse().check("docker", "docker.io/x:1")
    with pytest.raises(Unsupported, match=r"requires signedBy .*refused"):
        parse(default=SIGNED).check("docker", "docker.io/x:1")
    with pytest.raises(Unsupported):
        parse(default=[*ACCEPT, *SIGNED]).check("oci", "/x")


@pytest.mark.parametrize("bad", [
    [], {}, {"default": []}, {"default": [{"type": "nonsense"}]}, {"default": ["reject"]}, {"default": ACCEPT, "unknown": 1},
    {"default": [{"type": "reject", "keyPath": "/x"}]}, {"default": ACCEPT, "transports": []},
    {"default": ACCEPT, "transports": {"docker": []}}, {"default": ACCEPT, "transports": {"docker": {"a.io": []}}},
    {"default": "reject"},
])
def test_a_policy_with_mistakes_is_refused(bad):
    with pytest.raises(Corrupt, match="invalid policy in /p"):
        policy.parse(bad, "/p")


def test_files_are_found_in_order(tmp_path):
    home, etc = tmp_path / "home", tmp_path / "etc"
    etc.mkdir()
    assert policy.load({}, home=str(home), administrator=str(etc)) == Policy()
    (etc / "policy.json").write_text(json.dumps({"default": REJECT}))
    assert policy.load({}, home=str(home), administrator=str(etc)).default[0].kind == "reject"
    (home / ".config/containers").mkdir(parents=True)
    (home / ".config/containers/policy.json").write_text(json.dumps({"default": ACCEPT}))
    assert policy.load({}, home=str(home), administrator=str(etc)).default[0].kind == "insecureAcceptAnything"
    named = policy.load({}, home=str(home), named=str(etc / "policy.json"))
    assert (named.default[0].kind, named.path) == ("reject", str(etc / "policy.json"))


def test_a_file_that_cannot_be_read_is_not_the_built_in_policy(tmp_path):
    with pytest.raises(Corrupt):
        policy.load({}, home="/nowhere", named=f"{tmp_path}/missing")
    (tmp_path / "policy.json").write_text("{")
    with pytest.raises(Corrupt, match="invalid policy in"):
        policy.load({}, home="/nowhere", administrator=str(tmp_path))


def test_details_of_requirements_are_kept():
    assert parse(default=SIGNED).default[0].details == {"keyType": "GPGKeys", "keyPath": "/k"}

"""What texts may mean among images' names; the answers are Podman's."""

from __future__ import annotations

import pytest

from podling.store import naming
from podling.values.reference import parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("foo", ["localhost/foo:latest", "docker.io/library/foo:latest"]),
        ("foo:v2", ["localhost/foo:v2", "docker.io/library/foo:v2"]),
        ("me/foo", ["localhost/me/foo:latest", "docker.io/me/foo:latest"]),
        ("quay.io/foo", ["quay.io/foo:latest"]),
        ("docker.io/foo", ["docker.io/library/foo:latest"]),
        ("localhost/foo:1", ["localhost/foo:1"]),
        ("foo@sha256:" + "a" * 64, ["localhost/foo@sha256:" + "a" * 64, "docker.io/library/foo@sha256:" + "a" * 64]),
        ("x.io/foo:1@sha256:" + "a" * 64, ["x.io/foo:1@sha256:" + "a" * 64]),
    ],
)
def test_candidates(text, found):
    assert naming.candidates(parse(text), None) == found


def test_candidates_of_registries_conf_come_between_localhost_and_docker_hub():
    asked = []

    def short_names(name):
        asked.append(name)
        return ["alias.io/a/b", "quay.io/foo"]

    assert naming.candidates(parse("foo:1"), short_names) == [
        "localhost/foo:1",
        "alias.io/a/b:1",
        "quay.io/foo:1",
        "docker.io/library/foo:1",
    ]
    assert naming.candidates(parse("x.io/foo:1"), short_names) == ["x.io/foo:1"]
    assert asked == ["foo"]


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("docker.io/library/nginx:latest", "docker.io/library/nginx"),
        ("localhost:5000/x:1", "localhost:5000/x"),
        ("localhost:5000/x", "localhost:5000/x"),
        ("x.io/a/b", "x.io/a/b"),
    ],
)
def test_repositories(name, repository):
    assert naming.repository(name) == repository


def test_repo_digests_are_every_repository_with_every_digest():
    assert naming.repo_digests(["b/x:1", "b/x:2", "a:5000/x:1"], ["sha256:1", "sha256:2"], ["c/x@sha256:3"]) == (
        "a:5000/x@sha256:1",
        "a:5000/x@sha256:2",
        "b/x@sha256:1",
        "b/x@sha256:2",
        "c/x@sha256:3",
    )


def test_ids_and_their_beginnings():
    assert naming.is_id("a" * 64)
    assert not naming.is_id("a" * 63)
    assert not naming.is_id("g" * 64)
    assert naming.is_prefix("a")
    assert not naming.is_prefix("")
    assert not naming.is_prefix("xyz")
    assert not naming.is_prefix("a" * 64)

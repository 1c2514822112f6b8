"""Image references."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument
from podling.values import reference

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(("text", "parts", "familiar"), [
    ("nginx", ("", "nginx", "", ""), "nginx"),
    ("me/app:1", ("", "me/app", "1", ""), "me/app:1"),
    ("docker.io/nginx", ("docker.io", "library/nginx", "", ""), "nginx"),
    ("docker.io/library/nginx:1.25", ("docker.io", "library/nginx", "1.25", ""), "nginx:1.25"),
    ("docker.io/me/app", ("docker.io", "me/app", "", ""), "me/app"),
    ("docker.io/library/a/b", ("docker.io", "library/a/b", "", ""), "library/a/b"),
    ("index.docker.io/nginx", ("docker.io", "library/nginx", "", ""), "nginx"),
    ("quay.io/a/b/c:v1.2_3-x", ("quay.io", "a/b/c", "v1.2_3-x", ""), "quay.io/a/b/c:v1.2_3-x"),
    ("localhost/x", ("localhost", "x", "", ""), "localhost/x"),
    ("localhost:5000/x:1", ("localhost:5000", "x", "1", ""), "localhost:5000/x:1"),
    ("localhost:5000", ("", "localhost", "5000", ""), "localhost:5000"),
    ("Example.com/x", ("Example.com", "x", "", ""), "Example.com/x"),
    ("[fe80::1]:5000/x", ("[fe80::1]:5000", "x", "", ""), "[fe80::1]:5000/x"),
    (f"nginx@{DIGEST}", ("", "nginx", "", DIGEST), f"nginx@{DIGEST}"),
    (f"quay.io/x:1@{DIGEST}", ("quay.io", "x", "1", DIGEST), f"quay.io/x:1@{DIGEST}"),
    ("a__b/c--d.e_f", ("", "a__b/c--d.e_f", "", ""), "a__b/c--d.e_f"),
])
def test_references_are_read(text, parts, familiar):
    found = reference.parse(text)
    assert (found.registry, found.repository, found.tag, found.digest) == parts
    assert found.is_short == (parts[0] == "")
    assert found.familiar() == familiar
    assert reference.parse(str(found)) == found


@pytest.mark.parametrize("text", [
    "a:", ":a", "a:b:c", "-a", "a-", "a/", "/a", "a//b", "foo..bar", "a___b", "a._b", "a b", "a\n", "é", "a@",
    "a@sha256:abc", "a:-x", "a:" + "x" * 129,
    "foo-.com/x", "localhost:/x", "localhost:5x/x", "[::1/x", "[::1]5000/x", "[]:5000/x", "a@b@c", f"a@{DIGEST}x", "a/b:1/c",
    "http://x.y/z", "\udcff",
])
def test_malformed_references_are_refused(text):
    with pytest.raises(InvalidArgument, match=r"^invalid (reference format|checksum digest \w+)$"):
        reference.parse(text)


@pytest.mark.parametrize(("text", "message"), [
    ("", "repository name must have at least one component"),
    ("NGINX", "invalid reference format: repository name (NGINX) must be lowercase"),
    ("quay.io/Foo:1", "invalid reference format: repository name (Foo) must be lowercase"),
    ("x" * 256, "repository name must not be more than 255 characters"),
    ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
    ("a@md5:" + "a" * 32, "unsupported digest algorithm"),
    ("a@sha256:" + "a" * 63, "invalid checksum digest length"),
    ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
])
def test_errors_say_what_is_wrong(text, message):
    with pytest.raises(InvalidArgument) as failure:
        reference.parse(text)
    assert failure.value.message == message


def test_short_names_are_qualified():
    assert str(reference.parse("nginx").qualified("docker.io")) == "docker.io/library/nginx"
    assert str(reference.parse("me/app:1").qualified("docker.io")) == "docker.io/me/app:1"
    assert str(reference.parse("nginx").qualified("quay.io")) == "quay.io/nginx"


def test_tags_are_added_where_nothing_else_tells():
    assert str(reference.parse("quay.io/x").with_tag()) == "quay.io/x:latest"
    assert str(reference.parse("quay.io/x:1").with_tag()) == "quay.io/x:1"
    assert str(reference.parse(f"quay.io/x@{DIGEST}").with_tag()) == f"quay.io/x@{DIGEST}"
    assert str(reference.parse(f"quay.io/x:1@{DIGEST}").without_tag()) == f"quay.io/x@{DIGEST}"
    assert reference.parse("quay.io/x:1").name == "quay.io/x"


def test_digests_are_taken_apart():
    assert reference.parse_digest(DIGEST) == ("sha256", "a1" * 32)
    with pytest.raises(InvalidArgument, match="invalid checksum digest format"):
        reference.parse_digest("sha256")


def test_beginnings_of_ids_are_recognised():
    assert reference.is_id_prefix("4c01")
    assert not any(reference.is_id_prefix(text) for text in ("", "4C01", "nginx", "a" * 65))

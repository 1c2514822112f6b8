"""Manifests of strangers: read, chosen from, refused; and written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import Corrupt, InvalidArgument, NotFound, PodlingError, Unsupported, hints
from podling.image import manifest
from podling.image.manifest import Index, Manifest, choose, parse, parse_manifest
from podling.image.places import found_image
from podling.image.platforms import format_platform, parse_platform, wanted_platforms
from podling.model import Platform
from tests.support.images import simple_image

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": manifest.OCI_CONFIG, "digest": DIGEST, "size": 7}
LAYER = {"mediaType": manifest.OCI_LAYER + "+gzip", "digest": DIGEST, "size": 9}


def check(error: PodlingError) -> None:
    assert error.message


def image(**changes: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER], **changes}
    return json.dumps({name: field for name, field in value.items() if field != "absent"}).encode()


def index(*platforms: str | None, **changes: Any) -> bytes:
    manifests = []
    for number, text in enumerate(platforms):
        entry: dict[str, Any] = {"mediaType": manifest.OCI_MANIFEST, "digest": "sha256:" + f"{number:064x}", "size": 1}
        if text is not None:
            parts = text.split("/")
            entry["platform"] = {"os": parts[0], "architecture": parts[1], **({"variant": parts[2]} if len(parts) > 2 else {})}
        manifests.append(entry)
    return json.dumps({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": manifests, **changes}).encode()


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_images_of_both_formats_are_read(docker: bool, compression: str) -> None:
    made = simple_image({"a": b"1"}, {"b": b"2"}, docker=docker, compression=compression)
    found = parse_manifest(made.manifest)
    assert found.is_docker == docker
    assert [layer.digest for layer in found.layers] == made.layers
    assert manifest.LAYER_TYPES[found.layers[0].media_type] == compression


def test_a_manifest_without_media_type_is_what_its_sender_or_its_fields_say() -> None:
    assert parse(image(mediaType="absent")).media_type == manifest.OCI_MANIFEST
    assert parse(image(mediaType="absent"), manifest.DOCKER_MANIFEST).media_type == manifest.DOCKER_MANIFEST
    assert parse(index("linux/amd64", mediaType=None)).media_type == manifest.OCI_INDEX
    assert parse(image(), "text/plain; charset=utf-8").media_type == manifest.OCI_MANIFEST


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is not JSON"),
    (b"[]", "expected an object, found a list"),
    (b"{" * 100, "is not JSON"),
    (b'{"a":' * 50_000, "nested too deeply"),
    (b"[" * 2_000_000, "nested too deeply"),
    (b'{"schemaVersion": ' + b"9" * 5000 + b"}", "is not JSON"),
    (b"\xff\xfe{}", "invalid UTF-8"),
    (b"{}", "unknown schemaVersion 0"),
    (image(schemaVersion="2"), "schemaVersion: expected a whole number, found a string"),
    (image(schemaVersion=True), "schemaVersion: expected a whole number, found true or false"),
    (image(schemaVersion=3), "unknown schemaVersion 3"),
    (image(config="absent"), "digest"),
    (image(config=[]), "config: expected an object, found a list"),
    (image(layers={}), "layers: expected a list, found an object"),
    (image(layers=[1]), "layers[0]: expected an object, found a number"),
    (image(layers=[{**LAYER, "size": -1}]), "size: -1 is out of range"),
    (image(layers=[{**LAYER, "size": 1 << 70}]), "is out of range"),
    (image(layers=[{**LAYER, "size": 1.5}]), "size: expected a whole number, found a number"),
    (image(layers=[{**LAYER, "digest": "sha256:../../etc/passwd"}]), "layers[0]: digest"),
    (image(layers=[{**LAYER, "digest": "md5:" + "a" * 32}]), "unsupported digest algorithm"),
    (image(layers=[{**LAYER, "mediaType": 5}]), "mediaType: expected a string, found a number"),
    (image(layers=[{**LAYER, "urls": "x"}]), "urls: expected a list, found a string"),
    (image(annotations={"a": 1}), "annotations: a: expected a string, found a number"),
    (image(annotations={"a": "\ud800"}), "characters that are not allowed"),
    (image(annotations={"a": "b\0c"}), "characters that are not allowed"),
    (image(manifests=[]), 'has both "manifests" and'),
    (index(layers=[]), 'has both "manifests" and'),
    (image(mediaType=manifest.OCI_INDEX), "has not that type's fields"),
    (index(mediaType=manifest.OCI_MANIFEST), "has not that type's fields"),
])
def test_a_broken_manifest_is_refused_by_the_name_of_what_is_wrong(content: bytes, words: str) -> None:
    with pytest.raises(Corrupt) as failure:
        parse(content)
    assert words in failure.value.message


def test_a_manifest_called_an_index_is_refused() -> None:
    with pytest.raises(Corrupt, match="was sent as"):
        parse(image(), manifest.OCI_INDEX)
    with pytest.raises(Corrupt, match="was sent as"):
        parse(index("linux/amd64"), manifest.DOCKER_MANIFEST)


def test_a_manifest_is_bounded() -> None:
    with pytest.raises(Corrupt, match="more than the 4194304"):
        parse(b" " * (manifest.MANIFEST_LIMIT + 1))


def test_more_layers_than_can_be_mounted_are_refused() -> None:
    with pytest.raises(Unsupported, match="600 layers"):
        parse(image(layers=[LAYER] * 600))


@pytest.mark.parametrize(("content", "words"), [
    (image(schemaVersion=1), "schema 1"),
    (json.dumps({"schemaVersion": 1, "fsLayers": [], "history": []}).encode(), "schema 1"),
    (image(mediaType="application/x-strange"), "unsupported manifest media type 'application/x-strange'"),
    (image(layers=[{**LAYER, "mediaType": "application/x-layer"}]), "layers[0] has the unknown media type 'application/x-layer'"),
    (image(config={**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}), "artifact of type 'application/vnd.cncf.helm"),
    (image(config={**CONFIG, "mediaType": "application/vnd.oci.empty.v1+json"}, artifactType="x/y"), "artifact of type 'x/y'"),
])
def test_what_is_no_image_of_ours_is_named(content: bytes, words: str) -> None:
    with pytest.raises(Unsupported) as failure:
        parse(content)
    assert words in failure.value.message


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "platform", "annotations", "urls"]),
    inner), max_leaves=20)


@given(_JSON)
def test_any_json_is_a_manifest_or_a_clear_error(value: object) -> None:
    try:
        assert isinstance(parse(json.dumps(value).encode()), (Manifest, Index))
    except PodlingError as error:
        check(error)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_clear_error(content: bytes) -> None:
    with pytest.raises(PodlingError):
        parse(content)


@given(st.dictionaries(st.sampled_from(["config", "rootfs", "created", "architecture", "history", "os"]), _JSON))
def test_any_configuration_is_an_image_or_a_clear_error(value: dict[str, object]) -> None:
    content = image(layers=[])
    try:
        found_image(content, parse_manifest(content), json.dumps(value).encode(), names=(), digest=DIGEST)
    except PodlingError as error:
        check(error)


# --- choosing ---------------------------------------------------------------------------------------------------------


def chosen(content: bytes, asked: Platform | None, host: str) -> int:
    found = parse(content)
    assert isinstance(found, Index)
    return int(choose(found, wanted_platforms(asked, parse_platform(host))).digest[7:], 16)


@pytest.mark.parametrize(("there", "asked", "host", "expected"), [
    (["linux/arm64", "linux/amd64"], None, "linux/amd64", 1),
    (["linux/arm/v6", "linux/arm/v7", "linux/arm/v5"], None, "linux/arm/v7", 1),
    (["linux/arm/v5", "linux/arm/v6"], None, "linux/arm/v7", 1),
    (["linux/arm/v7", "linux/arm/v6"], None, "linux/arm/v6", 1),
    (["linux/arm/v7", "linux/arm/v8"], None, "linux/arm/v8", 1),
    (["linux/arm/v7", "linux/arm"], None, "linux/arm/v6", 1),
    (["linux/arm64/v8"], None, "linux/arm64/v8", 0),
    (["linux/arm64"], None, "linux/arm64/v8", 0),
    (["linux/amd64", "linux/arm64/v8"], "linux/arm64", "linux/amd64", 1),
    (["linux/amd64/v3", "linux/amd64"], None, "linux/amd64", 1),
    (["linux/amd64", "linux/amd64/v2"], "linux/amd64/v3", "linux/amd64", 1),
    (["linux/amd64", "linux/amd64/v1"], "linux/amd64/v3", "linux/amd64", 1),
    (["linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", "linux/amd64", 1),
    (["windows/amd64", "linux/amd64"], None, "linux/amd64", 1),
    (["unknown/unknown", None, "linux/s390x"], None, "linux/amd64", 1),
    (["linux/amd64", "linux/amd64"], None, "linux/amd64", 0),
    (["linux/amd64"], "linux/x86_64", "linux/arm64", 0),
])
def test_the_platform_is_chosen_like_podman(there: list[str | None], asked: str | None, host: str, expected: int) -> None:
    assert chosen(index(*there), parse_platform(asked) if asked else None, host) == expected


def test_what_there_is_is_told_where_nothing_fits() -> None:
    with pytest.raises(NotFound) as failure:
        chosen(index("linux/s390x", "linux/arm/v7", "unknown/unknown"), None, "linux/amd64")
    assert failure.value.message == 'no image found in manifest list for architecture "amd64", variant "", OS "linux"'
    assert hints(failure.value) == ["it has: linux/arm/v7, linux/s390x"]


def test_part_of_a_platform_is_enough() -> None:
    host = parse_platform("linux/arm/v7")
    assert [format_platform(found) for found in wanted_platforms(Platform(os="", architecture="amd64"), host)] == [
        "linux/amd64", "linux/amd64/v1"]
    assert format_platform(wanted_platforms(Platform(os="windows", architecture=""), host)[0]) == "windows/arm/v7"


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d"])
def test_a_platform_has_two_or_three_parts(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_platform(text)


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True])
def test_what_is_written_is_read(docker: bool) -> None:
    made = parse_manifest(simple_image({"a": b"1"}, docker=docker).manifest)
    assert parse_manifest(manifest.build(made)) == made


def test_conversion_keeps_the_blobs() -> None:
    made = parse_manifest(simple_image({"a": b"1"}, {"b": b"2"}).manifest)
    there = manifest.converted(made, docker=True)
    assert there.is_docker
    assert [layer.media_type for layer in there.layers] == [manifest.DOCKER_LAYER + ".gzip"] * 2
    assert manifest.converted(there, docker=False) == made

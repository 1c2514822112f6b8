"""A registry that says one thing and sends another: every lie is an error with words, and nothing of the image is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from podling.errors import Corrupt, RegistryError, explain
from podling.image.artifacts import Artifacts
from podling.image.manifest import Descriptor
from podling.image.registry import blobs
from podling.image.registry.client import Registry
from podling.image.registry.connection import Patience
from tests.support.hostile import HostileRegistry
from tests.support.images import OCI_INDEX, sha256, simple_image
from tests.support.stores import Store, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["store"]


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileRegistry]:
    with HostileRegistry() as server:
        monkeypatch.setattr(Registry, "_ping", lambda self: self._ping_scheme("http"))
        yield server


def test_another_manifest_for_a_digest_is_refused(hostile: HostileRegistry, store: Store) -> None:
    asked, other = simple_image({"etc/a": b"1"}), simple_image({"etc/a": b"2"})
    digest = hostile.add_image("x", "1", {**asked.blobs, **other.blobs}, asked.manifest, asked.media_type)
    hostile.manifests["x", digest] = (other.manifest, other.media_type)
    with pytest.raises(Corrupt, match="does not match its digest"):
        store.pull(f"{hostile.host}/x@{digest}")
    assert store.images.list() == []
    assert store.leftovers() == []
    assert not hostile.asked("GET /v2/x/blobs")


def test_another_manifest_for_an_instance_of_a_list_is_refused(hostile: HostileRegistry, store: Store) -> None:
    asked, other = simple_image({"etc/a": b"1"}), simple_image({"etc/a": b"2"})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [asked.descriptor]}).encode()
    hostile.add_image("x", "1", {**asked.blobs, **other.blobs}, index, OCI_INDEX)
    hostile.manifests["x", asked.digest] = (other.manifest, other.media_type)
    with pytest.raises(Corrupt, match="does not match its digest"):
        store.pull(f"{hostile.host}/x:1")
    assert store.images.list() == []
    assert not hostile.asked("GET /v2/x/blobs")


@pytest.mark.parametrize("change", [lambda content: content + b" ", lambda content: content[:-1] + b" ", lambda content: b"{}"])
def test_another_configuration_is_refused(hostile: HostileRegistry, store: Store, change) -> None:  # type: ignore[no-untyped-def]
    image = simple_image({"etc/a": b"1"})
    hostile.add_image("x", "1", image.blobs, image.manifest, image.media_type)
    hostile.blobs[sha256(image.config)] = change(image.config)
    with pytest.raises((Corrupt, RegistryError)) as failure:
        store.pull(f"{hostile.host}/x:1", retries=0)
    assert explain(failure.value)
    assert store.images.list() == []
    assert store.leftovers() == []


def test_an_artifacts_file_that_is_another_is_not_kept(hostile: HostileRegistry, tmp_path: Path) -> None:
    content = b"true" * 1000
    descriptor = Descriptor(media_type="text/plain", digest=sha256(content), size=len(content))
    kept = Artifacts(str(tmp_path / "artifacts"))
    registry = Registry(hostile.host, insecure=True, patience=Patience().replace(retries=0))
    for lie in (b"lies" * 1000, content + b"more", content[:-1]):
        hostile.blobs[descriptor.digest] = lie
        stream = blobs.stream(registry, "x", descriptor)
        if lie.startswith(content):
            kept.add_blob(stream, descriptor.digest)         # what goes beyond the size is never read
            (tmp_path / "artifacts/blobs/sha256" / descriptor.digest[7:]).unlink()
            continue
        with pytest.raises(Corrupt, match="does not match its digest"):
            kept.add_blob(stream, descriptor.digest)
        assert list((tmp_path / "artifacts/blobs/sha256").iterdir()) == []
    registry.close()

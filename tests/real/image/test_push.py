"""Pushing to Debian's docker-registry: what is asked of it, and what it has afterwards."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from podling.errors import RegistryError
from podling.image import workers
from podling.image.outgoing import Form
from podling.image.pushing import Push
from podling.image.remote import Access
from podling.values import reference
from tests.support.hostile import HostileRegistry, Reply
from tests.support.images import TestImage, simple_image
from tests.support.registry import RunningRegistry, registry
from tests.support.stores import Store, store

if TYPE_CHECKING:
    from pathlib import Path

    from podling.model import Image

__all__ = ["registry", "store"]
SMALL = simple_image({"etc/a": b"lower"}, {"etc/a": b"upper", "usr/c": os.urandom(300_000)}, {"etc/d": b"d" * 1000})
LARGE = simple_image({"etc/a": os.urandom(workers.SMALL)}, {"etc/b": b"small"}, {"usr/c": os.urandom(5 << 20)})
IMAGES = pytest.mark.parametrize("made", [SMALL, LARGE], ids=["threads", "processes"])


def stored(store: Store, tmp_path: Path, image: TestImage) -> Image:
    """The image, in our store."""
    image.write_layout(tmp_path / "layout")
    return store.load(f"oci:{tmp_path / 'layout'}")[0]


def push(store: Store, image: Image, name: str, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    """Push; what was told meanwhile."""
    told: list[tuple[str, dict[str, Any]]] = []
    access = Access(insecure=True, retries=0)
    Push(store.images, image, reference.parse(name), access, form=Form(), progress=lambda kind, **said: told.append((kind, said)),
         **options).run()
    return told


def uploads(server: RunningRegistry, name: str) -> list[str]:
    """Uploads that were begun in a repository and not ended."""
    place = server.directory / "storage/docker/registry/v2/repositories" / name / "_uploads"
    return [path.parent.name for path in place.glob("*/startedat")]


def forget_blobs(server: RunningRegistry) -> None:
    """The registry loses every blob: mounts are refused from now on."""
    shutil.rmtree(server.directory / "storage/docker/registry/v2/blobs")


def layers(server: RunningRegistry, name: str) -> list[str]:
    """The digests of an image's layers, which skopeo can read."""
    server.skopeo("copy", f"docker://{server.host}/{name}", f"dir:{server.directory / 'copied'}")
    return [layer["digest"] for layer in json.loads(server.skopeo("inspect", "--raw", f"docker://{server.host}/{name}"))["layers"]]


@IMAGES
def test_a_refused_mount_is_the_upload(registry: RunningRegistry, store: Store, tmp_path: Path, made: TestImage) -> None:
    image = stored(store, tmp_path, made)
    push(store, image, f"{registry.host}/first:1")
    forget_blobs(registry)
    registry.forget_log()
    push(store, image, f"{registry.host}/second:1")
    begun = registry.requests("POST", "/v2/second/blobs/uploads/")
    assert len([line for line in begun if "mount=" in line]) == len(made.tars)
    assert len(begun) == len(made.tars) + 1                  # the configuration's
    assert not registry.requests("DELETE")
    assert uploads(registry, "second") == []
    assert len(set(layers(registry, "second:1"))) == len(made.tars)


@IMAGES
def test_what_another_repository_has_is_mounted(registry: RunningRegistry, store: Store, tmp_path: Path, made: TestImage) -> None:
    image = stored(store, tmp_path, made)
    push(store, image, f"{registry.host}/here:1")
    registry.forget_log()
    told = push(store, image, f"{registry.host}/there:1")
    assert len(registry.requests("POST", "/v2/there/blobs/uploads/?mount=")) == len(made.tars)
    assert len(registry.requests("PUT", "/v2/there/blobs/uploads/")) == 1
    assert layers(registry, "there:1") == layers(registry, "here:1")
    assert uploads(registry, "there") == []
    ends = {said["key"]: said["result"] for kind, said in told if kind == "end"}
    assert ends == {**{f"{number}": "skipped: already exists" for number in range(len(made.tars))}, "config": "done"}


@IMAGES
def test_what_is_there_is_not_sent_again(registry: RunningRegistry, store: Store, tmp_path: Path, made: TestImage) -> None:
    image = stored(store, tmp_path, made)
    push(store, image, f"{registry.host}/twice:1")
    registry.forget_log()
    push(store, image, f"{registry.host}/twice:2")
    assert not registry.requests("POST")
    assert [line.partition(" HTTP")[0].rpartition("/")[2] for line in registry.requests("PUT")] == ["2"]


def test_only_one_of_several_refused_mounts_is_left_open(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    image = stored(store, tmp_path, SMALL)
    for name in ("one", "two", "three"):
        push(store, image, f"{registry.host}/{name}:1")
    forget_blobs(registry)
    registry.forget_log()
    push(store, image, f"{registry.host}/four:1")
    assert len(registry.requests("POST", "/v2/four/blobs/uploads/?mount=")) == 3 * len(SMALL.tars)
    assert len(registry.requests("DELETE", "/v2/four/blobs/uploads/")) == 2 * len(SMALL.tars)
    assert uploads(registry, "four") == []


@IMAGES
def test_a_push_that_is_refused_ends_with_the_registrys_words(store: Store, tmp_path: Path, made: TestImage) -> None:
    image = stored(store, tmp_path, made)
    denied = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
    with HostileRegistry() as server:
        server.script["POST /v2/x/blobs/uploads/"] = [Reply(status=403, body=denied) for _ in range(9)]
        with pytest.raises(RegistryError, match=r"writing blob .* to .*/x"):
            push(store, image, f"{server.host}/x:1")
        assert not server.asked("/manifests/")

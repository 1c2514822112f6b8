"""Podman's own store as an additional one: its images are there at once, and nothing in it changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from podling.database import Database
from podling.errors import Corrupt, InUse, NoSuchImage, NotFound
from podling.linux import mounts
from podling.store import open_images
from podling.store.additional import AdditionalStore, data_name
from podling.store.overlay import ContainerFilesystems
from tests.support import archives

if TYPE_CHECKING:
    from podling.store.images import Images
    from tests.support.sandbox import World

STORE = "/run/podmans"
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /srv/data /etc && echo 1 > /srv/data/one && echo 2 > /srv/data/two && chown 5:6 /srv/data/one && chmod 700 /srv
RUN rm /srv/data/one && ln /srv/data/two /srv/hard && rm /bin/tail
RUN rm -rf /srv/data && mkdir /srv/data && echo 3 > /srv/data/three
LABEL some=thing
USER 5
"""


def podman(world: World, driver: str, *argv: str) -> str:
    return world.podman(
        "--root", f"{STORE}/{driver}", "--runroot", f"{STORE}/run", "--storage-driver", driver, *argv
    ).stdout.strip()


@pytest.fixture(scope="module")
def built(shared_world: World) -> World:
    world = shared_world
    context = world.path("/run/context")
    context.mkdir()
    shutil.copy("/bin/busybox", context / "busybox")
    (context / "Dockerfile").write_text(DOCKERFILE)
    for driver in ("overlay", "vfs"):
        podman(world, driver, "build", "-q", "-t", "localhost/some/image:1", "/run/context")
        podman(world, driver, "tag", "localhost/some/image:1", "quay.io/other/name:2")
    return world


@pytest.fixture(params=["overlay", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def inspected(world: World, driver: str, what: str) -> str:
    return podman(world, driver, "image", "inspect", "--format", what, "localhost/some/image:1")


def open_store(driver: str) -> Images:
    os.makedirs("/run/ours", 0o700, exist_ok=True)
    return open_images(Database("/run/ours/podling.db"), "/run/ours", "", [f"{STORE}/{driver}"])


def test_images_are_those_that_podman_lists(built: World, driver: str):
    def look() -> Any:
        images = open_store(driver)
        return images.resolve("some/image:1"), [image.id for image in images.list()]

    image, ids = built.call(look)
    assert image.id == inspected(built, driver, "{{.Id}}")
    assert image.digest == inspected(built, driver, "{{.Digest}}")
    assert image.names == ("localhost/some/image:1", "quay.io/other/name:2")
    assert str(image.size) == inspected(built, driver, "{{.Size}}")
    assert "[" + " ".join(image.repo_digests) + "]" == inspected(built, driver, "{{.RepoDigests}}")
    assert (image.read_only, image.store) == (True, f"{STORE}/{driver}")
    assert sorted(ids) == sorted(podman(built, driver, "images", "-aq", "--no-trunc").replace("sha256:", "").split())


def test_names_ids_and_digests_are_found(built: World, driver: str):
    def look() -> None:
        images = open_store(driver)
        image = images.resolve("localhost/some/image:1")
        for text in (
            "some/image:1",
            "image:1",
            "name:2",
            "quay.io/other/name:2",
            image.id,
            image.id[:12],
            f"name@{image.digest}",
            f"quay.io/other/name@{image.digest}",
        ):
            assert images.resolve(text) == image, text
        assert images.lookup("nothing") is None
        assert images.get(image.id, image.store) == image
        with pytest.raises(NoSuchImage):
            images.get("f" * 64, image.store)
        with pytest.raises(NotFound, match="/elsewhere"):
            images.get(image.id, "/elsewhere")
        assert images.size(image.id, image.store) == image.size
        assert images.config(image).user == "5"
        assert images.config(image).labels["some"] == "thing"
        assert [archives.digest(one.content) for one in images.manifests(image)] == [image.digest]
        assert images.manifests(image)[0].media_type == "application/vnd.oci.image.manifest.v1+json"
        assert images.history(image)[0].created_by.endswith("USER 5")

    built.call(look)


def test_the_tree_is_the_one_that_podman_mounts(built: World, driver: str):
    theirs = podman(built, driver, "image", "mount", "localhost/some/image:1")
    expected = built.call(archives.snapshot, theirs)
    podman(built, driver, "image", "unmount", "localhost/some/image:1")

    def look() -> Any:
        images = open_store(driver)
        image = images.resolve("some/image:1")
        filesystems = ContainerFilesystems("/run/ours")
        filesystems.make("c" + driver)
        merged = filesystems.mount("c" + driver, images.layer_directories(image.id, image.store))
        found = archives.snapshot(merged)
        with open(f"{merged}/srv/data/three", "w") as file:
            file.write("changed")
        os.unlink(f"{merged}/bin/busybox")
        filesystems.remove("c" + driver)
        return found

    found = built.call(look)
    assert {name: value[:7] for name, value in found.items()} == {name: value[:7] for name, value in expected.items()}
    assert "srv/data/one" not in found
    assert podman(built, driver, "run", "--rm", "--network", "none", "localhost/some/image:1", "cat", "/etc/hostname") != ""


def test_layers_are_packed_as_podman_got_them(built: World):
    def look() -> None:
        images = open_store("overlay")
        image = images.resolve("some/image:1")
        layers = images.layers(image)
        assert tuple(layer.diff_id for layer in layers) == images.config(image).diff_ids
        for layer in layers:
            data = b"".join(images.open_tar(image, layer))
            assert archives.digest(data) == layer.diff_id
            assert len(data) == layer.tar_size

    built.call(look)


def test_nothing_is_written_there(built: World, driver: str):
    def look() -> None:
        top = f"{STORE}/{driver}"
        before = archives.snapshot(top)
        images = open_store(driver)
        image = images.resolve("some/image:1")
        for change in (lambda: images.remove(image), lambda: images.tag(image, "localhost/x:1"), lambda: images.untag(image)):
            with pytest.raises(InUse, match="read-only"):
                change()
        os.makedirs("/run/read-only", exist_ok=True)
        mounts.bind(top, "/run/read-only", read_only=True)
        elsewhere = open_images(images.database, "/run/ours", "", ["/run/read-only"])
        found = elsewhere.resolve("some/image:1")
        filesystems = ContainerFilesystems("/run/ours")
        filesystems.make("read-only")
        merged = filesystems.mount("read-only", elsewhere.layer_directories(found.id, found.store))
        os.mkdir(f"{merged}/new")
        filesystems.remove("read-only")
        elsewhere.collect()
        mounts.unmount("/run/read-only")
        assert archives.snapshot(top) == before

    built.call(look)


def test_our_own_images_come_first(built: World):
    def look() -> None:
        images = open_store("overlay")
        theirs = images.resolve("some/image:1")
        own = images.add(
            config=images.config_bytes(theirs),
            manifest=images.manifests(theirs)[0].content,
            media_type="x",
            layers=(),
            names=["localhost/some/image:1"],
        )
        assert own.id == theirs.id
        assert images.resolve("some/image:1") == own
        assert [image.store for image in images.list() if image.id == own.id] == [""]
        images.remove(own)
        assert images.resolve("some/image:1") == theirs

    built.call(look)


def test_an_image_that_is_not_whole_is_not_seen(built: World):
    def look() -> None:
        subprocess.run(["cp", "-a", f"{STORE}/overlay", "/run/broken"], check=True)
        image = AdditionalStore("/run/broken").named("localhost/some/image:1")
        layer = AdditionalStore("/run/broken").layers(image.id)[2]
        os.rename(layer.path, layer.path + ".gone")
        assert AdditionalStore("/run/broken").named("localhost/some/image:1") is None
        os.rename(layer.path + ".gone", layer.path)
        path = Path("/run/broken/overlay-layers/layers.json")
        good = path.read_text()
        path.write_text(good.replace(layer.key, "0" * 64))
        assert AdditionalStore("/run/broken").named("localhost/some/image:1") is None
        path.write_text(good[:100])
        with pytest.raises(Corrupt, match=r"layers\.json"):
            AdditionalStore("/run/broken").images()
        Path("/run/broken/overlay-images/images.json").write_text('[{"id": "../../etc", "layer": "x"}, 5]')
        path.write_text(good)
        assert AdditionalStore("/run/broken").images() == []

    built.call(look)


def test_a_changed_layer_is_not_packed(built: World):
    def look() -> None:
        subprocess.run(["cp", "-a", f"{STORE}/overlay", "/run/changed"], check=True)
        store = AdditionalStore("/run/changed")
        layer = store.layers(store.named("localhost/some/image:1").id)[0]
        with open(f"{layer.path}/bin/busybox", "r+b") as file:
            file.write(b"x")
        with pytest.raises(Corrupt, match="digest"):
            list(store.open_tar(layer))
        os.truncate(f"{layer.path}/bin/busybox", 5)
        with pytest.raises(Corrupt, match="bin/busybox"):
            list(store.open_tar(layer))
        os.unlink(f"/run/changed/overlay-layers/{layer.key}.tar-split.gz")
        with pytest.raises(Corrupt, match="tar-split"):
            list(store.open_tar(layer))

    built.call(look)


def test_a_place_where_no_store_is_has_no_images(tmp_path):
    assert AdditionalStore(str(tmp_path)).images() == []
    assert AdditionalStore("/nonexistent").images() == []


@pytest.mark.parametrize(
    ("name", "file"), [("manifest", "manifest"), ("sha256:ab", "=c2hhMjU2OmFi"), ("a.b", "a.b"), ("a-b", "=YS1i")]
)
def test_names_of_big_data(name, file):
    assert data_name(name) == file

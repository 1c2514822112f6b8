"""Images: names, ids, digests, what they are made of, and how they go."""

from __future__ import annotations

import hashlib
import json
import os
import time

import pytest

from podling.errors import InUse, InvalidArgument, NoSuchImage, PodlingError
from podling.model import Platform
from podling.store import ancestry
from podling.store.images import StoredManifest
from tests.support import archives
from tests.support.archives import archive, directory, member

MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


def config_of(
    number: int, diff_ids: tuple[str, ...] = (), history: tuple[dict[str, object], ...] = (), **more: object
) -> bytes:
    value = {
        "architecture": "amd64",
        "os": "linux",
        "created": f"2024-01-02T03:04:{number % 60:02}Z",
        "config": {"Labels": {"n": str(number)}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": list(history),
        **more,
    }
    return json.dumps(value).encode()


def make(images, number: int, *names: str, layers=(), history=(), **more):
    config = config_of(number, tuple(layer.diff_id for layer in layers), history)
    return images.add(
        config=config, manifest=b'{"manifest": %d}' % number, media_type=MEDIA_TYPE, layers=layers, names=names, **more
    )


def layer(images, name: str):
    return images.layer_store.add(archives.reader(archive(directory(b"d"), member(b"d/" + name.encode(), b"x" * 600))))


def test_an_image(images):
    first, second = layer(images, "a"), layer(images, "b")
    index = StoredManifest(digest="sha256:" + "1" * 64, media_type="index", content=b"{}")
    image = make(
        images,
        1,
        "docker.io/library/x:1",
        "localhost/y:latest",
        layers=(first, second),
        manifests=(index,),
        repo_digests=("quay.io/z@" + index.digest,),
    )
    config, manifest = config_of(1, (first.diff_id, second.diff_id)), b'{"manifest": 1}'
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    assert image.id == hashlib.sha256(config).hexdigest()
    assert (image.digest, image.media_type, image.names) == (
        digest,
        MEDIA_TYPE,
        ("docker.io/library/x:1", "localhost/y:latest"),
    )
    assert image.repo_digests == tuple(
        sorted(
            f"{repository}@{one}"
            for repository, one in (
                ("docker.io/library/x", digest),
                ("docker.io/library/x", index.digest),
                ("localhost/y", digest),
                ("localhost/y", index.digest),
                ("quay.io/z", index.digest),
            )
        )
    )
    assert image.created == 1_704_164_641 * 10**9
    assert image.size == images.size(image.id) == first.tar_size + second.tar_size + len(config) + 2 * len(manifest)
    assert images.get(image.id) == image
    assert images.list() == [image]
    assert images.config_bytes(image) == config
    assert images.config(image).labels == {"n": "1"}
    assert [one.content for one in images.manifests(image)] == [manifest, b"{}"]
    assert images.layers(image) == (first, second)
    assert images.layer_directories(image.id) == [second.path, first.path]
    assert b"".join(images.open_tar(image, first)) == b"".join(images.layer_store.open_tar(first))


def test_the_same_image_again_gains_names_and_takes_the_newest_manifest(images):
    image = make(images, 1, "a.io/x:1")
    again = images.add(config=config_of(1), manifest=b"other", media_type="docker", layers=(), names=("b.io/x:1",))
    assert again.id == image.id
    assert (again.names, again.media_type) == (("a.io/x:1", "b.io/x:1"), "docker")
    assert again.digest != image.digest
    assert [one.content for one in images.manifests(again)] == [b"other", b'{"manifest": 1}']


def test_a_name_goes_from_one_image_to_another(images):
    old, new = make(images, 1, "a.io/x:1"), make(images, 2, "a.io/x:1")
    assert images.get(old.id).names == ()
    assert images.resolve("a.io/x:1") == new


def test_an_image_whose_layer_is_gone_is_not_known(images):
    gone = layer(images, "a")
    images.layer_store.release()
    images.collect()
    with pytest.raises(PodlingError, match="removed meanwhile"):
        make(images, 1, "a.io/x:1", layers=(gone,))
    assert images.list() == []
    assert images.lookup("a.io/x:1") is None


def test_layers_are_let_go_once_an_image_has_them(images):
    image = make(images, 1, "a.io/x:1", layers=(layer(images, "a"),))
    images.remove(image)
    assert os.listdir(images.layer_store.directory) == []


# --- finding ----------------------------------------------------------------------------------------------------------


def test_short_names_in_podmans_order(images):
    names = ["aaa.io/x", "docker.io/library/x", "quay.io/x", "localhost/x", "zzz.io/me/x"]
    by_id = {make(images, number, f"{name}:latest").id: name for number, name in enumerate(names)}
    expected = ["localhost/x", "docker.io/library/x", "aaa.io/x", "quay.io/x", "zzz.io/me/x"]
    for name in expected:
        found = images.resolve("x")
        assert by_id[found.id] == name
        images.untag(found)
    assert images.lookup("x") is None


def test_short_names_by_registries_conf(images):
    for number, name in enumerate(["docker.io/library/x", "quay.io/x", "aliased.io/y/z"]):
        make(images, number, f"{name}:1")
    images.short_names = lambda name: {"x": ["quay.io/x"], "alias": ["aliased.io/y/z"]}.get(name, [])
    assert images.resolve("x:1").names == ("quay.io/x:1",)
    assert images.resolve("alias:1").names == ("aliased.io/y/z:1",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("other:1", True),
        ("path/other:1", True),
        ("deep/path/other:1", True),
        ("quay.io/deep/path/other:1", True),
        ("th/other:1", False),
        ("other", False),
        ("localhost/other:1", False),
        ("docker.io/other:1", False),
        ("quay.io/deep/path/other", False),
    ],
)
def test_the_end_of_a_name(images, text, found):
    image = make(images, 1, "quay.io/deep/path/other:1")
    assert images.lookup(text) == (image if found else None)


def test_ids_and_their_beginnings(images):
    image = make(images, 1)
    for text in (image.id, "sha256:" + image.id, image.id[:12], image.id[:3], image.id[:1]):
        assert images.resolve(text) == image
    for text in (image.id + ":latest", image.id[:12] + ":latest", "f" * 64, "sha256:" + "f" * 64):
        assert images.lookup(text) is None
    with pytest.raises(InvalidArgument, match="no 64-byte hexadecimal value"):
        images.lookup("sha256:" + image.id[:12])


def test_a_name_counts_more_than_the_beginning_of_an_id(images):
    first = make(images, 1)
    named = make(images, 2, f"docker.io/library/{first.id[:4]}:latest")
    ending = make(images, 3, f"zzz.io/deep/{first.id[:5]}:latest")
    assert images.resolve(first.id[:4]) == named
    assert images.resolve(first.id[:5]) == first
    assert images.resolve(f"deep/{first.id[:5]}") == ending


def test_an_ambiguous_beginning_is_no_image_and_the_hint_says_why(images):
    made = [make(images, number) for number in range(20)]
    first = [image.id[0] for image in made]
    shared = next(character for character in first if first.count(character) > 1)
    with pytest.raises(NoSuchImage, match=f"^{shared}: image not known$") as caught:
        images.resolve(shared)
    assert "several" in (caught.value.hint or "")


def test_digests(images):
    image = make(images, 1, "docker.io/library/x:1", repo_digests=("quay.io/y@sha256:" + "2" * 64,))
    for text in (
        f"x@{image.digest}",
        f"x:1@{image.digest}",
        f"docker.io/library/x@{image.digest}",
        f"nosuch@{image.digest}",
        f"quay.io/y@sha256:{'2' * 64}",
    ):
        assert images.lookup(text) == image, text
    assert images.lookup("x@sha256:" + "0" * 64) is None


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "../x", "x" * 300, "-", "@", "x@sha256:1", "x:", "\0"])
def test_texts_that_are_no_names(images, text):
    make(images, 1, "localhost/x:latest")
    assert images.lookup(text) is None
    with pytest.raises(NoSuchImage):
        images.resolve(text)


def test_the_platform_can_be_asked_for(images):
    image = make(images, 1, "localhost/x:latest")
    assert images.lookup("x", platform=Platform(os="linux", architecture="amd64")) == image
    assert images.lookup("x", platform=Platform(os="", architecture="")) == image
    assert images.lookup("x", platform=Platform(os="linux", architecture="arm64")) is None
    assert images.lookup("x", platform=Platform(os="linux", architecture="amd64", variant="v3")) is None


def test_the_name_that_a_container_shows(images):
    image = make(images, 1, "quay.io/a/b:1", "docker.io/library/x:latest")
    nameless = make(images, 2)
    for asked, shown in (
        ("x", "docker.io/library/x:latest"),
        ("docker.io/x", "docker.io/library/x:latest"),
        ("b:1", "quay.io/a/b:1"),
        (image.id, "quay.io/a/b:1"),
        (image.id[:12], "quay.io/a/b:1"),
        (f"x@{image.digest}", f"docker.io/library/x@{image.digest}"),
    ):
        assert images.name_for(image, asked) == shown
    assert images.name_for(nameless, nameless.id[:12]) == nameless.id[:12]


# --- changing ---------------------------------------------------------------------------------------------------------


def test_tagging(images):
    first, second = make(images, 1, "a.io/x:1"), make(images, 2, "a.io/y:1")
    images.tag(first, "a.io/z:1")
    images.tag(first, "a.io/y:1")
    images.tag(first, "a.io/y:1")
    assert images.get(first.id).names == ("a.io/x:1", "a.io/z:1", "a.io/y:1")
    assert images.get(second.id).names == ()
    images.remove(images.get(second.id))
    with pytest.raises(NoSuchImage):
        images.tag(second, "a.io/x:1")
    assert images.resolve("a.io/x:1").id == first.id


def test_untagging(images):
    image = make(images, 1, "a.io/x:1", "a.io/y:1", repo_digests=("b.io/z@sha256:" + "2" * 64,))
    other = make(images, 2, "a.io/other:1")
    assert images.untag(image, ["a.io/y:1", "a.io/other:1", "nothing"]) == ["a.io/y:1"]
    assert images.get(image.id).names == ("a.io/x:1",)
    assert images.untag(image) == ["a.io/x:1", "b.io/z@sha256:" + "2" * 64]
    assert images.get(image.id).names == images.get(image.id).repo_digests == ()
    assert images.get(other.id).names == ("a.io/other:1",)


def test_shared_layers_stay_as_long_as_an_image_has_them(images):
    shared, own = layer(images, "shared"), layer(images, "own")
    first, second = make(images, 1, "a.io/x:1", layers=(shared, own)), None
    images.layer_store.find(shared.diff_id)
    second = make(images, 2, "a.io/y:1", layers=(shared,))
    images.remove(first)
    assert os.listdir(images.layer_store.directory) == [shared.key]
    assert images.layers(second) == (shared,)
    images.remove(second)
    assert os.listdir(images.layer_store.directory) == []
    assert images.list() == []


def test_an_image_in_use_stays_whole(images):
    image = make(images, 1, "a.io/x:1", layers=(layer(images, "a"),))
    images.database.run(
        "INSERT INTO containers (id, name, created, local_image, summary, config) VALUES ('c1', 'n', 0, ?, '', '')", image.id
    )
    with pytest.raises(InUse, match="image used by c1: image is in use by a container"):
        images.remove(image)
    assert images.containers_using(image.id) == ["c1"]
    assert images.get(image.id) == image
    assert len(os.listdir(images.layer_store.directory)) == 1


def test_removing_twice(images):
    image = make(images, 1)
    images.remove(image)
    with pytest.raises(NoSuchImage):
        images.remove(image)
    for call in (images.config_bytes, images.manifests):
        if call is images.config_bytes:
            with pytest.raises(NoSuchImage):
                call(image)
    with pytest.raises(NoSuchImage):
        images.layer_directories(image.id)
    with pytest.raises(NoSuchImage):
        images.size(image.id)


def test_removing_during_a_pull_leaves_the_layers_to_the_next_collection(images):
    image = make(images, 1, layers=(layer(images, "a"),))
    images.layer_store.hold()
    images.remove(image)
    assert len(os.listdir(images.layer_store.directory)) == 1
    images.layer_store.release()
    images.collect()
    assert os.listdir(images.layer_store.directory) == []


# --- relations --------------------------------------------------------------------------------------------------------


def test_many_images_go_without_a_look_at_the_whole_store_for_each(images):
    layers = [layer(images, f"l{number}") for number in range(12)]
    made = [make(images, number, f"localhost/n{number}:1", layers=(layers[number],)) for number in range(12)]
    asked = []
    images.database.connection.set_trace_callback(asked.append)
    with images.removing_several():
        for image in made[:10]:
            assert ancestry.nameless_parent(images.database, image.id) == ""
            images.remove(image)
        assert len(os.listdir(images.layer_store.directory)) == 12
    images.database.connection.set_trace_callback(None)
    assert len(os.listdir(images.layer_store.directory)) == 2
    assert sum("FROM layers" in statement for statement in asked) < 8
    images.remove(made[10])
    assert len(os.listdir(images.layer_store.directory)) == 1


def test_the_nameless_parent_is_found(images):
    one, two = layer(images, "one"), layer(images, "two")
    steps = ({"created_by": "1"}, {"created_by": "2"})
    base = make(images, 1, layers=(one,), history=steps[:1])
    top = make(images, 2, "localhost/top:1", layers=(one, two), history=steps)
    assert ancestry.nameless_parent(images.database, top.id) == base.id == images.parent(top)
    images.tag(base, "localhost/base:1")
    assert ancestry.nameless_parent(images.database, top.id) == ""


def test_parents_and_children(images):
    steps = tuple({"created_by": f"step {number}"} for number in range(4))
    one, two = layer(images, "1"), layer(images, "2")
    base = make(images, 1, "a.io/base:1", layers=(one,), history=steps[:1])
    images.layer_store.hold()
    label = make(images, 2, layers=(one,), history=(steps[0], {**steps[1], "empty_layer": True}))
    images.layer_store.hold()
    top = make(images, 3, "a.io/top:1", layers=(one, two), history=(steps[0], {**steps[1], "empty_layer": True}, steps[2]))
    stranger = make(images, 4, layers=(), history=())
    assert images.parent(top) == label.id
    assert images.parent(label) == base.id
    assert images.parent(base) == images.parent(stranger) == ""
    assert images.children(base) == [label.id]
    assert images.children(label) == [top.id]
    assert sorted(images.descendants(base)) == sorted([label.id, top.id])
    assert images.descendants(top) == images.descendants(stranger) == []


def test_the_history(images):
    steps = (
        {"created": "2024-01-01T00:00:00Z", "created_by": "COPY", "comment": "c"},
        {"created_by": "LABEL", "empty_layer": True},
        {"created_by": "RUN", "author": "me"},
        "nonsense",
        {"created": 5, "created_by": None},
    )
    one, two = layer(images, "1"), layer(images, "2")
    image = make(images, 1, layers=(one, two), history=steps)
    assert [(entry.created_by, entry.size, entry.empty_layer) for entry in images.history(image)] == [
        ("", 0, False),
        ("RUN", two.tar_size, False),
        ("LABEL", 0, True),
        ("COPY", one.tar_size, False),
    ]
    assert images.history(image)[-1].created == 1_704_067_200 * 10**9


def test_a_thousand_images_are_listed_quickly(images):
    with images.database.transaction():
        for number in range(1000):
            image_id = hashlib.sha256(b"%d" % number).hexdigest()
            images.database.run(
                "INSERT INTO images VALUES (?, ?, '', ?, 0, 5, ?)", image_id, "sha256:" + image_id, number, b"c" * 8000
            )
            images.database.run("INSERT INTO image_names VALUES (?, ?)", f"docker.io/library/i{number}:latest", image_id)
            images.database.run("INSERT INTO image_manifests VALUES (?, ?, '', ?)", image_id, "sha256:" + image_id, b"m" * 2000)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert len(images.list()) == 1000
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1  # a few milliseconds on an idle machine
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert images.resolve("i500").names == ("docker.io/library/i500:latest",)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05

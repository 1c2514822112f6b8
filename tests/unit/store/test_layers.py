"""Layers in a store: shared, held, keyed, and never half there."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from podling.database import Database
from podling.errors import Corrupt, NotFound, PodlingError
from podling.linux.locks import Lock
from podling.store.layers import Layers, chain_key, hex_of
from tests.support import archives
from tests.support.archives import archive, directory, member

BASE = archive(directory(b"etc", 0o711, mtime=1000), directory(b"etc/conf", 0o750, mtime=2000), member(b"etc/conf/f", b"1"))
PLAIN = archive(directory(b"usr"), member(b"usr/f", b"2"))
GAPS = archive(member(b"etc/conf/g", b"3"), member(b"new/h", b"4"))


@pytest.fixture
def layers(images) -> Layers:
    return images.layer_store


def add(layers: Layers, data: bytes, **options: object):
    return layers.add(archives.reader(data), **options)


def listing(layers: Layers) -> set[str]:
    return set(os.listdir(layers.directory))


def test_a_layer(layers):
    layer = add(layers, PLAIN, diff_id=archives.digest(PLAIN))
    assert layer == layers.find(archives.digest(PLAIN)) == layers.get(layer.id)
    assert (layer.key, layer.diff_id, layer.size, layer.tar_size) == (
        hex_of(archives.digest(PLAIN)),
        archives.digest(PLAIN),
        1,
        len(PLAIN),
    )
    assert layer.path == f"{layers.directory}/{layer.key}/diff"
    with open(f"{layer.path}/usr/f", "rb") as file:
        assert file.read() == b"2"
    assert b"".join(layers.open_tar(layer)) == PLAIN
    assert listing(layers) == {layer.key}
    assert os.listdir(f"{layers.graphroot}/locks") == ["layers"]


def test_nothing_is_read_for_a_layer_that_is_there(layers):
    layer = add(layers, PLAIN)

    def read(size):
        raise AssertionError("read")

    assert layers.add(read, diff_id=archives.digest(PLAIN)) == layer


def test_a_layer_whose_digest_is_not_known_is_still_kept_once(layers):
    assert add(layers, PLAIN) == add(layers, PLAIN) == add(layers, PLAIN, diff_id=archives.digest(PLAIN))
    assert len(listing(layers)) == 1


def test_a_wrong_digest_leaves_nothing(layers):
    wanted = archives.digest(b"something else")
    with pytest.raises(Corrupt, match=f"{wanted}.*{archives.digest(PLAIN)}"):
        add(layers, PLAIN, diff_id=wanted)
    assert listing(layers) == set()
    assert layers.find(wanted) is None


@pytest.mark.parametrize("data", [PLAIN[:700], b"no tar" * 200, archive(member(b"../x", b"1"))])
def test_a_broken_tar_leaves_nothing(layers, data):
    with pytest.raises(Corrupt):
        add(layers, data)
    assert listing(layers) == set()


def test_an_error_of_the_stream_leaves_nothing(layers):
    def read(size):
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(ConnectionResetError):
        layers.add(read, diff_id=archives.digest(PLAIN))
    assert listing(layers) == set()


def test_progress_counts_every_byte(layers):
    seen: list[int] = []
    layers.add(archives.reader(PLAIN, 300), progress=seen.append)
    assert sum(seen) == len(PLAIN)


def test_directories_that_a_layer_leaves_out_are_those_of_the_layers_below(layers):
    base, plain = add(layers, BASE), add(layers, PLAIN)
    layer = add(layers, GAPS, diff_id=archives.digest(GAPS), parents=(base, plain))
    assert layer.key == chain_key(archives.digest(GAPS), (base, plain))
    etc, conf, new = (os.stat(f"{layer.path}/{name}") for name in ("etc", "etc/conf", "new"))
    assert [stat.S_IMODE(status.st_mode) for status in (etc, conf, new)] == [0o711, 0o750, 0o755]
    assert [status.st_mtime for status in (etc, conf)] == [1000, 2000]
    assert b"".join(layers.open_tar(layer)) == GAPS


def test_such_a_layer_is_another_one_above_other_layers(layers):
    base, plain = add(layers, BASE), add(layers, PLAIN)
    above_base = add(layers, GAPS, parents=(base,))
    assert layers.find(archives.digest(GAPS), (plain,)) is None
    assert layers.find(archives.digest(GAPS), (base,)) == above_base
    above_plain = layers.reuse(archives.digest(GAPS), (plain,))
    assert above_plain is not None
    assert above_plain.key != above_base.key
    assert stat.S_IMODE(os.stat(f"{above_plain.path}/etc").st_mode) == 0o755
    assert layers.reuse(archives.digest(GAPS), (plain,)) == above_plain
    assert layers.reuse("sha256:" + "0" * 64, (plain,)) is None


def test_a_whiteout_between_hides_the_attributes_below(layers):
    middle = archive(archives.header(b"etc", b"3", device=(0, 0)))
    try:
        parents = (add(layers, BASE), add(layers, middle))
    except PodlingError as error:
        pytest.skip(error.message)
    layer = add(layers, GAPS, parents=parents)
    assert stat.S_IMODE(os.stat(f"{layer.path}/etc").st_mode) == 0o755


def test_parents_are_only_asked_for_where_they_are_needed(layers):
    def never():
        raise AssertionError("asked")

    add(layers, PLAIN, parents=never)
    base = add(layers, BASE)
    asked = []

    def parents():
        asked.append(1)
        return (base,)

    assert add(layers, GAPS, diff_id=archives.digest(GAPS), parents=parents).key == chain_key(archives.digest(GAPS), (base,))
    assert add(layers, GAPS, diff_id=archives.digest(GAPS), parents=parents).key == chain_key(archives.digest(GAPS), (base,))
    assert len(asked) == 2


def test_only_a_tar_that_describes_the_root_leaves_a_mark(layers):
    marked = add(layers, archive(directory(b"./", 0o700), member(b"./f")))
    assert os.path.exists(f"{os.path.dirname(marked.path)}/root")
    assert not os.path.exists(f"{os.path.dirname(add(layers, PLAIN).path)}/root")


def test_other_threads_may_add(layers):
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(add(layers, PLAIN, diff_id=archives.digest(PLAIN)))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_directory_that_a_killed_process_left_in_the_way_is_replaced(layers):
    place = f"{layers.directory}/{hex_of(archives.digest(PLAIN))}"
    os.makedirs(f"{place}/diff")
    layer = add(layers, PLAIN, diff_id=archives.digest(PLAIN))
    assert b"".join(layers.open_tar(layer)) == PLAIN


def test_layers_that_no_image_has_go_when_nobody_holds_them(images):
    layers = images.layer_store
    layer = add(layers, PLAIN)
    images.collect()
    assert layers.get(layer.id) == layer  # held
    layers.release()
    images.collect()
    assert listing(layers) == set()
    with pytest.raises(NotFound):
        layers.get(layer.id)
    assert os.listdir(f"{layers.graphroot}/rubbish") == []


def test_a_child_process_goes_on_holding(images):
    layers = images.layer_store
    add(layers, PLAIN)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    layers.release()
    images.collect()
    assert len(listing(layers)) == 1
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)
    images.collect()
    assert listing(layers) == set()


def test_a_digest_never_becomes_a_path(layers):
    for digest in ("sha256:../../etc", "sha256:", "x", "sha256:ABC"):
        with pytest.raises(ValueError, match="no digest"):
            layers.find(digest)


def test_another_process_sees_it(layers):
    layer = add(layers, PLAIN)
    other = Database(layers.database.path)
    assert Layers(other, layers.graphroot).find(layer.diff_id) == layer
    other.close()


def test_a_layer_is_not_waited_for_without_end(layers, monkeypatch):
    """Two images can have the same layers in another order, and wait for each other."""
    monkeypatch.setattr("podling.store.adding._PATIENCE", 0.05)
    layers.hold()
    with Lock(layers.lock_path("layer-" + hex_of(archives.digest(PLAIN)))).exclusive():
        assert add(layers, PLAIN, diff_id=archives.digest(PLAIN)).diff_id == archives.digest(PLAIN)


def test_downloads_that_nobody_continues_are_deleted_after_a_week(images):
    blobs = f"{images.layer_store.graphroot}/blobs/sha256"
    os.makedirs(blobs)
    for name in ("old.partial", "old.lock", "older.parts", "new.partial", "busy.partial", "busy.lock", "free.lock"):
        with open(f"{blobs}/{name}", "w"):
            pass
    for name in ("old", "busy"):
        os.utime(f"{blobs}/{name}.partial", (0, 0))
    os.utime(f"{blobs}/older.parts", (0, 0))
    with Lock(f"{blobs}/busy.lock").exclusive():
        images.collect()
        assert sorted(os.listdir(blobs)) == ["busy.lock", "busy.partial", "new.partial"]
    images.collect()
    assert os.listdir(blobs) == ["new.partial"]


def test_a_layer_longer_than_it_may_be(layers):
    assert add(layers, PLAIN, max_bytes=len(PLAIN)).tar_size == len(PLAIN)
    with pytest.raises(Corrupt, match="longer than"):
        add(layers, BASE, max_bytes=len(BASE) - 1)
    assert len(listing(layers)) == 1

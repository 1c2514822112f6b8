"""Packing notices whatever has happened to a layer, and says to which file."""

from __future__ import annotations

import os

import pytest

from podling.errors import Corrupt
from podling.store.archive.pack import pack
from tests.support import archives
from tests.support.archives import archive, directory, member

LARGE = os.urandom(3 << 20)


@pytest.fixture
def layer(tmp_path):
    path = tmp_path / "layer"
    archives.unpack_into(
        path,
        archive(
            directory(b"d"),
            member(b"d/small", b"content"),
            member(b"large", LARGE),
            member(b"empty"),
            member(b"twice", b"first"),
            member(b"twice", b"second"),
        ),
    )
    return path


def test_chunks_are_of_a_handy_size(layer):
    sizes = [len(chunk) for chunk in pack(str(layer))]
    assert all(1 << 20 <= size <= 2 << 20 for size in sizes[:-1])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d/small", b"changed"),
        ("d/small", b"shorter"[:3]),
        ("d/small", b"much longer"),
        ("d/small", b""),
        ("large", LARGE[:-1]),
        ("large", LARGE + b"x"),
        ("large", LARGE[:-1] + bytes([LARGE[-1] ^ 1])),
        ("twice", b"first!"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_a_changed_file_is_named(layer, name, content, verify):
    (layer / "diff" / name).write_bytes(content)
    with pytest.raises(Corrupt, match=f"diff/{name}"):
        list(pack(str(layer), verify=verify))


@pytest.mark.parametrize("name", ["d/small", "large", "twice"])
def test_a_missing_file_is_named(layer, name):
    os.unlink(layer / "diff" / name)
    with pytest.raises(Corrupt, match=f"diff/{name}"):
        list(pack(str(layer)))


def test_a_file_that_became_something_else_is_named(layer):
    os.unlink(layer / "diff/large")
    os.mkfifo(layer / "diff/large")
    with pytest.raises(Corrupt, match="diff/large"):
        list(pack(str(layer)))
    os.unlink(layer / "diff/d/small")
    os.symlink("/etc/hostname", layer / "diff/d/small")
    with pytest.raises(Corrupt, match="diff/d/small"):
        list(pack(str(layer)))


def test_what_was_replaced_is_needed_too(layer):
    (layer / "replaced/0").write_bytes(b"third")
    with pytest.raises(Corrupt, match="replaced/0"):
        list(pack(str(layer)))


def test_attributes_are_not_taken_from_the_files(layer):
    os.chmod(layer / "diff/large", 0o600)
    os.utime(layer / "diff/large")
    assert b"".join(pack(str(layer))).find(LARGE) > 0


def test_a_tar_split_that_is_damaged_anywhere_is_corrupt(layer):
    path = layer / "tar-split"
    good = path.read_bytes()
    wanted = archives.packed(layer)
    for at in range(0, len(good), 3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        try:
            assert archives.packed(layer) == wanted  # a bit that means nothing, in the compressed index
        except Corrupt:
            continue
    for end in range(0, len(good), 5):
        path.write_bytes(good[:end])
        with pytest.raises(Corrupt):
            archives.packed(layer)


def test_a_layer_that_is_gone_is_corrupt(layer, tmp_path):
    with pytest.raises(Corrupt, match="nothing"):
        list(pack(str(tmp_path / "nothing")))
    os.unlink(layer / "tar-split")
    with pytest.raises(Corrupt):
        list(pack(str(layer)))


def test_no_descriptor_stays_open(layer):
    before = len(os.listdir("/proc/self/fd"))
    list(pack(str(layer)))
    half = pack(str(layer))
    next(half)
    half.close()
    (layer / "diff/large").write_bytes(b"x")
    with pytest.raises(Corrupt):
        list(pack(str(layer)))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("count", [0, 1, 2000])
def test_any_number_of_members(tmp_path, count):
    archives.assert_round_trip(
        tmp_path / "many", archive(*(member(b"f%d" % number, b"x" * (number % 700)) for number in range(count)))
    )

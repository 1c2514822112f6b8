"""Tars with random faults: a clear error or a faithful layer, and nothing outside is touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from podling.errors import PodlingError
from tests.support import archives
from tests.support.archives import archive, directory, hard_link, member, symlink

NAMES = st.sampled_from(
    [
        b"a",
        b"b",
        b"a/b",
        b"a/c",
        b"a/b/c",
        b"b/a",
        b"./a",
        b"/a",
        b"a/",
        b"..",
        b"../x",
        b"a/../b",
        b".",
        b"./",
        b"",
        b".wh.a",
        b"a/.wh.b",
        b"a/.wh..wh..opq",
        b".wh..wh..opq",
        b".wh.",
        b".wh...",
        b".wh..wh.plnk/x",
        b"a//b",
        b"a/./b",
        b"x" * 100,
        b"\xff\xfe",
        b"a/b/../../../outside/f",
    ]
)
CONTENTS = st.sampled_from([b"", b"1", b"x" * 511, b"y" * 512, b"z" * 1500])
ONE = st.one_of(
    st.builds(member, NAMES, CONTENTS, mode=st.sampled_from([0, 0o644, 0o4755, 0o7777])),
    st.builds(directory, NAMES, st.sampled_from([0o755, 0o700, 0o2777])),
    st.builds(symlink, NAMES, NAMES),
    st.builds(hard_link, NAMES, NAMES),
    st.builds(lambda name: archives.header(name, b"6"), NAMES),
    st.builds(lambda name, content: archives.gnu_long(name) + member(b"short", content), NAMES, CONTENTS),
    st.builds(
        lambda name, link, content: (
            archives.pax([(b"path", name), (b"linkpath", link), (b"SCHILY.xattr.user.x", b"1")]) + member(b"short", content)
        ),
        NAMES,
        NAMES,
        CONTENTS,
    ),
)
MEMBERS = st.lists(ONE, max_size=12)


def check(data: bytes, most: int = 1 << 20) -> None:
    """Unpack and, where that succeeds, pack; whatever happens, only the layer changes."""
    top = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        outside = top / "outside"
        outside.mkdir()
        (outside / "f").write_bytes(b"untouched")
        before = archives.snapshot(outside)
        try:
            archives.unpack_into(top / "layer", data, most=most, userxattr=True, max_entries=1000)
        except PodlingError:
            pass
        else:
            assert archives.packed(top / "layer") == data
        assert archives.snapshot(outside) == before
        assert sorted(os.listdir(top)) == ["layer", "outside"]
        assert set(os.listdir(top / "layer")) <= {"diff", "tar-split", "replaced"}
    finally:
        shutil.rmtree(top)


@given(MEMBERS, st.sampled_from([1, 300, 1 << 20]))
@example([symlink(b"a", b"../outside"), member(b"a/f", b"1")], 1 << 20)
@example([member(b"a/b/c", b"1"), symlink(b"a", b"b"), member(b"b/b/c", b"2"), member(b"a/b/c", b"3")], 1 << 20)
def test_members_in_any_order(members, most):
    check(archive(*members), most)


@given(MEMBERS, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4), st.integers(0, 1 << 16))
def test_bytes_changed_anywhere(members, changes, cut):
    data = bytearray(archive(*members))
    for at, value in changes:
        data[at % len(data)] = value
    check(bytes(data[: len(data) - cut % 600] if cut % 3 == 0 else data))


@given(
    MEMBERS,
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 511), st.binary(min_size=1, max_size=12)), min_size=1, max_size=3),
)
def test_fields_changed_with_right_checksums(members, changes):
    """The checksum keeps random changes from getting far; so it is put right again."""
    blocks = [bytearray(archive(*members)[at : at + 512]) for at in range(0, len(archive(*members)), 512)]
    for number, at, value in changes:
        block = blocks[number % len(blocks)]
        block[at : at + len(value)] = value
        del block[512:]
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    check(b"".join(blocks))


@given(st.binary(max_size=3000))
def test_bytes_that_are_no_tar(data):
    check(data)

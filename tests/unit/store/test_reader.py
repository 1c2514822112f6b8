"""The stream of entries, however it is cut into chunks, and the skeleton that is left of it."""

from __future__ import annotations

import io
import tarfile

import pytest

from podling.errors import Corrupt
from podling.store.archive import headers
from podling.store.archive.reader import Reader, Stream
from tests.support import archives

CUTS = (1, 7, 511, 512, 513, 1000, 1 << 20)


def read_all(data: bytes, most: int = 1 << 20, **limits: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """([(name, content)], skeleton)."""
    skeleton: list[bytes] = []
    stream = Stream(archives.reader(data, most), skeleton.append, limit=limits.get("bytes"))
    reader = Reader(stream, limit=limits.get("entries"))
    found = []
    while (entry := reader.next()) is not None:
        found.append((entry.name, b"".join(bytes(piece) for piece in stream.content(entry.size)) if entry.size else b""))
    return found, b"".join(skeleton)


@pytest.mark.parametrize("most", CUTS)
def test_chunks_do_not_matter(most):
    data = archives.archive(
        archives.directory(b"d/"),
        archives.member(b"d/a", b"x" * 1000),
        archives.member(b"d/b"),
        archives.gnu_long(b"d/" + b"l" * 300),
        archives.member(b"cut", b"y" * 512),
        archives.pax([(b"path", b"p" * 200)]),
        archives.member(b"cut", b"z"),
        end=bytes(10240),
    )
    found, skeleton = read_all(data, most)
    assert found == [(b"d/", b""), (b"d/a", b"x" * 1000), (b"d/b", b""), (b"d/" + b"l" * 300, b"y" * 512), (b"p" * 200, b"z")]
    assert len(skeleton) == len(data) - 1000 - 512 - 1


@pytest.mark.parametrize("most", CUTS)
def test_the_skeleton_is_the_archive_without_contents(most):
    data = archives.archive(
        archives.member(b"a", b"A" * 700), archives.member(b"b", b"B" * 512), end=bytes(1024) + b"after the end"
    )
    _, skeleton = read_all(data, most)
    assert skeleton == data.replace(b"A" * 700, b"").replace(b"B" * 512, b"")


def test_the_skeleton_read_alone_gives_the_same_entries():
    data = archives.archive(archives.member(b"a", b"A" * 700), archives.directory(b"d"), archives.member(b"b", b"B" * 512))
    found, skeleton = read_all(data)
    reader = Reader(Stream(archives.reader(skeleton), lambda piece: None))
    names = []
    while (entry := reader.next()) is not None:
        names.append((entry.name, entry.size))
    assert names == [(name, len(content)) for name, content in found]


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240), bytes(1024) + b"anything"])
def test_ends(end):
    found, skeleton = read_all(archives.archive(archives.member(b"a", b"1"), end=end))
    assert found == [(b"a", b"1")]
    assert skeleton.endswith(end)


def test_an_empty_stream_has_no_entries():
    assert read_all(b"") == ([], b"")


def test_data_after_a_single_block_of_zeros_is_corrupt():
    with pytest.raises(Corrupt, match="single block of zeros"):
        read_all(archives.archive(archives.member(b"a"), end=bytes(512)) + archives.member(b"b"))


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 600, 1023, 1025, 1535])
def test_an_archive_that_is_cut_off_is_corrupt(cut):
    data = archives.archive(archives.member(b"a", b"x" * 400), archives.member(b"b", b"y" * 512), end=b"")
    with pytest.raises(Corrupt):
        read_all(data[:cut])


def test_limits():
    data = archives.archive(*(archives.member(b"%d" % number, b"x" * 1000) for number in range(5)))
    assert len(read_all(data, entries=5)[0]) == 5
    with pytest.raises(Corrupt, match="more than the 4 entries"):
        read_all(data, entries=4)
    assert len(read_all(data, bytes=len(data))[0]) == 5
    with pytest.raises(Corrupt, match="longer than the"):
        read_all(data, bytes=len(data) - 1)


def test_long_gnu_names_and_links():
    data = archives.archive(
        archives.gnu_long(b"n" * 500), archives.gnu_long(b"l" * 500, b"K"), archives.symlink(b"cut", b"cut")
    )
    reader = Reader(Stream(archives.reader(data), lambda piece: None))
    entry = reader.next()
    assert (entry.name, entry.link, entry.kind) == (b"n" * 500, b"l" * 500, headers.SYMLINK)


def test_what_a_global_header_says_is_left_out():
    data = archives.archive(
        archives.pax([(b"path", b"all"), (b"uid", b"77"), (b"comment", b"commit")], b"g"),
        archives.member(b"a", b"1", uid=5),
        archives.member(b"label", b"", b"V"),
        archives.member(b"b", b"2"),
    )
    assert read_all(data)[0] == [(b"a", b"1"), (b"b", b"2")]


def test_an_extended_header_applies_to_one_member():
    data = archives.archive(archives.pax([(b"path", b"one")]), archives.member(b"x"), archives.member(b"y"))
    assert [name for name, _ in read_all(data)[0]] == [b"one", b"y"]


@pytest.mark.parametrize("end", [b"", archives.END])
@pytest.mark.parametrize("extension", [archives.pax([(b"path", b"one")]), archives.gnu_long(b"n" * 200)])
def test_an_extended_header_without_a_member_is_corrupt(extension, end):
    with pytest.raises(Corrupt, match="without a member"):
        read_all(archives.archive(archives.member(b"a"), extension, end=end))


def test_an_extended_header_has_a_largest_size():
    with pytest.raises(Corrupt, match="extended header of"):
        read_all(archives.header(b"x", b"x", size=(1 << 20) + 1) + bytes(1 << 21))


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\x7f" + b"\xff" * 10])
def test_sizes_that_cannot_be(size):
    with pytest.raises(Corrupt):
        read_all(archives.archive(archives.header(b"x", fields={124: size})))


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_only_files_have_content(kind):
    data = archives.archive(archives.header(b"x", kind, size=1000, link=b"y"), archives.member(b"a", b"1"))
    assert read_all(data)[0] == [(b"x", b""), (b"a", b"1")]


def test_the_old_unix_format():
    data = archives.archive(
        archives.header(b"d/", b"\0", magic=b"\0" * 8), archives.member(b"d/f", b"1", b"\0", magic=b"\0" * 8)
    )
    assert read_all(data)[0] == [(b"d/", b""), (b"d/f", b"1")]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_the_standard_library(form):
    members = []
    for number, name in enumerate(
        ["plain", "d/" * 30 + "deep", *(["ü" * 60, "x" * 300] if form != tarfile.USTAR_FORMAT else [])]
    ):
        members.append((tarfile.TarInfo(name), bytes([65 + number]) * (number * 700)))
    data = archives.by_tarfile(members, form)
    assert read_all(data)[0] == [(info.name.encode(), content) for info, content in members]


def test_no_more_is_read_than_needed_before_the_next_entry_is_asked_for():
    class Counting(io.BytesIO):
        calls = 0

        def read(self, size=-1):
            Counting.calls += 1
            return super().read(min(size, 512))

    source = Counting(archives.archive(archives.member(b"a"), archives.member(b"b")))
    Reader(Stream(source.read, lambda piece: None)).next()
    assert Counting.calls == 1

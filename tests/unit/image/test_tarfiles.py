"""Archives of images: members found in place, whatever a stranger wrote."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import Corrupt, PodlingError
from podling.image.tarfiles import Archive, Planned, header, layout, sequence
from tests.support.images import compress, tar


def check(error: PodlingError) -> None:
    assert error.message


def opened(tmp_path: Path, content: bytes) -> Archive:
    path = tmp_path / "archive.tar"
    path.write_bytes(content)
    return Archive(str(path), spool=str(tmp_path / "spool"))


def member(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, content


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_in_place(tmp_path: Path, form: int) -> None:
    names = ["manifest.json", "./b/c.json", "d" * 90 + "/" + "e" * 90]
    content = tar([member(name, name.encode()) for name in names], format=form)
    with opened(tmp_path, content) as archive:
        for name in names:
            assert archive.content(name, 1000) == name.encode()
            assert archive.reader(archive.find("/" + name))(1000) == name.encode()
        assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: compress(data, "zstd")])
def test_compressed_archives_are_read_from_a_file_without_a_name(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    with opened(tmp_path, pack(tar({"manifest.json": b"[]"}))) as archive:
        assert archive.content("manifest.json", 1000) == b"[]"
        assert list((tmp_path / "spool").iterdir()) == []


def test_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    if os.fork() == 0:
        (tmp_path / "pipe").write_bytes(tar({"manifest.json": b"[]"}))
        os._exit(0)
    with Archive(str(tmp_path / "pipe"), spool=str(tmp_path / "spool")) as archive:
        assert archive.content("manifest.json", 1000) == b"[]"
    os.wait()


def test_links_inside_are_followed_by_name_and_one_step(tmp_path: Path) -> None:
    content = tar([member("a/layer.tar", b"data"), member("b/layer.tar", kind=tarfile.SYMTYPE, link="../a/layer.tar"),
                   member("c", kind=tarfile.LNKTYPE, link="a/layer.tar"), member("d", kind=tarfile.SYMTYPE, link="b/layer.tar"),
                   member("loop", kind=tarfile.SYMTYPE, link="loop")])
    with opened(tmp_path, content) as archive:
        assert archive.content("b/layer.tar", 100) == archive.content("c", 100) == b"data"
        for name in ("d", "loop"):
            with pytest.raises(Corrupt, match="has no file"):
                archive.find(name)


@pytest.mark.parametrize("link", ["/etc/passwd", "../../../../etc/passwd", "../etc/passwd"])
def test_no_link_leads_to_the_file_system(tmp_path: Path, link: str) -> None:
    with opened(tmp_path, tar([member("manifest.json", kind=tarfile.SYMTYPE, link=link)])) as archive, \
            pytest.raises(Corrupt, match="has no file"):
        archive.content("manifest.json", 1 << 20)


def test_members_that_are_no_files_are_none(tmp_path: Path) -> None:
    content = tar([member("dir", kind=tarfile.DIRTYPE), member("device", kind=tarfile.CHRTYPE), member("pipe", kind=tarfile.FIFOTYPE)])
    with opened(tmp_path, content) as archive:
        assert archive.members == {}


def test_sizes_are_bounded(tmp_path: Path) -> None:
    with opened(tmp_path, tar({"big": bytes(2000)})) as archive, pytest.raises(Corrupt, match="'big' is longer than 1000 bytes"):
        archive.content("big", 1000)


def test_an_endless_extended_header_is_refused_without_reading_it(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    path = tmp_path / "archive.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 1 << 33)
    with pytest.raises(Corrupt) as failure:
        Archive(str(path), spool=str(tmp_path))
    assert "extended header of 4294967296 bytes" in str(failure.value.__cause__)


@pytest.mark.parametrize("cut", [100, 512, 600, 1024 + 300])
def test_a_cut_archive_is_corrupt(tmp_path: Path, cut: int) -> None:
    whole = tar([member("a", bytes(3000))], format=tarfile.USTAR_FORMAT)
    with pytest.raises(Corrupt, match="is no archive that can be read"):
        opened(tmp_path, whole[:cut])


def test_a_cut_compressed_archive_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="gzip stream"):
        opened(tmp_path, gzip.compress(tar({"a": os.urandom(10_000)}))[:-500])


@pytest.mark.parametrize("content", [b"", bytes(1024), bytes(10_240)])
def test_an_empty_archive_has_no_members(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path, content) as archive:
        assert archive.members == {}


@given(st.binary(max_size=2000))
def test_any_file_is_an_archive_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        opened(tmp_path_factory.mktemp("x"), content).close()
    except PodlingError as error:
        check(error)


@given(st.integers(0, 511), st.binary(min_size=1, max_size=8))
def test_any_header_is_an_archive_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, at: int, change: bytes) -> None:
    content = bytearray(tar({"manifest.json": b"[]"}, format=tarfile.GNU_FORMAT))
    content[at : at + len(change)] = change
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    try:
        opened(tmp_path_factory.mktemp("x"), bytes(content)).close()
    except PodlingError as error:
        check(error)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_laid_out_is_read_by_others() -> None:
    layers = [b"first" * 1000, b"second"]
    members = [Planned(name="blobs/sha256/" + "a" * 64, size=len(layers[0]), layer=0), Planned(name="manifest.json", content=b"[]"),
               Planned(name="b.tar", size=len(layers[1]), layer=1)]
    placed, total = layout(members)
    content = b"".join(sequence(placed, total, lambda number: iter([layers[number]])))
    assert len(content) == total
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        read = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        assert {entry.mode for entry in archive} == {0o644}
    assert read == {members[0].name: layers[0], "manifest.json": b"[]", "b.tar": layers[1]}


def test_a_layer_of_more_than_8_gib_fits_into_a_header() -> None:
    for size in (0, 1, (8 << 30) - 1, 8 << 30, 1 << 50):
        assert tarfile.TarInfo.frombuf(header("x", size), "utf-8", "strict").size == size

"""Tars of trees: what they say is what is there, and every reader understands them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest

from podling.errors import Unsupported
from podling.store.archive.unpack import unpack_plain
from podling.store.archive.writer import TarOptions, tar_tree
from tests.support import archives


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "tree"
    (top / "d/empty").mkdir(parents=True)
    (top / "d/f").write_bytes(b"content" * 100)
    os.chmod(top / "d/f", 0o4750)
    os.link(top / "d/f", top / "z")
    (top / "l").symlink_to("d/f")
    os.mkfifo(top / "p")
    (top / "large").write_bytes(os.urandom(2_500_000))
    (top / ("n" * 120)).write_bytes(b"long name")
    (top / "ü").write_bytes(b"")
    (top / os.fsdecode(b"\xff")).write_bytes(b"no utf-8")
    os.setxattr(top / "large", "user.a", b"\0=\n")
    for path in sorted(top.rglob("*"), reverse=True):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return top


def tar(top, options: TarOptions | None = None, **arguments: object) -> bytes:
    fd = os.open(top, os.O_RDONLY)
    try:
        return b"".join(tar_tree(fd, options or TarOptions(), **arguments))
    finally:
        os.close(fd)


def names(data: bytes) -> list[str]:
    return tarfile.open(fileobj=io.BytesIO(data)).getnames()


def test_a_tree_comes_out_as_it_went_in(tree, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    fd = os.open(target, os.O_RDONLY)
    unpack_plain(archives.reader(tar(tree)), fd)
    os.close(fd)
    assert archives.snapshot(target) == archives.snapshot(tree)


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_other_programs_read_it(tree, tmp_path, program):
    target = tmp_path / "target"
    target.mkdir()
    try:
        subprocess.run(
            [program, "-xpf", "-", "-C", target],
            input=tar(tree),
            check=True,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        )
    except FileNotFoundError:
        pytest.skip(f"needs {program}")
    without_xattrs = [{name: value[:6] for name, value in archives.snapshot(top).items()} for top in (tree, target)]
    assert without_xattrs[0] == without_xattrs[1]


def test_members_come_in_order_and_sockets_not_at_all(tree):
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "socket"))
    found = names(tar(tree))
    assert found == sorted(found)
    assert "socket" not in found
    assert found[:3] == ["d", "d/empty", "d/f"]


def test_a_part_of_a_tree(tree):
    assert names(tar(tree, start="d")) == ["d", "d/empty", "d/f"]
    assert names(tar(tree, start="d", name="other")) == ["other", "other/empty", "other/f"]
    assert names(tar(tree, start="d/f", name="x")) == ["x"]
    assert names(tar(tree, start="l")) == ["l"]
    with pytest.raises(FileNotFoundError):
        tar(tree, start="nothing")
    with pytest.raises(NotADirectoryError):
        tar(tree, start="l/x")


def test_the_root_and_what_is_left_out(tree):
    found = names(tar(tree, TarOptions(include_root=True, exclude=("d", "large", "/ü"))))
    assert "." in found
    assert "p" in found
    assert not {"d", "d/f", "large", "ü"} & set(found)


def test_everything_can_belong_to_one_owner(tree):
    members = tarfile.open(fileobj=io.BytesIO(tar(tree, TarOptions(owner=(1_000_000_000, 7))))).getmembers()
    assert {(member.uid, member.gid) for member in members} == {(1_000_000_000, 7)}


def test_a_layer_comes_out_as_it_went_in(tmp_path):
    data = archives.archive(
        archives.directory(b"d"),
        archives.member(b"d/.wh.gone"),
        archives.member(b"d/f", b"1"),
        archives.directory(b"o"),
        archives.member(b"o/.wh..wh..opq"),
    )
    archives.unpack_into(tmp_path / "one", data, userxattr=True)
    written = tar(tmp_path / "one/diff", TarOptions(whiteouts=True))
    assert names(written) == ["d", "d/f", "d/.wh.gone", "o", "o/.wh..wh..opq"]
    archives.assert_round_trip(tmp_path / "two", written, userxattr=True)
    assert archives.snapshot(tmp_path / "one/diff", times=False) == archives.snapshot(tmp_path / "two/diff", times=False)


@pytest.mark.parametrize("mark", ["user.overlay.redirect", "user.overlay.metacopy"])
def test_marks_that_hide_what_has_changed_are_refused(tmp_path, mark):
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", mark, b"/x")
    with pytest.raises(Unsupported, match="d: "):
        tar(tmp_path, TarOptions(whiteouts=True))
    assert names(tar(tmp_path)) == ["d"]


def test_a_file_that_shrinks_meanwhile_is_filled_up(tree):
    fd = os.open(tree, os.O_RDONLY)
    chunks = tar_tree(fd, start="large")
    data = next(chunks)
    os.truncate(tree / "large", 1_100_000)
    data += b"".join(chunks)
    os.close(fd)
    assert tarfile.open(fileobj=io.BytesIO(data)).getmember("large").size == 2_500_000
    assert len(data) % 512 == 0


def test_deep_trees(tmp_path):
    path = tmp_path
    for _ in range(300):
        path /= "d"
    path.mkdir(parents=True)
    (path / "f").write_bytes(b"1")
    assert names(tar(tmp_path))[-1] == "/".join("d" * 300) + "/f"


def test_no_descriptor_stays_open(tree):
    before = len(os.listdir("/proc/self/fd"))
    tar(tree)
    assert len(os.listdir("/proc/self/fd")) == before

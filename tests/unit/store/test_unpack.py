"""What becomes of a tar's members, with owners that everybody may give; nothing here needs root."""

from __future__ import annotations

import os
import stat
import tarfile

import pytest

from podling.errors import Corrupt, PodlingError
from podling.store.archive.extract import UnpackOptions
from podling.store.archive.paths import clean
from podling.store.archive.unpack import unpack_plain
from tests.support import archives
from tests.support.archives import archive, directory, hard_link, member, symlink

NAMES = [
    (b"a", b"a"),
    (b"./a", b"a"),
    (b"/a", b"a"),
    (b"a/", b"a"),
    (b"a//b", b"a/b"),
    (b"a/./b", b"a/b"),
    (b"a/../b", b"b"),
    (b"./", b""),
    (b".", b""),
    (b"/", b""),
    (b"a/..", b""),
    (b"//a///b//", b"a/b"),
    (b".hidden", b".hidden"),
    (b"a/.hidden", b"a/.hidden"),
    (b"...", b"..."),
    (b"a/...", b"a/..."),
    (b"./.x", b".x"),
    (b"a/b/../../c", b"c"),
]


@pytest.mark.parametrize(("name", "path"), NAMES)
def test_names_are_made_clean(name, path):
    assert clean(name) == path


@pytest.mark.parametrize(
    "name", [b"..", b"../a", b"a/../..", b"a/../../b", b"/..", b"/../a", b"./../a", b"a/../b/../../c", b"a\0b", b"x" * 5000]
)
def test_names_that_lead_out_are_corrupt(name):
    with pytest.raises(Corrupt):
        clean(name)


@pytest.fixture
def layer(tmp_path):
    return tmp_path / "layer"


def modes(layer, *names: str) -> list[int]:
    return [stat.S_IMODE(os.lstat(layer / "diff" / name).st_mode) for name in names]


def test_members_of_every_kind(layer):
    data = archive(
        directory(b"d/", 0o750, mtime=1000),
        member(b"d/f", b"content", mode=0o640, mtime=2000),
        symlink(b"d/l", b"f"),
        hard_link(b"h", b"d/f", mode=0o640, mtime=2000),
        archives.header(b"p", b"6", mode=0o600),
        member(b"empty"),
    )
    unpacked = archives.assert_round_trip(layer, data)
    top = layer / "diff"
    assert (top / "d/f").read_bytes() == b"content"
    assert os.readlink(top / "d/l") == "f"
    assert os.path.samefile(top / "h", top / "d/f")
    assert stat.S_ISFIFO(os.stat(top / "p").st_mode)
    assert modes(layer, "d", "d/f", "p") == [0o750, 0o640, 0o600]
    assert [os.lstat(top / name).st_mtime for name in ("d", "d/f", "d/l", "h", "p")] == [
        1000,
        2000,
        1_700_000_000,
        2000,
        1_700_000_000,
    ]
    assert (unpacked.entries, unpacked.size, unpacked.missing_parents, unpacked.has_root) == (6, 7, (), False)


def test_modes_do_not_depend_on_the_umask(layer):
    before = os.umask(0o077)
    try:
        archives.unpack_into(
            layer,
            archive(
                directory(b"d", 0o777),
                directory(b"s", 0o1777),
                directory(b"g", 0o2775),
                member(b"f", b"x", mode=0o666),
                member(b"u", b"x", mode=0o4755),
                archives.header(b"p", b"6", mode=0o622),
                member(b"g/below"),
                member(b"m/f"),
            ),
        )
    finally:
        os.umask(before)
    assert modes(layer, "d", "s", "g", "f", "u", "p", "m") == [0o777, 0o1777, 0o2775, 0o666, 0o4755, 0o622, 0o755]


def test_nanoseconds_are_kept(layer):
    archives.assert_round_trip(
        layer,
        archive(
            archives.pax([(b"mtime", b"1600000000.123456789")]),
            member(b"f"),
            archives.pax([(b"mtime", b"-5.5")]),
            directory(b"d"),
        ),
    )
    assert os.stat(layer / "diff/f").st_mtime_ns == 1_600_000_000_123_456_789
    assert os.stat(layer / "diff/d").st_mtime_ns == -5_500_000_000


def test_times_of_directories_are_those_of_the_archive_whatever_came_into_them(layer):
    archives.unpack_into(
        layer,
        archive(
            directory(b"a", mtime=1000),
            directory(b"a/b", mtime=2000),
            member(b"a/b/c"),
            member(b"a/d"),
            directory(b"./", mtime=3000),
            member(b"e"),
        ),
    )
    assert [int(os.stat(layer / "diff" / name).st_mtime) for name in ("a", "a/b", ".")] == [1000, 2000, 3000]


def test_the_root_takes_its_attributes(layer):
    assert archives.assert_round_trip(layer, archive(directory(b"./", 0o711, mtime=5), member(b"./f"))).has_root
    assert modes(layer, ".") == [0o711]


def test_directories_that_the_archive_leaves_out(layer):
    unpacked = archives.assert_round_trip(layer, archive(member(b"a/b/c/f"), directory(b"a/b", 0o700), member(b"x/y")))
    assert unpacked.missing_parents == ("a", "a/b/c", "x")
    assert modes(layer, "a", "a/b", "a/b/c", "x") == [0o755, 0o700, 0o755, 0o755]


def test_a_large_file_in_small_chunks(layer):
    content = os.urandom(3_000_001)
    archives.assert_round_trip(layer, archive(member(b"large", content), member(b"small", b"1")), most=65_537)
    assert (layer / "diff/large").read_bytes() == content


def test_xattrs(layer):
    data = archive(
        archives.pax([(b"SCHILY.xattr.user.a", b"1\0\n="), (b"SCHILY.xattr.user.b", b"2")]),
        member(b"f", b"x"),
        archives.pax([(b"SCHILY.xattr.user.d", b"3")]),
        directory(b"d"),
        member(b"plain"),
    )
    archives.assert_round_trip(layer, data)
    assert {name: os.getxattr(layer / "diff/f", name) for name in os.listxattr(layer / "diff/f")} == {
        "user.a": b"1\0\n=",
        "user.b": b"2",
    }
    assert os.getxattr(layer / "diff/d", "user.d") == b"3"


def test_xattrs_that_would_steer_overlay_or_belong_to_the_host_are_left_out(layer):
    names = (
        b"trusted.overlay.redirect",
        b"trusted.overlay.opaque",
        b"user.overlay.metacopy",
        b"user.overlay.opaque",
        b"security.selinux",
    )
    records = [(b"SCHILY.xattr." + name, b"y") for name in names]
    archives.assert_round_trip(layer, archive(archives.pax(records), member(b"f"), archives.pax(records), directory(b"d")))
    for name in ("f", "d"):
        assert [xattr for xattr in os.listxattr(layer / "diff" / name) if xattr != "security.selinux"] == []


def test_xattrs_that_the_file_system_does_not_know_are_left_out(layer):
    archives.unpack_into(
        layer, archive(archives.pax([(b"SCHILY.xattr.strange", b"y"), (b"SCHILY.xattr.user.a", b"1")]), member(b"f"))
    )
    assert os.listxattr(layer / "diff/f") == ["user.a"]


# --- names that come twice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [100, 1 << 20])
def test_the_later_of_two_files_wins_and_the_archive_can_still_be_written(layer, most):
    data = archive(member(b"f", b"first" * 500), member(b"g", b"other"), member(b"f", b"second"), member(b"f", b"third" * 300))
    archives.assert_round_trip(layer, data, most=most)
    assert (layer / "diff/f").read_bytes() == b"third" * 300
    assert (layer / "diff/g").read_bytes() == b"other"


def test_replacing_a_file_leaves_its_other_names_alone(layer):
    archives.assert_round_trip(layer, archive(member(b"f", b"first"), hard_link(b"h", b"f"), member(b"f", b"second")))
    assert (layer / "diff/h").read_bytes() == b"first"
    assert (layer / "diff/f").read_bytes() == b"second"


def test_a_directory_given_twice_keeps_its_content_and_takes_the_later_attributes(layer):
    archives.assert_round_trip(layer, archive(directory(b"d", 0o700), member(b"d/f", b"1"), directory(b"d", 0o755, mtime=7)))
    assert (layer / "diff/d/f").read_bytes() == b"1"
    assert modes(layer, "d") == [0o755]
    assert os.stat(layer / "diff/d").st_mtime == 7


def test_kinds_replace_each_other(layer):
    data = archive(
        directory(b"x"),
        directory(b"x/sub"),
        member(b"x/sub/f", b"deep"),
        member(b"x", b"file"),
        symlink(b"x", b"nowhere"),
        directory(b"x", 0o711),
        member(b"x/sub", b"now a file"),
        archives.header(b"x", b"6", mode=0o600),
        directory(b"x", 0o700),
        member(b"x/last", b"1"),
    )
    archives.assert_round_trip(layer, data)
    assert archives.snapshot(layer / "diff").keys() == {"x", "x/last"}
    assert modes(layer, "x") == [0o700]


def test_content_is_found_again_wherever_later_members_have_moved_it(layer):
    data = archive(
        member(b"a/b/c", b"1"),
        member(b"a/b", b"2"),
        member(b"a", b"3"),
        directory(b"a"),
        member(b"a/b/c", b"4"),
        member(b"a/b", b"5"),
        directory(b"a/b"),
        member(b"a/b/c", b"6"),
        member(b"a/b/c", b"7"),
        end=bytes(10240),
    )
    archives.assert_round_trip(layer, data)
    assert (layer / "diff/a/b/c").read_bytes() == b"7"


def test_parents_that_were_replaced_are_not_missing(layer):
    unpacked = archives.assert_round_trip(
        layer, archive(member(b"a/b/f", b"1"), member(b"a", b"2"), directory(b"a"), member(b"a/c/f"))
    )
    assert unpacked.missing_parents == ("a/c",)


def test_many_replaced_directories_are_no_trap(layer):
    members = [member(b"d%d/f" % number, b"1") for number in range(300)]
    for _ in range(3):
        for number in range(300):
            members += [member(b"d%d" % number, b"2"), directory(b"d%d" % number), member(b"d%d/f" % number, b"3")]
    archives.assert_round_trip(layer, archive(*members))


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_of_the_same_archive_is_followed_inside(layer):
    data = archive(
        directory(b"usr"),
        directory(b"usr/lib"),
        symlink(b"lib", b"usr/lib"),
        member(b"lib/f", b"1"),
        symlink(b"abs", b"/usr/lib"),
        member(b"abs/g", b"2"),
        symlink(b"up", b"../../../usr"),
        member(b"up/lib/h", b"3"),
    )
    archives.assert_round_trip(layer, data)
    assert sorted(os.listdir(layer / "diff/usr/lib")) == ["f", "g", "h"]


def test_what_was_written_through_a_link_is_found_again_when_the_link_is_gone(layer):
    data = archive(
        directory(b"usr"), symlink(b"lib", b"usr"), member(b"lib/f", b"1"), member(b"lib", b"file"), member(b"usr/f", b"2")
    )
    archives.assert_round_trip(layer, data)
    assert (layer / "diff/usr/f").read_bytes() == b"2"


def test_a_hard_link_takes_the_attributes_it_says(layer):
    archives.assert_round_trip(layer, archive(member(b"f", b"1", mode=0o600), hard_link(b"h", b"f", mode=0o755, mtime=9)))
    assert modes(layer, "f") == [0o755]
    assert os.stat(layer / "diff/f").st_mtime == 9


def test_hard_links_through_links_and_to_links(layer):
    data = archive(
        directory(b"d"),
        member(b"d/f", b"1"),
        symlink(b"s", b"d"),
        hard_link(b"h", b"s/f"),
        symlink(b"t", b"d/f"),
        hard_link(b"u", b"t"),
        hard_link(b"/v", b"./d/../d/f"),
    )
    archives.assert_round_trip(layer, data)
    assert os.path.samefile(layer / "diff/h", layer / "diff/d/f")
    assert os.path.samefile(layer / "diff/v", layer / "diff/d/f")
    assert os.readlink(layer / "diff/u") == "d/f"


# --- whiteouts --------------------------------------------------------------------------------------------------------


def is_whiteout(path) -> bool:
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path) -> bool:
    return "user.overlay.opaque" in os.listxattr(path)


def test_whiteouts(layer):
    data = archive(directory(b"d"), member(b"d/.wh.gone"), member(b".wh.top"), directory(b"o"), member(b"o/.wh..wh..opq"))
    archives.assert_round_trip(layer, data, userxattr=True)
    assert is_whiteout(layer / "diff/d/gone")
    assert is_whiteout(layer / "diff/top")
    assert is_opaque(layer / "diff/o")
    assert archives.snapshot(layer / "diff").keys() == {"d", "d/gone", "top", "o"}


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_whiteout_hides_what_is_below_and_not_what_the_same_layer_has(layer, order):
    marks = [member(b".wh.f"), member(b".wh.d"), member(b".wh.implied")]
    there = [member(b"f", b"1"), directory(b"d"), member(b"d/f", b"2"), member(b"implied/f", b"3")]
    archives.assert_round_trip(layer, archive(*(marks + there if order == "before" else there + marks)), userxattr=True)
    assert (layer / "diff/f").read_bytes() == b"1"
    assert (layer / "diff/d/f").read_bytes() == b"2"
    assert is_opaque(layer / "diff/d")
    assert is_opaque(layer / "diff/implied")


def test_names_that_only_look_like_whiteouts(layer):
    archives.assert_round_trip(layer, archive(member(b"a.wh.b", b"1"), directory(b"x.wh."), member(b"x.wh./f", b"2")))
    assert archives.snapshot(layer / "diff").keys() == {"a.wh.b", "x.wh.", "x.wh./f"}


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh...", b".wh.x/f"])
def test_whiteouts_that_are_none_are_corrupt(layer, name):
    with pytest.raises(Corrupt):
        archives.unpack_into(layer, archive(directory(b"d"), member(name)), userxattr=True)


def test_the_books_of_aufs_are_left_out_but_not_lost(layer):
    data = archive(
        directory(b".wh..wh.plnk"),
        member(b".wh..wh.plnk/12.34", b"content"),
        member(b".wh..wh.aufs"),
        member(b".wh.f", b"content too"),
    )
    archives.assert_round_trip(layer, data)
    assert archives.snapshot(layer / "diff").keys() == {"f"}


def test_whiteouts_mean_nothing_to_a_plain_tar(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    unpack_plain(
        archives.reader(
            archive(member(b".wh.f", b"1"), member(b".wh..wh..opq", b"2"), directory(b".wh.d"), member(b".wh.d/f"))
        ),
        fd,
    )
    os.close(fd)
    assert archives.snapshot(tmp_path).keys() == {".wh.f", ".wh..wh..opq", ".wh.d", ".wh.d/f"}


# --- plain tars into trees that exist ---------------------------------------------------------------------------------


def plain(top, data, **options):
    fd = os.open(top, os.O_RDONLY)
    try:
        return unpack_plain(archives.reader(data), fd, UnpackOptions(**options))
    finally:
        os.close(fd)


def test_a_plain_tar_merges_with_what_is_there(tmp_path):
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d/old").write_text("old")
    (tmp_path / "d/both").write_text("old")
    (tmp_path / "f").mkdir()
    (tmp_path / "f/below").write_text("old")
    plain(tmp_path, archive(directory(b"d", 0o755), member(b"d/both", b"new"), member(b"f", b"new")))
    assert {name: value[4] for name, value in archives.snapshot(tmp_path).items() if name != "d"} == {
        "d/both": b"new",
        "d/old": b"old",
        "f": b"new",
    }
    assert stat.S_IMODE(os.stat(tmp_path / "d").st_mode) == 0o755


def test_a_plain_tar_does_not_follow_links_out(tmp_path):
    outside, top = tmp_path / "outside", tmp_path / "top"
    outside.mkdir(mode=0o700)
    top.mkdir()
    (top / "out").symlink_to(outside)
    (top / "file").symlink_to(outside / "file")
    before = archives.snapshot(outside)
    with pytest.raises(PodlingError):
        plain(top, archive(member(b"out/f", b"1")))
    plain(top, archive(member(b"file", b"1"), directory(b"out", 0o755)))
    assert archives.snapshot(outside) == before
    assert stat.S_IMODE(os.stat(outside).st_mode) == 0o700
    assert (top / "file").read_bytes() == b"1"
    assert not (top / "out").is_symlink()


# --- what cannot be ---------------------------------------------------------------------------------------------------


HOSTILE = {
    "parent": archive(member(b"../f", b"1")),
    "parent in the middle": archive(member(b"d/../../f", b"1")),
    "parent by pax": archive(archives.pax([(b"path", b"../f")]), member(b"x", b"1")),
    "parent by gnu": archive(archives.gnu_long(b"../" * 50 + b"f"), member(b"x", b"1")),
    "directory out": archive(directory(b"../d")),
    "link out": archive(hard_link(b"h", b"../outside/f")),
    "link out by pax": archive(archives.pax([(b"linkpath", b"../../../../../../etc/passwd")]), hard_link(b"h", b"x")),
    "link to nothing": archive(hard_link(b"h", b"nothing")),
    "link to the root": archive(hard_link(b"h", b"/")),
    "link to nothing inside": archive(hard_link(b"h", b"/etc/passwd")),
    "link to itself": archive(hard_link(b"h", b"h")),
    "link to a directory": archive(directory(b"d"), hard_link(b"h", b"d")),
    "link through a link out": archive(symlink(b"s", b"/../../../../../../../../etc"), hard_link(b"h", b"s/passwd")),
    "through a link to nothing": archive(symlink(b"s", b"nothing"), member(b"s/f", b"1")),
    "through a link out": archive(symlink(b"s", b"../../outside"), member(b"s/f", b"1")),
    "through links in a circle": archive(symlink(b"s", b"t"), symlink(b"t", b"s"), member(b"s/f", b"1")),
    "through a link to a file": archive(member(b"f", b"1"), symlink(b"s", b"f"), member(b"s/f", b"1")),
    "below a file": archive(member(b"f", b"1"), member(b"f/g", b"2")),
    "below a pipe": archive(archives.header(b"p", b"6"), member(b"p/g", b"2")),
    "file as the root": archive(member(b"./", b"1")),
    "link as the root": archive(symlink(b".", b"/etc")),
    "no name": archive(member(b"", b"1")),
    "name with NUL": archive(archives.pax([(b"path", b"a\0b")]), member(b"x", b"1")),
    "link with NUL": archive(archives.pax([(b"linkpath", b"a\0b")]), symlink(b"x", b"y")),
    "name too long": archive(archives.gnu_long(b"n" * 300), member(b"x", b"1")),
    "path too long": archive(archives.gnu_long(b"a/" * 2500), member(b"x", b"1")),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_corrupt_and_touch_nothing_outside(what, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("untouched")
    before = archives.snapshot(outside)
    with pytest.raises(Corrupt):
        archives.unpack_into(tmp_path / "layer", HOSTILE[what])
    assert archives.snapshot(outside) == before
    assert sorted(os.listdir(tmp_path)) == ["layer", "outside"]


def test_a_link_out_is_only_a_link(layer, tmp_path):
    archives.assert_round_trip(
        layer, archive(symlink(b"s", b"../../outside"), symlink(b"e", b"/etc/passwd"), directory(b"s", 0o700))
    )
    assert not (layer / "diff/s").is_symlink()
    assert os.readlink(layer / "diff/e") == "/etc/passwd"


def test_a_set_group_id_directory_gives_its_group_to_nothing(layer):
    archives.unpack_into(layer, archive(directory(b"d", 0o2777), directory(b"d/e"), member(b"d/f")))
    assert modes(layer, "d", "d/e", "d/f") == [0o2777, 0o755, 0o644]


def test_errors_of_the_reader_pass_through(layer):
    class Broken(Exception):
        pass

    def read(size):
        raise Broken

    layer.mkdir()
    fd = os.open(layer, os.O_RDONLY)
    from podling.store.archive.unpack import unpack

    with pytest.raises(Broken):
        unpack(read, fd)

    def read_badly(size):
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(ConnectionResetError):
        unpack_plain(read_badly, fd)
    os.close(fd)


def test_no_descriptor_stays_open(layer, tmp_path):
    before = os.listdir("/proc/self/fd")
    deep = archive(*(member(b"/".join(b"%d" % n for n in range(depth)) + b"/f") for depth in range(1, 60)))
    archives.assert_round_trip(layer, deep)
    with pytest.raises(Corrupt):
        archives.unpack_into(tmp_path / "second", deep[:20_000])
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("depth", [1, 300])
def test_more_directories_than_may_be_open(layer, depth):
    prefix = b"/".join([b"d"] * depth)
    members = [
        archives.gnu_long(prefix + b"/%d/%b" % (number, name)) + member(b"x", b"%d" % number)
        for name in (b"f", b"g")
        for number in range(400)
    ]
    archives.assert_round_trip(layer, archive(*members))


def test_more_directories_than_are_remembered(layer, monkeypatch):
    monkeypatch.setattr("podling.store.archive.extract._SETTLE", 3)
    members = [directory(b"d%d" % number, 0o2755, mtime=1000 + number) for number in range(10)]
    members += [member(b"d%d/f" % number) for number in range(10)] + [
        directory(b"d%d/sub" % number, mtime=5) for number in range(10)
    ]
    members += [member(b"implied%d/deep/f" % number) for number in range(10)]
    archives.assert_round_trip(layer, archive(directory(b"./", mtime=42), *members))
    assert [int(os.stat(layer / f"diff/d{number}").st_mtime) for number in range(10)] == [1000 + number for number in range(10)]
    assert [int(os.stat(layer / f"diff/d{number}/sub").st_mtime) for number in range(10)] == [5] * 10
    assert modes(layer, "d3", "d9") == [0o2755, 0o2755]
    assert os.stat(layer / "diff").st_mtime == 42


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_the_standard_library(layer, form):
    info = tarfile.TarInfo("d")
    info.type = tarfile.DIRTYPE
    members = [(info, b"")] + [(tarfile.TarInfo(f"d/{number}"), os.urandom(number * 97)) for number in range(60)]
    for item, _ in members:
        item.mtime = 1_600_000_000.25 if form == tarfile.PAX_FORMAT else 1_600_000_000
    archives.assert_round_trip(layer, archives.by_tarfile(members, form), most=10_000)
    for item, content in members[1:]:
        assert (layer / "diff" / item.name).read_bytes() == content


def test_names_that_are_not_utf8(layer):
    unpacked = archives.assert_round_trip(layer, archive(member(b"\xff\xfe/\x80", b"1"), member(b"\xff\xfe/\x80", b"2")))
    assert os.listdir(os.fsencode(layer / "diff")) == [b"\xff\xfe"]
    assert unpacked.missing_parents == ("\udcff\udcfe",)

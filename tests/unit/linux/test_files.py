"""Files in a temporary directory; no privilege needed."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import Corrupt
from podling.linux import files, syscalls


def names(directory):
    return sorted(os.listdir(directory))


def test_write_atomic_gives_content_and_exact_mode(tmp_path):
    old = os.umask(0o077)
    try:
        files.write_atomic(f"{tmp_path}/f", b"one", 0o644, sync=True)
        files.write_atomic(f"{tmp_path}/f", b"two", 0o604)
    finally:
        os.umask(old)
    assert (tmp_path / "f").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o604
    assert names(tmp_path) == ["f"]


def test_write_atomic_replaces_a_link_not_what_it_points_to(tmp_path):
    (tmp_path / "target").write_text("safe")
    (tmp_path / "link").symlink_to("target")
    files.write_atomic(f"{tmp_path}/link", b"new")
    assert (tmp_path / "target").read_text() == "safe"
    assert not (tmp_path / "link").is_symlink()


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_text("")
    with pytest.raises(IsADirectoryError):
        files.write_atomic(f"{tmp_path}/d", b"x")
    assert names(tmp_path) == ["d"]
    with pytest.raises(FileNotFoundError):
        files.write_atomic(f"{tmp_path}/nowhere/f", b"x")


def test_read_text_keeps_bytes_that_are_no_text(tmp_path):
    (tmp_path / "f").write_bytes(b"caf\xe9\n")
    assert files.read_text(f"{tmp_path}/f").encode("utf-8", "surrogateescape") == b"caf\xe9\n"


def test_read_refuses_what_is_too_long(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 11)
    assert files.read_bytes(f"{tmp_path}/f", 11) == b"x" * 11
    with pytest.raises(Corrupt, match="longer than 10 bytes"):
        files.read_bytes(f"{tmp_path}/f", 10)


def test_read_refuses_endless_files():
    with pytest.raises(Corrupt):
        files.read_bytes("/dev/zero", 1000)


def test_make_directories_gives_each_new_one_the_mode(tmp_path):
    (tmp_path / "there").mkdir(0o711)
    old = os.umask(0o077)
    try:
        files.make_directories(f"{tmp_path}/there/a/b", 0o755)
        files.make_directories(f"{tmp_path}/there/a/b", 0o700)
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(os.stat(tmp_path / path).st_mode) for path in ("there", "there/a", "there/a/b")]
    assert modes == [0o711, 0o755, 0o755]


def test_make_directories_refuses_a_file_in_the_way(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(FileExistsError):
        files.make_directories(f"{tmp_path}/f")
    with pytest.raises(NotADirectoryError):
        files.make_directories(f"{tmp_path}/f/x")


def test_aside_renames_once(tmp_path):
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "big").mkdir()
    new = files.aside(f"{tmp_path}/big", f"{tmp_path}/rubbish")
    assert new is not None
    assert os.path.dirname(new) == f"{tmp_path}/rubbish"
    assert names(tmp_path) == ["rubbish"]
    assert files.aside(f"{tmp_path}/big", f"{tmp_path}/rubbish") is None


def test_aside_tells_a_missing_rubbish_directory_from_a_missing_file(tmp_path):
    (tmp_path / "big").mkdir()
    with pytest.raises(FileNotFoundError):
        files.aside(f"{tmp_path}/big", f"{tmp_path}/rubbish")


# --- beneath a root ---------------------------------------------------------------------------------------------------


LINKS = {"abs": "/etc/passwd", "rel": "etc/passwd", "up": "../../../../etc/passwd", "dir": "/etc", "dots": "etc/../etc/passwd",
         "out": "../secret", "absout": "/nowhere/secret", "loop": "loop", "loop1": "loop2", "loop2": "loop1",
         "deep/a/b/c": "../../../abs", "chain": "dir/../rel", "dangling": "/etc/new", "slash": "etc/", "me": "."}


def make_root(directory):
    """A root file system with links of all kinds, and a file outside that must not be reached."""
    (directory / "secret").write_text("outside")
    top = directory / "root"
    for path in ("etc", "usr/share", "deep/a/b"):
        (top / path).mkdir(parents=True)
    (top / "etc/passwd").write_text("inside")
    for name, target in LINKS.items():
        (top / name).symlink_to(target)
    return str(top)


@pytest.fixture
def root(tmp_path):
    return make_root(tmp_path)


@pytest.fixture(scope="module")
def lasting_root(tmp_path_factory):
    return make_root(tmp_path_factory.mktemp("links"))


WAYS = ["walk", "openat2"]


@pytest.fixture(params=WAYS)
def open_in(request):
    """open_beneath by each of its two ways."""
    def by_kernel(root_fd, path, flags, mode=0):
        return syscalls.openat2(root_fd, path, flags, mode, syscalls.RESOLVE_IN_ROOT)

    if request.param == "walk":
        return files._walk_open
    try:
        os.close(by_kernel(os.open("/", os.O_PATH), "/", os.O_PATH))
    except OSError as error:
        pytest.skip(f"openat2 does not work here: {error}")
    return by_kernel


def read_in(open_in, root, path, flags=os.O_RDONLY):
    fd = os.open(root, os.O_PATH)
    try:
        opened = open_in(fd, path, flags, 0)
    finally:
        os.close(fd)
    try:
        return os.read(opened, 100).decode()
    finally:
        os.close(opened)


@pytest.mark.parametrize("path", ["etc/passwd", "/etc/passwd", "//etc//./passwd", "../etc/passwd", "abs", "rel", "up", "dots",
                                  "dir/passwd", "deep/a/b/c", "chain", "slash/passwd", "me/me/abs", "deep/../../../abs"])
def test_links_stay_inside(open_in, root, path):
    assert read_in(open_in, root, path) == "inside"


@pytest.mark.parametrize("path", ["out", "absout", "../secret", "nothing", "etc/passwd/x", "loop", "loop1", "abs/", "",
                                  "dangling"])
def test_what_is_outside_or_missing_is_not_opened(open_in, root, path):
    with pytest.raises(OSError) as caught:
        read_in(open_in, root, path)
    expected = {"loop": errno.ELOOP, "loop1": errno.ELOOP, "etc/passwd/x": errno.ENOTDIR, "abs/": errno.ENOTDIR}
    assert caught.value.errno == expected.get(path, errno.ENOENT)
    assert caught.value.filename == path


def test_a_last_link_can_be_refused(open_in, root):
    with pytest.raises(OSError) as caught:
        read_in(open_in, root, "abs", os.O_RDONLY | os.O_NOFOLLOW)
    assert caught.value.errno == errno.ELOOP


def test_files_are_made_where_a_dangling_link_points_inside(open_in, root):
    fd = os.open(root, os.O_PATH)
    os.close(open_in(fd, "dangling", os.O_WRONLY | os.O_CREAT, 0o600))
    assert os.path.exists(f"{root}/etc/new")
    with pytest.raises(FileExistsError):
        open_in(fd, "dangling", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(fd)


def test_open_beneath_gives_descriptors_that_close_on_exec(root):
    fd = os.open(root, os.O_PATH)
    opened = files.open_beneath(fd, "abs", os.O_RDONLY)
    assert not os.get_inheritable(opened)
    os.close(opened)
    os.close(fd)


@pytest.mark.parametrize(("path", "expected"), [
    ("/abs", "/etc/passwd"), ("abs", "/etc/passwd"), ("out", "/secret"), ("../../x", "/x"), ("no/where/../y", "/no/y"),
    ("dir/new/file", "/etc/new/file"), ("", ""), ("/", ""), (".", ""), ("dangling", "/etc/new"), ("me/me", ""),
    ("etc/passwd/x", "/etc/passwd/x"), ("deep/a/b/../../q", "/deep/q"),
])
def test_resolve_in_root(root, path, expected):
    assert files.resolve_in_root(root, path) == root + expected


def test_resolve_in_root_reports_loops(root):
    with pytest.raises(OSError, match="loop/x"):
        files.resolve_in_root(root, "loop/x")


PARTS = st.sampled_from(["etc", "passwd", "..", ".", "abs", "dir", "rel", "out", "absout", "loop1", "chain", "deep", "a", "b",
                         "c", "missing", "slash", "me", "", "dangling"])


@given(st.lists(PARTS, max_size=8).map("/".join), st.sampled_from([os.O_PATH, os.O_RDONLY, os.O_PATH | os.O_NOFOLLOW,
                                                                    os.O_RDONLY | os.O_DIRECTORY]))
def test_both_ways_agree(lasting_root, path, flags):
    """The walk in Python finds what the kernel's RESOLVE_IN_ROOT finds, and fails as it does."""
    fd = os.open(lasting_root, os.O_PATH)
    try:
        assert _outcome(files._walk_open, fd, path, flags) == _outcome(_open_in_root, fd, path, flags)
    finally:
        os.close(fd)


def _open_in_root(fd, path, flags, mode):
    """The kernel's way, again where something was renamed or mounted anywhere on the machine meanwhile."""
    while True:
        try:
            return syscalls.openat2(fd, path, flags, mode, syscalls.RESOLVE_IN_ROOT)
        except BlockingIOError:
            continue


def _outcome(way, fd, path, flags):
    try:
        opened = way(fd, path, flags, 0)
    except OSError as error:
        return error.errno
    try:
        found = os.fstat(opened)
        return found.st_dev, found.st_ino
    finally:
        os.close(opened)


# --- removing ---------------------------------------------------------------------------------------------------------


def test_remove_tree_removes_files_links_and_directories(tmp_path):
    (tmp_path / "outside").write_text("kept")
    top = tmp_path / "tree"
    (top / "a/b").mkdir(parents=True)
    (top / "a/f").write_text("")
    (top / "a/link").symlink_to(tmp_path / "outside")
    (top / "dirlink").symlink_to(tmp_path)
    os.mkfifo(top / "fifo")
    assert files.remove_tree(str(top)) is True
    assert names(tmp_path) == ["outside"]
    assert files.remove_tree(str(top)) is False
    assert files.remove_tree(f"{top}/below/nothing") is False


def test_remove_tree_removes_a_link_and_a_file_as_such(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "file").write_text("")
    assert files.remove_tree(f"{tmp_path}/link") is True
    assert files.remove_tree(f"{tmp_path}/file") is True
    assert names(tmp_path) == ["kept"]


def test_remove_tree_overcomes_modes(tmp_path):
    (tmp_path / "t/a/b").mkdir(parents=True)
    (tmp_path / "t/a/f").write_text("")
    os.chmod(tmp_path / "t/a/b", 0)
    os.chmod(tmp_path / "t/a", 0)
    os.chmod(tmp_path / "t", 0o500)
    assert files.remove_tree(f"{tmp_path}/t")
    assert names(tmp_path) == []


def test_remove_tree_knows_no_depth(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 60, dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("d" * 60, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    assert files.remove_tree(f"{tmp_path}/{'d' * 60}")
    assert names(tmp_path) == ["f"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_remove_tree_takes_names_that_are_no_text(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/t/\xff\xfe")
    open(os.fsencode(tmp_path) + b"/t/\xff\xfe/\n", "wb").close()
    assert files.remove_tree(f"{tmp_path}/t")


def test_remove_tree_goes_on_where_another_removes_too(tmp_path):
    for number in range(30):
        (tmp_path / f"t/{number}").mkdir(parents=True)
        for name in range(30):
            (tmp_path / f"t/{number}/{name}").write_text("")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            files.remove_tree(f"{tmp_path}/t")
            status = 0
        finally:
            os._exit(status)
    files.remove_tree(f"{tmp_path}/t")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert names(tmp_path) == []

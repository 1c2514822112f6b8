"""Tars of GNU tar, bsdtar and podman: unpacked as they would do it, and written again to the last bit."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podling.errors import Unsupported
from tests.support import archives
from tests.support.archives import archive, directory, member

if TYPE_CHECKING:
    from tests.support.sandbox import World

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep


def make_tree(top: str) -> None:
    """A bit of everything that an image can hold."""
    os.makedirs(f"{top}/usr/bin")
    os.makedirs(f"{top}/var/tmp")
    os.chmod(f"{top}/var/tmp", 0o1777)
    os.makedirs(f"{top}/srv/shared")
    os.chown(f"{top}/srv/shared", 1000, 2000)
    os.chmod(f"{top}/srv/shared", 0o2775)
    files = {
        "usr/bin/tool": b"#!/bin/sh\n" * 100,
        "usr/bin/empty": b"",
        "usr/large": os.urandom(1_500_000),
        "ü": b"unicode",
        "d" * 60 + "/" + "f" * 90: b"long",
        "srv/shared/f": b"owned",
    }
    for name, content in files.items():
        os.makedirs(os.path.dirname(f"{top}/{name}"), exist_ok=True)
        with open(f"{top}/{name}", "wb") as file:
            file.write(content)
    os.chown(f"{top}/srv/shared/f", 1_000_000, 3_000_000)
    os.chmod(f"{top}/usr/bin/tool", 0o4711)
    os.setxattr(f"{top}/usr/bin/empty", "security.capability", CAPABILITY)
    os.setxattr(f"{top}/usr/large", "user.note", b"x=\n\0")
    os.link(f"{top}/usr/bin/tool", f"{top}/usr/bin/other")
    os.symlink("tool", f"{top}/usr/bin/link")
    os.symlink("/" + "t" * 200, f"{top}/dangling")
    os.chown(f"{top}/dangling", 5, 6, follow_symlinks=False)
    os.mkfifo(f"{top}/pipe", 0o620)
    os.mknod(f"{top}/null", 0o020666, os.makedev(1, 3))
    os.mknod(f"{top}/disk", 0o060660, os.makedev(259, 300000))
    with open(f"{top}/sparse", "wb") as file:
        for offset in range(0, 100_000_000, 20_000_000):
            file.seek(offset)
            file.write(b"data")
        file.truncate(100_000_000)
    for parent, names, leaves in os.walk(top, topdown=False):
        for name in (*names, *leaves):
            os.utime(f"{parent}/{name}", ns=(10**18, 10**18 + hash(name) % 10**9), follow_symlinks=False)


PROGRAMS = [
    ["tar", "--format=v7"],
    ["tar", "--format=oldgnu", "--sparse"],
    ["tar", "--format=gnu", "--sparse"],
    ["tar", "--format=ustar"],
    ["tar", "--format=posix", "--xattrs", "--xattrs-include=*"],
    ["tar", "--format=posix", "--sparse", "--sparse-version=0.0"],
    ["tar", "--format=posix", "--sparse", "--sparse-version=0.1"],
    ["tar", "--format=posix", "--sparse", "--sparse-version=1.0"],
    ["tar", "--format=gnu", "--label=name", "--blocking-factor=64"],
    ["bsdtar", "--format=pax"],
    ["bsdtar", "--format=ustar"],
    ["bsdtar", "--format=gnutar"],
]


def by_program(command: list[str], top: str) -> bytes:
    """The tree's tar, less what the format cannot say."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    names = sorted(os.listdir(top))
    if "v7" in command[1]:
        names = [name for name in names if name not in ("null", "disk", "pipe", "dangling") and len(name) < 50]
    if "ustar" in command[1] or "v7" in command[1]:
        names = [name for name in names if name not in ("disk", "dangling", "srv", "ü")]
    return subprocess.run(
        [*command, "-cf", "-", "-C", top, *names],
        stdout=subprocess.PIPE,
        check=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    ).stdout


def like_gnu_tar(command: list[str], top: Path) -> None:
    make_tree(str(top / "tree"))
    data = by_program(command, str(top / "tree"))
    archives.assert_round_trip(top / "layer", data, most=100_000)
    os.mkdir(top / "gnu")
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "--same-owner", "-xpf", "-", "-C", top / "gnu"],
        input=data,
        check=True,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert archives.snapshot(top / "layer/diff") == archives.snapshot(top / "gnu")


@pytest.mark.parametrize("command", PROGRAMS, ids=[" ".join(command) for command in PROGRAMS])
def test_we_unpack_like_gnu_tar(command, world: World, tmp_path):
    world.call(like_gnu_tar, command, tmp_path)


def what_root_may(top: Path) -> None:
    data = archive(
        directory(b"d", uid=1, gid=2),
        archives.pax([(b"SCHILY.xattr.security.capability", CAPABILITY)]),
        member(b"d/f", b"x", uid=3, gid=4, mode=0o6755),
        archives.header(b"null", b"3", device=(1, 3), mode=0o666),
        member(b"gone", b"1"),
        member(b".wh.gone"),
        directory(b"o"),
        member(b"o/.wh..wh..opq"),
        member(b"o/.wh.x"),
    )
    archives.assert_round_trip(top / "layer", data)
    diff = top / "layer/diff"
    status = os.stat(diff / "d/f")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (3, 4, 0o6755)
    assert os.getxattr(diff / "d/f", "security.capability") == CAPABILITY
    assert os.stat(diff / "null").st_rdev == os.makedev(1, 3)
    assert os.getxattr(diff / "o", "trusted.overlay.opaque") == b"y"
    assert os.lstat(diff / "o/x").st_rdev == 0
    assert (diff / "gone").read_bytes() == b"1"


def test_owners_capabilities_devices_and_marks(world: World, tmp_path):
    world.call(what_root_may, tmp_path)


def without_privilege(top: Path) -> None:
    os.chown(top, 4242, 4242)
    os.setgroups([])
    os.setresgid(4242, 4242, 4242)
    os.setresuid(4242, 4242, 4242)
    data = archive(member(b"f", b"1", uid=4242, gid=4242), archives.header(b"null", b"3", device=(1, 3), uid=4242, gid=4242))
    with pytest.raises(Unsupported, match="device node null"):
        archives.unpack_into(top / "refused", data)
    unpacked = archives.assert_round_trip(top / "skipped", data, skip_devices=True)
    assert unpacked.skipped == ("null",)
    assert os.listdir(top / "skipped/diff") == ["f"]
    with pytest.raises(Unsupported, match="opaque"):
        archives.unpack_into(top / "opaque", archive(directory(b"d", uid=4242, gid=4242), member(b"d/.wh..wh..opq")))
    archives.assert_round_trip(top / "owner", archive(member(b"f", b"1", uid=0, gid=0)), ignore_chown_errors=True)


def test_what_needs_privilege_is_refused_clearly(world: World):
    def run() -> None:
        os.mkdir("/run/unprivileged")
        without_privilege(Path("/run/unprivileged"))

    world.call(run)


def test_layers_of_podman(shared_world: World, tmp_path):
    """What podman has stored and saves is what we write again."""
    world = shared_world
    context = world.path("/run/context")
    context.mkdir()
    (context / "a").mkdir()
    for number in range(50):
        (context / f"a/{number}").write_text(str(number) * number)
    shutil.copy("/bin/busybox", context / "busybox")
    (context / "Dockerfile").write_text(
        'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nCOPY a /srv/a\n'
        "RUN rm -rf /srv/a/7 /srv/a/8 && mkdir -p /x/y && chown 5:6 /x && ln /srv/a/9 /x/hard && chmod 1777 /x/y\n"
        "RUN rm -rf /srv/a && mkdir /srv/a && echo new > /srv/a/new\n"
    )
    world.podman("build", "-q", "-t", "layers", "/run/context")
    world.podman("save", "-o", "/run/saved.tar", "layers")
    with tarfile.open(world.path("/run/saved.tar")) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))[0]
        config = json.load(saved.extractfile(manifest["Config"]))
        for number, (name, diff_id) in enumerate(zip(manifest["Layers"], config["rootfs"]["diff_ids"], strict=True)):
            data = saved.extractfile(name).read()
            assert archives.digest(data) == diff_id
            world.call(archives.assert_round_trip, tmp_path / str(number), data)


def test_our_tars_are_layers_for_podman(world: World):
    """podman imports what tar_tree wrote, and finds the same files in it."""

    def write() -> bytes:
        from podling.store.archive.writer import tar_tree

        os.mkdir("/run/tree")
        make_tree("/run/tree")
        os.unlink("/run/tree/disk")
        fd = os.open("/run/tree", os.O_RDONLY)
        return b"".join(tar_tree(fd))

    data = world.call(write)
    world.path("/run/tree.tar").write_bytes(data)
    world.podman("import", "/run/tree.tar", "imported")
    mounted = world.podman("image", "mount", "imported").stdout.strip()
    theirs = world.call(archives.snapshot, mounted, times=False)
    ours = world.call(archives.snapshot, "/run/tree", times=False)
    assert theirs == ours
    world.podman("image", "unmount", "imported")


def test_memory_does_not_grow_with_the_layer(tmp_path):
    """A layer of 30,000 files in as many directories and one of 600 MB, in a process of its own each."""
    program = """
import os, sys
from podling.store.archive.pack import pack
from podling.store.archive.unpack import unpack
from tests.support import archives

def read(size, state=[0]):
    state[0] += 1
    number = state[0]
    if sys.argv[2] == "many":
        if number > 60:
            return archives.END if number == 61 else b""
        return b"".join(archives.directory(b"d%d-%d" % (number, n)) + archives.member(b"d%d-%d/f" % (number, n), b"x" * 300)
                        for n in range(500))
    if number == 1:
        return archives.header(b"large", size=600 << 20)
    return bytes(1 << 20) if number <= 601 else archives.END if number == 602 else b""

os.mkdir(sys.argv[1])
unpacked = unpack(read, os.open(sys.argv[1], os.O_RDONLY))
assert sum(len(chunk) for chunk in pack(sys.argv[1])) == unpacked.tar_size
print(next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
    import sys

    for what in ("many", "large"):
        done = subprocess.run(
            [sys.executable, "-c", program, f"/dev/shm/podling-memory-{os.getpid()}", what],
            check=False,
            text=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": "src:."},
        )
        shutil.rmtree(f"/dev/shm/podling-memory-{os.getpid()}")
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 60, f"{what}: {done.stdout} MB"


def test_the_standard_librarys_reader_agrees_about_members(tmp_path):
    """An independent reader finds the same names, sizes and contents in what we keep."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(300):
            info = tarfile.TarInfo(f"d{number % 7}/" + "n" * (number % 150) + str(number))
            info.size = number * 11
            tar.addfile(info, io.BytesIO(os.urandom(info.size)))
    archives.assert_round_trip(tmp_path / "layer", out.getvalue())
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        for info in tar:
            assert (tmp_path / "layer/diff" / info.name).read_bytes() == tar.extractfile(info).read()

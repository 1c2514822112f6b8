"""Volumes on a real file system: what is copied into them, who mounts them, what races and power cuts leave."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from podling.engine import volumes
from podling.engine.engine import open_engine
from podling.engine.globals import GlobalOptions
from podling.engine.options import CreateVolumeOptions
from podling.errors import AlreadyExists, InUse, NoSuchVolume, ProgramFailed
from podling.values.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.engine.engine import Engine
    from podling.model import Volume
    from tests.support.sandbox import World

ROOT = "/var/lib/containers/podling"


def engine() -> Engine:
    return open_engine(GlobalOptions())


def make(name: str, **options: Any) -> Volume:
    return volumes.create(engine(), CreateVolumeOptions(name=name, **options))


def a_rootfs() -> str:
    """A container's root with something of every kind in /data."""
    root = "/run/rootfs"
    os.makedirs(root + "/data/sub")
    with open(root + "/data/file", "w", encoding="ascii") as file:
        file.write("content")
    os.setxattr(root + "/data/file", "user.note", b"kept")
    os.chown(root + "/data/file", 5, 6)
    os.chmod(root + "/data/file", 0o4755)
    os.link(root + "/data/file", root + "/data/sub/again")
    os.symlink("/etc/passwd", root + "/data/link")
    os.mkfifo(root + "/data/pipe", 0o600)
    os.mknod(root + "/data/device", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(root + "/data", 7, 8)
    os.chmod(root + "/data", 0o1770)
    os.utime(root + "/data/file", ns=(1_000_000_001, 2_000_000_002))
    return root


def use(name: str, root: str, destination: str = "/data", **mount: Any) -> str:
    return volumes.use(engine(), Mount(kind="volume", destination=destination, source=name, **mount), root)


def test_a_new_volume_is_filled_with_the_images_directory(world: World) -> None:
    def look() -> None:
        make("v")
        path = use("v", a_rootfs())
        assert path == f"{ROOT}/volumes/v/_data"
        own = os.stat(path)
        assert (own.st_uid, own.st_gid, stat.S_IMODE(own.st_mode)) == (7, 8, 0o1770)
        file, again = os.stat(path + "/file"), os.stat(path + "/sub/again")
        assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode), file.st_mtime_ns) == (5, 6, 0o4755, 2_000_000_002)
        assert os.getxattr(path + "/file", "user.note") == b"kept"
        assert file.st_ino == again.st_ino
        assert os.readlink(path + "/link") == "/etc/passwd"
        assert stat.S_ISFIFO(os.stat(path + "/pipe").st_mode)
        assert os.stat(path + "/device").st_rdev == os.makedev(1, 3)

    world.call(look)


def test_a_volume_is_filled_once(world: World) -> None:
    def look() -> None:
        make("v")
        root = a_rootfs()
        path = use("v", root)
        os.unlink(path + "/file")
        use("v", root)
        assert not os.path.exists(path + "/file")

    world.call(look)


def test_a_volume_with_content_is_left_alone(world: World) -> None:
    def look() -> None:
        path = make("v").mountpoint
        with open(path + "/mine", "w", encoding="ascii"):
            pass
        use("v", a_rootfs())
        assert os.listdir(path) == ["mine"]
        assert os.stat(path).st_uid == 0

    world.call(look)


def test_nocopy_takes_over_the_owner_alone(world: World) -> None:
    def look() -> None:
        make("v")
        path = use("v", a_rootfs(), copy_up=False)
        assert os.listdir(path) == []
        assert os.stat(path).st_uid == 7

    world.call(look)


def test_where_the_image_has_nothing_the_volume_is_the_users(world: World) -> None:
    def look() -> None:
        make("v")
        os.makedirs("/run/rootfs")
        mount = Mount(kind="volume", destination="/new", source="v")
        path = volumes.use(engine(), mount, "/run/rootfs", owner=lambda: (1000, 100))
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (1000, 100)

    world.call(look)


def test_an_owner_that_was_said_stays(world: World) -> None:
    def look() -> None:
        make("v", options={"o": "uid=42,gid=43"})
        path = use("v", a_rootfs())
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (42, 43)
        assert os.path.exists(path + "/file")

    world.call(look)


def test_a_link_in_the_image_leads_nowhere_outside(world: World) -> None:
    def look() -> None:
        make("v")
        os.makedirs("/run/secret")
        with open("/run/secret/key", "w", encoding="ascii"):
            pass
        os.makedirs("/run/rootfs")
        os.symlink("../../run/secret", "/run/rootfs/data")
        assert os.listdir(use("v", "/run/rootfs")) == []

    world.call(look)


def test_a_copy_that_was_cut_short_is_made_anew(world: World) -> None:
    def look() -> None:
        path = make("v").mountpoint
        os.makedirs(path + ".new/half")
        use("v", a_rootfs())
        assert "half" not in os.listdir(path)
        assert "file" in os.listdir(path)
        assert not os.path.exists(path + ".new")

    world.call(look)


def test_a_tmpfs_volume_is_mounted_while_somebody_uses_it(world: World) -> None:
    def look() -> None:
        opened = engine()
        make("v", options={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=9"})
        containers = ("a" * 64, "b" * 64)
        _add_users(opened, "v", containers)
        for container in containers:
            os.makedirs(opened.paths.run(container))
            path = use("v", a_rootfs() if container[0] == "a" else "/run/rootfs")
        assert os.path.ismount(path)
        assert os.stat(path).st_uid == 9
        assert volumes.mount_count(opened, volumes.get(opened, "v")) == 2
        os.rmdir(opened.paths.run(containers[0]))
        volumes.release(opened, "v", containers[0])
        assert os.path.ismount(path)
        os.rmdir(opened.paths.run(containers[1]))
        volumes.release(opened, "v", containers[1])
        assert not os.path.ismount(path)
        volumes.release(opened, "v", containers[1])

    world.call(look)


def _add_users(opened: Engine, volume: str, containers: tuple[str, ...]) -> None:
    for container in containers:
        opened.database.run("INSERT INTO containers (id, name, created, summary, config) VALUES (?, ?, 0, '{}', '{}')",
                            container, container[:4])
        opened.database.run("INSERT INTO container_volumes (container_id, volume) VALUES (?, ?)", container, volume)


def test_what_mount_refuses_is_said_in_its_words(world: World) -> None:
    def look() -> None:
        make("v", options={"type": "nosuchfs", "device": "/dev/zero"})
        use("v", "/run")

    with pytest.raises(ProgramFailed, match=r"mounting volume v: .*(nosuchfs|not a block device)"):
        world.call(look)


def test_a_volume_in_use_stays(world: World) -> None:
    def look() -> None:
        opened = engine()
        make("v")
        _add_users(opened, "v", ("a" * 64,))
        with pytest.raises(InUse) as raised:
            volumes.remove(opened, "v")
        assert raised.value.message == (f"volume v is being used by the following container(s): {'a' * 64}: volume is being "
                                        "used")
        assert os.path.isdir(f"{ROOT}/volumes/v/_data")
        assert volumes.prune(opened, {}) == []

    world.call(look)


def test_a_removed_volume_leaves_nothing(world: World) -> None:
    def look() -> None:
        opened = engine()
        path = make("v").mountpoint
        with open(path + "/mine", "w", encoding="ascii") as file:
            file.write("12345")
        assert volumes.prune(opened, {}) == [("v", 5)]
        assert os.listdir(f"{ROOT}/volumes") == [".removed"]
        assert os.listdir(f"{ROOT}/volumes/.removed") == []
        with pytest.raises(NoSuchVolume, match='no volume with name "v" found: no such volume'):
            volumes.remove(opened, "v")

    world.call(look)


def test_data_without_a_row_is_taken_over_not_deleted(world: World) -> None:
    def look() -> None:
        path = make("v").mountpoint
        with open(path + "/mine", "w", encoding="ascii"):
            pass
        opened = engine()
        opened.database.run("DELETE FROM volumes")
        volumes.collect(opened)
        make("v")
        assert os.listdir(path) == ["mine"]

    world.call(look)


def test_a_row_without_a_directory_heals_when_it_is_used(world: World) -> None:
    def look() -> None:
        path = make("v").mountpoint
        os.rmdir(path)
        assert use("v", a_rootfs()) == path
        assert os.path.isdir(path)

    world.call(look)


def in_parallel(count: int, work: Callable[[], None]) -> list[int]:
    """Run the work in so many processes at once; their exit statuses (1: it raised)."""
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_of_many_that_make_one_volume_one_wins(world: World) -> None:
    def look() -> None:
        def attempt() -> None:
            try:
                make("v")
            except AlreadyExists:
                os._exit(2)

        assert sorted(in_parallel(8, attempt)) == [0, *([2] * 7)]
        assert len(volumes.all_volumes(engine())) == 1

    world.call(look)


def test_many_that_use_a_new_volume_see_it_filled(world: World) -> None:
    def look() -> None:
        make("v")
        root = a_rootfs()

        def attempt() -> None:
            assert os.path.exists(use("v", root) + "/file")

        assert in_parallel(8, attempt) == [0] * 8

    world.call(look)

"""Containers' root file systems, mounted for real."""

from __future__ import annotations

import errno
import os
import random
import stat
from typing import TYPE_CHECKING

import pytest

from podling.database import Database
from podling.errors import PodlingError
from podling.linux import mounts
from podling.store import open_images, stack
from podling.store.copying import copy_layers
from podling.store.overlay import ContainerFilesystems
from tests.support import archives
from tests.support.archives import archive, directory, hard_link, member, symlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox import World

ROOT = "/run/store"


class Store:
    """A store in the world's /run, and its container file systems."""

    def __init__(self, **options: str) -> None:
        os.makedirs(ROOT, 0o700)
        self.database = Database(f"{ROOT}/podling.db")
        self.images = open_images(self.database, ROOT, "")
        self.layers = self.images.layer_store
        self.filesystems = ContainerFilesystems(ROOT, **options)
        self.added: list[str] = []

    def layer(self, *members: bytes) -> str:
        """Add a layer on top of the others."""
        layer = self.layers.add(archives.reader(archive(*members)), parents=[])
        self.added.insert(0, layer.path)
        return layer.path

    def mount(self, container: str = "c", **options: object) -> str:
        if not os.path.isdir(self.filesystems.directory(container)):
            self.filesystems.make(container)
        return self.filesystems.mount(container, self.added, **options)


@pytest.fixture
def inside(world: World) -> Callable[[Callable[[], object]], object]:
    """Run a function in a fresh world."""
    return world.call


def test_layers_whiteouts_and_what_a_container_writes(inside):
    def run():
        store = Store()
        store.layer(
            directory(b"d"),
            member(b"d/a", b"1"),
            member(b"d/b", b"2"),
            directory(b"o"),
            member(b"o/low", b"3"),
            member(b"f", b"4"),
        )
        store.layer(directory(b"d"), member(b"d/.wh.a"), directory(b"o"), member(b"o/.wh..wh..opq"), member(b"o/high", b"5"))
        merged = store.mount()
        assert merged == f"{ROOT}/containers/c/merged" == store.filesystems.places("c").merged
        assert sorted(archives.snapshot(merged)) == ["d", "d/b", "f", "o", "o/high"]
        with open(f"{merged}/d/b", "w") as file:
            file.write("changed")
        os.unlink(f"{merged}/f")
        assert store.mount() == merged  # again: it is there already
        assert store.filesystems.size("c") == 7
        with open(f"{store.added[1]}/d/b") as file:
            assert file.read() == "2"
        assert store.filesystems.unmount("c")
        assert not store.filesystems.unmount("c")
        assert os.listdir(merged) == []
        store.mount()
        assert sorted(archives.snapshot(merged)) == ["d", "d/b", "o", "o/high"]
        store.filesystems.remove("c")
        assert os.listdir(f"{ROOT}/containers") == os.listdir(f"{ROOT}/rubbish") == []
        assert mounts.beneath(ROOT) == []
        store.filesystems.remove("c")

    inside(run)


def test_removing_while_somebody_is_in_there(inside):
    def run():
        store = Store()
        store.layer(member(b"f", b"1"))
        open_file = os.open(f"{store.mount()}/f", os.O_RDONLY)
        store.filesystems.remove("c")
        assert os.read(open_file, 10) == b"1"
        assert mounts.beneath(ROOT) == []
        assert os.listdir(f"{ROOT}/rubbish") == []

    inside(run)


def test_the_root_is_that_of_the_topmost_layer_that_describes_it(inside):
    def run():
        store = Store()
        store.layer(directory(b"./", 0o555, uid=7, gid=8, mtime=1000), member(b"./a"))
        store.layer(member(b"b"))
        status = os.stat(store.mount())
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime) == (0o555, 7, 8, 1000)
        store.layer(directory(b"./", 0o711), member(b"./c"))
        assert stat.S_IMODE(os.stat(store.mount("other", read_only=True)).st_mode) == 0o711

    inside(run)


def test_a_root_that_no_layer_describes_is_an_ordinary_one(inside):
    def run():
        os.umask(0o077)
        store = Store()
        store.layer(member(b"b"))
        status = os.stat(store.mount())
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o755, 0)

    inside(run)


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_read_only(inside, driver):
    def run():
        store = Store(driver=driver)
        store.layer(directory(b"d"), member(b"d/f", b"1"))
        merged = store.mount(read_only=True)
        for action in (lambda: os.mkdir(f"{merged}/x"), lambda: os.unlink(f"{merged}/d/f"), lambda: os.chmod(merged, 0o700)):
            with pytest.raises(OSError) as caught:
                action()
            assert caught.value.errno == errno.EROFS
        store.filesystems.remove("c")
        assert mounts.beneath(ROOT) == []

    inside(run)


def test_images_mounted_into_a_container(inside):
    def run():
        store = Store()
        store.layer(member(b"f", b"1"))
        store.mount()
        first = store.filesystems.mount_image("c", 0, store.added)
        second = store.filesystems.mount_image("c", 1, store.added, writable=True)
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(f"{first}/x")
        os.mkdir(f"{second}/x")
        assert store.filesystems.size("c") == 0
        assert store.filesystems.unmount_image("c", 0)
        assert not store.filesystems.unmount_image("c", 0)
        store.filesystems.remove("c")
        assert mounts.beneath(ROOT) == []
        assert os.listdir(f"{ROOT}/containers") == []

    inside(run)


def test_an_image_of_120_layers(inside):
    def run():
        store = Store()
        for number in range(120):
            store.layer(member(b"f%d" % number, b"x"), member(b"all", b"%d" % number))
        merged = store.mount()
        assert len(os.listdir(merged)) == 121
        with open(f"{merged}/all") as file:
            assert file.read() == "119"

    inside(run)


def test_an_image_without_layers(inside):
    def run():
        store = Store()
        merged = store.mount()
        os.mkdir(f"{merged}/x")
        assert os.listdir(store.mount("other", read_only=True)) == []

    inside(run)


def test_mounting_what_was_not_made(inside):
    def run():
        store = Store()
        with pytest.raises(PodlingError, match="does not exist"):
            store.filesystems.mount("nothing", [])
        store.filesystems.make("c")
        with pytest.raises(PodlingError, match="merged"):
            store.filesystems.mount("c", ["/gone"])
        assert mounts.beneath(ROOT) == []

    inside(run)


def test_what_a_volatile_mount_leaves_after_a_crash_does_not_forbid_the_next(inside):
    def run():
        store = Store()
        store.layer(member(b"f", b"1"))
        merged = store.mount(options=("volatile",))
        os.makedirs(f"{ROOT}/kept/work")
        assert os.path.exists(f"{ROOT}/containers/c/work/work/incompat/volatile")
        mounts.unmount(merged)
        os.makedirs(f"{ROOT}/containers/c/work/work/incompat/volatile", exist_ok=True)
        store.mount(options=("volatile",))
        store.filesystems.unmount("c")
        store.mount()

    inside(run)


def test_what_changes_is_told_from_the_upper_directory_alone(inside):
    def run():
        store = Store(mount_options="nodev,metacopy=on,redirect_dir=on")
        store.layer(directory(b"d"), member(b"d/f", b"1" * 5000), member(b"g", b"2" * 5000))
        merged = store.mount()
        os.chown(f"{merged}/g", 5, 5)
        with pytest.raises(OSError, match="cross-device"):
            os.rename(f"{merged}/d", f"{merged}/e")
        upper = store.filesystems.places("c").upper
        assert os.stat(f"{upper}/g").st_size == 5000
        with open(f"{upper}/g", "rb") as file:
            assert file.read() == b"2" * 5000
        with open("/proc/self/mountinfo") as file:
            line = next(line for line in file if merged in line)
        assert "nodev" in line

    inside(run)


def test_the_driver_vfs_copies_once_and_other_drivers_are_refused(inside):
    def run():
        store = Store(driver="vfs")
        store.layer(member(b"f", b"1"))
        merged = store.mount()
        assert mounts.beneath(ROOT) == []
        with open(f"{merged}/f", "w") as file:
            file.write("changed")
        store.filesystems.unmount("c")
        with open(f"{store.mount()}/f") as file:
            assert file.read() == "changed"
        assert store.filesystems.size("c") == 6
        assert store.filesystems.size("other") == 0
        with pytest.raises(PodlingError, match="btrfs"):
            ContainerFilesystems(ROOT, driver="btrfs")

    inside(run)


def random_layer(chance: random.Random) -> list[bytes]:
    """Some members that fit each other, among few names, so that layers meet."""
    members: list[bytes] = []
    kinds: dict[bytes, str] = {}
    for _ in range(chance.randrange(1, 12)):
        name = b"/".join(chance.choice([b"a", b"b", b"c"]) for _ in range(chance.randrange(1, 4)))
        parents = [name[:at] for at in range(len(name)) if name[at : at + 1] == b"/"]
        if any(kinds.get(parent, "directory") != "directory" for parent in parents):
            continue
        for parent in parents:
            if parent not in kinds:
                kinds[parent] = "directory"
                members.append(directory(parent, chance.choice([0o755, 0o700]), mtime=chance.randrange(10**9)))
        kind = chance.choice(["file", "directory", "link", "whiteout", "opaque", "hard"])
        directory_of, _, last = name.rpartition(b"/")
        if kind == "whiteout":
            if name not in kinds:
                members.append(member((directory_of + b"/" if directory_of else b"") + b".wh." + last))
        elif name in kinds and (kind != "directory" or kinds[name] != "directory"):
            continue
        elif kind == "file":
            kinds[name] = kind
            members.append(
                member(name, b"%d" % chance.randrange(10**6), mode=chance.choice([0o644, 0o4755]), uid=chance.randrange(3))
            )
        elif kind == "directory":
            kinds[name] = kind
            members.append(directory(name, chance.choice([0o755, 0o711]), mtime=chance.randrange(10**9)))
        elif kind == "link":
            kinds[name] = kind
            members.append(symlink(name, b"../x"))
        elif kind == "opaque" and kinds.get(name, "directory") == "directory":
            if name not in kinds:
                kinds[name] = "directory"
                members.append(directory(name))
            members.append(member(name + b"/.wh..wh..opq"))
        elif kind == "hard" and "file" in kinds.values():
            first = next(known for known, what in kinds.items() if what == "file")
            kinds[name] = "hard"
            members.append(hard_link(name, first))
    return members


def test_copies_and_lookups_agree_with_overlay(inside):
    """Random layers: the kernel's overlay, the copy of the driver vfs and the look-ups without mounting show the same."""

    def run():
        for seed in range(60):
            chance = random.Random(seed)
            store = Store()
            for _ in range(chance.randrange(1, 6)):
                store.layer(*random_layer(chance))
            merged = store.mount()
            copy_layers(store.added, f"{ROOT}/copy")
            seen, copied = archives.snapshot(merged), archives.snapshot(f"{ROOT}/copy")
            assert [{name: value[:7] for name, value in tree.items()} for tree in (copied,)] == [
                {name: value[:7] for name, value in tree.items()} for tree in (seen,)
            ], seed
            for name in ("/".join(chance.choice("abc") for _ in range(chance.randrange(1, 4))) for _ in range(40)):
                found = stack.lookup(store.added, name)
                assert bool(found) == (name in seen), (seed, name)
                if found and not stack.is_directory(found[0]):
                    assert os.lstat(found[0]).st_mode == os.lstat(f"{merged}/{name}").st_mode
            store.filesystems.remove("c")
            store.database.close()
            import shutil

            shutil.rmtree(ROOT)

    inside(run)

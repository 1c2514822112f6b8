"""Kill -9 at any instant, many at once, a full disk: what is known is whole, and nothing else stays."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import time
import traceback
from pathlib import Path

import pytest

from podling.database import Database
from podling.errors import PodlingError, explain, hints
from podling.store import open_images
from podling.store.overlay import ContainerFilesystems
from tests.support import archives
from tests.support.archives import archive, directory, member

LAYERS = 3


@pytest.fixture
def root():
    path = Path(f"/dev/shm/podling-crashes-{os.getpid()}")
    path.mkdir(mode=0o700)
    yield path
    subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
    gc.collect()        # databases close, and SQLite deletes its files beside them: not while we do
    shutil.rmtree(path)


def layer_tar(number: int) -> bytes:
    """A layer of many small files, which replaces some and leaves out a directory."""
    members = [directory(b"usr", 0o755), directory(b"usr/l%d" % number)]
    members += [member(b"usr/l%d/f%d" % (number, name), b"%d" % name * 50) for name in range(300)]
    members += [member(b"usr/l%d/f%d" % (number, name), b"again" * 20) for name in range(20)]
    if number == 2:
        members.append(member(b"usr/l1/from-above", b"x"))
    return archive(*members)


TARS = [layer_tar(number) for number in range(LAYERS)]


def pull(root: str, number: int, *, slow: float = 0) -> None:
    """What a pull does: layers found or added, then the image."""
    database = Database(f"{root}/podling.db")
    images = open_images(database, root, "")
    layers = []
    for tar in TARS:
        found = images.layer_store.find(archives.digest(tar), layers)
        if found is None:
            read = archives.reader(tar, 20_000)

            def slowly(size, read=read):
                time.sleep(slow)
                return read(size)

            found = images.layer_store.add(slowly, diff_id=archives.digest(tar), parents=layers)
        layers.append(found)
    images.add(
        config=b'{"n": %d}' % number, manifest=b"{}", media_type="x", layers=layers, names=[f"localhost/i{number}:latest"]
    )
    database.close()


def forked(function, *arguments, **keywords) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function(*arguments, **keywords)
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    return pid


def check_whole(root: str) -> int:
    """Every listed image is made of whole layers; the number of images."""
    database = Database(f"{root}/podling.db")
    images = open_images(database, root, "")
    found = images.list()
    for image in found:
        layers = images.layers(image)
        assert [layer.diff_id for layer in layers] == [archives.digest(tar) for tar in TARS]
        for layer, tar in zip(layers, TARS, strict=True):
            assert b"".join(images.open_tar(image, layer)) == tar
    database.close()
    return len(found)


def remove_all(root: str) -> None:
    database = Database(f"{root}/podling.db")
    images = open_images(database, root, "")
    for image in images.list():
        images.remove(image)
    images.collect()
    database.close()


def left(root: Path) -> list[str]:
    """What is there that a fresh store has not."""
    return sorted(
        str(path.relative_to(root))
        for name in ("layers", "rubbish", "containers")
        if (root / name).is_dir()
        for path in (root / name).iterdir()
    ) + sorted(name for name in os.listdir(root / "locks") if name.startswith("layer-"))


def test_a_kill_while_a_layer_is_added(root):
    chance = random.Random(1)
    longest = measured = 0.0
    killed = 0
    for round_number in range(40):
        start = time.monotonic()
        pid = forked(pull, str(root), round_number)
        if round_number < 3:
            os.waitpid(pid, 0)
            measured = time.monotonic() - start
            longest = max(longest, measured)
            remove_all(str(root))
            continue
        time.sleep(chance.random() * longest)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        killed += os.WIFSIGNALED(status)
        images = check_whole(str(root))
        assert images == (0 if os.WIFSIGNALED(status) else 1) or images <= 1
        if round_number % 2:
            pull(str(root), round_number)  # the next one is not disturbed by what is left
            assert check_whole(str(root)) >= 1
        remove_all(str(root))
        assert left(root) == []
    assert killed > 10


def test_a_kill_while_images_are_removed(root):
    chance = random.Random(2)
    for round_number in range(30):
        pull(str(root), round_number)
        start = time.monotonic()
        if round_number < 3:
            remove_all(str(root))
            longest = time.monotonic() - start
            continue
        pid = forked(remove_all, str(root))
        time.sleep(chance.random() * longest)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        check_whole(str(root))
        remove_all(str(root))
        assert left(root) == []


def test_eight_at_once_unpack_each_layer_once(root):
    started = root / "unpackings"
    started.mkdir()

    def counting(number):
        import podling.store.adding as adding

        original = adding.unpack

        def unpack(*arguments):
            (started / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            return original(*arguments)

        adding.unpack = unpack
        pull(str(root), number, slow=0.01)

    pids = [forked(counting, number) for number in range(8)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert len(list(started.iterdir())) == LAYERS
    assert check_whole(str(root)) == 8
    shutil.rmtree(started)
    remove_all(str(root))
    assert left(root) == []


def test_collecting_beside_pulls_and_removals(root):
    """Nobody loses a layer to the garbage collection of another."""

    def work(seed):
        chance = random.Random(seed)
        for number in range(6):
            pull(str(root), 100 * seed + number, slow=chance.random() * 0.003)
            database = Database(f"{root}/podling.db")
            images = open_images(database, str(root), "")
            image = images.resolve(f"i{100 * seed + number}")
            for layer, tar in zip(images.layers(image), TARS, strict=True):
                assert b"".join(images.open_tar(image, layer)) == tar
            if number % 2:
                images.remove(image)
            images.collect()
            database.close()

    pids = [forked(work, seed) for seed in range(4)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    assert check_whole(str(root)) == 12
    remove_all(str(root))
    assert left(root) == []


def test_a_killed_unpacking_child_holds_its_layer_until_it_ends(root):
    """The process that pulls is killed; a child of its that still unpacks keeps its directory."""
    reader, writer = os.pipe()

    def parent():
        database = Database(f"{root}/podling.db")
        open_images(database, str(root), "").layer_store.hold()
        if os.fork() == 0:
            os.close(writer)
            os.mkdir(f"{root}/layers")
            os.mkdir(f"{root}/layers/.tmp-child")
            os.read(reader, 1)
            os._exit(0)

    os.waitpid(forked(parent), 0)
    time.sleep(0.1)
    remove_all(str(root))
    assert left(root) == ["layers/.tmp-child"]
    os.close(writer)
    time.sleep(0.1)
    remove_all(str(root))
    assert left(root) == []
    os.close(reader)


def full_disk(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", root], check=True)
    database = Database(f"{root}/podling.db")
    images = open_images(database, str(root), "")
    small = images.layer_store.add(archives.reader(TARS[0]), diff_id=archives.digest(TARS[0]))
    images.add(config=b"{}", manifest=b"{}", media_type="x", layers=[small], names=["localhost/small:latest"])
    for tar in (
        archive(member(b"d/large", os.urandom(5 << 20))),
        archive(*(member(b"f%d" % number, b"x" * 5000) for number in range(900))),
    ):
        with pytest.raises(PodlingError) as caught:
            images.layer_store.add(archives.reader(tar), diff_id=archives.digest(tar))
        assert "no space left on device" in explain(caught.value)
        assert "unpacking" in explain(caught.value)
        assert "image prune" in hints(caught.value)[0]
        images.layer_store.release()
    assert [path.name for path in (root / "layers").iterdir()] == [small.key]
    assert b"".join(images.layer_store.open_tar(small)) == TARS[0]
    assert [image.names for image in images.list()] == [("localhost/small:latest",)]
    images.remove(images.resolve("small"))
    assert left(root) == []
    with open(f"{root}/filling", "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    with pytest.raises(PodlingError) as caught:
        Database(f"{root}/second.db")
    assert explain(caught.value) == f"opening database {root}/second.db: no space left on device"


def test_a_full_disk(world):
    def run():
        os.mkdir("/run/full")
        full_disk(Path("/run/full"))

    world.call(run)


def test_containers_without_a_row(world):
    def run():
        from podling.linux import mounts

        os.mkdir("/run/store")
        database = Database("/run/store/podling.db")
        images = open_images(database, "/run/store", "")
        filesystems = ContainerFilesystems("/run/store")
        layer = images.layer_store.add(archives.reader(TARS[0]))
        for name in ("known", "left"):
            filesystems.make(name)
            filesystems.mount(name, [layer.path])
        database.run("INSERT INTO containers (id, name, created, summary, config) VALUES ('known', 'n', 0, '', '')")
        with filesystems.making():
            filesystems.make("being-made")
            images.collect()
            assert sorted(os.listdir("/run/store/containers")) == ["being-made", "known", "left"]
        images.collect()
        assert os.listdir("/run/store/containers") == ["known"]
        assert mounts.beneath("/run/store") == ["/run/store/containers/known/merged"]
        assert os.listdir("/run/store/rubbish") == []

    world.call(run)


def test_collecting_nothing_is_cheap(root):
    database = Database(f"{root}/podling.db")
    images = open_images(database, str(root), "")
    with database.transaction():
        for number in range(1000):
            os.makedirs(f"{root}/layers/{number:064x}")
            database.run(
                "INSERT INTO layers (key, diff_id, size, tar_size, created) VALUES (?, ?, 0, 0, 0)",
                f"{number:064x}",
                "sha256:x",
            )
            database.run("INSERT INTO images VALUES (?, '', '', 0, 0, 0, '')", str(number))
            database.run("INSERT INTO image_layers SELECT ?, 0, id FROM layers WHERE key = ?", str(number), f"{number:064x}")
    images.collect()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        images.collect()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.2
    assert len(os.listdir(root / "layers")) == 1000

"""An ordinary user's store: images in and out, and the driver that works where it is."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING

from tests.support.archives import archive, directory, member
from tests.support.images import TestImage, simple_image
from tests.support.signing import world_registry
from tests.support.users import FIRST, HOME, UID, User

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

NONE = ("--network", "none")
GRAPHROOT = f"{HOME}/.local/share/containers/podling"


def test_images_in_and_out(user: User) -> None:
    user.podling("save", "-o", "bb.tar", "bb")
    user.podling("save", "--format", "oci-archive", "-o", "bb.oci", "bb")
    before = user.podling("images", "-q", "--no-trunc", "bb")
    user.podling("rmi", "bb")
    assert user.podling("load", "-q", "-i", "bb.tar") == "Loaded image: localhost/bb:latest\n"
    assert user.podling("images", "-q", "--no-trunc", "bb") == before
    assert user.world.path(f"{HOME}/bb.tar").stat().st_uid == UID
    user.podling("tag", "bb", "other:1")
    user.podling("rmi", "other:1")
    user.podling("image", "inspect", "bb")
    user.podling("history", "bb")


def test_an_image_is_mounted_in_the_users_namespace(user: User) -> None:
    assert "podling unshare" in user.podling("image", "mount", "bb", status=125)
    script = "ls -d $(podling image mount bb)/bin; podling image mount; podling image unmount bb"
    shown = user.podling("unshare", "sh", "-c", script).split()
    assert shown[0].startswith(GRAPHROOT)
    assert shown[0].endswith("/bin")
    assert shown[1:3] == ["localhost/bb:latest", shown[0].removesuffix("/bin")]
    assert len(shown) == 4


def test_pull_and_push(user: User) -> None:
    config = "version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n"
    user.world.path("/run/registry.yml").write_text(config, encoding="ascii")
    registry = user.world.spawn("docker-registry", "serve", "/run/registry.yml", stdout=-3, stderr=-3)
    try:
        answers = ("curl", "-s", "http://127.0.0.1:5000/v2/")
        user.world.wait_until(lambda: user.world.run(*answers, check=False).returncode == 0, "the registry")
        before = user.podling("images", "-q", "--no-trunc", "bb")
        user.podling("push", "-q", "--tls-verify=false", "bb", "localhost:5000/bb:1")
        user.podling("rmi", "bb")
        assert user.podling("pull", "-q", "--tls-verify=false", "localhost:5000/bb:1") == before.removeprefix("sha256:")
        assert user.podling("run", "--rm", *NONE, "localhost:5000/bb:1", "echo", "on") == "on\n"
        user.podling("tag", "localhost:5000/bb:1", "bb")
        user.podling("rmi", "localhost:5000/bb:1")
    finally:
        registry.kill()
        registry.wait()


def test_layers_in_parts_and_encrypted_ones(user: User) -> None:
    shared = {f"usr/file{number}": os.urandom(20_000) for number in range(20)}
    registry = world_registry(user.world)
    insecure = ("-q", "--tls-verify=false")
    try:
        for number in (1, 2):
            image = simple_image({**shared, f"etc/{number}": b"x" * number})
            image.write_layout(user.world.path(f"{HOME}/layout{number}"), "x")
            user.world.run("chown", "-R", f"{UID}", f"{HOME}/layout{number}")
            pulled = user.podling("pull", "-q", f"oci:{HOME}/layout{number}:x").strip()
            user.podling("push", *insecure, "--compression-format", "zstd:chunked", pulled, f"localhost:5000/parts:{number}")
            user.podling("rmi", "-f", pulled)
        log = user.world.path("/run/registry-5000.log")
        sent = []
        for number in (1, 2):
            log.write_text("")
            user.podling("pull", *insecure, f"localhost:5000/parts:{number}")
            sent.append(sum(int(line.split(' HTTP/1.1" ')[1].split()[1]) for line in log.read_text().splitlines() if "/blobs/" in line))
        assert sent[1] < 20_000 < 400_000 < sent[0]
        user.run("openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem")
        user.run("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
        user.podling("push", *insecure, "--encryption-key", "jwe:key.pub", "localhost:5000/parts:2", "localhost:5000/locked:1")
        user.podling("rmi", "-f", "localhost:5000/parts:1", "localhost:5000/parts:2")
        assert "missing private key" in user.podling("pull", *insecure, "localhost:5000/locked:1", status=125)
        user.podling("pull", *insecure, "--decryption-key", "key.pem", "localhost:5000/locked:1")
        user.podling("rmi", "localhost:5000/locked:1")
    finally:
        registry.kill()
        registry.wait()


def driver(user: User, *flags: str) -> dict[str, str]:
    """Name and mount program as ``info`` shows them."""
    store = json.loads(user.podling(*flags, "info", "--format", "json"))["store"]
    return {"name": store["graphDriverName"], **store["graphOptions"].get("overlay.mount_program", {})}


def life(user: User, *flags: str) -> None:
    """What containers write and delete stays so when they start again."""
    user.podling(*flags, "run", "--name", "c", *NONE, "bb", "sh", "-c", "test -e /etc/group; rm /etc/group; echo new >/f; chown 7:7 /f")
    assert user.podling(*flags, "run", "--rm", *NONE, "bb", "ls", "/etc/group") == "/etc/group\n"
    user.podling(*flags, "rm", "c")
    user.podling(*flags, "run", "-d", "--name", "c", *NONE, "bb", "sh", "-c", "rm -f /etc/group; echo x >>/f; sleep 100")
    user.world.wait_until(lambda: user.podling(*flags, "exec", "c", "cat", "/f") == "x\n", "the file")
    user.podling(*flags, "restart", "-t", "0", "c")
    user.world.wait_until(lambda: user.podling(*flags, "exec", "c", "cat", "/f") == "x\nx\n", "what was written before")
    user.podling(*flags, "exec", "c", "ls", "/etc/group", status=1)
    user.podling(*flags, "rm", "-f", "-t", "0", "c")
    user.assert_nothing_left(ignore=lambda kind, thing: (kind, thing) == ("mount", f"{HOME}/o"))


def test_driver_is_the_best_that_works_and_stays(world: World, busybox: Path) -> None:
    """On an overlay the kernel makes no overlay: fuse-overlayfs does, and where there is no /dev/fuse the layers are copied."""
    user = User(world)
    world.run("sh", "-ec", f"mkdir /run/lower /run/o; mount -t tmpfs o /run/o; mkdir /run/o/u /run/o/w {HOME}/o; "
                           f"mount -t overlay -o lowerdir=/run/lower,upperdir=/run/o/u,workdir=/run/o/w o {HOME}/o; chown {UID} {HOME}/o")
    user.load(busybox)
    assert driver(user) == {"name": "overlay"}
    fuse, copied = ("--root", f"{HOME}/o/fuse"), ("--root", f"{HOME}/o/vfs")
    user.podling(*fuse, "load", "-q", stdin=busybox.read_bytes())
    assert driver(user, *fuse)["Executable"] == "/usr/bin/fuse-overlayfs"
    life(user, *fuse)
    world.run("mount", "--bind", "/dev/null", "/dev/fuse")
    assert driver(user, *fuse)["name"] == "overlay"
    assert driver(user, *copied) == {"name": "vfs"}
    user.podling(*copied, "load", "-q", stdin=busybox.read_bytes())
    life(user, *copied)
    said = user.podling("--root", f"{HOME}/o/new", "--storage-driver", "overlay", "info", status=125)
    assert "neither the kernel's overlay nor fuse-overlayfs can be used" in said


def test_configured_mount_program(fresh_user: User) -> None:
    conf = fresh_user.world.path(f"{HOME}/.config/containers/storage.conf")
    conf.parent.mkdir(parents=True)
    conf.write_text('[storage]\ndriver = "overlay"\n[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"\n',
                    encoding="ascii")
    assert driver(fresh_user)["Executable"] == "/usr/bin/fuse-overlayfs"
    life(fresh_user)


def test_layers_with_whiteouts_owners_and_devices(user: User, busybox: Path) -> None:
    """Marks of layers are such that an ordinary user's overlay understands them, and the layers are saved as they came."""
    with tarfile.open(busybox) as outer:
        base = next(outer.extractfile(entry).read() for entry in outer if entry.name.endswith(".tar"))  # type: ignore[union-attr]
    image = TestImage([
        base, archive(directory(b"d"), member(b"d/old", b"1", uid=0, gid=0), member(b"gone", b"2", uid=5, gid=6),
                      member(b"disk", kind=b"4", device=(8, 1), uid=0, gid=0)),
        archive(directory(b"d"), member(b"d/.wh..wh..opq", b""), member(b"d/new", b"3", uid=5, gid=6), member(b".wh.gone", b""))],
        config={"Cmd": ["sh"], "Env": ["PATH=/bin"]})
    image.write_layout(user.world.path(f"{HOME}/layout"), "marks")
    user.podling("pull", "-q", f"oci:{HOME}/layout:marks")
    said = user.podling("run", "--rm", *NONE, image.id, "sh", "-c", "ls /d; stat -c %u:%g /d/new; ls / | grep -E 'gone|disk'", status=1)
    assert said == "new\n5:6\n"                   # a device cannot be made, and is left out, as by Podman
    user.podling("save", "--format", "oci-dir", "--uncompressed", "-o", "saved", image.id)
    saved = {path.name for path in user.world.path(f"{HOME}/saved").rglob("*") if path.is_file()}
    assert {digest.removeprefix("sha256:") for digest in image.diff_ids} <= saved
    user.podling("rmi", image.id)


def test_owners_of_files_are_the_users_own_ids(user: User) -> None:
    layers = user.world.path(f"{GRAPHROOT}/layers")
    found = {(entry.stat().st_uid, stat.S_ISDIR(entry.stat().st_mode)) for entry in layers.glob("*/diff/*")}
    assert {uid for uid, _ in found} <= {UID, *range(FIRST, FIRST + 65536)}
    assert os.stat(layers).st_uid == UID

"""``image scp`` between root's store and an ordinary user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.busybox import busybox_archive
from tests.support.sandbox import world
from tests.support.users import User

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

__all__ = ["world"]


def test_images_go_to_another_user_and_back(world: World, tmp_path: Path) -> None:
    user = User(world)
    world.run("podling", "load", "-q", "-i", str(busybox_archive(tmp_path)))
    assert world.run("podling", "image", "scp", "-q", "bb", "tester@localhost::").stdout == "Loaded image: localhost/bb:latest\n"
    assert "localhost/bb" in user.podling("images", "--format", "{{.Repository}}")
    user.podling("tag", "bb", "theirs:2")
    assert world.run("podling", "image", "scp", "-q", "tester@localhost::theirs:2").stdout == "Loaded image: localhost/theirs:2\n"
    assert world.run("podling", "image", "exists", "theirs:2").returncode == 0
    assert not world.run("sh", "-c", "ls -d /var/tmp/podling-scp-* 2>/dev/null || true").stdout
    refused = {("bb",): "must specify a destination: invalid argument", ("bb", "far.example::"): "another machine",
               ("bb", "tester@localhost::name"): "cannot specify an image rename", ("bb", "nobody-here@localhost::"): "unknown user",
               ("nope", "tester@localhost::"): "image not known", ("tester@localhost::nope",): "image not known"}
    for arguments, words in refused.items():
        done = world.run("podling", "image", "scp", *arguments, check=False)
        assert done.returncode == 125
        assert words in done.stderr
    assert "needs root" in user.podling("image", "scp", "bb", "root@localhost::", status=125)

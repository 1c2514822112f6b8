"""docker-daemon: images go to and come from what speaks Docker's API on its socket; here Podman's service."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.sandbox import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with busybox in both engines, and nothing on Docker's socket yet."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    world = new_world()
    archive = str(busybox_archive(tmp_path_factory.mktemp("daemon")))
    world.run("podling", "load", "-q", "-i", archive)
    world.podman("load", "-q", "-i", archive)
    yield world
    world.close()


def test_without_a_daemon_it_is_said(machine: World) -> None:
    for argv in (("pull", "docker-daemon:localhost/bb:latest"), ("push", "bb", "docker-daemon:bb:1")):
        refused = machine.run("podling", *argv, check=False)
        assert refused.returncode == 125
        assert "cannot connect to the Docker daemon at unix:///var/run/docker.sock" in refused.stderr


def test_images_go_and_come(machine: World) -> None:
    service = machine.spawn("podman", "system", "service", "--time=0", "unix:///var/run/docker.sock")
    machine.wait_until(lambda: machine.path("/run/docker.sock").exists(), "the service listens")
    try:
        machine.run("podling", "push", "-q", "bb", "docker-daemon:localhost/sent:1")
        assert machine.podman("run", "--rm", "--network", "none", "localhost/sent:1", "echo", "theirs").stdout == "theirs\n"
        machine.podman("tag", "localhost/sent:1", "localhost/there:2")
        machine.run("podling", "rmi", "-f", "bb")
        pulled = machine.run("podling", "pull", "-q", "docker-daemon:localhost/there:2").stdout.strip()
        assert pulled == machine.podman("image", "inspect", "--format", "{{.Id}}", "localhost/there:2").stdout.strip()
        assert machine.run("podling", "run", "--rm", "--network", "none", "localhost/there:2", "echo", "ours").stdout == "ours\n"
        missing = machine.run("podling", "pull", "-q", "docker-daemon:localhost/nowhere:1", check=False)
        assert missing.returncode == 125
        assert "the daemon has no image localhost/nowhere:1" in missing.stderr
        for name in ("docker-daemon:UPPER", "docker-daemon:x@sha256:" + "0" * 64):
            assert machine.run("podling", "pull", "-q", name, check=False).returncode == 125
        machine.path("/etc/containers/policy.json").write_text(
            '{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker-daemon": {"": [{"type": "reject"}]}}}')
        assert "is rejected by policy" in machine.run("podling", "pull", "docker-daemon:localhost/there:2", check=False).stderr
    finally:
        service.kill()
        service.wait()

"""Containers with a restart policy after a restart of the host."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tests.support.users import HOME

if TYPE_CHECKING:
    from tests.support.users import User

UNIT = f"{HOME}/.config/systemd/user/podling-restart.service"
# The world has another boot id by a mount below /proc, and where /proc is not all to be seen no new one can be mounted.
SLEEP = ("--network", "none", "--pid", "host", "bb", "sleep", "100")


def test_containers_start_with_the_host(fresh_user: User) -> None:
    world = fresh_user.world
    world.run("mkdir", "-p", "/run/systemd/system")        # by which systemd is known; what it does follows below
    done = fresh_user.run("podling", "run", "-d", "--name", "a", "--restart", "always", *SLEEP)
    assert "container a starts again after a restart of the host only when tester logs in; `loginctl enable-linger tester`" in done.stderr
    assert world.path(f"{HOME}/.config/systemd/user/default.target.wants/podling-restart.service").is_symlink()
    for name, policy in (("u", "unless-stopped"), ("stopped", "unless-stopped"), ("n", "no"), ("f", "on-failure")):
        fresh_user.podling("run", "-d", "--name", name, "--restart", policy, *SLEEP)
    fresh_user.podling("stop", "-t", "0", "stopped", "a")
    world.reboot()
    fresh_user.log_in()
    unit = world.path(UNIT).read_text(encoding="utf-8")
    command = next(line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart="))
    fresh_user.run(*shlex.split(command))
    assert sorted(fresh_user.podling("ps", "--format", "{{.Names}}").split()) == ["a", "u"]
    fresh_user.podling("rm", "-f", "-t", "0", "--all")
    fresh_user.assert_nothing_left()


def test_nothing_is_installed_without_systemd_or_policy(fresh_user: User) -> None:
    done = fresh_user.run("podling", "create", "--restart", "always", *SLEEP)
    fresh_user.world.run("mkdir", "-p", "/run/systemd/system")
    fresh_user.podling("create", "--restart", "on-failure", *SLEEP)
    assert done.stderr == ""
    assert not fresh_user.world.path(UNIT).exists()

"""A command in the foreground: what its caller closed or ignores, what becomes of its exit code, what is left when it ends."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import PODLING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

NONE = ("--network", "none")


@pytest.fixture(scope="module")
def loaded(shared_world: World, busybox: Path) -> Iterator[World]:
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    yield shared_world
    shared_world.run("podling", "rm", "-af", "-t", "0")


def test_what_a_shell_ignores_in_the_background_is_passed_on_when_it_is_sent(loaded: World) -> None:
    script = "trap 'echo int; exit 4' INT; echo ready; while :; do sleep 0.05; done"
    process = loaded.spawn("sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh", PODLING, "run", "--rm", "--network", "none",
                           "bb", "sh", "-c", script, stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == b"int\n"
    process.stdout.close()
    assert process.wait(10) == 4


def test_closed_standard_descriptors_are_nobodys(loaded: World) -> None:
    command = f"{PODLING} run -i --rm --network none bb sh -c 'echo out; echo err >&2; cat; exit 3'"
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-"):
        assert loaded.run("sh", "-c", f"{command} {closed}", check=False).returncode == 3
    assert loaded.run("sh", "-c", f"{PODLING} ps -a >&-").stderr == ""


def status(world: World, *argv: str) -> tuple[int, str]:
    """(exit code, first line of what was said)."""
    done = world.run("podling", *argv, check=False)
    return done.returncode, done.stderr.splitlines()[0] if done.stderr else ""


def test_what_cannot_be_started_ends_with_126(loaded: World) -> None:
    """As in Podman: 125 is for what could not be made."""
    no_user = "Error: unable to find user nobody-knows: no matching entries in passwd file"
    for more in ((), ("-d",)):
        assert status(loaded, "run", "--rm", *more, *NONE, "-u", "nobody-knows", "bb", "true") == (126, no_user)
    code, words = status(loaded, "run", "--rm", *NONE, "-w", "/no/such", "bb", "true")
    assert (code, words.rpartition(" ")[0]) == (126, 'Error: workdir "/no/such" does not exist on container')
    assert status(loaded, "run", "--rm", *NONE, "-w", "rel", "bb", "true")[0] == 126
    assert loaded.run("podling", "run", "--rm", *NONE, "-w", "/tmp", "bb", "pwd").stdout == "/tmp\n"
    assert loaded.run("podling", "run", "--rm", *NONE, "-v", "fresh:/d", "-w", "/d", "bb", "pwd").stdout == "/d\n"
    loaded.run("podling", "run", "-d", "--name", "owner", "-p", "8099:80", "bb", "sleep", "1000")
    code, words = status(loaded, "run", "--rm", "-p", "8099:80", "bb", "true")
    assert (code, words.rpartition(": ")[2]) == (126, "address already in use")
    assert status(loaded, "exec", "-u", "nobody-knows", "owner", "true") == (255, no_user)
    assert status(loaded, "exec", "-d", "-u", "nobody-knows", "owner", "true") == (125, no_user)
    assert status(loaded, "run", "--rm", *NONE, "--init", "--init-path", "/no/such", "bb", "true")[0] == 125


def test_a_terminal_alone_has_a_name_for_its_kind(loaded: World) -> None:
    assert "TERM" not in loaded.run("podling", "run", "--rm", *NONE, "bb", "env").stdout
    assert "TERM=xterm\r\n" in loaded.run("podling", "run", "--rm", "-t", *NONE, "bb", "env").stdout
    loaded.run("podling", "run", "-d", "--name", "plain", *NONE, "bb", "sleep", "1000")
    assert "TERM" not in loaded.run("podling", "exec", "plain", "env").stdout
    assert "TERM=xterm\r\n" in loaded.run("podling", "exec", "-t", "plain", "env").stdout
    assert "TERM=vt100\r\n" in loaded.run("podling", "exec", "-t", "-e", "TERM=vt100", "plain", "env").stdout


def test_a_cidfile_goes_with_its_container(loaded: World) -> None:
    for _ in range(2):
        assert loaded.run("podling", "run", "--rm", *NONE, "--cidfile", "/run/cid", "bb", "cat", "/etc/hostname").stdout
        assert not loaded.path("/run/cid").exists()
    made = loaded.run("podling", "create", *NONE, "--cidfile", "cid", "bb", cwd="/run/home").stdout.strip()
    assert loaded.path("/run/home/cid").read_text() == made
    assert loaded.run("podling", "inspect", "-f", "{{.HostConfig.ContainerIDFile}}", made).stdout == "/run/home/cid\n"
    loaded.run("podling", "rm", made)
    assert not loaded.path("/run/home/cid").exists()


def test_the_cidfile_of_another_container_stays(loaded: World) -> None:
    first = loaded.run("podling", "create", *NONE, "--cidfile", "/run/cid", "bb").stdout.strip()
    loaded.path("/run/cid").unlink()
    second = loaded.run("podling", "create", *NONE, "--cidfile", "/run/cid", "bb").stdout.strip()
    loaded.run("podling", "rm", first)
    assert loaded.path("/run/cid").read_text() == second
    loaded.run("podling", "rm", "--cidfile", "/run/cid")


def test_files_of_variables_and_labels(loaded: World) -> None:
    loaded.path("/run/list").write_bytes("# a comment\n\n  A=1\r\nB= x\u2028y \nUSER\nNOT_THERE\n".encode())
    shown = loaded.run("podling", "run", "--rm", *NONE, "--env-file", "/run/list", "bb", "env").stdout
    assert {"A=1", "B= x\u2028y ", "USER=root"} <= set(shown.split("\n"))
    assert "NOT_THERE" not in shown
    made = loaded.run("podling", "create", *NONE, "--label-file", "/run/list", "bb").stdout.strip()
    assert loaded.run("podling", "inspect", "-f", "{{.Config.Labels}}", made).stdout == "map[A:1 B: x\u2028y  USER:root]\n"
    assert status(loaded, "create", "--env-file", "/run/none", "bb") == (
        125, 'Error: parsing file "/run/none": open /run/none: no such file or directory')


@pytest.mark.parametrize(("options", "words"), [
    (("--ipc", "host", "--shm-size", "1m"), "cannot set shmsize when running in the {host } IPC Namespace: invalid configuration"),
    (("--memory-swap", "10m"), "you should always set a memory limit when using a memoryswap limit, see usage"),
    (("--memory-swap", "5m", "-m", "10m"), "minimum memoryswap limit should be larger than memory limit, see usage"),
    (("-e", "=x"), 'invalid variable: "=x"'),
])
def test_options_that_contradict_each_other(loaded: World, options: tuple[str, ...], words: str) -> None:
    assert status(loaded, "create", *options, "bb") == (125, f"Error: {words}")


@pytest.mark.parametrize(("argv", "words"), [
    (("ps", "--filter", "exited=x"), 'strconv.ParseInt: parsing "x": invalid syntax'),
    (("ps", "--filter", "restart-policy=foo"), "foo invalid restart policy"),
    (("ps", "--filter", "status=foo"), "unknown container state: foo: invalid argument"),
    (("inspect", ""), "name or ID cannot be empty"),
    (("--cgroup-manager", "foo", "ps"), "cgroup manager must be one of cgroupfs and systemd: invalid argument"),
    (("volume", "inspect"), "provide one or more volume names or use --all"),
])
def test_what_is_asked_for_wrongly(loaded: World, argv: tuple[str, ...], words: str) -> None:
    assert status(loaded, *argv) == (125, f"Error: {words}")


def test_what_cannot_be_started_again(loaded: World) -> None:
    made = loaded.run("podling", "create", "--name", "absent", *NONE, "bb", "no-such-program").stdout.strip()
    for argv in (("start", "absent"), ("start", "-a", "absent"), ("start", "--all", "--filter", "name=absent")):
        code, words = status(loaded, *argv)
        quoted = made if "-a" in argv else f'"{made}"'
        assert (code, words.partition(": ")[2].partition(": ")[0]) == (125, f"unable to start container {quoted}")
        assert words.endswith("OCI runtime attempted to invoke a command that was not found")


def test_a_command_to_type_is_shown_as_it_is_typed(loaded: World) -> None:
    loaded.run("podling", "run", "-d", "--name", "frozen", *NONE, "bb", "sleep", "1000")
    loaded.run("podling", "pause", "frozen")
    for command in ("start", "restart", "stop"):
        assert loaded.run("podling", command, "frozen", check=False).stderr.splitlines()[1:] == ["podling unpause frozen"]
        assert loaded.run("podling", "ps", "--all", "--filter", "name=frozen", "--format", "{{.State}}").stdout == "paused\n"
    loaded.run("podling", "unpause", "frozen")
    assert loaded.run("podling", "exec", "frozen", "echo", "alive").stdout == "alive\n"


def test_a_restart_does_not_remove(loaded: World) -> None:
    made = loaded.run("podling", "run", "-d", "--rm", "--name", "passing", *NONE, "bb", "sleep", "1000").stdout
    first = loaded.run("podling", "inspect", "-f", "{{.State.Pid}}", "passing").stdout
    loaded.run("podling", "restart", "-t", "0", "passing")
    assert loaded.run("podling", "inspect", "-f", "{{.Id}}", "passing").stdout == made
    assert loaded.run("podling", "inspect", "-f", "{{.State.Pid}}", "passing").stdout != first
    assert loaded.run("podling", "exec", "passing", "echo", "alive").stdout == "alive\n"
    loaded.run("podling", "stop", "-t", "0", "passing")
    assert status(loaded, "container", "exists", "passing")[0] == 1


def test_top_gives_users_by_number(loaded: World) -> None:
    assert {"huid", "uid"} <= set(loaded.run("podling", "top", "--list-descriptors").stdout.split())
    loaded.run("podling", "run", "-d", "--name", "mapped", *NONE, "--uidmap", "0:70000:100", "-u", "7", "bb", "sleep", "1000")
    assert loaded.run("podling", "top", "mapped", "uid", "huid").stdout.split() == ["UID", "HUID", "7", "70007"]


def test_a_removed_volume_is_named_in_full(loaded: World) -> None:
    loaded.run("podling", "volume", "create", "ledger")
    assert loaded.run("podling", "volume", "rm", "ledg").stdout == "ledger\n"

"""What Podman 5.4 says and does with options of containers that are wrong or mean nothing: its words and exit codes, as it printed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World


@pytest.fixture(scope="module")
def here(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with an image and a running container, c."""
    from tests.support.busybox import busybox_archive

    shared_world.run("podling", "load", "-q", "-i", str(busybox_archive(tmp_path_factory.mktemp("creating"))))
    shared_world.run("podling", "run", "-d", "--name", "c", "--network", "none", "bb", "sleep", "1000")
    yield shared_world
    shared_world.run("podling", "rm", "-f", "-t", "0", "c")


def refused(world: World, *argv: str) -> tuple[int, str]:
    """(exit code, first line of what was said) of a command that fails."""
    done = world.run("podling", *argv, check=False)
    return done.returncode, done.stderr.splitlines()[0] if done.stderr else ""


@pytest.mark.parametrize("mount", [("--mount", "type=bind,src=/nosuch,dst=/x"), ("-v", "/nosuch:/x")])
def test_a_bind_mount_of_nothing_is_refused_before_anything_is_made(here: World, mount: tuple[str, str]) -> None:
    before = here.run("podling", "ps", "-aq").stdout
    for command in ("run", "create"):
        assert refused(here, command, *mount, "-v", "fresh-volume:/y", "bb", "true") == (
            125, "Error: statfs /nosuch: no such file or directory")
    assert here.run("podling", "ps", "-aq").stdout == before
    assert "fresh-volume" not in here.run("podling", "volume", "ls", "-q").stdout


@pytest.mark.parametrize("mode", ["none", "host"])
def test_ports_without_a_network_are_discarded_with_a_word(here: World, mode: str) -> None:
    done = here.run("podling", "create", "--name", "ports", "-p", "80:80", "--net", mode, "bb", "true")
    assert done.stderr == ("Port mappings have been discarded as one of the Host, Container, Pod, and None network modes are in "
                           "use\n")
    assert here.run("podling", "port", "ports").stdout == ""
    assert here.run("podling", "inspect", "--format", "{{json .HostConfig.PortBindings}}", "ports").stdout == "{}\n"
    here.run("podling", "rm", "ports")


def test_a_weight_that_the_kernel_does_not_have_is_discarded_with_a_word(here: World) -> None:
    if here.path("/sys/fs/cgroup/blkio/blkio.weight").exists() or here.path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("this kernel has a weight for block devices")
    done = here.run("podling", "create", "--name", "weighed", "--blkio-weight", "100", "bb", "true")
    assert done.stderr == "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.\n"
    assert here.run("podling", "inspect", "--format", "{{.HostConfig.BlkioWeight}}", "weighed").stdout == "0\n"
    here.run("podling", "rm", "weighed")


def test_mounts_have_the_names_that_programs_look_for(here: World) -> None:
    mounted = here.run("podling", "exec", "c", "grep", " /dev/shm ", "/proc/mounts").stdout
    assert mounted.startswith("shm /dev/shm tmpfs ")
    assert here.run("podling", "exec", "c", "readlink", "/etc/mtab").stdout == "/proc/mounts\n"


BAD_KEYS = "invalid detach keys: Unknown character: 'foo'"


def test_a_wrong_key_sequence(here: World) -> None:
    whole = here.run("podling", "inspect", "--format", "{{.Id}}", "c").stdout.strip()
    assert refused(here, "exec", "--detach-keys", "foo", "c", "true") == (255, f"Error: {BAD_KEYS}")
    assert refused(here, "exec", "-i", "--detach-keys", "ctrl-p,foo", "c", "true") == (255, f"Error: {BAD_KEYS}")
    assert refused(here, "run", "--rm", "--detach-keys", "foo", "bb", "true") == (126, f"Error: {BAD_KEYS}")
    assert refused(here, "attach", "--detach-keys", "foo", "c") == (125, f"Error: attaching to container {whole}: {BAD_KEYS}")
    made = here.run("podling", "create", "--name", "later", "bb", "true").stdout.strip()
    assert refused(here, "start", "-a", "--detach-keys", "foo", "later") == (
        125, f"Error: unable to start container {made}: {BAD_KEYS}")
    here.run("podling", "rm", "later")


def test_a_session_that_cannot_be(here: World) -> None:
    here.run("podling", "create", "--name", "still", "bb", "true")
    words = "Error: can only create exec sessions on running containers: container state improper"
    assert refused(here, "exec", "still", "true") == (255, words)
    assert refused(here, "exec", "-d", "still", "true") == (125, words)
    assert refused(here, "exec", "c") == (
        125, "Error: must provide a non-empty command to start an exec session: invalid argument")
    here.run("podling", "rm", "still")


def test_a_paused_container_is_paused_already(here: World) -> None:
    whole = here.run("podling", "inspect", "--format", "{{.Id}}", "c").stdout.strip()
    here.run("podling", "pause", "c")
    assert refused(here, "pause", "c") == (125, f'Error: "{whole}" is already paused: container state improper')
    here.run("podling", "unpause", "c")
    assert refused(here, "unpause", "c") == (125, f'Error: "{whole}" is not paused, can\'t unpause: container state improper')


def test_top_gives_what_it_does_not_know_to_ps(here: World) -> None:
    code, words = refused(here, "top", "c", "nosuchdesc")
    assert code == 125
    assert words.startswith("Error: ps(1) failed with exit code 1: ")
    assert here.run("podling", "top", "c", "-o", "pid,comm").stdout.split()[:4] == ["PID", "COMMAND", "1", "sleep"]
    assert here.run("podling", "top", "c", "-eo", "pid,args").stdout.split() == ["PID", "COMMAND", "1", "sleep", "1000"]


def test_a_logout_must_say_from_where(here: World) -> None:
    here.path("/run/no-registries.conf").write_text("", encoding="ascii")
    done = here.run("podling", "logout", check=False, env={"CONTAINERS_REGISTRIES_CONF": "/run/no-registries.conf"})
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        125, "Error: no registries found in registries.conf, a registry must be provided")


def test_a_digest_does_not_say_which_name_goes(here: World) -> None:
    here.run("podling", "tag", "bb", "other:1")
    digest = here.run("podling", "image", "inspect", "--format", "{{.Digest}}", "bb").stdout.strip()
    for name in ("localhost/bb", "other"):
        assert refused(here, "rmi", f"{name}@{digest}") == (
            125, f"Error: localhost/{name.removeprefix('localhost/')}@{digest}: tag not known")
    assert here.run("podling", "image", "inspect", "--format", "{{.RepoTags}}", "bb").stdout == "[localhost/bb:latest localhost/other:1]\n"
    here.run("podling", "untag", "bb", "other:1")


@pytest.mark.parametrize("content", [b"short", b"x" * 3000, bytes(range(256)) * 20])
def test_what_is_no_archive_is_not_shown(here: World, content: bytes) -> None:
    words = "Error: payload does not match any of the supported image formats: {} is no archive that can be read\n"
    here.path("/run/none.tar").write_bytes(content)
    done = here.run("podling", "load", "-i", "/run/none.tar", check=False)
    assert (done.returncode, done.stderr) == (125, words.format("/run/none.tar"))
    assert here.run("podling", "load", check=False, stdin=content).stderr == words.format("standard input")


def shown_environment(world: World, *argv: str) -> dict[str, str]:
    """The environment in a container of a caller that has FOO and PATH alone."""
    done = world.run("/usr/bin/env", "-i", "FOO=1", f"PATH={world.env['PATH']}", "podling", "run", "--rm", *argv)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_the_hosts_environment_is_the_callers(here: World) -> None:
    found = shown_environment(here, "--env-host", "bb", "env")
    assert found.pop("FOO") == "1"
    assert set(found) <= {"PATH", "container", "HOME", "HOSTNAME", "TERM"}


def test_no_environment_but_what_is_said(here: World) -> None:
    found = shown_environment(here, "--unsetenv-all", "-e", "A=b", "bb", "/bin/env")
    assert set(found) == {"A", "HOME", "HOSTNAME"}
    assert shown_environment(here, "--unsetenv", "TERM", "--unsetenv", "container", "bb", "env").keys() == {"PATH", "HOME", "HOSTNAME"}


def test_a_short_name_is_pulled_under_the_name_that_it_has_here(here: World) -> None:
    for command in (("run", "--rm", "--pull", "always", "--retry", "0", "bb", "true"), ("pull", "--retry", "0", "bb")):
        done = here.run("podling", *command, check=False)
        assert done.returncode == 125
        assert done.stderr.splitlines()[0] == "Trying to pull localhost/bb:latest..."
        assert "initializing source docker://localhost/bb:latest: " in done.stderr
    done = here.run("podling", "run", "--rm", "--pull", "newer", "bb", "echo", "local")
    assert (done.stdout, done.stderr) == ("local\n", "")

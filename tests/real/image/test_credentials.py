"""Logins as a user has them: in helpers, for namespaces, by standard input; and nothing of them where others could read it."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.registry import HTPASSWD, PASSWORD, USER
from tests.support.sandbox import new_world

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.support.sandbox import World

HOST = "localhost:5000"
AUTH = "/run/containers/0/auth.json"
INSECURE = "--tls-verify=false"
# keeps logins in /run/kept/SERVER, and notes every command line that there is while it runs
HELPER = r"""#!/bin/sh
echo "$1" >>/run/helper.log
for file in /proc/[0-9]*/cmdline; do tr '\0' ' ' <"$file"; echo; done >>/run/seen 2>/dev/null
input=$(cat)
place=/run/kept/$(echo "$input" | sed 's/.*"ServerURL": *"\([^"]*\)".*/\1/' | tr '/:' '__')
case $1 in
store) mkdir -p /run/kept; echo "$input" >"$place" ;;
get) cat "$place" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f "$place" ;;
list) echo "{"; for file in /run/kept/*; do [ -e "$file" ] && sed 's/.*"ServerURL": *\("[^"]*"\).*/\1:"x"/' "$file"; done; echo "}" ;;
esac
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a registry that asks for a login, two images in it, and a credential helper on the PATH."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world = new_world()
    config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": "/run/registry"}}, "http": {"addr": "127.0.0.1:5000"},
              "auth": {"htpasswd": {"realm": "test", "path": "/run/htpasswd"}}, "log": {"level": "error"}}
    world.path("/run/registry.yml").write_text(json.dumps(config))
    world.path("/run/htpasswd").write_text(HTPASSWD)
    world.path("/run/bin").mkdir()
    for name in ("kept", "podman"):
        helper = world.path(f"/run/bin/docker-credential-{name}")
        helper.write_text(HELPER)
        helper.chmod(0o755)
    world.env["PATH"] = f"/run/bin:{world.env['PATH']}"
    server = world.spawn("docker-registry", "serve", "/run/registry.yml")
    world.run("podling", "load", "-q", "-i", str(busybox_archive(tmp_path_factory.mktemp("credentials"))))
    for name in ("team/bb", "bb"):
        push = ("podling", "push", "-q", INSECURE, "--creds", f"{USER}:{PASSWORD}", "bb", f"{HOST}/{name}")
        world.wait_until(lambda push=push: world.run(*push, check=False).returncode == 0, "the registry answers")
    yield world
    server.kill()
    server.wait()
    world.close()


@pytest.fixture(autouse=True)
def fresh(machine: World) -> None:
    """No logins."""
    for path in (AUTH, "/run/home/.docker/config.json", "/etc/containers/registries.conf.d/helpers.conf", "/run/helper.log", "/run/seen"):
        machine.path(path).unlink(missing_ok=True)
    shutil.rmtree(machine.path("/run/kept"), ignore_errors=True)


def pull(world: World, name: str = "bb") -> subprocess.CompletedProcess[str]:
    return world.run("podling", "pull", "-q", INSECURE, f"{HOST}/{name}", check=False)


def login(world: World, *options: str) -> None:
    done = world.run("podling", "login", INSECURE, "-u", USER, "--password-stdin", *options, HOST, stdin=f"{PASSWORD}\n".encode())
    assert done.stdout == "Login Succeeded!\n"


def write(world: World, path: str, content: object) -> None:
    world.path(path).parent.mkdir(parents=True, exist_ok=True)
    world.path(path).write_text(json.dumps(content))


def test_a_registry_with_a_helper_of_its_own(machine: World) -> None:
    write(machine, AUTH, {"credHelpers": {HOST: "kept"}})
    assert "unauthorized: authentication required" in pull(machine).stderr
    login(machine)
    assert PASSWORD not in machine.path(AUTH).read_text()
    assert machine.path("/run/helper.log").read_text().splitlines()[-1] == "store"
    assert pull(machine).returncode == 0
    assert machine.run("podling", "login", "--get-login", HOST).stdout == f"{USER}\n"
    seen = machine.path("/run/seen").read_text()
    assert "login" in seen
    assert PASSWORD not in seen
    machine.run("podling", "logout", HOST)
    assert machine.path("/run/helper.log").read_text().splitlines()[-1] == "erase"
    assert os.listdir(machine.path("/run/kept")) == []
    assert pull(machine).returncode == 125


def test_docker_s_credential_store_is_asked(machine: World) -> None:
    write(machine, "/run/kept/localhost_5000", {"ServerURL": HOST, "Username": USER, "Secret": PASSWORD})
    write(machine, "/run/home/.docker/config.json", {"credsStore": "kept", "auths": {HOST: {}}})
    assert pull(machine).returncode == 0
    write(machine, "/run/home/.docker/config.json", {"credsStore": "nowhere", "auths": {HOST: {}}})
    refused = pull(machine)
    assert refused.returncode == 125
    assert "docker-credential-nowhere is not installed" in refused.stderr


def test_helpers_of_registries_conf_keep_all_logins(machine: World) -> None:
    conf = machine.path("/etc/containers/registries.conf.d/helpers.conf")
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text('credential-helpers = ["kept"]\n')
    login(machine)
    assert not machine.path(AUTH).exists()
    assert pull(machine).returncode == 0
    assert machine.run("podling", "logout", "--all").stdout == "Removed login credentials for all registries\n"
    assert os.listdir(machine.path("/run/kept")) == []
    assert pull(machine).returncode == 125


def test_the_longest_namespace_wins(machine: World) -> None:
    machine.run("podling", "login", INSECURE, "-u", USER, "--password-stdin", f"{HOST}/team", stdin=PASSWORD.encode())
    assert list(json.loads(machine.path(AUTH).read_text())["auths"]) == [f"{HOST}/team"]
    assert pull(machine, "team/bb").returncode == 0
    assert "unauthorized" in pull(machine, "bb").stderr
    content = json.loads(machine.path(AUTH).read_text())
    content["auths"][HOST] = {"auth": "d3Jvbmc6d3Jvbmc="}
    write(machine, AUTH, content)
    assert pull(machine, "team/bb").returncode == 0
    assert pull(machine, "bb").returncode == 125
    machine.podman("pull", "-q", INSECURE, f"{HOST}/team/bb")                  # reads the same file the same way
    machine.run("podling", "logout", "--all")
    assert json.loads(machine.path(AUTH).read_text())["auths"] == {}
    assert pull(machine, "team/bb").returncode == 125


def test_a_file_by_option_or_variable(machine: World) -> None:
    login(machine, "--authfile", "/run/mine.json")
    assert machine.path("/run/mine.json").stat().st_mode & 0o777 == 0o600
    assert pull(machine).returncode == 125
    machine.run("podling", "pull", "-q", INSECURE, "--authfile", "/run/mine.json", f"{HOST}/bb")
    machine.run("podling", "pull", "-q", INSECURE, f"{HOST}/bb", env={"REGISTRY_AUTH_FILE": "/run/mine.json"})
    machine.run("podling", "logout", "--authfile", "/run/mine.json", HOST)
    assert machine.run("podling", "pull", "-q", INSECURE, "--authfile", "/run/mine.json", f"{HOST}/bb", check=False).returncode == 125

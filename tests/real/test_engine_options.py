"""The options before the command, and what containers.conf says of containers, do what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox import World

NONE = ("--network", "none")


@pytest.fixture
def podling(world: World, busybox: Path) -> Callable[..., str]:
    """podling, busybox loaded."""
    world.run("podling", "load", "-q", "-i", str(busybox))

    def run(*argv: str, status: int = 0, **options: object) -> str:
        done = world.run("podling", *argv, check=False, **options)  # type: ignore[arg-type]
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    return run


def hook(directory: Path, name: str, script: str, when: dict[str, object], *stages: str) -> None:
    program = directory / f"{name}.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (directory / f"{name}.json").write_text(json.dumps(
        {"version": "1.0.0", "hook": {"path": str(program)}, "when": when, "stages": list(stages)}))


def test_hooks_run_at_their_stages(podling: Callable[..., str], tmp_path: Path) -> None:
    said = tmp_path / "said"
    hook(tmp_path, "a", f"cat >/dev/null; echo pre >>{said}", {"always": True}, "prestart")
    hook(tmp_path, "b", f"cat >/dev/null; echo post >>{said}", {"annotations": {"^wanted$": "yes"}}, "poststop")
    hook(tmp_path, "c", f"echo never >>{said}", {"commands": ["^/bin/other"], "always": True}, "prestart")
    hook(tmp_path, "d", "sed s/replace-me/replaced/", {"hasBindMounts": True}, "precreate")
    flags = ("--hooks-dir", str(tmp_path), "run", "--rm", *NONE)
    assert podling(*flags, "bb", "echo", "replace-me") == "replace-me\n"
    assert said.read_text() == "pre\n"
    assert podling(*flags, "--annotation", "wanted=yes", "-v", f"{tmp_path}:/x", "bb", "echo", "replace-me") == "replaced\n"
    assert said.read_text() == "pre\npre\npost\n"
    (tmp_path / "e.json").write_text('{"version": "2"}')
    assert f'parsing hook "{tmp_path}/e.json"' in podling(*flags, "bb", "true", status=126)
    assert podling("ps", "-aq") == ""


def test_modules_add_to_the_configuration(podling: Callable[..., str], tmp_path: Path) -> None:
    module = tmp_path / "more.conf"
    module.write_text('[containers]\nenv = ["FROM_MODULE=1"]\n')
    assert podling("--module", str(module), "run", "--rm", *NONE, "bb", "sh", "-c", "echo $FROM_MODULE") == "1\n"
    assert podling("run", "--rm", *NONE, "bb", "sh", "-c", "echo $FROM_MODULE") == "\n"
    assert 'could not resolve module "gone"' in podling("--module", "gone", "ps", status=125)


def test_volumes_live_where_they_are_told_to(world: World, podling: Callable[..., str], tmp_path: Path) -> None:
    podling("--volumepath", str(tmp_path / "vol"), "run", "--rm", *NONE, "-v", "named:/x", "bb", "touch", "/x/file")
    assert (tmp_path / "vol/named/_data/file").exists()
    assert podling("volume", "inspect", "-f", "{{.Mountpoint}}", "named") == f"{tmp_path}/vol/named/_data\n"
    podling("--volumepath", str(tmp_path / "vol"), "volume", "rm", "named")
    assert not (tmp_path / "vol/named").exists()
    world.assert_nothing_left()


def test_the_runtime_gets_its_flags(podling: Callable[..., str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    runtime = tmp_path / "noting"
    runtime.write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec runc "$@"\n')
    runtime.chmod(0o755)
    podling("--runtime", str(runtime), "--runtime-flag", "debug", "run", "--rm", *NONE, "bb", "true")
    assert all(line.startswith("--debug ") for line in log.read_text().splitlines() if "--version" not in line and "features" not in line)
    assert len(log.read_text().splitlines()) >= 2


def test_configuration_of_containers(world: World, podling: Callable[..., str], tmp_path: Path) -> None:
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW",
                                   "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}))
    (tmp_path / "containers.conf").write_text(f'[containers]\nseccomp_profile = "{profile}"\ncontainer_name_as_hostname = true\n'
                                              'no_hostname = true\n[engine]\nenv = ["LC_FROM_ENGINE=x"]\n')
    env = {"CONTAINERS_CONF_OVERRIDE": str(tmp_path / "containers.conf")}
    shown = podling("run", "--rm", *NONE, "--name", "my_name", "bb", "sh", "-c", "mkdir /new 2>&1; hostname; cat /etc/hostname || true",
                    env=env)
    assert shown == "mkdir: can't create directory '/new': Operation not permitted\nmyname\n"
    assert podling("run", "--rm", *NONE, "--privileged", "bb", "mkdir", "/new", env=env) == ""


def test_what_is_missing_is_refused_by_name(podling: Callable[..., str]) -> None:
    assert "--imagestore is not available in podling yet" in podling("--imagestore", "/x", "images", status=125)

"""Runtimes: which one, what their errors mean, what conmon is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podling.errors import CommandNotFound, NotExecutable, Unsupported
from podling.model import ContainerConfig, LogConfig
from podling.runtime.monitor import conmon, exits, oci, runtimes

if TYPE_CHECKING:
    from pathlib import Path

NOT_FOUND = "OCI runtime attempted to invoke a command that was not found"
CONFIG = ContainerConfig(id="ab" * 32, name="c", created=1, command=("x",), runtime="crun", runtime_path="/usr/bin/crun")


def program(directory: Path, name: str, version: str) -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\necho {name} version {version}\necho called >>{directory}/calls\n")
    path.chmod(0o755)
    return str(path)


def configured(directory: Path, crun: str = "1.8.1", runc: str = "1.1.5+ds1") -> dict[str, list[str]]:
    return {"crun": [program(directory, "crun", crun)], "runc": [program(directory, "runc", runc)]}


@pytest.mark.parametrize(("layout", "may_raise", "version", "wanted"), [
    ("v1", True, "1.8.1", "crun"), ("v2", True, "1.8.1", "crun"), ("hybrid", True, "1.8.1", "runc"), ("hybrid", True, "1.9", "crun"),
    ("hybrid", True, "1.21", "crun"), ("v2", False, "1.8.1", "runc"), ("v2", False, "1.21", "crun"), ("v1", False, "1.8.1", "crun")])
def test_first_that_works_here(tmp_path: Path, layout: str, may_raise: bool, version: str, wanted: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    found = runtimes.choose("", configured=configured(tmp_path, version), layout=layout, may_raise_limits=may_raise,
                            unified=str(tmp_path))
    assert found.name == wanted
    assert bool(found.why) is (wanted == "runc")
    assert not found.why or "crun 1.8.1" in found.why


def test_crun_works_beside_a_version_2_without_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("\n")
    assert runtimes.choose("", configured=configured(tmp_path), layout="hybrid", unified=str(tmp_path)).name == "crun"


def test_what_is_asked_for_is_taken(tmp_path: Path) -> None:
    paths = configured(tmp_path)
    assert runtimes.choose("crun", configured=paths, layout="hybrid").path == paths["crun"][0]
    assert runtimes.choose("", configured=paths, default="runc", layout="v1").name == "runc"
    assert runtimes.choose(paths["runc"][0], configured={}).path == paths["runc"][0]
    for missing in ("nosuchruntime", str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(Unsupported, match="no valid executable found for OCI runtime"):
            runtimes.choose(missing, configured=paths)


def test_versions_are_asked_once_for_a_program(tmp_path: Path) -> None:
    path, cache = program(tmp_path, "crun", "1.2.3"), str(tmp_path / "cache")
    assert [runtimes.runtime_version(path, cache=cache) for _ in range(3)] == ["1.2.3"] * 3
    assert (tmp_path / "calls").read_text().count("called") == 1
    program(tmp_path, "crun", "1.2.4-new")
    assert runtimes.runtime_version(path, cache=cache) == "1.2.4-new"


@pytest.mark.parametrize(("text", "numbers"), [("1.8.1", (1, 8, 1)), ("1.1.5+ds1", (1, 1, 5)), ("1.21", (1, 21)), ("x", ()), ("", ())])
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert runtimes.version_numbers(text) == numbers


@pytest.mark.parametrize(("message", "kind", "code", "words"), [
    ("executable file `x` not found in $PATH: No such file or directory", CommandNotFound, 127,
     "crun: executable file `x` not found in $PATH: No such file or directory: " + NOT_FOUND),
    ("open executable: Permission denied", NotExecutable, 126, "crun: open executable: Permission denied: OCI permission denied"),
    ("setrlimit `RLIMIT_NOFILE`: Operation not permitted\n", NotExecutable, 126,
     "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied"),
    ("something else", oci.RuntimeFailed, 126, "crun: something else: OCI runtime error"),
    ("first line\nsecond: no such file or directory\nthird", CommandNotFound, 127,
     "crun: second: no such file or directory: " + NOT_FOUND),
    ('time="2026" level=error msg="exec: \\"x\\": executable file not found in $PATH"', CommandNotFound, 127,
     'crun: exec: "x": executable file not found in $PATH: ' + NOT_FOUND),
    ("", oci.RuntimeFailed, 126, "crun: no message: OCI runtime error")])
def test_errors_of_a_runtime(message: str, kind: type[Exception], code: int, words: str) -> None:
    error = oci.failure("crun", message)
    assert (type(error), error.exit_code, error.message) == (kind, code, words)


def test_last_error_of_the_log_counts(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert oci.logged_error(str(path)) == ""
    path.write_text('{"level":"warning","msg":"careful"}\nnot json\n{"level":"error","msg":"one"}\n{"level":"error","msg":"two"}\n')
    assert oci.logged_error(str(path)) == "two"


@pytest.mark.parametrize(("log", "words"), [
    (LogConfig(path="/l"), ["--log-path", "k8s-file:/l"]),
    (LogConfig(driver="json-file", path="/l", max_size=5), ["--log-path", "k8s-file:/l", "--log-size-max", "5"]),
    (LogConfig(driver="none", path="/l", max_size=5), ["--log-path", "none"])])
def test_log_arguments(log: LogConfig, words: list[str]) -> None:
    assert conmon.log_arguments(CONFIG.replace(log=log)) == words


def test_log_without_tags_refuses_one() -> None:
    with pytest.raises(Unsupported, match="has no tags"):
        conmon.log_arguments(CONFIG.replace(log=LogConfig(path="/l", tag="x")))


def test_exit_command_waits_for_whoever_attends() -> None:
    command = exits.exit_command(("podling", "x y"), bundle="/b c", until_gone="/b c/config.json")
    assert command[0] == "/bin/sh"
    assert command[3:] == ("/b c/attended", "/b c/config.json", "podling", "x y")


def test_environment_for_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "CONTAINERS_CONF", "SECRET", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv("PATH")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = oci.environment("c0ffee")
    assert found["PATH"].startswith("/usr/local/sbin")
    assert "CONTAINERS_CONF" in found
    assert not {"LC_ALL", "SECRET", "XDG_RUNTIME_DIR"} & set(found)

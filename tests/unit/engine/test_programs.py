"""Versions and packages of programs."""

from __future__ import annotations

import os
from pathlib import Path

from podling.engine.programs import Programs, package_of


def a_program(path: Path, words: str) -> str:
    path.write_text(f"#!/bin/sh\necho asked >>{path}.log\necho '{words}'\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def times_asked(program: str) -> int:
    return len(Path(program + ".log").read_text(encoding="ascii").splitlines())


def test_a_program_is_asked_once_until_it_changes(tmp_path: Path) -> None:
    program = a_program(tmp_path / "tool", "tool version 1")
    cache = str(tmp_path / "cache")
    first = Programs(cache)
    assert first.get(program).version == "tool version 1"
    first.keep()
    assert Programs(cache).get(program).version == "tool version 1"
    assert times_asked(program) == 1
    a_program(Path(program), "tool version 22")
    assert Programs(cache).get(program).version == "tool version 22"
    assert times_asked(program) == 2


def test_a_broken_cache_is_none(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "cache")
    (tmp_path / "cache" / "programs.json").write_text("[", encoding="ascii")
    program = a_program(tmp_path / "tool", "1")
    assert Programs(str(tmp_path / "cache")).get(program).version == "1"


def test_a_missing_program_is_empty(tmp_path: Path) -> None:
    found = Programs(str(tmp_path)).get(str(tmp_path / "none"))
    assert (found.path, found.version, found.package) == ("", "", "")
    assert Programs(str(tmp_path)).get(None).path == ""


def test_a_program_that_fails_has_no_version(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\nexit 3\n", encoding="ascii")
    path.chmod(0o755)
    assert Programs(str(tmp_path)).get(str(path)).version == ""


def debian(base: Path) -> str:
    (base / "info").mkdir()
    (base / "info" / "libc6:amd64.list").write_text("/.\n/lib\n", encoding="ascii")
    (base / "info" / "conmon.list").write_text("/.\n/usr/bin\n/usr/bin/conmon\n", encoding="ascii")
    (base / "info" / "dash.list").write_text("/bin/sh\n", encoding="ascii")
    (base / "status").write_text("Package: libc6\nVersion: 9\nArchitecture: amd64\n\n"
                                 "Package: conmon\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.1.6-1\n\n"
                                 "Package: dash\nVersion: 0.5\nArchitecture: amd64\n", encoding="ascii")
    return str(base)


def test_the_package_is_read_off_debians_lists(tmp_path: Path) -> None:
    database = debian(tmp_path)
    assert package_of("/usr/bin/conmon", dpkg=database) == "conmon_2.1.6-1_amd64"
    assert package_of("/usr/bin/sh", dpkg=database) == "dash_0.5_amd64"      # listed without /usr
    assert package_of("/usr/bin/other", dpkg=database) == "Unknown"


def test_without_debian_the_package_is_unknown(tmp_path: Path) -> None:
    assert package_of("/usr/bin/conmon", dpkg=str(tmp_path / "none")) == "Unknown"

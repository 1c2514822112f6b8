"""Who an ordinary user's podling works for, and what is believed of the holder's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podling.errors import Refused
from podling.linux import holder, rootless
from podling.linux.rootless import Owner

MARKS = {"_CONTAINERS_USERNS_CONFIGURED": "done", "_CONTAINERS_ROOTLESS_UID": "1234", "_CONTAINERS_ROOTLESS_GID": "5"}
ME = Owner(uid=os.getuid(), gid=os.getgid(), name="me", home="/home/me")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MARKS:
        monkeypatch.delenv(name, raising=False)


def test_root_has_no_owner_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert rootless.owner() is None
    for name, value in MARKS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("podling.linux.userns.uid_map", lambda: (userns_range(0, 0, 4294967295),))
    assert rootless.owner() is None


def userns_range(inside: int, outside: int, size: int):
    from podling.linux.userns import IdRange

    return IdRange(inside=inside, outside=outside, size=size)


def test_owner_is_the_same_before_and_after_entering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("USER", "tester")
    monkeypatch.setattr("os.geteuid", lambda: 123456)
    monkeypatch.setattr("os.getegid", lambda: 7)
    assert rootless.owner() == Owner(uid=123456, gid=7, name="tester", home="/somewhere")
    assert not rootless.entered()
    for name, value in {**MARKS, "_CONTAINERS_ROOTLESS_UID": "123456", "_CONTAINERS_ROOTLESS_GID": "7"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("podling.linux.userns.uid_map", lambda: (userns_range(0, 123456, 1),))
    assert rootless.entered()
    assert rootless.owner() == Owner(uid=123456, gid=7, name="tester", home="/somewhere")
    assert rootless.has_one_id()


def test_root_of_a_container_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("podling.linux.userns.uid_map", lambda: (userns_range(0, 100000, 65536),))
    assert rootless.owner() is None


def test_runtime_directory_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/")
    tmp_path.chmod(0o700)
    assert rootless.runtime_directory(ME) == str(tmp_path)
    nobody = ME.replace(uid=4_000_000_000)       # nobody has a /run/user for it
    fallback = Path("/tmp/podling-run-4000000000")
    try:
        for path in ("", "relative", str(tmp_path / "absent")):
            monkeypatch.setenv("XDG_RUNTIME_DIR", path)
            assert rootless.runtime_directory(nobody) == str(fallback)
        tmp_path.chmod(0o777)                    # others could put things there
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert rootless.runtime_directory(nobody) == str(fallback)
        assert fallback.stat().st_mode & 0o777 == 0o700
        fallback.rmdir()
        fallback.symlink_to(tmp_path)
        with pytest.raises(Refused, match="not a private directory"):
            rootless.runtime_directory(nobody)
    finally:
        fallback.unlink() if fallback.is_symlink() else fallback.rmdir()


@pytest.mark.parametrize(("text", "found"), [
    ("12 345\n", (12, 345)), ("12 345", (12, 345)), ("", (0, 0)), ("12", (0, 0)), ("-1 5", (0, 0)), ("1 2 3", (0, 0)), ("a b", (0, 0)),
])
def test_file_of_the_holder(tmp_path: Path, text: str, found: tuple[int, int]) -> None:
    (tmp_path / "userns.pid").write_text(text)
    assert holder.holder(str(tmp_path)) == found


def test_no_file_of_a_holder(tmp_path: Path) -> None:
    assert holder.holder(str(tmp_path)) == (0, 0)
    assert holder.holder(str(tmp_path / "absent")) == (0, 0)

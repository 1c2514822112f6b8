"""The storage driver that a store remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podling.store import driver
from podling.store.overlay import Driver, escape

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("text", "found"), [
    ("overlay\n\n", Driver(name="overlay", userxattr=True)), ("vfs\n\n", Driver(name="vfs", userxattr=True)),
    ("overlay\n/bin/sh\n", Driver(name="overlay", mount_program="/bin/sh")),
])
def test_what_was_chosen_stays(tmp_path: Path, text: str, found: Driver) -> None:
    (tmp_path / "driver").write_text(text)
    assert driver.choose(str(tmp_path)) == found
    assert driver.choose(str(tmp_path), found.name) == found


@pytest.mark.parametrize("text", ["", "overlay", "btrfs\n\n", "overlay\n/no/such/program\n", "a\nb\nc\n"])
def test_what_makes_no_sense_is_chosen_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "driver").write_text(text)
    assert driver._remembered(str(tmp_path)) is None


def test_paths_within_mount_options() -> None:
    assert escape("/a:b,c\\d") == "/a\\:b\\,c\\\\d"

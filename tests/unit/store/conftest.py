"""A store of our own in a temporary directory; nothing here needs root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from podling.database import Database
from podling.store import open_images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.store.images import Images


@pytest.fixture
def images(tmp_path) -> Iterator[Images]:
    root = tmp_path / "root"
    os.mkdir(root, 0o700)
    database = Database(str(root / "podling.db"))
    yield open_images(database, str(root), "")
    database.close()

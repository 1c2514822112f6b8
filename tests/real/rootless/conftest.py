"""A user with an image, for the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.users import User

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World


@pytest.fixture(scope="module")
def user(shared_world: World, busybox: Path) -> User:
    """An ordinary user whose store has the image bb; tests leave no containers."""
    made = User(shared_world)
    made.load(busybox)
    return made


@pytest.fixture
def fresh_user(world: World, busybox: Path) -> User:
    """The same in a world of its own, for tests that disturb."""
    made = User(world)
    made.load(busybox)
    return made

"""What all tests share: the private worlds, and how hypothesis works here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.busybox import busybox_archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.sandbox"]

# The same examples in each run: a failure found once is found again. FUZZ_EXAMPLES=10000 looks further.
settings.register_profile("podling", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ,
                          max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
                          suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("podling")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A docker-archive with static busybox, made once; ``podling load`` gives it as localhost/bb:latest."""
    return busybox_archive(tmp_path_factory.mktemp("busybox"))


@pytest.fixture
def podling(world: World, busybox: Path, runtime: str) -> Callable[..., str]:
    """podling with one of the runtimes, busybox loaded."""
    world.run("podling", "load", "-q", "-i", str(busybox))

    def run(*argv: str, status: int = 0, **options: object) -> str:
        done = world.run("podling", "--runtime", runtime, *argv, check=False, **options)  # type: ignore[arg-type]
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    return run

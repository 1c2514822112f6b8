"""What all tests share: the private worlds, and how hypothesis works here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.busybox import busybox_archive

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

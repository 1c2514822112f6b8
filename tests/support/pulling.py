"""A pull in a process of its own, to be killed, and waiting for what it does."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.support.sandbox import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.stores import Store

PULL = f"""
import sys
sys.path[:0] = [{str(CHECKOUT / "src")!r}, {str(CHECKOUT)!r}]
from pathlib import Path
from podling.image.registry.client import Registry
from tests.support.stores import Store
if sys.argv[3] == "http":
    Registry._ping = lambda self: self._ping_scheme("http")
print(Store(Path(sys.argv[1])).pull(sys.argv[2]).id)
"""


def puller(store: Store, name: str, scheme: str = "") -> subprocess.Popen[str]:
    """Pull an image into the store; ``scheme`` "http": from a registry without TLS."""
    return subprocess.Popen([sys.executable, "-c", PULL, str(store.path), name, scheme], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def await_(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Fail, saying what was waited for, unless the condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)

"""The interpreter's SQLite driver, without what commands never use: 6 of the 25 ms that a short command takes.

``sqlite3``, the package around ``_sqlite3``, imports datetime. ``_sqlite3`` itself imports functools, and with it collections, for
one thing: ``lru_cache(maxsize=...)(function)``, its cache of prepared statements. It gets that from a stand-in, which is in place only
while the driver is imported: CPython's Modules/_sqlite/module.c asks for it there, once.
"""

from __future__ import annotations

import sys
from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DatabaseError", "Error", "IntegrityError", "OperationalError", "connect"]


def _lru_cache(maxsize: int) -> Callable[[Any], Any]:
    return lambda function: _lru_cache_wrapper(function, maxsize, False, tuple)


_lent = "functools" not in sys.modules
if _lent:
    sys.modules["functools"] = type(sys)("functools")
    sys.modules["functools"].lru_cache = _lru_cache      # type: ignore[attr-defined]
try:
    from _sqlite3 import DatabaseError, Error, IntegrityError, OperationalError, connect
finally:
    if _lent:
        del sys.modules["functools"]

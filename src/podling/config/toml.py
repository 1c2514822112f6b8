"""TOML files to tables; apart from :mod:`podling.config.layers`, because tomllib takes 11 ms to load."""

from __future__ import annotations

import tomllib

from podling.errors import Corrupt
from podling.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 8 << 20


def read(path: str) -> dict[str, Any]:
    """The table of a file; Corrupt with its path, line and column where it is not TOML."""
    try:
        return tomllib.loads(files.read_bytes(path, _LIMIT).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"reading configuration file {path}: {_lower(str(error))}",
                      hint=f"Correct that line of {path}, or move the file away to use the defaults") from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]

"""conmon's exit files: one a container, holding the exit code; its modification time is when the container ended."""

from __future__ import annotations

import os


def read(path: str) -> tuple[int, int] | None:
    """(exit code, nanoseconds since 1970), or None where the file is absent or not yet whole."""
    try:
        with open(path, "rb") as file:
            text = file.read(32).strip()
            finished = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    # -1 is conmon's word for a container that it killed when its --timeout was over; a process' exit code has eight bits.
    return (int(text) & 0xFF, finished) if text.removeprefix(b"-").isdigit() else None

"""Where a running container has its exec sessions; apart from the monitor, which lists need not load."""

from __future__ import annotations

import os


def directory(run: str) -> str:
    """The directory of the sessions, one directory for each id; ``run``: the container's."""
    return f"{run}/exec"


def ids(run: str) -> list[str]:
    """Ids of the exec sessions that are there now."""
    try:
        return sorted(os.listdir(directory(run)))
    except FileNotFoundError:
        return []

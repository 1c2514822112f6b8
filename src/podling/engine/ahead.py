"""What a command begins before its own code is loaded."""

from __future__ import annotations

from podling.linux import cgroup_moves


def container_starts() -> None:
    """A container will be started: what the kernel takes its time for begins. It waits for nothing."""
    cgroup_moves.keep_quick()

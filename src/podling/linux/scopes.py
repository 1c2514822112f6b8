"""A place below the user's systemd for this process, on cgroup version 2.

A session's cgroup belongs to root. From there no process can be moved into a container's cgroup, because the kernel asks for the right
to write to the cgroup above both. From a scope of the user's own systemd it can.
"""

from __future__ import annotations

import os
import time

from podling import log
from podling.errors import PodlingError, explain
from podling.linux import cgroups, process

_SECONDS = 5.0                               # how long systemd may take to move a process


def enter(uid: int) -> bool:
    """Have the systemd of the user move this process into a scope of its own, unless it is below already; whether it is there now."""
    if _is_below(uid):
        return True
    pid = os.getpid()
    argv = ["busctl", "--user", "--quiet", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", f"podling-{pid}.scope", "fail", "2",
            "PIDs", "au", "1", str(pid), "Slice", "s", "user.slice", "0"]
    try:
        process.run(argv, timeout=_SECONDS)
    except PodlingError as error:
        log.debug(f"asking the user's systemd for a scope: {explain(error)}")
        return False
    deadline = time.monotonic() + _SECONDS
    while not _is_below(uid) and time.monotonic() < deadline:
        time.sleep(0.002)
    return _is_below(uid)


def _is_below(uid: int) -> bool:
    return f"/user@{uid}.service/" in cgroups.path_of().get(cgroups.UNIFIED, "") + "/"

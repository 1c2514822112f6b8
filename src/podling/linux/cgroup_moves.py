"""Moving processes between cgroups without waiting for the kernel.

The kernel waits for an RCU grace period, 8 to 20 ms, before it moves a process into a cgroup, unless one was moved a moment ago. A start
moves conmon and the container's first process. Moving ourselves to where we are has the kernel wait while we do other things.
"""

from __future__ import annotations

import _thread
import fcntl
import os
import time

from podling.linux import cgroups, rootless

_SECONDS = 0.1         # a start has come to its container by then
_PAUSE = 0.008         # a move is quick for longer than this after another
_DESCRIPTORS = 4096    # for which there is room from the beginning


def keep_quick() -> None:
    """Root's moves of processes are quick from some 15 ms on, for a moment. It waits for nothing: a thread does."""
    if os.geteuid() == 0 and rootless.owner() is None:      # an ordinary user moves nothing
        _make_room()
        _thread.start_new_thread(_stay, ())


def _make_room() -> None:
    """Let the table of descriptors grow now: in a process of several threads the kernel waits for a grace period at each growth."""
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, min(_DESCRIPTORS, os.sysconf("SC_OPEN_MAX")) - 1))
    except OSError:
        return                                # the last one is taken: it has grown
    finally:
        os.close(fd)


def _stay() -> None:
    """Move this process into its own cgroup, again and again."""
    try:
        own = cgroups.path_of()
        place = "/pids" + own["pids"] if "pids" in own else own.get(cgroups.UNIFIED, "")     # where all have it: mountinfo may be long
        fd = os.open(f"{cgroups.ROOT}{place}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + _SECONDS
            while time.monotonic() < until:
                os.write(fd, b"0")
                time.sleep(_PAUSE)
        finally:
            os.close(fd)
    except OSError:
        return                                # then the moves take their time

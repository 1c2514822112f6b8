"""Moving processes between cgroups without waiting for the kernel.

The kernel waits for an RCU grace period, 8 to 20 ms, before it moves a process into a cgroup, unless one was moved a moment ago. A start
moves conmon and the container's first process. Moving ourselves to where we are has the kernel wait while we do other things.
"""

from __future__ import annotations

import _thread
import os
import time

from podling.linux import cgroups, rootless

_SECONDS = 0.15        # a start has come to its container by then, on a busy machine too
_PAUSE = 0.005         # a move is quick for longer than this after another


def keep_quick() -> None:
    """Root's moves of processes are quick from some 15 ms on, for a moment. It waits for nothing: a thread does."""
    if os.geteuid() == 0 and rootless.owner() is None:      # an ordinary user moves nothing
        _thread.start_new_thread(_stay, ())


def _stay() -> None:
    """Move this process into its own cgroup, again and again."""
    try:
        found, own = cgroups.hierarchies(), cgroups.path_of()
        name = next((name for name in ("pids", "name=systemd", cgroups.UNIFIED) if name in own and name in found.places), None)
        if name is None:
            return
        fd = os.open(found.places[name].directory(own[name]) + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + _SECONDS
            while time.monotonic() < until:
                os.write(fd, b"0")
                time.sleep(_PAUSE)
        finally:
            os.close(fd)
    except OSError:
        return                                # then the moves take their time

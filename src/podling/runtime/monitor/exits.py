"""Who cleans up after a container: the process that waits for it, or conmon's exit command.

A container that was left alone (``-d``) is cleaned up by conmon's exit command, ``podling container cleanup ID``. After a
foreground ``run`` the waiting process does it itself, which saves a second interpreter. Should it have been killed, the exit
command steps in:

1. The foreground process holds a kernel lock on ``attended`` in the bundle for as long as it lives.
2. conmon's exit command is a shell that waits for that lock. The kernel frees it when the holder is gone, however it went.
3. If a file is still there then whose deletion is the last of the clean-up, nobody cleaned up: the shell becomes the clean-up command.
   It is the exit file where the container goes too (``--rm``), else ``config.json`` in the bundle.
"""

from __future__ import annotations

import os

from podling.linux.locks import Lock

_WAIT_THEN_CLEAN_UP = 'flock "$0" true 2>/dev/null; [ -e "$1" ] || exit 0; shift; exec "$@"'


def exit_command(cleanup: tuple[str, ...], *, attended: bool, bundle: str, until_gone: str) -> tuple[str, ...]:
    """What conmon executes after the container's end; ``cleanup`` is the command that cleans up, until the file ``until_gone`` is."""
    if not attended:
        return cleanup
    return ("/bin/sh", "-c", _WAIT_THEN_CLEAN_UP, bundle + "/attended", until_gone, *cleanup)


class Attended:
    """The lock of the process that will clean up; it is let go by :meth:`release` or the end of the process."""

    def __init__(self, bundle: str) -> None:
        self._lock = Lock(bundle + "/attended")
        self._lock.try_exclusive()

    def __del__(self) -> None:
        """In a process that lives on, conmon and its shell must not wait for what nobody holds any more."""
        self.release()

    def release(self) -> None:
        """From here on the exit command cleans up (after detaching, for example)."""
        self._lock.release()


def is_attended(bundle: str) -> bool:
    """Whether a process waits for the container's end."""
    if not os.path.exists(bundle + "/attended"):
        return False
    lock = Lock(bundle + "/attended")
    if lock.try_exclusive():
        lock.release()
        return False
    return True

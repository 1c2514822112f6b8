"""Who cleans up after a container: the process that waits for its end, or conmon's exit command.

Whoever waits for a container's end cleans up itself, which saves a second interpreter: a foreground ``run``, and ``stop``, ``kill`` and
``rm --force``, which bring it about. conmon's exit command, ``podling container cleanup ID``, does it for a container that was left alone,
and steps in where the waiting process was killed:

1. The process that waits holds a kernel lock on ``attended`` in the bundle.
2. conmon's exit command is a shell that waits for that lock. The kernel frees it when the holder is gone, however it went.
3. If a file is still there then whose deletion is the last of the clean-up, nobody cleaned up: the shell becomes the clean-up command.
   It is the exit file where the container goes too (``--rm``), else ``config.json`` in the bundle.
"""

from __future__ import annotations

import os

from podling.linux.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

# Nobody waits where there is no such file: the shell says so to /dev/null and goes on.
_WAIT_THEN_CLEAN_UP = 'flock 9 2>/dev/null 9<"$0"; [ -e "$1" ] || exit 0; shift; exec "$@"'


def exit_command(cleanup: tuple[str, ...], *, bundle: str, until_gone: str) -> tuple[str, ...]:
    """What conmon executes after the container's end; ``cleanup`` is the command that cleans up, until the file ``until_gone`` is."""
    return ("/bin/sh", "-c", _WAIT_THEN_CLEAN_UP, bundle + "/attended", until_gone, *cleanup)


class Attended:
    """The lock of the process that will clean up, unless another has it; let go by :meth:`release` or the end of the process."""

    def __init__(self, bundle: str) -> None:
        self._lock = Lock(bundle + "/attended")
        if os.path.isdir(bundle):            # otherwise it has been cleaned up
            self._lock.try_exclusive()

    def __enter__(self) -> Attended:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def __del__(self) -> None:
        """In a process that lives on, conmon and its shell must not wait for what nobody holds any more."""
        self.release()

    def release(self) -> None:
        """From here on the exit command cleans up (after detaching, for example)."""
        self._lock.release()

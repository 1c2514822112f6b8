"""The only door to the programs that make and watch containers: conmon, crun and runc.

    runtimes            which OCI runtime works here, and why; a module of its own
    create, start       a container in the runtime, with a conmon that watches it
    kill, pause, ...    what the runtime does with a running one
    execute             one more process in it, a module of its own
    wait_exit           how it ended
    destroy             all of it gone; idempotent

conmon is started by ``create``, leaves the process that started it and stays until the container ends. Then it writes the exit
code into the exit file and executes the exit command.
"""

from __future__ import annotations

from podling.runtime.monitor import notify
from podling.runtime.monitor.conmon import Created, Ended, create, destroy, find_conmon, wait_exit
from podling.runtime.monitor.exits import Attended, exit_command
from podling.runtime.monitor.oci import RuntimeFailed, kill, pause, resume, start, state, update

__all__ = ["Attended", "Created", "Ended", "RuntimeFailed", "create", "destroy", "exit_command",
           "find_conmon", "kill", "notify", "pause", "resume", "start", "state", "update", "wait_exit"]

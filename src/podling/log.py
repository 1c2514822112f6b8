"""Messages about podling's own work, on standard error, in the form of ``podman --log-level``."""

from __future__ import annotations

import os
import time

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal", "panic")
_threshold = LEVELS.index("warn")
_to_syslog = False
_PRIORITIES = {"trace": 7, "debug": 7, "info": 6, "warn": 4}      # syslog(3)


def set_level(name: str) -> None:
    """Show messages of this level and above; KeyError-free: the caller has checked the name against LEVELS."""
    global _threshold
    _threshold = LEVELS.index(name)


def use_syslog() -> None:
    """Messages go to the system's log too."""
    global _to_syslog
    _to_syslog = True


def enabled(level: str) -> bool:
    """Whether a message of this level would be shown."""
    return LEVELS.index(level) >= _threshold


def _write(level: str, message: str) -> None:
    if not enabled(level):
        return
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f'time="{stamp}" level={"warning" if level == "warn" else level} msg="{_escape(message)}"\n'
    os.write(2, line.encode("utf-8", "backslashreplace"))
    if _to_syslog:
        import syslog

        syslog.syslog(_PRIORITIES.get(level, syslog.LOG_ERR), message)


def _escape(message: str) -> str:
    return message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def note(message: str) -> None:
    """What Podman says in plain words, at every level: something that was asked for is left out."""
    os.write(2, f"{message}\n".encode("utf-8", "backslashreplace"))


def debug(message: str) -> None:
    """What podling does, for whoever looks for a fault."""
    _write("debug", message)


def info(message: str) -> None:
    """Something worth knowing that changes nothing."""
    _write("info", message)


def warning(message: str) -> None:
    """Something the user should know although the command goes on."""
    _write("warn", message)


def error(message: str) -> None:
    """A failure beside the command's own result (a clean-up, for example)."""
    _write("error", message)

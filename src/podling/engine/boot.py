"""Containers of an ordinary user that start again with the host: by a unit of the user's systemd, put there with the first of them.

Root has such a unit from the package (Podman's ``podman-restart.service`` shows how); a user's home has none until somebody writes it.
"""

from __future__ import annotations

import os

from podling import launch, log
from podling.engine.engine import Engine
from podling.linux import cgroups, files
from podling.model import ContainerConfig

UNIT = "podling-restart.service"
_POLICIES = ("always", "unless-stopped")
_LINGERING = "/var/lib/systemd/linger"

_TEXT = """\
# Written by podling for containers with --restart always or unless-stopped; it may be changed or masked.
[Unit]
Description=Start the containers of podling that are to run again after a restart of the host
StartLimitIntervalSec=0
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=true
# The monitors of the containers stay: each container is in a scope of its own, which ends it in order.
KillMode=process
ExecStart={command} start --all --filter should-start-on-boot=true

[Install]
WantedBy=default.target
"""


def arrange(engine: Engine, config: ContainerConfig) -> None:
    """Have the container start with the host where its policy says so; warn where it will only do so when the user logs in.

    Nothing for root, for a store that is not the user's usual one, and where there is no systemd. A unit that is there is kept.
    """
    if config.restart.name not in _POLICIES or engine.owner is None or engine.options.root or not cgroups.systemd_is_running():
        return
    directory = os.path.join(os.environ.get("XDG_CONFIG_HOME") or f"{engine.owner.home}/.config", "systemd/user")
    try:
        _install(directory)
    except OSError as error:
        log.warning(f"container {config.name} will not start with the host: writing {directory}/{UNIT}: {error.strerror}")
        return
    name = engine.owner.name
    if not os.path.exists(f"{_LINGERING}/{name}"):
        log.warning(f"container {config.name} starts again after a restart of the host only when {name} logs in; "
                    f"`loginctl enable-linger {name}` lets it start with the host")


def _install(directory: str) -> None:
    """The unit, enabled as ``systemctl --user enable`` does, unless it is there."""
    if os.path.lexists(f"{directory}/{UNIT}"):
        return
    wants = f"{directory}/default.target.wants"
    files.make_directories(wants, 0o755)
    command = " ".join(_quote(word) for word in launch.own_command())
    files.write_atomic(f"{directory}/{UNIT}", _TEXT.format(command=command).encode(), 0o644)
    if not os.path.lexists(f"{wants}/{UNIT}"):
        os.symlink(f"../{UNIT}", f"{wants}/{UNIT}")


def _quote(word: str) -> str:
    """A word of a command line in a unit."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return text if text and " " not in text and '"' not in text else f'"{text}"'

"""The options before the command; alone in a module, because every command needs them and few need ``engine.options``."""

from __future__ import annotations

from podling.record import Record


class GlobalOptions(Record):
    """Options before the command: where everything is and how podling works."""

    root: str | None = None
    runroot: str | None = None
    storage_driver: str | None = None
    storage_opt: tuple[str, ...] | None = None
    runtime: str | None = None
    runtime_flags: tuple[str, ...] = ()
    cgroup_manager: str | None = None
    conmon: str | None = None
    network_config_dir: str | None = None
    network_backend: str | None = None
    volume_path: str | None = None
    tmpdir: str | None = None
    hooks_dir: tuple[str, ...] | None = None
    events_backend: str | None = None
    modules: tuple[str, ...] = ()
    log_level: str | None = None
    syslog: bool = False

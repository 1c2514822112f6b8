"""Configuration files in layers: where they are, in which order they count, and a cache of what they say.

The system's defaults come first, then the administrator's files, then the user's; each is a main file and a directory of
drop-ins, in the order of their names. A drop-in hides those of the same name in earlier layers. A file named by an environment
variable takes the place of all, one named by the variable's ``_OVERRIDE`` comes last.

Parsing is slow (tomllib alone takes 11 ms to load), so what was read is kept as JSON, under the names, times, sizes and inode
numbers of all files that took part.
"""

from __future__ import annotations

import os
import time

import podling
from podling import jsontext, log
from podling.errors import InvalidArgument
from podling.linux import files
from podling.linux.rootless import owner
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

VENDOR = "/usr/share/containers"
ADMINISTRATOR = "/etc/containers"
_CACHE_FORMAT = 2
_FRESH = 2_000_000_000  # ns: a file written this recently may be written again without its time changing


class Places(Record):
    """Where to look. ``user``: the user's own directory, "" where it does not count. ``uid``: of whom, for drop-ins by user."""

    vendor: str = VENDOR
    administrator: str = ADMINISTRATOR
    user: str = ""
    uid: int = 0


def user_directory(env: Mapping[str, str], home: str) -> str:
    """The user's ``containers`` directory of configuration."""
    return os.path.join(env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "containers")


def places(env: Mapping[str, str], *, rootless: bool, home: str) -> Places:
    """The usual places. Root's own directory does not count, so that a file of the user in ``sudo`` does not either."""
    who = owner()
    uid = who.uid if who else os.geteuid()
    return Places(user=user_directory(env, home) if rootless else "", uid=uid if rootless else 0)


def find(name: str, variable: str, env: Mapping[str, str], where: Places, *, one_main: bool = False) -> list[str]:
    """The existing files of ``name`` ("containers.conf"), least important first.

    ``one_main``: of the main files only the most important counts. InvalidArgument where an environment variable names a
    file that does not exist.
    """
    found = _named(variable, env)
    if not found:
        main = [path for directory in (where.vendor, where.administrator, where.user) if directory
                for path in [os.path.join(directory, name)] if os.path.isfile(path)]
        found = _layered(name, where, main[-1:] if one_main else main)
    return found + _named(variable + "_OVERRIDE", env)


def _named(variable: str, env: Mapping[str, str]) -> list[str]:
    path = env.get(variable, "")
    if path and (not os.path.exists(path) or os.path.isdir(path)):
        raise InvalidArgument(f"{variable}: {path}: no such file", hint=f"Unset {variable} or let it name a configuration file")
    return [path] if path else []


def _layered(name: str, where: Places, main: list[str]) -> list[str]:
    """Main files and drop-ins, layer by layer."""
    layers = []
    for directory in (where.vendor, where.administrator, where.user):
        if directory:
            path = os.path.join(directory, name)
            layers.append(([path] if path in main else [],
                           named_files(_drop_in_directories(directory, name, where.uid, shared=directory != where.user), ".conf")))
    visible: dict[str, str] = {}
    for _, drop_ins in layers:
        visible.update(drop_ins)
    return [path for own, drop_ins in layers
            for path in own + [drop_ins[key] for key in sorted(drop_ins) if visible[key] == drop_ins[key]]]


def _drop_in_directories(directory: str, name: str, uid: int, *, shared: bool) -> list[str]:
    """``containers.conf.d``, and in the directories of the system those for root or for other users."""
    stem, extension = os.path.splitext(name)
    directories = [os.path.join(directory, f"{name}.d")]
    if shared:
        special = os.path.join(directory, f"{stem}.{'rootless' if uid else 'rootful'}{extension}.d")
        directories += [special, os.path.join(special, str(uid))] if uid else [special]
    return directories


def named_files(directories: Iterable[str], ending: str) -> dict[str, str]:
    """File name -> path of the files in these directories whose names end so; later directories hide earlier ones."""
    found = {}
    for directory in directories:
        try:
            names = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
        found.update({name: os.path.join(directory, name) for name in names
                      if name.endswith(ending) and os.path.isfile(os.path.join(directory, name))})
    return found


# --- the cache --------------------------------------------------------------------------------------------------------


def cached(kind: str, paths: list[str], cache: str, build: Callable[[list[tuple[str, dict[str, Any]]]], Any]) -> Any:
    """What ``build`` makes (JSON values) of the files' tables, read again only when a file has changed.

    ``cache``: a directory of ours alone, "" for none; it is made. A cache that cannot be written is none.
    """
    stamps = [_stamp(path) for path in paths]
    key = [_CACHE_FORMAT, podling.__version__, paths, stamps]
    kept = os.path.join(cache, f"config-{kind}.json") if cache else ""
    if kept:
        value = _read_kept(kept, key)
        if value is not None:
            return value[0]
    from podling.config import toml

    value = build([(path, toml.read(path)) for path in paths])
    if kept and all(time.time_ns() - stamp[0] > _FRESH for stamp in stamps):
        _keep(kept, key, value)
    return value


def _stamp(path: str) -> list[int]:
    state = os.stat(path)
    return [max(state.st_mtime_ns, state.st_ctime_ns), state.st_size, state.st_ino]


def _read_kept(path: str, key: list[Any]) -> list[Any] | None:
    try:
        text = files.read_bytes(path)
        stored = jsontext.loads(text)
    except (OSError, ValueError):
        return None
    return stored[1:] if isinstance(stored, list) and len(stored) == 2 and stored[0] == key else None


def _keep(path: str, key: list[Any], value: Any) -> None:
    try:
        files.make_directories(os.path.dirname(path), 0o700)
        files.write_atomic(path, jsontext.dumps([key, value]).encode())
    except OSError as error:
        log.debug(f"keeping the configuration read in {path}: {error}")

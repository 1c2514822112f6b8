"""Which OCI runtime a new container gets: the one that was asked for, or the first that works on this host."""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import Unsupported
from podling.linux import cgroups, files, process, userns
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from podling.config.containers import ContainersConf

ORDER = ("crun", "runc")
_DIRECTORIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin", "/usr/libexec/podman",
                "/usr/lib/podman")
_UNIFIED = "/sys/fs/cgroup/unified"      # version 2 beside version 1
_CRUN_THAT_COPES = (1, 9)            # with version 2 beside version 1, and without CAP_SYS_RESOURCE on version 2


class Runtime(Record):
    """An OCI runtime. ``why``: what kept an earlier choice from being taken, "" where this was the first."""

    name: str
    path: str
    why: str = ""


def choose_runtime(conf: ContainersConf, requested: str | None = None, *, cache: str = "") -> Runtime:
    """The runtime for a new container; see :func:`choose`. ``cache``: directory that keeps the versions of programs."""
    return choose(requested or "", configured=conf.runtimes, default=conf.runtime, cache=cache)


def choose(requested: str, *, configured: Mapping[str, Sequence[str]], default: str = "", layout: str | None = None,
           may_raise_limits: bool | None = None, cache: str = "", unified: str = _UNIFIED) -> Runtime:
    """The runtime ``requested`` by name or path, else the configured ``default``, else the first that works on this host.

    ``configured``: name -> paths to try. What is asked for by name is taken, whether it will work or not. Unsupported where
    there is none.
    """
    wanted = requested or default
    if wanted:
        return _named(wanted, configured)
    kept_from: list[str] = []
    for name in ORDER:
        path = _find(name, configured)
        if path is None:
            continue
        problem = _problem(name, path, layout, may_raise_limits, cache=cache, unified=unified)
        if not problem:
            return Runtime(name=name, path=path, why="; ".join(kept_from))
        kept_from.append(problem)
    if kept_from:
        raise Unsupported(f"no OCI runtime works on this host: {'; '.join(kept_from)}", hint="Install the package runc")
    raise Unsupported("no OCI runtime found: neither crun nor runc is installed", hint="Install the package crun or runc")


def _named(wanted: str, configured: Mapping[str, Sequence[str]]) -> Runtime:
    if "/" in wanted:
        if not os.access(wanted, os.X_OK) or os.path.isdir(wanted):
            raise Unsupported(f"no valid executable found for OCI runtime {wanted}: invalid argument")
        return Runtime(name=os.path.basename(wanted), path=os.path.abspath(wanted))
    path = _find(wanted, configured)
    if path is None:
        raise Unsupported(f"no valid executable found for OCI runtime {wanted}: invalid argument",
                          hint=f"Install the package {wanted}, or name its path in [engine.runtimes] of containers.conf")
    return Runtime(name=wanted, path=path)


def _find(name: str, configured: Mapping[str, Sequence[str]]) -> str | None:
    paths = configured.get(name) or ()
    found = next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    return found or process.find_program(name, _DIRECTORIES)


def _problem(name: str, path: str, layout: str | None, may_raise_limits: bool | None, *, cache: str, unified: str) -> str:
    """Why a runtime cannot work on this host, "" where it can. Only crun is known to have any."""
    if name != "crun":
        return ""
    layout = cgroups.layout() if layout is None else layout
    if layout == "v1":
        return ""
    if layout == "hybrid":
        # Older ones refuse a version 2 hierarchy that has controllers beside those of version 1.
        trouble = _has_controllers(unified) and "refuses cgroup version 2 controllers beside version 1 (hybrid)"
    else:
        may = userns.may_raise_limits() if may_raise_limits is None else may_raise_limits
        trouble = not may and "needs CAP_SYS_RESOURCE on cgroup version 2"
    if not trouble:
        return ""
    version = runtime_version(path, cache=cache)
    return f"crun {version} {trouble}" if version_numbers(version) < _CRUN_THAT_COPES else ""


def _has_controllers(unified: str) -> bool:
    try:
        with open(f"{unified}/cgroup.controllers", "rb") as file:
            return bool(file.read(64).strip())
    except FileNotFoundError:
        return True        # mounted elsewhere: say what is safe


def version_numbers(text: str) -> tuple[int, ...]:
    """``1.8.1`` or ``1.1.5+ds1`` as numbers; () where it is none."""
    numbers = []
    for part in text.split("."):
        digits = "".join(_leading_digits(part))
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _leading_digits(text: str) -> Iterator[str]:
    for character in text:
        if not character.isdecimal():
            return
        yield character


def runtime_version(path: str, *, cache: str = "") -> str:
    """The version that ``PROGRAM --version`` gives; kept in ``cache`` for as long as the program stays the same."""
    state = os.stat(path)
    key = f"{path} {state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns}"
    kept = _read_kept(cache)
    if key in kept:
        return kept[key]
    output = process.run([path, "--version"], timeout=20).stdout.decode(errors="replace")
    line = output.partition("\n")[0]
    found = line.split()[-1] if line.split() else ""
    if cache:
        os.makedirs(cache, 0o700, exist_ok=True)
        others = {name: version for name, version in kept.items() if not name.startswith(path + " ")}
        files.write_atomic(_kept_file(cache), jsontext.dumps({**others, key: found}).encode())
    return found


def _kept_file(cache: str) -> str:
    return f"{cache}/program-versions.json"


def _read_kept(cache: str) -> dict[str, str]:
    if not cache:
        return {}
    try:
        kept = jsontext.loads(files.read_text(_kept_file(cache), 1 << 16))
    except (FileNotFoundError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}

"""``top``: the processes of a container, with Podman's descriptors."""

from __future__ import annotations

import os
import time

from podling.engine import idmaps
from podling.engine.engine import Engine
from podling.errors import InvalidArgument, ProgramFailed, WrongState
from podling.linux import cgroups, process, userns
from podling.model import Container, ContainerConfig
from podling.record import Record
from podling.runtime import users
from podling.values import idmaps as values
from podling.values import limits
from podling.values.idmaps import NOBODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.linux.userns import IdRange
    from podling.values.idmaps import Span

DEFAULT_DESCRIPTORS = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")


class Names(Record):
    """User and group names by id, in the container and on the host; and the maps from the ids in /proc to both."""

    users: dict[int, str] = {}
    groups: dict[int, str] = {}
    host_users: dict[int, str] = {}
    host_groups: dict[int, str] = {}
    ids: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ())                       # of the container: users, groups
    host_ids: tuple[tuple[IdRange, ...], tuple[IdRange, ...]] = ((), ())            # of the engine's own namespace

    def uid(self, number: int) -> str:
        """The number that the user has in the container."""
        return str(_inner(self.ids[0], number))

    def host_uid(self, number: int) -> str:
        """The number that the user has on the host."""
        outer = userns.to_outside(self.host_ids[0], number)
        return str(number if outer is None else outer)

    def user(self, number: int) -> str:
        """The name, or else the number, that the user has in the container."""
        inner = _inner(self.ids[0], number)
        return self.users.get(inner, str(inner))

    def group(self, number: int) -> str:
        """The same for a group."""
        inner = _inner(self.ids[1], number)
        return self.groups.get(inner, str(inner))

    def host_user(self, number: int) -> str:
        """The name, or else the number, that the user has on the host."""
        outer = userns.to_outside(self.host_ids[0], number)
        return self.host_users.get(outer, str(outer)) if outer is not None else str(number)

    def host_group(self, number: int) -> str:
        """The same for a group."""
        outer = userns.to_outside(self.host_ids[1], number)
        return self.host_groups.get(outer, str(outer)) if outer is not None else str(number)


class Process(Record):
    """One process, as /proc tells of it. Times in clock ticks, sizes in bytes."""

    pid: int
    status: dict[str, str]                   # /proc/PID/status
    stat: tuple[str, ...]                    # /proc/PID/stat after the command's name: state, ppid, pgrp, ...
    args: str
    label: str = ""

    def inner(self, key: str) -> str:
        """A pid-like field of ``status`` as seen in the container's namespace (its last number)."""
        return self.status.get(key, "?").split()[-1]

    def id_of(self, key: str, which: int) -> int:
        """Real (0) or effective (1) id."""
        return int(self.status[key].split()[which])

    def ticks(self, field: int) -> int:
        """Field of stat by its number in proc(5)."""
        return int(self.stat[field - 3])


def _inner(spans: tuple[Span, ...], number: int) -> int:
    inner = values.to_inside(spans, number) if spans else number
    return NOBODY if inner is None else inner


def top(engine: Engine, container: Container, descriptors: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """(headers, rows) for the container's processes; all arguments must be descriptors."""
    wanted = [word for text in descriptors for word in text.split(",")] if descriptors else list(DEFAULT_DESCRIPTORS)
    for word in wanted:
        if word not in DESCRIPTORS:
            raise InvalidArgument(f'unknown descriptor "{word}"', hint="see 'podling top --help' for the descriptors")
    state = engine.containers.state(container.id)
    if state.status not in ("running", "paused"):
        raise WrongState("top can only be used on running containers")
    names = _names(engine.containers.config(container.id), state.pid)
    found = [entry for pid in _pids(state.pid) if (entry := read_process(pid)) is not None]
    parents = {entry.pid: entry.inner("NSpid") for entry in found}
    rows = [[DESCRIPTORS[word][1](entry, names, parents) for word in wanted] for entry in found]
    return [DESCRIPTORS[word][0] for word in wanted], rows


def _names(config: ContainerConfig, pid: int) -> Names:
    known = users.Accounts(f"/proc/{pid}/root")
    return Names(users={user.uid: user.name for user in known.users}, groups={group.gid: group.name for group in known.groups},
                 host_users=_host_names("/etc/passwd"), host_groups=_host_names("/etc/group"),
                 ids=idmaps.spans_of(config), host_ids=(userns.uid_map(), userns.gid_map()))


def _pids(init: int) -> list[int]:
    """The container's processes: all in its first process' cgroup and below that share its pid namespace or descend from it."""
    pids = set(cgroups.processes_of(init)) | {init}
    return sorted(pids)


def read_process(pid: int) -> Process | None:
    """What /proc says of a process; None where it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            stat = tuple(file.read().rpartition(")")[2].split())
        with open(f"/proc/{pid}/cmdline", "rb") as binary:
            args = binary.read(1 << 16).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(pid=pid, status=status, stat=stat, args=args or f"[{status.get('Name', '?')}]", label=_label(pid))


def _label(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/attr/current", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\0\n")
    except OSError:
        return ""


def _host_names(path: str) -> dict[int, str]:
    names: dict[int, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                parts = line.split(":")
                if len(parts) > 2 and parts[2].strip().isdigit():
                    names.setdefault(int(parts[2]), parts[0])
    except FileNotFoundError:
        return {}
    return names


# --- descriptors ------------------------------------------------------------------------------------------------------

_HERTZ = os.sysconf("SC_CLK_TCK")


def _age(entry: Process) -> float:
    """Seconds since the process started."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - entry.ticks(22) / _HERTZ)


def _go_seconds(seconds: float) -> str:
    """A duration as Go prints it, whole seconds."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{last}s"
    return f"{minutes}m{last}s" if minutes else f"{last}s"


def _pcpu(entry: Process) -> str:
    age = _age(entry)
    return f"{100 * (entry.ticks(14) + entry.ticks(15)) / _HERTZ / age if age else 0.0:.3f}"


def _etime(entry: Process) -> str:
    age = _age(entry)
    return _go_seconds(age) if age >= 1 else f"{age:.9f}s".rstrip("0")


def _tty(entry: Process) -> str:
    number = entry.ticks(7)
    if number == 0:
        return "?"
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    return f"pts/{minor}" if 136 <= major <= 143 else f"tty{minor}"


def _capabilities(entry: Process, key: str) -> str:
    mask = int(entry.status.get(key, "0"), 16)
    if not mask:
        return "none"
    names = limits.ALL_CAPABILITIES
    if all(mask >> number & 1 for number in range(len(names))):
        return "full"
    return ",".join(name.removeprefix("CAP_") for number, name in enumerate(names) if mask >> number & 1)


def _ppid(entry: Process, parents: dict[int, str]) -> str:
    return parents.get(int(entry.status["PPid"]), "0")


def _supplementary(entry: Process, name: Callable[[int], str]) -> str:
    return ",".join(name(int(number)) for number in entry.status.get("Groups", "").split()) or "?"


def _seccomp(entry: Process) -> str:
    return {"0": "disabled", "1": "strict", "2": "filter"}.get(entry.status.get("Seccomp", "?"), "?")


DESCRIPTORS: dict[str, tuple[str, Callable[[Process, Names, dict[int, str]], str]]] = {
    "args": ("COMMAND", lambda p, n, m: p.args),
    "capamb": ("AMBIENT CAPS", lambda p, n, m: _capabilities(p, "CapAmb")),
    "capbnd": ("BOUNDING CAPS", lambda p, n, m: _capabilities(p, "CapBnd")),
    "capeff": ("EFFECTIVE CAPS", lambda p, n, m: _capabilities(p, "CapEff")),
    "capinh": ("INHERITED CAPS", lambda p, n, m: _capabilities(p, "CapInh")),
    "capprm": ("PERMITTED CAPS", lambda p, n, m: _capabilities(p, "CapPrm")),
    "comm": ("COMMAND", lambda p, n, m: p.status.get("Name", "?")),
    "etime": ("ELAPSED", lambda p, n, m: _etime(p)),
    "group": ("GROUP", lambda p, n, m: n.group(p.id_of("Gid", 1))),
    "groups": ("GROUPS", lambda p, n, m: _supplementary(p, n.group)),
    "hgroup": ("HGROUP", lambda p, n, m: n.host_group(p.id_of("Gid", 1))),
    "hgroups": ("HGROUPS", lambda p, n, m: _supplementary(p, n.host_group)),
    "hpid": ("HPID", lambda p, n, m: str(p.pid)),
    "huid": ("HUID", lambda p, n, m: n.host_uid(p.id_of("Uid", 1))),
    "huser": ("HUSER", lambda p, n, m: n.host_user(p.id_of("Uid", 1))),
    "label": ("LABEL", lambda p, n, m: p.label or "?"),
    "nice": ("NI", lambda p, n, m: str(p.ticks(19))),
    "pcpu": ("%CPU", lambda p, n, m: _pcpu(p)),
    "pgid": ("PGID", lambda p, n, m: p.inner("NSpgid")),
    "pid": ("PID", lambda p, n, m: p.inner("NSpid")),
    "ppid": ("PPID", lambda p, n, m: _ppid(p, m)),
    "rgroup": ("RGROUP", lambda p, n, m: n.group(p.id_of("Gid", 0))),
    "rss": ("RSS", lambda p, n, m: p.status.get("VmRSS", "0").split()[0]),
    "ruser": ("RUSER", lambda p, n, m: n.user(p.id_of("Uid", 0))),
    "seccomp": ("SECCOMP", lambda p, n, m: _seccomp(p)),
    "state": ("STATE", lambda p, n, m: p.stat[0]),
    "stime": ("STIME", lambda p, n, m: time.strftime("%H:%M:%S", time.localtime(time.time() - _age(p)))),
    "time": ("TIME", lambda p, n, m: _go_seconds((p.ticks(14) + p.ticks(15)) / _HERTZ)),
    "tty": ("TTY", lambda p, n, m: _tty(p)),
    "uid": ("UID", lambda p, n, m: n.uid(p.id_of("Uid", 1))),
    "user": ("USER", lambda p, n, m: n.user(p.id_of("Uid", 1))),
    "vsz": ("VSZ", lambda p, n, m: str(p.ticks(23) // 1024)),
}
# The codes of ps(1)'s AIX format.
DESCRIPTORS |= {code: DESCRIPTORS[name] for code, name in {
    "%C": "pcpu", "%G": "group", "%P": "ppid", "%U": "user", "%a": "args", "%c": "comm", "%g": "rgroup", "%n": "nice", "%p": "pid",
    "%r": "pgid", "%t": "etime", "%u": "ruser", "%x": "time", "%y": "tty", "%z": "vsz",
}.items()}


def ps_inside(engine: Engine, container: Container, arguments: tuple[str, ...]) -> str:
    """The output of ps(1) in the container's pid namespace, for arguments that are no descriptors.

    It is the host's ps, so that it works with images that have none; it sees the container's processes by a /proc of its own.
    """
    state = engine.containers.state(container.id)
    if state.status not in ("running", "paused"):
        raise WrongState("top can only be used on running containers")
    argv = ["nsenter", "--target", str(state.pid), "--pid", "unshare", "--mount", "--mount-proc", "ps", *arguments]
    done = process.run(argv, check=False)
    if done.status:
        words = done.stderr.decode("utf-8", "replace").strip()
        raise ProgramFailed(f"ps(1) failed with exit code {done.status}: {words}", argv=tuple(argv), status=done.status, output=words)
    own = " ".join(("ps", *arguments))            # the command itself is no process of the container's: left out, as in Podman 5
    lines = done.stdout.decode("utf-8", "replace").splitlines(keepends=True)
    return "".join(line for line in lines if not line.rstrip().endswith(f" {own}"))

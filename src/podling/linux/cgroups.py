"""Control groups of version 1, 2 and the two side by side.

A cgroup is named by its path within the hierarchies, for example ``/libpod_parent/libpod-ID``; on version 1 that is a directory
under every controller's mount. What is mounted where is read from the process' own mountinfo, so that private mount and cgroup
namespaces are seen as they are.
"""

from __future__ import annotations

import errno
import os
import time

from podling.linux.mounts import unescape
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "/sys/fs/cgroup"
UNIFIED = ""                                 # the name of version 2's hierarchy beside those of the controllers
_NO_CONTROLLERS = ("rw", "ro", "xattr", "clone_children", "noprefix", "release_agent", "cpuset_v2_mode", "none",
                   "seclabel", "favordynmods", "nofavordynmods")
_SIGKILL = 9
_BUSY_SECONDS = 5.0                          # how long a cgroup may stay busy after its last process was killed


class Place(Record):
    """Where a hierarchy is mounted: ``root`` is the cgroup that is seen at ``point``, "/" unless only a part is mounted."""

    point: str
    root: str = "/"

    def directory(self, cgroup: str) -> str:
        """The directory of a cgroup."""
        if self.root != "/" and (cgroup == self.root or cgroup.startswith(self.root + "/")):
            cgroup = cgroup[len(self.root):]
        return self.point + "/" + cgroup.strip("/") if cgroup.strip("/") else self.point


class Hierarchies(Record):
    """The cgroup file systems of this machine. ``places``: controller ("memory", "name=systemd", "" for version 2) -> mount."""

    layout: str                              # v1, hybrid, v2
    places: dict[str, Place] = {}

    def directory(self, controller: str, cgroup: str) -> str | None:
        """Where this controller's files of a cgroup are; None where the controller is not there. On v2 all are in one place."""
        place = self.places.get(UNIFIED if self.layout == "v2" else controller)
        return place.directory(cgroup) if place else None

    def directories(self, cgroup: str) -> list[str]:
        """All directories that a cgroup has or would have."""
        return list(dict.fromkeys(place.directory(cgroup) for place in self.places.values()))


def parse_mountinfo(text: str) -> Hierarchies:
    """The hierarchies in a text of /proc/PID/mountinfo; of several mounts of one, the first below /sys/fs/cgroup."""
    first: dict[str, Place] = {}
    mounted_root = ""
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        words, kind = before.split(" "), after.split(" ")
        if not separator or kind[0] not in ("cgroup", "cgroup2"):
            continue
        place = Place(point=unescape(words[4]), root=unescape(words[3]))
        if kind[0] == "cgroup2":
            names = [UNIFIED]
            if place.point == ROOT:
                mounted_root = kind[0]
        else:
            options = kind[2].split(",") if len(kind) > 2 else []
            names = [option for option in options if option.partition("=")[0] not in _NO_CONTROLLERS]
        for name in names:
            if name not in first or (place.point.startswith(ROOT) and not first[name].point.startswith(ROOT)):
                first[name] = place
    controllers = [name for name in first if name]
    if UNIFIED not in first:
        return Hierarchies(layout="v1", places=first)
    if mounted_root or not controllers:
        return Hierarchies(layout="v2", places={UNIFIED: first[UNIFIED]})
    return Hierarchies(layout="hybrid", places=first)


def parse_cgroup(text: str) -> dict[str, str]:
    """Controller -> cgroup, from a text of /proc/PID/cgroup; version 2's under ""."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path.removesuffix(" (deleted)")
    return found


def hierarchies() -> Hierarchies:
    """The cgroup file systems that this process sees now."""
    with open("/proc/self/mountinfo", "rb") as file:
        return parse_mountinfo(os.fsdecode(file.read()))


def layout() -> str:
    """v2 where only version 2 is mounted, hybrid where it is mounted beside version 1, v1 otherwise."""
    if os.path.exists(ROOT + "/cgroup.controllers"):
        return "v2"                          # without reading mountinfo, which is long where many containers run
    return hierarchies().layout


def controllers(found: Hierarchies | None = None) -> tuple[str, ...]:
    """The controllers that containers can use, sorted: ("cpu", "memory", "pids", ...)."""
    found = found or hierarchies()
    if found.layout == "v2":
        return tuple(sorted((_read(found.places[UNIFIED].point + "/cgroup.controllers") or "").split()))
    return tuple(sorted(name for name in found.places if name and not name.startswith("name=")))


def path_of(pid: int | str = "self") -> dict[str, str]:
    """The cgroups of a process: controller -> cgroup, version 2's under ""; empty if it is gone."""
    text = _read(f"/proc/{pid}/cgroup")
    return parse_cgroup(text) if text else {}


def main_cgroup(paths: dict[str, str], kind: str) -> str:
    """The one cgroup that stands for all of a process': version 2's, else that of the controller that runtimes always set."""
    names = (UNIFIED,) if kind == "v2" else ("pids", "memory", "devices", "cpu", "name=systemd", UNIFIED)
    return next((paths[name] for name in names if name in paths), "/")


def own_cgroup() -> str:
    """The cgroup of this process; "/" where it is in none of its own."""
    found = layout()
    paths = path_of()
    if found != "v2" and paths.get("name=systemd", "/") != "/":
        return paths["name=systemd"]
    return main_cgroup(paths, found)


def systemd_is_running() -> bool:
    """Whether systemd is this system's manager, as sd_booted(3) finds out."""
    return os.path.isdir("/run/systemd/system")


# --- processes --------------------------------------------------------------------------------------------------------


def processes(cgroup: str, found: Hierarchies | None = None) -> list[int]:
    """The pids in a cgroup and the cgroups below it, sorted; empty where it does not exist."""
    found = found or hierarchies()
    pids: set[int] = set()
    for directory in _process_directories(cgroup, found):
        for path, _ in _tree(directory):
            pids.update(int(word) for word in (_read(path + "/cgroup.procs") or "").split())
    pids.discard(0)                          # of another pid namespace
    return sorted(pids)


def _process_directories(cgroup: str, found: Hierarchies) -> list[str]:
    """Every process of a cgroup is in each of its hierarchies, so one would do; but it may exist in some only."""
    names = [UNIFIED] if found.layout == "v2" else ["pids", "memory", "devices", "cpu", "freezer", "name=systemd"]
    paths = [place.directory(cgroup) for name in names if (place := found.places.get(name))]
    return [path for path in dict.fromkeys(paths) if os.path.isdir(path)][:1] or paths[:0]


def processes_of(pid: int) -> list[int]:
    """The processes in the cgroup of ``pid`` and below it; only ``pid`` itself where it is in no cgroup of its own."""
    found = hierarchies()
    paths = path_of(pid)
    if not paths:
        return []
    cgroup = main_cgroup(paths, found.layout)
    if cgroup == "/":
        return [pid]
    return processes(cgroup, found)


def _tree(directory: str) -> Iterator[tuple[str, list[str]]]:
    """A cgroup's directory and those below it, each with the names of its children; outermost first."""
    try:
        with os.scandir(directory) as entries:
            children = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return
    yield directory, children
    for name in children:
        yield from _tree(f"{directory}/{name}")


def kill(cgroup: str, timeout: float = _BUSY_SECONDS) -> bool:
    """Kill every process in a cgroup and below, also those being born meanwhile; True once none is left."""
    _not_root(cgroup)
    found = hierarchies()
    deadline = time.monotonic() + timeout
    directory = found.directory(UNIFIED, cgroup) if found.layout == "v2" else None
    at_once = directory is not None and _write(directory + "/cgroup.kill", "1")
    while pids := processes(cgroup, found):
        if not at_once:
            for pid in pids:
                try:
                    os.kill(pid, _SIGKILL)
                except ProcessLookupError:
                    continue
        freeze(cgroup, False, found)         # a frozen process of version 1 dies only when it is thawed
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def freeze(cgroup: str, frozen: bool, found: Hierarchies | None = None) -> bool:
    """Stop or let go on all processes of a cgroup; False where it cannot be done (no freezer, no such cgroup)."""
    _not_root(cgroup)
    found = found or hierarchies()
    directory = found.directory("freezer", cgroup)
    if directory is None:
        return False
    if found.layout == "v2":
        return _write(directory + "/cgroup.freeze", "1" if frozen else "0")
    return _write(directory + "/freezer.state", "FROZEN" if frozen else "THAWED")


def _not_root(cgroup: str) -> None:
    if not cgroup.strip("/"):
        raise ValueError("the root cgroup holds the whole system")


# --- making and removing ----------------------------------------------------------------------------------------------


def make(cgroup: str) -> None:
    """Make a cgroup, with all above it, in every hierarchy; idempotent. OSError with the path that could not be made."""
    found = hierarchies()
    for name, place in found.places.items():
        path = place.directory("/")
        for part in cgroup.strip("/").split("/"):
            if found.layout == "v2":
                _delegate(path)
            path = f"{path}/{part}"
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                continue
            if name == "cpuset":
                _inherit_cpuset(path)


def _delegate(directory: str) -> None:
    """Let a cgroup's children use all its controllers (version 2); each alone, because one refusal refuses all."""
    have = (_read(directory + "/cgroup.controllers") or "").split()
    enabled = (_read(directory + "/cgroup.subtree_control") or "").split()
    for name in have:
        if name not in enabled:
            _write(directory + "/cgroup.subtree_control", "+" + name)


def _inherit_cpuset(directory: str) -> None:
    """Version 1's cpuset starts with no processor and no memory node, and then takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (_read(f"{directory}/{name}") or "").strip():
            _write(f"{directory}/{name}", (_read(f"{os.path.dirname(directory)}/{name}") or "").strip())


def enter(cgroup: str, pid: int) -> None:
    """Move a process into a cgroup of every hierarchy; OSError where a hierarchy refuses."""
    for directory in hierarchies().directories(cgroup):
        path = directory + "/cgroup.procs"
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(pid).encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        finally:
            os.close(fd)


def remove(cgroup: str, timeout: float = _BUSY_SECONDS) -> bool:
    """Remove a cgroup and those below it in every hierarchy; False if there was none.

    Its processes must have ended; the last may still be on their way for ``timeout`` seconds. Then OSError (EBUSY).
    """
    _not_root(cgroup)
    deadline = time.monotonic() + timeout
    removed = False
    for directory in hierarchies().directories(cgroup):
        for path, _ in reversed(list(_tree(directory))):
            removed = _remove_one(path, deadline) or removed
    return removed


def _remove_one(path: str, deadline: float) -> bool:
    while True:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return True


# --- readings ---------------------------------------------------------------------------------------------------------


class Usage(Record):
    """What a cgroup uses: times in nanoseconds, sizes in bytes. A limit of None means that there is none."""

    cpu: int = 0
    cpu_system: int = 0
    memory: int = 0
    memory_limit: int | None = None
    pids: int = 0
    pids_limit: int | None = None
    block_read: int = 0
    block_write: int = 0
    oom_kills: int = 0


_NO_LIMIT = 1 << 62                          # version 1 says "no limit" as the largest multiple of a page


def usage(cgroup: str, found: Hierarchies | None = None) -> Usage:
    """A cgroup's present use; zeros where a controller is missing."""
    found = found or hierarchies()
    return _usage_v2(found.places[UNIFIED].directory(cgroup)) if found.layout == "v2" else _usage_v1(cgroup, found)


def _usage_v2(directory: str) -> Usage:
    cpu = _table(_read(directory + "/cpu.stat"))
    read = write = 0
    for line in (_read(directory + "/io.stat") or "").splitlines():
        values = dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)
        read += int(values.get("rbytes", 0))
        write += int(values.get("wbytes", 0))
    return Usage(
        cpu=cpu.get("usage_usec", 0) * 1000, cpu_system=cpu.get("system_usec", 0) * 1000,
        memory=_number(_read(directory + "/memory.current")) or 0, memory_limit=_number(_read(directory + "/memory.max")),
        pids=_number(_read(directory + "/pids.current")) or 0, pids_limit=_number(_read(directory + "/pids.max")),
        block_read=read, block_write=write, oom_kills=_table(_read(directory + "/memory.events")).get("oom_kill", 0))


def _usage_v1(cgroup: str, found: Hierarchies) -> Usage:
    def read(controller: str, name: str) -> str | None:
        directory = found.directory(controller, cgroup)
        return _read(f"{directory}/{name}") if directory else None

    blocks = {"Read": 0, "Write": 0}
    for line in (read("blkio", "blkio.throttle.io_service_bytes_recursive") or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in blocks:
            blocks[words[1]] += int(words[2])
    system = _table(read("cpuacct", "cpuacct.stat")).get("system", 0) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    return Usage(
        cpu=_number(read("cpuacct", "cpuacct.usage")) or 0, cpu_system=system,
        memory=_number(read("memory", "memory.usage_in_bytes")) or 0,
        memory_limit=_number(read("memory", "memory.limit_in_bytes")),
        pids=_number(read("pids", "pids.current")) or 0, pids_limit=_number(read("pids", "pids.max")),
        block_read=blocks["Read"], block_write=blocks["Write"],
        oom_kills=_table(read("memory", "memory.oom_control")).get("oom_kill", 0))


def _number(text: str | None) -> int | None:
    """A file's one number; None for "max", for version 1's way of saying so, and for no file."""
    word = (text or "").strip()
    if not word.lstrip("-").isdigit():
        return None
    value = int(word)
    return None if value >= _NO_LIMIT or value < 0 else value


def _table(text: str | None) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _read(path: str) -> str | None:
    """A file's text; None where it is missing or its cgroup (or process) is being removed."""
    try:
        with open(path, encoding="ascii", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise


def _write(path: str, text: str) -> bool:
    """Write to a control file; False where the kernel has none of this name or does not take it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, text.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True

"""``version`` and ``info``: what podling is, what it found on this host, and what it keeps."""

from __future__ import annotations

import os
import sys
import time

from podling import __version__
from podling.config import layers
from podling.config import storage as storage_conf
from podling.engine import registries
from podling.engine.programs import Programs
from podling.engine.shapes import Struct
from podling.errors import Unsupported
from podling.image.platforms import host_platform
from podling.linux import cgroups, process, rootless, userns
from podling.runtime.monitor.runtimes import choose_runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.engine.engine import Engine
    from podling.engine.programs import Program

_DIRECTORIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_NEW_KERNEL_FOR_ID_MAPS = (5, 19)


def version() -> Struct:
    """This podling in the shape of ``podman version``'s client."""
    platform = host_platform()
    return Struct({
        "APIVersion": __version__, "Version": __version__, "GoVersion": "", "GitCommit": "", "BuiltTime": "", "Built": 0,
        "BuildOrigin": "", "OsArch": f"{platform.os}/{platform.architecture}", "Os": platform.os,
        "PythonVersion": sys.version.split(" ", 1)[0],
    })


def info(engine: Engine) -> Struct:
    """Everything in the shape of ``podman info``."""
    programs = Programs(engine.paths.cache)
    found = Struct({
        "host": _host(engine, programs), "store": _store(engine), "registries": registries.described(),
        "plugins": Struct({"volume": ["local"], "network": ["bridge", "macvlan", "ipvlan"],
                           "log": ["k8s-file", "none", "passthrough", "journald"], "authorization": None}),
        "version": version(),
    })
    programs.keep()
    return found


# --- host -------------------------------------------------------------------------------------------------------------


def _host(engine: Engine, programs: Programs) -> Struct:
    conf, system, memory, platform = engine.conf, os.uname(), _memory(), host_platform()
    distribution = _distribution()
    slirp, pasta = programs.get(_find(engine, "slirp4netns")), programs.get(_find(engine, "pasta"))
    found = cgroups.hierarchies()
    return Struct({
        "arch": platform.architecture, "buildahVersion": "",
        "cgroupManager": engine.cgroup_manager,
        "cgroupVersion": "v2" if found.layout == "v2" else "v1", "cgroupLayout": found.layout,
        "cgroupControllers": _controllers(engine, found), "conmon": _conmon(engine, programs), "cpus": os.cpu_count() or 1,
        "cpuUtilization": _cpu_utilization(), "databaseBackend": "sqlite", "distribution": distribution,
        "eventLogger": engine.options.events_backend or conf.events_logger, "hostname": system.nodename,
        "idMappings": _id_mappings(engine), "kernel": system.release, "logDriver": conf.log_driver,
        "memFree": memory["MemFree"], "memTotal": memory["MemTotal"], "networkBackend": "netavark",
        "networkBackendInfo": _network_backend(engine, programs), "ociRuntime": _runtime(engine, programs), "os": "linux",
        "remoteSocket": Struct({"path": _socket(engine), "exists": os.path.exists(_socket(engine))}),
        "rootlessNetworkCmd": conf.default_rootless_network_cmd, "serviceIsRemote": False, "security": _security(engine),
        "slirp4netns": Struct({"executable": slirp.path, "package": slirp.package, "version": slirp.version}),
        "pasta": Struct({"executable": pasta.path, "package": pasta.package, "version": pasta.version}),
        "swapFree": memory["SwapFree"], "swapTotal": memory["SwapTotal"], "uptime": _uptime(), "variant": platform.variant,
        "linkmode": "dynamic",
    })


def _controllers(engine: Engine, found: cgroups.Hierarchies) -> list[str]:
    """The controllers for containers; an ordinary user has those that are delegated to its systemd, on cgroup version 1 none."""
    return list(engine.delegated or ()) if engine.rootless else list(cgroups.controllers(found))


def _socket(engine: Engine) -> str:
    """Where Podman's service listens."""
    return f"{rootless.runtime_directory(engine.owner) if engine.owner else '/run'}/podman/podman.sock"


def _id_mappings(engine: Engine) -> Struct:
    """The ids of the user's namespace; root has none."""
    if not engine.rootless:
        return Struct({"gidmap": None, "uidmap": None})
    return Struct({name: [Struct({"container_id": ids.inside, "host_id": ids.outside, "size": ids.size}) for ids in ranges]
                   for name, ranges in (("gidmap", userns.gid_map()), ("uidmap", userns.uid_map()))})


def _find(engine: Engine, name: str) -> str | None:
    return process.find_program(name, (*engine.conf.helper_binaries_dir, *_DIRECTORIES))


def _described(program: Program) -> Struct:
    return Struct({"package": program.package, "path": program.path, "version": program.version})


def _conmon(engine: Engine, programs: Programs) -> Struct:
    found = programs.get(engine.options.conmon or next(filter(os.path.exists, engine.conf.conmon_path), None))
    return _described(found.replace(version=found.version.replace("\n", ", ")))


def _network_backend(engine: Engine, programs: Programs) -> Struct:
    netavark, dns = programs.get(_find(engine, "netavark")), programs.get(_find(engine, "aardvark-dns"))
    return Struct({"backend": "netavark", "version": netavark.version, "package": netavark.package, "path": netavark.path,
                   "dns": Struct({"version": dns.version, "package": dns.package, "path": dns.path})})


def _runtime(engine: Engine, programs: Programs) -> Struct:
    """The runtime that a new container would get; ``reason`` says why it is not the first choice, where it is not."""
    try:
        chosen = choose_runtime(engine.conf, engine.options.runtime, cache=engine.paths.cache)
    except Unsupported as error:
        return Struct({"name": "", "package": "", "path": "", "version": "", "reason": error.message})
    found = programs.get(chosen.path)
    shape = Struct({"name": chosen.name, "package": found.package, "path": found.path, "version": found.version})
    if chosen.why:
        shape["reason"] = chosen.why
    return shape


def _security(engine: Engine) -> Struct:
    conf = engine.conf
    return Struct({
        "apparmorEnabled": _first_line("/sys/module/apparmor/parameters/enabled") == "Y",
        "capabilities": ",".join(conf.default_capabilities), "rootless": engine.rootless,
        "seccompEnabled": "Seccomp:" in _text("/proc/self/status"),
        "seccompProfilePath": conf.seccomp_profile or "default", "selinuxEnabled": os.path.exists("/sys/fs/selinux/enforce"),
    })


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 22)
    except OSError:
        return ""


def _first_line(path: str) -> str:
    return _text(path).partition("\n")[0].strip()


def _memory() -> dict[str, int]:
    """Bytes of memory and swap."""
    found = dict.fromkeys(("MemFree", "MemTotal", "SwapFree", "SwapTotal"), 0)
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return found


def _cpu_utilization() -> Struct:
    """Percentages since the host was started, as Podman counts them: user with nice, system, idle of these three."""
    user, nice, system, idle = (int(word) for word in _first_line("/proc/stat").split()[1:5])
    total = user + nice + system + idle or 1
    return Struct({"userPercent": round(100 * (user + nice) / total, 2), "systemPercent": round(100 * system / total, 2),
                   "idlePercent": round(100 * idle / total, 2)})


def _uptime() -> str:
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    hours, rest = divmod(int(seconds), 3600)
    text = f"{hours}h {rest // 60}m {rest % 60:.2f}s"
    return f"{text} (Approximately {hours / 24:.2f} days)" if hours else text


def _distribution() -> Struct:
    fields = {}
    for line in (_text("/etc/os-release") or _text("/usr/lib/os-release")).splitlines():
        name, _, value = line.partition("=")
        fields[name] = value.strip("\"'")
    found = Struct({"distribution": fields.get("ID", "unknown")})
    for name, key in (("variant", "VARIANT_ID"), ("version", "VERSION_ID"), ("codename", "VERSION_CODENAME")):
        if key in fields:
            found[name] = fields[key]
    found.setdefault("version", "unknown")
    return found


# --- store and registries ---------------------------------------------------------------------------------------------


def _store(engine: Engine) -> Struct:
    paths = engine.paths
    states = [state.status for _, state in engine.containers.list_with_states()]
    room = os.statvfs(paths.graphroot)
    allocated = room.f_blocks * room.f_frsize
    return Struct({
        "configFile": _storage_file(), "containerStore": Struct({
            "number": len(states), "paused": states.count("paused"), "running": states.count("running"),
            "stopped": len(states) - states.count("paused") - states.count("running")}),
        "graphDriverName": engine.filesystems.driver, "graphOptions": _graph_options(engine), "graphRoot": paths.graphroot,
        "graphRootAllocated": allocated, "graphRootUsed": allocated - room.f_bfree * room.f_frsize,
        "graphStatus": _graph_status(engine),
        "imageCopyTmpDir": os.environ.get("TMPDIR") or engine.conf.image_copy_tmp_dir or "/var/tmp",
        "imageStore": Struct({"number": _image_count(engine)}), "runRoot": paths.runroot, "volumePath": paths.volumes,
        "transientStore": False,
    })


def _image_count(engine: Engine) -> int:
    row = engine.database.row("SELECT count(*) FROM images")
    return (row[0] if row else 0) + sum(len(store.images()) for store in engine.images.stores)


def _graph_options(engine: Engine) -> dict[str, Any]:
    stores, program = engine.storage.additional_image_stores, engine.filesystems.mount_program
    found: dict[str, Any] = {"overlay.imagestore": ",".join(stores)} if stores else {}
    if program:
        known = Programs(engine.paths.cache).get(program)
        found["overlay.mount_program"] = {"Executable": known.path, "Package": known.package, "Version": known.version}
    return found


def _graph_status(engine: Engine) -> dict[str, str]:
    if engine.filesystems.driver != "overlay":
        return {}
    release = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in os.uname().release.split(".")[:2])
    return {
        "Backing Filesystem": file_system(engine.paths.graphroot),
        "Native Overlay Diff": "false" if engine.filesystems.mount_program else "true", "Supports d_type": "true",
        "Supports shifting": "true" if release >= _NEW_KERNEL_FOR_ID_MAPS else "false", "Supports volatile": "true",
        "Using metacopy": "false",
    }


def file_system(path: str) -> str:
    """The kind of file system that a path is on, "<unknown>" where it has no name here."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    names = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs", "overlay": "overlayfs"}
    kind = "<unknown>"
    for line in _text("/proc/self/mountinfo").splitlines():
        words = line.split(" ")
        if words[2] == number:
            kind = words[words.index("-") + 1]
    return names.get(kind, kind)


def _storage_file() -> str:
    """The storage.conf that counts, "" where there is none."""
    where = layers.places(os.environ, rootless=rootless.owner() is not None, home=os.environ.get("HOME", "/"))
    found = layers.find(storage_conf.NAME, storage_conf.VARIABLE, os.environ, where, one_main=True)
    return found[0] if found else ""

"""What keeps a container in: capabilities, masked paths, the system call filter, AppArmor.

The seccomp profile is resolved and compiled once for each set of capabilities and kept in a cache directory, named after
everything it depends on, so that a start neither reads the profile nor calls libseccomp. crun takes the compiled filter from an
annotation, which saves it 10 to 20 ms a container; runc gets the resolved profile.
"""

from __future__ import annotations

import os

from podling import jsontext, log
from podling.errors import Corrupt, InvalidArgument, Unsupported
from podling.linux import files
from podling.record import Record
from podling.runtime.mounts import is_masked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.model import ContainerConfig

DEFAULT_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
                        "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT")
MASKED_PATHS = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
                "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux")
READ_ONLY_PATHS = ("/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
PROFILES = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_PROFILE_LIMIT = 8 << 20
_CACHE_FORMAT = 1
# In the order of their numbers in linux/capability.h
_NAMES = ("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
          "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
          "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
          "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE")
CAPABILITIES = tuple("CAP_" + name for name in _NAMES.split())


class Filter(Record):
    """A resolved system call filter: the OCI ``linux.seccomp``, or the program in base64 where the runtime takes that."""

    profile: dict[str, Any] | None = None
    bpf: str = ""


# --- capabilities -----------------------------------------------------------------------------------------------------


def bounding_set() -> tuple[str, ...]:
    """The capabilities that this process may give, sorted."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        line = next(line for line in file if line.startswith("CapBnd:"))
    mask = int(line.split()[1], 16)
    return tuple(sorted(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1))


def narrow(names: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """The names that are allowed too, sorted; an empty ``allowed`` allows all."""
    limit = set(allowed)
    return sorted({name for name in names if not limit or name in limit})


def normalised(names: Iterable[str], everything: Iterable[str]) -> list[str]:
    """``net_admin`` -> ``CAP_NET_ADMIN``; ALL becomes ``everything``."""
    found: list[str] = []
    for name in names:
        word = name.upper()
        if word == "ALL":
            found += everything
        else:
            found.append(word if word.startswith("CAP_") else "CAP_" + word)
    return found


# --- paths ------------------------------------------------------------------------------------------------------------


def masked_paths(config: ContainerConfig) -> list[str]:
    """Paths that look empty in the container."""
    kept = [] if config.privileged else [path for path in MASKED_PATHS if is_masked(path, config.security.unmask)]
    return kept + [path for word in config.security.mask for path in word.split(":") if path.startswith("/")]


def read_only_paths(config: ContainerConfig) -> list[str]:
    """Paths that cannot be written in the container."""
    return [] if config.privileged else [path for path in READ_ONLY_PATHS if is_masked(path, config.security.unmask)]


# --- seccomp ----------------------------------------------------------------------------------------------------------


def seccomp(config: ContainerConfig, *, runtime: str, cache: str) -> Filter:
    """The filter for the container's profile and capabilities.

    ``cache``: a directory of ours, "" for none. Raises InvalidArgument for a profile that cannot be read, Unsupported where
    there is no default profile: a container is never started without the filter it should have.
    """
    path = profile_path(config)
    if not path:
        return Filter()
    as_program = runtime == "crun"
    entry = _cache_entry(path, config.capabilities, cache, as_program)
    if entry:
        kept = _read_cached(entry)
        if kept:
            return Filter(bpf=kept) if as_program else Filter(profile=jsontext.loads(kept))
    return _compile(path, config.capabilities, entry, as_program)


def profile_path(config: ContainerConfig) -> str:
    """The file of the container's seccomp profile; "" means that it has none."""
    wanted = config.security.seccomp
    if wanted == "unconfined" or (config.privileged and wanted in ("", *PROFILES)):
        return ""
    if wanted:
        return wanted
    found = next((path for path in PROFILES if os.path.exists(path)), None)
    if found is None:
        raise Unsupported(f"no seccomp profile: {PROFILES[-1]} does not exist",
                          hint="Install the package containers-common (Debian: golang-github-containers-common)")
    return found


def _cache_entry(path: str, capabilities: Iterable[str], cache: str, as_program: bool) -> str:
    """The file that holds the filter, named after all it depends on; "" where nothing can be kept."""
    if not cache:
        return ""
    try:
        state = os.stat(path)
    except OSError:
        return ""
    held = set(capabilities)
    mask = sum(1 << number for number, name in enumerate(CAPABILITIES) if name in held)
    host = os.uname()
    kind = "bpf" if as_program else "json"
    file = f"{state.st_dev:x}-{state.st_ino:x}-{state.st_size:x}-{state.st_mtime_ns:x}"
    return f"{cache}/seccomp-{_CACHE_FORMAT}-{host.machine}-{host.release}-{file}-{mask:x}.{kind}"


def _read_cached(entry: str) -> str:
    try:
        with open(entry, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _compile(path: str, capabilities: Iterable[str], entry: str, as_program: bool) -> Filter:
    from podling.linux import seccomp as compiler

    try:
        profile = compiler.resolve(jsontext.loads(files.read_text(path, _PROFILE_LIMIT)), tuple(capabilities))
    except OSError as error:
        raise InvalidArgument("opening seccomp profile failed") from error
    except ValueError as error:
        raise Corrupt(f"loading seccomp profile ({path}) failed") from error
    program = _program(profile) if as_program else ""
    if entry:
        os.makedirs(os.path.dirname(entry), 0o700, exist_ok=True)
        kept = program or ("" if as_program else jsontext.dumps(profile))
        if kept:
            files.write_atomic(entry, kept.encode("ascii"))
    return Filter(bpf=program) if program else Filter(profile=profile)


def _program(profile: dict[str, Any]) -> str:
    """The compiled filter in base64; "" where it cannot be compiled here or the runtime needs the profile itself."""
    from podling.linux import seccomp as compiler

    # Flags and a listener are read from the profile even where the program is given.
    if profile.get("flags") or profile.get("listenerPath"):
        return ""
    program = compiler.compile(profile)
    if program is None:
        log.debug("libseccomp is missing: the runtime compiles the seccomp filter of every container itself")
        return ""
    from binascii import b2a_base64

    return b2a_base64(program, newline=False).decode("ascii")


# --- AppArmor ---------------------------------------------------------------------------------------------------------


def apparmor(config: ContainerConfig) -> str:
    """The AppArmor profile that confines the container; "" where there is no AppArmor or none is wanted."""
    wanted = config.security.apparmor
    if not _has_apparmor():
        if wanted and wanted != "unconfined":
            raise Unsupported(f'apparmor profile "{wanted}" specified, but Apparmor is not enabled on this system')
        return ""
    if wanted or config.privileged:
        return wanted
    # The default profile is loaded into the kernel by the distribution or by another engine.
    return next((name for name in _apparmor_profiles() if name.startswith("containers-default-")), "")


def _has_apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled", "rb") as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def _apparmor_profiles() -> list[str]:
    try:
        with open("/sys/kernel/security/apparmor/profiles", encoding="utf-8", errors="replace") as file:
            return [line.rpartition(" (")[0] for line in file]
    except OSError:
        return []

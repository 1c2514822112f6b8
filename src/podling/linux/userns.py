"""What this process may do: user namespace, subordinate ids, capabilities, resource limits."""

from __future__ import annotations

from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNLIMITED = -1

# In the order of their numbers in linux/capability.h.
_NAMES = ("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
          "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
          "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
          "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE")
CAPABILITIES = tuple("CAP_" + name for name in _NAMES.split())
_WHOLE_RANGE = 4294967295


# --- id maps ----------------------------------------------------------------------------------------------------------


class IdRange(Record):
    """``size`` ids from ``inside`` on (in the namespace), which are those from ``outside`` on (in the parent namespace)."""

    inside: int
    outside: int
    size: int


def parse_map(text: str) -> tuple[IdRange, ...]:
    """The ranges of a text of /proc/PID/uid_map or gid_map."""
    ranges = []
    for line in text.splitlines():
        inside, outside, size = (int(word) for word in line.split())
        ranges.append(IdRange(inside=inside, outside=outside, size=size))
    return tuple(ranges)


def uid_map(pid: int | str = "self") -> tuple[IdRange, ...]:
    """The user ids of a process' user namespace."""
    return parse_map(_text(f"/proc/{pid}/uid_map"))


def gid_map(pid: int | str = "self") -> tuple[IdRange, ...]:
    """The group ids of a process' user namespace."""
    return parse_map(_text(f"/proc/{pid}/gid_map"))


def is_initial(ranges: tuple[IdRange, ...]) -> bool:
    """Whether a map is that of the initial user namespace: every id is itself."""
    return ranges == (IdRange(inside=0, outside=0, size=_WHOLE_RANGE),)


def to_outside(ranges: Iterable[IdRange], number: int) -> int | None:
    """The parent namespace's id for one of the namespace; None where it is not mapped."""
    return next((found.outside + number - found.inside for found in ranges
                 if found.inside <= number < found.inside + found.size), None)


def to_inside(ranges: Iterable[IdRange], number: int) -> int | None:
    """The namespace's id for one of the parent namespace; None where it is not mapped."""
    return next((found.inside + number - found.outside for found in ranges
                 if found.outside <= number < found.outside + found.size), None)


def parse_subids(text: str, name: str, number: int) -> tuple[tuple[int, int], ...]:
    """The (first id, how many) that a text of /etc/subuid or /etc/subgid gives a user, named or by number."""
    found = []
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) == 3 and parts[0] in (name, str(number)) and parts[1].isdigit() and parts[2].isdigit():
            found.append((int(parts[1]), int(parts[2])))
    return tuple(found)


def subids(name: str, number: int, path: str = "/etc/subuid") -> tuple[tuple[int, int], ...]:
    """A user's subordinate ids, (first id, how many); empty where there is no such file."""
    try:
        return parse_subids(_text(path), name, number)
    except FileNotFoundError:
        return ()


# --- capabilities -----------------------------------------------------------------------------------------------------


def capability_sets(pid: int | str = "self") -> dict[str, int]:
    """A process' capabilities as bit sets: inheritable, permitted, effective, bounding, ambient."""
    names = {"CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective", "CapBnd": "bounding", "CapAmb": "ambient"}
    found = {}
    for line in _text(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name in names:
            found[names[name]] = int(value, 16)
    return found


def capability_names(bits: int) -> tuple[str, ...]:
    """The names in a bit set, in the kernel's order; numbers that we have no name for are left out."""
    return tuple(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)


def has_capability(name: str) -> bool:
    """Whether this process has the capability ("CAP_SYS_RESOURCE") in effect."""
    return bool(capability_sets()["effective"] >> CAPABILITIES.index(name) & 1)


def may_raise_limits() -> bool:
    """Whether this process may set a resource limit above its hard one, and a lower OOM score: root's of a namespace may not."""
    return is_initial(uid_map()) and has_capability("CAP_SYS_RESOURCE")


def bounding_capabilities() -> tuple[str, ...]:
    """The capabilities that this process can hand on, in the kernel's order."""
    return capability_names(capability_sets()["bounding"])


# --- resource limits --------------------------------------------------------------------------------------------------


def limits() -> dict[str, tuple[int, int]]:
    """This process' resource limits: "nofile" -> (soft, hard), -1 unlimited."""
    import resource

    names = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]
    return {name[7:].lower(): resource.getrlimit(getattr(resource, name)) for name in names}


def hard_limits() -> dict[str, int]:
    """This process' hard limits: "nofile" -> number, -1 unlimited."""
    return {name: hard for name, (_, hard) in limits().items()}


def clamp(wanted: Mapping[str, tuple[int, int]], hard: Mapping[str, int], *, may_raise: bool) -> dict[str, tuple[int, int]]:
    """The (soft, hard) limits as far as they can be set: without CAP_SYS_RESOURCE not above the present hard ones.

    Names that the kernel does not know (absent in ``hard``) are kept as they are.
    """
    if may_raise:
        return dict(wanted)
    return {name: (_least(soft, hard.get(name, UNLIMITED)), _least(top, hard.get(name, UNLIMITED)))
            for name, (soft, top) in wanted.items()}


def _least(value: int, limit: int) -> int:
    if limit == UNLIMITED:
        return value
    return limit if value == UNLIMITED else min(value, limit)


def clamp_limits(wanted: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """:func:`clamp` for this process."""
    return clamp(wanted, hard_limits(), may_raise=may_raise_limits())


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()

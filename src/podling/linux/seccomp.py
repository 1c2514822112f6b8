"""System call filters: a profile in Docker's and Podman's JSON form, resolved for one set of capabilities, and compiled.

Compiled filters are for crun, which spends 10 to 20 ms a container on compiling. It takes a ready program in base64 from the
annotation ``run.oci.seccomp_bpf_data``, as crun 1.8.1 and 1.21 showed:

- The annotation wins over ``linux.seccomp``, which may be absent; then the filter's flags are crun's default (SPEC_ALLOW).
  Flags and a listener can only be given in ``linux.seccomp``.
- The program is written to ``seccomp.bpf`` beside the container's state, from where ``crun exec`` takes it too.
- It must be the whole base64 text without line ends; the bytes are ``struct sock_filter`` for this machine's processor.

:func:`compile` adds rules as crun does, so that its program is the same byte for byte.
"""

from __future__ import annotations

import errno as errors
import os

from podling.errors import InvalidArgument, PodlingError, Unsupported
from podling.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PROFILES = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
LIBRARY = "libseccomp.so.2"

# uname's machine -> (architecture in profiles' conditions, libseccomp's constant)
_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"), "i386": ("x86", "SCMP_ARCH_X86"), "i486": ("x86", "SCMP_ARCH_X86"),
    "i586": ("x86", "SCMP_ARCH_X86"), "i686": ("x86", "SCMP_ARCH_X86"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv6l": ("arm", "SCMP_ARCH_ARM"), "armv7l": ("arm", "SCMP_ARCH_ARM"), "armv8l": ("arm", "SCMP_ARCH_ARM"),
    "mips": ("mips", "SCMP_ARCH_MIPS"), "mips64": ("mips64", "SCMP_ARCH_MIPS64"), "ppc": ("ppc", "SCMP_ARCH_PPC"),
    "ppc64": ("ppc64", "SCMP_ARCH_PPC64"), "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"), "s390": ("s390", "SCMP_ARCH_S390"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"), "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "loongarch64": ("loong64", "SCMP_ARCH_LOONGARCH64"), "parisc": ("parisc", "SCMP_ARCH_PARISC"),
}
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000, "SCMP_ACT_KILL_THREAD": 0x00000000, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_NOTIFY": 0x7FC00000, "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_OPERATORS = {name: number for number, name in enumerate(
    ("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"), 1)}
_UNKNOWN_SYSCALL = -1
_MOST_ARGUMENTS = 6


def default_profile(configured: str = "") -> str:
    """The path of the default profile: the configured one, the administrator's, the distribution's, or the one we ship."""
    if configured:
        return configured
    found = next((path for path in PROFILES if os.path.exists(path)), None)
    return found or os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "seccomp.json")


# --- resolving --------------------------------------------------------------------------------------------------------


def resolve(profile: dict[str, Any], capabilities: Iterable[str], *, machine: str = "", kernel: str = "") -> dict[str, Any]:
    """The OCI ``linux.seccomp`` of a profile for a container with these bounding capabilities ("CAP_CHOWN").

    ``machine`` and ``kernel`` are uname's words ("x86_64", "6.1.0-9"), this machine's where they are left out. Raises
    InvalidArgument for a profile that contradicts itself.
    """
    host = os.uname()
    native, constant = _ARCHITECTURES.get(machine or host.machine, ("", ""))
    held = set(capabilities)
    version = _version(kernel or host.release)
    if not isinstance(profile, dict):
        raise InvalidArgument("seccomp profile is not a JSON object")
    resolved: dict[str, Any] = {"defaultAction": _text(profile, "defaultAction")}
    number = _errno(_text(profile, "defaultErrno"), profile.get("defaultErrnoRet"))
    if number is not None:
        resolved["defaultErrnoRet"] = number
    architectures = _architectures(profile, constant)
    if architectures:
        resolved["architectures"] = architectures
    for name in ("flags", "listenerPath", "listenerMetadata"):
        if profile.get(name):
            resolved[name] = profile[name]
    calls = [_rule(rule) for rule in _objects(profile, "syscalls") if _applies(rule, native, held, version)]
    if calls:
        resolved["syscalls"] = calls
    return resolved


def _architectures(profile: dict[str, Any], native: str) -> list[str]:
    listed, mapped = _texts(profile, "architectures"), _objects(profile, "archMap")
    if listed and mapped:
        raise InvalidArgument("'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' "
                              "or 'archMap'")
    for entry in mapped:
        if entry.get("architecture") == native:
            return [native, *_texts(entry, "subArchitectures")]
    return listed


def _applies(rule: dict[str, Any], native: str, held: set[str], version: tuple[int, int]) -> bool:
    """Whether a rule's conditions hold: every one of ``includes``, none of ``excludes``."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if not isinstance(includes, dict) or not isinstance(excludes, dict):
        raise InvalidArgument("seccomp profile: includes and excludes must be objects")
    if native in _texts(excludes, "arches") or held.intersection(_texts(excludes, "caps")):
        return False
    needed = _texts(includes, "arches")
    if needed and native not in needed:
        return False
    oldest, too_new = _text(includes, "minKernel"), _text(excludes, "minKernel")
    if (too_new and version >= _version(too_new)) or (oldest and version < _version(oldest)):
        return False
    return held.issuperset(_texts(includes, "caps"))


def _version(text: str) -> tuple[int, int]:
    """The first two numbers of a kernel's version."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return _digits(major), _digits(minor)


def _digits(text: str) -> int:
    return int("".join(c for c in text if c in "0123456789") or 0)


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    name, names = _text(rule, "name"), _texts(rule, "names")
    if name and names:
        raise InvalidArgument("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'")
    resolved: dict[str, Any] = {"names": [name] if name else names, "action": _text(rule, "action")}
    number = _errno(_text(rule, "errno"), rule.get("errnoRet"))
    if number is not None:
        resolved["errnoRet"] = number
    arguments = [_argument(argument) for argument in _objects(rule, "args")]
    if arguments:
        resolved["args"] = arguments
    return resolved


def _argument(argument: dict[str, Any]) -> dict[str, Any]:
    resolved = {name: _number(argument.get(name, 0), name) for name in ("index", "value", "valueTwo")}
    if not resolved["valueTwo"]:
        del resolved["valueTwo"]
    return {**resolved, "op": _text(argument, "op")}


def _errno(name: str, number: Any) -> int | None:
    """An error number given by name ("EPERM"), which goes before one given as number."""
    if not name:
        return None if number is None else _number(number, "errnoRet")
    if name.isascii() and name.isdigit():
        return int(name)
    found = next((code for code, word in errors.errorcode.items() if word == name), None)
    if found is None:
        raise InvalidArgument(f"unknown errno {name} in the seccomp profile")
    return found


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key) or ""
    if not isinstance(value, str):
        raise InvalidArgument(f"seccomp profile: {key} must be a string")
    return value


def _number(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise InvalidArgument(f"seccomp profile: {key} must be a number that is not negative")
    return value


def _texts(table: dict[str, Any], key: str) -> list[str]:
    value = table.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"seccomp profile: {key} must be a list of strings")
    return list(value)


def _objects(table: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = table.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidArgument(f"seccomp profile: {key} must be a list of objects")
    return value


# --- compiling --------------------------------------------------------------------------------------------------------


def compile(profile: dict[str, Any]) -> bytes | None:  # noqa: A001
    """The program of an OCI ``linux.seccomp``; None where libseccomp is missing or the runtime has notifications to handle.

    It takes 16 ms for the default profile: keep the result. Raises InvalidArgument for what no runtime would take.
    """
    if any(rule.get("action") == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or ()):
        return None
    try:
        library = syscalls.load_library(LIBRARY)
    except Unsupported:
        return None
    default = _action(profile.get("defaultAction", ""), profile.get("defaultErrnoRet"))
    context = library.function("seccomp_init", "P", "I")(default)
    if not context:
        raise PodlingError("libseccomp cannot be initialized")
    try:
        for name in profile.get("architectures") or ():
            _add_architecture(library, context, name)
        for rule in profile.get("syscalls") or ():
            action = _action(rule.get("action", ""), rule.get("errnoRet"))
            if action != default:
                _add_rule(library, context, rule, action)
        return _export(library, context)
    finally:
        library.function("seccomp_release", "i", "P")(context)


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidArgument(f"unknown seccomp action {name!r}")
    if name not in _WITH_NUMBER:
        if number is not None:
            raise InvalidArgument(f"errno value specified for seccomp action {name}")
        return _ACTIONS[name]
    return _ACTIONS[name] | (errors.EPERM if number is None else number) & 0xFFFF


def _add_architecture(library: syscalls.Library, context: int, name: str) -> None:
    token = library.function("seccomp_arch_resolve_name", "I", "z")(name.removeprefix("SCMP_ARCH_").lower().encode())
    if not token:
        raise InvalidArgument(f"unknown seccomp architecture {name!r}")
    result = library.function("seccomp_arch_add", "i", "PI")(context, token)
    if result < 0 and result != -errors.EEXIST:
        raise PodlingError(f"adding seccomp architecture {name}") from OSError(-result, os.strerror(-result))


def _add_rule(library: syscalls.Library, context: int, rule: dict[str, Any], action: int) -> None:
    resolve_name = library.function("seccomp_syscall_resolve_name", "i", "z")
    add = library.function("seccomp_rule_add_array", "i", "PIiIP")
    comparisons = [_comparison(argument) for argument in (rule.get("args") or ())[:_MOST_ARGUMENTS]]
    indexes = [argument["index"] for argument in (rule.get("args") or ())[:_MOST_ARGUMENTS]]
    # Several conditions on one argument are alternatives: libseccomp takes one of each index in a rule.
    groups = [comparisons] if len(set(indexes)) == len(indexes) else [[comparison] for comparison in comparisons]
    for name in rule.get("names") or ():
        number = resolve_name(name.encode())
        if number == _UNKNOWN_SYSCALL:
            continue                         # newer than this libseccomp: as little there as for the runtime
        for group in groups:
            result = add(context, action, number, len(group), b"".join(group) or None)
            if result < 0:
                raise PodlingError(f"adding seccomp rule for {name}") from OSError(-result, os.strerror(-result))


def _comparison(argument: dict[str, Any]) -> bytes:
    """``struct scmp_arg_cmp``."""
    index, operator = argument.get("index", 0), argument.get("op", "")
    if operator not in _OPERATORS:
        raise InvalidArgument(f"unknown seccomp operator {operator!r}")
    if not 0 <= index < _MOST_ARGUMENTS:
        raise InvalidArgument(f"invalid seccomp argument index {index}")
    values = argument.get("value", 0), argument.get("valueTwo", 0)
    return b"".join([_native(index, 4), _native(_OPERATORS[operator], 4), *(_native(value, 8) for value in values)])


def _native(value: int, size: int) -> bytes:
    return (value & (1 << 8 * size) - 1).to_bytes(size, syscalls.BYTE_ORDER)


def _export(library: syscalls.Library, context: int) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        result = library.function("seccomp_export_bpf", "i", "Pi")(context, fd)
        if result < 0:
            raise PodlingError("compiling seccomp filter") from OSError(-result, os.strerror(-result))
        os.lseek(fd, 0, os.SEEK_SET)
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)

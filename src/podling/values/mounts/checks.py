"""What is said of a mount: paths, names and options, checked in the words of Podman."""

from __future__ import annotations

from posixpath import isabs, join, normpath

from podling.errors import InvalidArgument
from podling.values.gotext import quote
from podling.values.mounts.record import PROPAGATIONS, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


BAD_OPTION = "invalid mount option"
SAID_TWICE = "duplicate mount option passed"
NO_ARGUMENT = "must provide an argument for option"

_NAME_START = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_EXCLUSIVE = (
    (("noexec", "exec"), "'noexec' or 'exec' option"),
    (("nodev", "dev"), "'nodev' or 'dev' option"),
    (("nosuid", "suid"), "'nosuid' or 'suid' option"),
    (("rw", "ro"), "'rw' or 'ro' option"),
    (("z", "Z", "O"), "'z', 'Z', or 'O' option"),
    (("U",), "'U' option"),
    (PROPAGATIONS, "'[r]shared', '[r]private', '[r]slave' or '[r]unbindable' option"),
    (("bind", "rbind"), "'[r]bind' option"),
    (("copy", "nocopy"), "'copy' or 'nocopy' option"),
)
_IGNORED = ("cached", "delegated")   # Docker's words for macOS; without meaning on Linux

def clean_destination(path: str) -> str:
    """An absolute path in the container without ``.``, ``..`` and doubled slashes; InvalidArgument otherwise."""
    if not path:
        raise InvalidArgument("container directory cannot be empty")
    if not isabs(path) or "\0" in path:
        raise InvalidArgument(f"invalid container path {quote(path)}, must be an absolute path")
    return _clean(path)


def _clean(path: str) -> str:
    cleaned = normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned   # POSIX keeps two leading slashes, Go does not


def host_path(path: str, cwd: str) -> str:
    """The absolute form of a path on the host; without a ``cwd`` only an absolute one is accepted."""
    if "\0" in path or not (isabs(path) or cwd):
        raise InvalidArgument(f"invalid host path {quote(path)}, must be an absolute path")
    return _clean(join(cwd, path))


def check_volume_name(name: str) -> None:
    """InvalidArgument unless a text can be the name of a volume."""
    if not name or name[0] not in _NAME_START or any(c not in _NAME_START and c not in "_.-" for c in name):
        raise InvalidArgument(f"creating named volume {quote(name)}: running volume create option: names must match "
                              "[a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")


def checked(options: list[str]) -> list[str]:
    """The options of a bind mount or volume, without those that mean nothing; InvalidArgument where they contradict."""
    kept: list[str] = []
    used: dict[str, int] = {}
    for option in options:
        if option in _IGNORED:
            continue
        kept.append(option)
        if option == "idmap" or option.startswith("idmap="):
            continue
        limit = _limit_of(option)
        used[limit] = used.get(limit, 0) + 1
        if used[limit] > 1:
            raise InvalidArgument(f"invalid options {quote(', '.join(options))}, can only specify 1 {limit}")
    return kept


def _limit_of(option: str) -> str:
    """What may be said once, of which this option is one form."""
    for name in ("upperdir", "workdir"):
        if option.startswith(name + "="):
            return f"{name} per overlay"
    for alternatives, limit in _EXCLUSIVE:
        if option in alternatives:
            return limit
    raise InvalidArgument(f"invalid option type {quote(option)}")


def check_overlay(options: list[str]) -> None:
    """What may stand beside ``O``: ``U``, and both directories that the overlay is to keep."""
    upper = any(option.startswith("upperdir=") for option in options)
    work = any(option.startswith("workdir=") for option in options)
    if upper != work:
        raise InvalidArgument("must set both `upperdir` and `workdir`")
    if any(option not in ("O", "U") and not option.startswith(("upperdir=", "workdir=")) for option in options):
        raise InvalidArgument("can't use 'O' with other options")


def with_options(mount: Mount, options: Iterable[str]) -> Mount:
    """The mount with its options sorted into their fields."""
    kept: list[str] = []
    fields: dict[str, object] = {}
    for option in options:
        name, _, value = option.partition("=")
        if option in ("z", "Z"):
            fields["relabel"] = option
        elif option == "U":
            fields["chown"] = True
        elif name == "idmap":
            fields["idmap"] = value
        elif option == "O":
            fields["overlay"] = True
        elif option in ("copy", "nocopy", "tmpcopyup", "notmpcopyup"):
            fields["copy_up"] = not option.startswith("no")
        elif name == "volume-opt":
            fields["volume_options"] = (*mount.volume_options, value)
            mount = mount.replace(**fields)
        else:
            kept.append(option)
    return mount.replace(options=tuple(kept), **fields)


_MEMORY_EXCLUSIVE = (
    (("exec", "noexec"), "only one of 'noexec' and 'exec' can be used"),
    (("suid", "nosuid"), "only one of 'nosuid' and 'suid' can be used"),
    (("dev", "nodev"), "only one of 'nodev' and 'dev' can be used"),
    (("rw", "ro"), "only one of 'rw' and 'ro' can be used"),
    (PROPAGATIONS, "only one root propagation mode can be used"),
    (("size",), "only one tmpfs size can be specified"),
    (("mode",), "only one tmpfs mode can be specified"),
    (("tmpcopyup", "notmpcopyup"), "the 'tmpcopyup' or 'notmpcopyup' option can only be set once"),
    (("noswap",), "the 'noswap' option can only be set once"),
    (("U",), "the 'U' option can only be set once"),
    (("noatime",), "the 'noatime' option can only be set once"),
)


def check_memory(options: Iterable[str]) -> None:
    """InvalidArgument unless these are options of a tmpfs that do not contradict each other."""
    used: set[str] = set()
    for option in options:
        name = option.partition("=")[0]
        if name in ("bind", "rbind"):
            raise InvalidArgument(f"the 'bind' and 'rbind' options are not allowed with tmpfs mounts: {BAD_OPTION}")
        if name in ("z", "Z"):
            raise InvalidArgument(f"the 'z' and 'Z' options are not allowed with tmpfs mounts: {BAD_OPTION}")
        words = next((words for alternatives, words in _MEMORY_EXCLUSIVE if name in alternatives), "")
        if not words:
            raise InvalidArgument(f"unknown mount option {quote(option)}: {BAD_OPTION}")
        if words in used:
            raise InvalidArgument(f"{words}: {SAID_TWICE}")
        used.add(words)

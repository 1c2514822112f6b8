"""Mounts of a container: ``/a:/b:ro,Z`` and ``type=bind,src=/a,dst=/b`` <-> :class:`Mount`."""

from __future__ import annotations

from posixpath import isabs, join, normpath

from podling.errors import InvalidArgument
from podling.record import Record
from podling.values.gotext import quote, split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Mount(Record):
    """One mount asked for.

    ``kind``: bind, volume, tmpfs, ramfs, devpts, image. ``source``: a host path, a volume's name ("" for an anonymous
    volume), an image, or for the file systems without a source their kind. ``options`` are mount options in the order given
    (ro, rw, nosuid, rprivate, size=..., ...), without those that have a field of their own here.
    """

    kind: str
    destination: str
    source: str = ""
    options: tuple[str, ...] = ()
    relabel: str = ""            # "z" shared, "Z" private SELinux label
    chown: bool = False          # U
    idmap: str | None = None     # idmap option: "" for the container's own map, else its mappings
    overlay: bool = False        # O: a writable overlay that is thrown away
    copy_up: bool = True         # fill an empty volume or a tmpfs with the image's content (nocopy, notmpcopyup: False)
    subpath: str = ""
    read_write: bool = False     # image mounts: rw
    volume_options: tuple[str, ...] = ()   # "type=nfs", "o=addr=...": with what a volume is made that does not exist yet


PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
_VOLUME_FORMAT = "incorrect volume format, should be [host-dir:]ctr-dir[:option]"
_MOUNT_FORMAT = ("incorrect mount format: should be --mount type=<bind|glob|tmpfs|volume>,[src=<host-dir|volume-name>,]"
                 "target=<ctr-dir>[,options]")
_BAD = "invalid mount option"
_TWICE = "duplicate mount option passed"
_NO_ARGUMENT = "must provide an argument for option"
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

# --- paths ------------------------------------------------------------------------------------------------------------


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


def _host_path(path: str, cwd: str) -> str:
    """The absolute form of a path on the host; without a ``cwd`` only an absolute one is accepted."""
    if "\0" in path or not (isabs(path) or cwd):
        raise InvalidArgument(f"invalid host path {quote(path)}, must be an absolute path")
    return _clean(join(cwd, path))


def check_volume_name(name: str) -> None:
    """InvalidArgument unless a text can be the name of a volume."""
    if not name or name[0] not in _NAME_START or any(c not in _NAME_START and c not in "_.-" for c in name):
        raise InvalidArgument(f"creating named volume {quote(name)}: running volume create option: names must match "
                              "[a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")


# --- --volume ---------------------------------------------------------------------------------------------------------


def parse_volume(text: str, *, cwd: str = "") -> Mount:
    """One ``--volume``: ``/host:/ctr[:options]``, ``name:/ctr[:options]`` or ``/ctr`` (an anonymous volume).

    A source that begins with a slash or a dot is a path on the host; a relative one is taken from ``cwd``, and refused where
    there is none. Whether it exists is not looked at. InvalidArgument in Podman's words.
    """
    parts = text.split(":")
    if len(parts) > 3:
        raise InvalidArgument(f"{text}: {_VOLUME_FORMAT}")
    if len(parts) == 1:
        return Mount(kind="volume", destination=clean_destination(text))
    source, destination = parts[0], parts[1]
    options = _checked(parts[2].split(",")) if len(parts) > 2 else []
    if not source:
        raise InvalidArgument("host directory cannot be empty")
    destination = clean_destination(destination)
    if source[0] in "/.":
        if "O" in options:
            _check_overlay(options)
        mount = Mount(kind="bind", source=_host_path(source, cwd), destination=destination)
    else:
        check_volume_name(source)
        mount = Mount(kind="volume", source=source, destination=destination)
    if "O" not in options and any(option.startswith(("upperdir=", "workdir=")) for option in options):
        raise InvalidArgument(f"unknown mount option {quote(_first_directory(options))}: {_BAD}")
    return _with_options(mount, options)


def _first_directory(options: list[str]) -> str:
    return next(option for option in options if option.startswith(("upperdir=", "workdir=")))


def _checked(options: list[str]) -> list[str]:
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


def _check_overlay(options: list[str]) -> None:
    """What may stand beside ``O``: ``U``, and both directories that the overlay is to keep."""
    upper = any(option.startswith("upperdir=") for option in options)
    work = any(option.startswith("workdir=") for option in options)
    if upper != work:
        raise InvalidArgument("must set both `upperdir` and `workdir`")
    if any(option not in ("O", "U") and not option.startswith(("upperdir=", "workdir=")) for option in options):
        raise InvalidArgument("can't use 'O' with other options")


def _with_options(mount: Mount, options: Iterable[str]) -> Mount:
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


def format_volume(mount: Mount) -> str:
    """The ``--volume`` text of a bind mount or volume, which :func:`parse_volume` reads back."""
    options = list(mount.options)
    options += [mount.relabel] if mount.relabel else []
    options += ["U"] if mount.chown else []
    options += [f"idmap={mount.idmap}" if mount.idmap else "idmap"] if mount.idmap is not None else []
    options += ["O"] if mount.overlay else []
    options += [] if mount.copy_up else ["nocopy"]
    if not mount.source:
        return mount.destination
    return ":".join([mount.source, mount.destination, *([",".join(options)] if options else [])])


# --- --tmpfs ----------------------------------------------------------------------------------------------------------


def parse_tmpfs(text: str) -> Mount:
    """One ``--tmpfs``: ``/ctr[:options]``; InvalidArgument in Podman's words."""
    destination, colon, rest = text.partition(":")
    mount = Mount(kind="tmpfs", source="tmpfs", destination=clean_destination(destination))
    options = rest.split(":")[0].split(",") if colon else []
    _check_memory(options)
    return _with_options(mount, options)


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


def _check_memory(options: Iterable[str]) -> None:
    """InvalidArgument unless these are options of a tmpfs that do not contradict each other."""
    used: set[str] = set()
    for option in options:
        name = option.partition("=")[0]
        if name in ("bind", "rbind"):
            raise InvalidArgument(f"the 'bind' and 'rbind' options are not allowed with tmpfs mounts: {_BAD}")
        if name in ("z", "Z"):
            raise InvalidArgument(f"the 'z' and 'Z' options are not allowed with tmpfs mounts: {_BAD}")
        words = next((words for alternatives, words in _MEMORY_EXCLUSIVE if name in alternatives), "")
        if not words:
            raise InvalidArgument(f"unknown mount option {quote(option)}: {_BAD}")
        if words in used:
            raise InvalidArgument(f"{words}: {_TWICE}")
        used.add(words)


# --- --mount ----------------------------------------------------------------------------------------------------------


def parse_mount(text: str, *, cwd: str = "") -> Mount:
    """One ``--mount``: comma-separated ``type=bind,src=/a,dst=/b,ro``; InvalidArgument in Podman's words.

    Types: bind, volume, tmpfs, ramfs, devpts, image. Fields with commas stand in double quotes.
    """
    kind, fields = "", []
    for field in split_csv(text):
        name, _, value = field.partition("=")
        if not kind and name == "type" and "=" not in value and value:
            kind = value
        else:
            fields.append(field)
    if not kind or "\n" in text:
        raise InvalidArgument(_MOUNT_FORMAT)
    if kind == "image":
        return _parse_image_mount(fields)
    if kind == "devpts":
        return _parse_devpts_mount(fields)
    if kind not in ("bind", "volume", "tmpfs", "ramfs"):
        if kind in ("glob", "artifact"):
            raise InvalidArgument(f"--mount type={kind} is not available yet")
        raise InvalidArgument(f"invalid filesystem type {quote(kind)}")
    return _MountFields(kind).read(fields).finish(cwd)


class _MountFields:
    """The fields of one ``--mount`` while they are read, and which of them were said already."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.source = ""
        self.destination = ""
        self.subpath = ""
        self.options: list[str] = []
        self.said: set[str] = set()

    def read(self, fields: Iterable[str]) -> _MountFields:
        """Take in every field; InvalidArgument at the first that is wrong."""
        for field in fields:
            name, equals, value = field.partition("=")
            if name in ("src", "source"):
                self._source(name, value, bool(equals))
            elif name in ("target", "dst", "destination"):
                self._once(name, bool(self.destination))
                self.destination = clean_destination(_argument(name, equals, value))
            elif name in ("readonly", "ro", "rw"):
                self._access(name, value, bool(equals))
            elif name in ("subpath", "volume-subpath"):
                if self.kind != "volume":
                    raise InvalidArgument(f"cannot set option {quote(name)} on non-volume mounts")
                self.subpath = _argument(name, equals, value)
            elif name in ("U", "chown"):
                self._once_of("'U' or 'chown' option")
                self.options += ["U"] if _is_true(value) else []
            elif name in ("relabel", "bind-propagation", "bind-nonrecursive"):
                self._bind_field(name, value, bool(equals))
            elif name in ("tmpfs-size", "tmpfs-mode", "tmpcopyup", "notmpcopyup"):
                self._tmpfs_field(name, value, bool(equals))
            elif name in ("volume-opt", "volume-label"):
                self._volume_field(field, name)
            else:
                self._other(field, name)
        return self

    def finish(self, cwd: str) -> Mount:
        """The mount that the fields describe."""
        if not self.destination:
            raise InvalidArgument("must set volume destination")
        source = self.kind
        if self.kind == "bind":
            source = _host_path(self.source or self.destination, cwd)
            self.options = _checked(self.options)
        elif self.kind == "volume":
            source = self.source
            if source:
                check_volume_name(source)
        elif self.kind == "tmpfs":
            _check_memory(self.options)
        mount = Mount(kind=self.kind, source=source, destination=self.destination, subpath=self.subpath)
        return _with_options(mount, self.options)

    def _once(self, name: str, said: bool) -> None:
        if said:
            raise InvalidArgument(f"cannot pass {quote(name)} option more than once: {_NO_ARGUMENT}")

    def _once_of(self, words: str) -> None:
        if words in self.said:
            raise InvalidArgument(f"cannot pass {words} more than once: {_NO_ARGUMENT}")
        self.said.add(words)

    def _only_for(self, kind: str, name: str) -> None:
        if self.kind != kind:
            raise InvalidArgument(f"{quote(name)} option not supported for {quote(self.kind)} mount types")

    def _source(self, name: str, value: str, given: bool) -> None:
        if self.kind == "tmpfs":
            raise InvalidArgument(f"{quote(name)} option not supported for {quote(self.kind)} mount types")
        self._once(name, bool(self.source))
        if not given:
            raise InvalidArgument(f"{name}: {_NO_ARGUMENT}")
        if not value:
            raise InvalidArgument(f"host directory cannot be empty: {_NO_ARGUMENT}")
        self.source = value

    def _access(self, name: str, value: str, given: bool) -> None:
        self._once_of("'readonly', 'ro', or 'rw' options")
        wanted = value.lower() if given else "true"
        if wanted not in ("true", "false"):
            raise InvalidArgument("'readonly', 'ro', or 'rw' must be set to true or false, instead received "
                                  f"{quote(value)}: {_NO_ARGUMENT}")
        writable = name == "rw"
        if wanted == "true":
            self.options.append("rw" if writable else "ro")
        elif writable:   # the opposite of ro is the default
            self.options.append("ro")

    def _bind_field(self, name: str, value: str, given: bool) -> None:
        if name == "relabel":
            self._once_of("'relabel' option")
            if value not in ("private", "shared"):
                raise InvalidArgument(f"relabel mount option must be 'private' or 'shared': {_BAD}")
            self.options.append("Z" if value == "private" else "z")
            return
        self._only_for("bind", name)
        if name == "bind-nonrecursive":
            self.options.append("bind")
            return
        if not given:
            raise InvalidArgument(f"{name}: {_NO_ARGUMENT}")
        if value not in PROPAGATIONS:
            raise InvalidArgument(f"invalid value {quote(f'{name}={value}')}")
        self.options.append(value)

    def _tmpfs_field(self, name: str, value: str, given: bool) -> None:
        self._only_for("tmpfs", name)
        if name in ("tmpcopyup", "notmpcopyup"):
            self._once_of("'tmpcopyup' and 'notmpcopyup' options")
            self.options.append(name)
            return
        if not given:
            raise InvalidArgument(f"{name}: {_NO_ARGUMENT}")
        self.options.append(f"{name.removeprefix('tmpfs-')}={value}")

    def _volume_field(self, field: str, name: str) -> None:
        self._only_for("volume", name)
        if name == "volume-label":
            raise InvalidArgument("the --volume-label option is not presently implemented")
        option = field.partition("=")[2]
        if "=" not in option:
            raise InvalidArgument(f"cannot parse driver opts: {_BAD}")
        self.options.append(field)

    def _other(self, field: str, name: str) -> None:
        if name == "idmap":
            self.options.append(field)
        elif name == "no-dereference":
            raise InvalidArgument("the 'no-dereference' mount option is not available yet")
        elif name in ("nodev", "dev", "noexec", "exec", "nosuid", "suid", "noswap"):
            kind = name.removeprefix("no")
            self._once_of("'noswap' option" if name == "noswap" else f"'no{kind}' and '{kind}' options")
            self.options.append(name)
        elif name in PROPAGATIONS or name in ("z", "Z"):
            self.options.append(name)
        elif name != "consistency":   # Docker ignores it outside macOS; so does Podman
            raise InvalidArgument(f"{name}: {_BAD}")


def _argument(name: str, given: str, value: str) -> str:
    if not given:
        raise InvalidArgument(f"{name}: {_NO_ARGUMENT}")
    return value


def _is_true(value: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise InvalidArgument(f"'U' or 'chown' must be set to true or false, instead received {quote(value)}: {_NO_ARGUMENT}")
    return value.lower() != "false"


def _parse_devpts_mount(fields: Iterable[str]) -> Mount:
    destination = ""
    options: list[str] = []
    for field in fields:
        name, equals, value = field.partition("=")
        if name in ("target", "dst", "destination"):
            destination = clean_destination(_argument(name, equals, value))
        elif name in ("uid", "gid", "mode", "ptmxmode", "newinstance", "max"):
            options.append(field)
        else:
            raise InvalidArgument(f"{name}: {_BAD}")
    if not destination:
        raise InvalidArgument("must set volume destination")
    return Mount(kind="devpts", source="devpts", destination=destination, options=tuple(options))


def _parse_image_mount(fields: Iterable[str]) -> Mount:
    mount = Mount(kind="image", destination="")
    for field in fields:
        name, equals, value = field.partition("=")
        if name in ("src", "source"):
            mount = mount.replace(source=_argument(name, equals, value))
        elif name in ("target", "dst", "destination"):
            mount = mount.replace(destination=clean_destination(_argument(name, equals, value)))
        elif name in ("rw", "readwrite"):
            if value not in ("true", "false"):
                raise InvalidArgument(f"invalid rw value {quote(value)}: {_BAD}")
            mount = mount.replace(read_write=value == "true")
        elif name == "idmap":
            mount = mount.replace(idmap=value)
        elif name == "subpath":
            if not isabs(_argument(name, equals, value)):
                raise InvalidArgument(f"volume subpath {quote(value)} must be an absolute path")
            mount = mount.replace(subpath=value)
        elif name != "consistency":
            raise InvalidArgument(f"{name}: {_BAD}")
    if not mount.source or not mount.destination:
        raise InvalidArgument("must set source and destination for image volume")
    return mount


# --- all mounts of a container ----------------------------------------------------------------------------------------


def merge(*, volumes: Iterable[str] = (), mounts: Iterable[str] = (), tmpfs: Iterable[str] = (),
          image_volumes: Iterable[str] = (), cwd: str = "") -> tuple[Mount, ...]:
    """All ``--volume``, ``--mount`` and ``--tmpfs`` texts of a container, parsed, in this order, one for a destination.

    ``image_volumes`` are paths that an image declares; each becomes an anonymous volume where nothing else is mounted.
    InvalidArgument ("/b: duplicate mount destination") where two mounts with one destination differ.
    """
    decided: dict[str, Mount] = {}
    by_mount = [parse_mount(text, cwd=cwd) for text in mounts]
    for text in volumes:
        _add(decided, parse_volume(text, cwd=cwd))
    seen: set[str] = set()
    for mount in by_mount:
        if mount.destination in seen:
            raise InvalidArgument(f"{mount.destination}: duplicate mount destination")
        seen.add(mount.destination)
        _add(decided, mount)
    by_tmpfs: dict[str, Mount] = {}
    for text in tmpfs:
        _add(by_tmpfs, parse_tmpfs(text))
    for destination, mount in by_tmpfs.items():
        if decided.setdefault(destination, mount).kind != "tmpfs":
            raise InvalidArgument(f"{destination}: duplicate mount destination")
    for path in image_volumes:
        destination = clean_destination(path)
        decided.setdefault(destination, Mount(kind="volume", destination=destination))
    return tuple(decided.values())


def _add(decided: dict[str, Mount], mount: Mount) -> None:
    if decided.setdefault(mount.destination, mount) != mount:
        raise InvalidArgument(f"{mount.destination}: duplicate mount destination")


def complete_options(mount: Mount, *, source_flags: Iterable[str] = ("nosuid", "nodev")) -> tuple[str, ...]:
    """The mount options that result, in the order of Podman's ``inspect`` (``Binds``, ``Tmpfs``): ``rw,rprivate,rbind``.

    ``source_flags`` are those of noexec, nosuid, nodev that a bind mount's source is mounted with; volumes and tmpfs keep the
    default. Options with fields of their own (z, U, idmap, nocopy) are included as text, for inspect; a runtime wants neither
    them nor ``tmpcopyup``-less defaults, so that ``runtime.spec`` takes what it knows.
    """
    options = list(mount.options)
    options += [mount.relabel] if mount.relabel else []
    options += ["U"] if mount.chown else []
    options += [f"idmap={mount.idmap}" if mount.idmap else "idmap"] if mount.idmap is not None else []
    in_memory = mount.kind == "tmpfs"
    if not mount.copy_up and not in_memory:
        options.append("nocopy")
    said = set(options)
    options += [] if said & {"ro", "rw"} else ["rw"]
    options += [] if said & set(PROPAGATIONS) else ["private" if "bind" in said else "rprivate"]
    for flag in source_flags:
        options += [] if said & {flag, flag.removeprefix("no")} else [flag]
    if in_memory:
        options += ["tmpcopyup"] if mount.copy_up else []
    else:
        options += [] if said & {"bind", "rbind"} else ["rbind"]
    return tuple(options)

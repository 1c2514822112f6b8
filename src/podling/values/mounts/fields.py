"""``--mount type=bind,src=/a,dst=/b`` -> :class:`Mount`."""

from __future__ import annotations

from posixpath import isabs

from podling.errors import InvalidArgument
from podling.values.gotext import quote, split_csv
from podling.values.mounts.checks import (
    BAD_OPTION,
    NO_ARGUMENT,
    check_memory,
    check_volume_name,
    checked,
    clean_destination,
    host_path,
    with_options,
)
from podling.values.mounts.record import PROPAGATIONS, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_MOUNT_FORMAT = ("incorrect mount format: should be --mount type=<bind|glob|tmpfs|volume>,[src=<host-dir|volume-name>,]"
                 "target=<ctr-dir>[,options]")


def parse_mount(text: str, *, cwd: str = "") -> Mount:
    """One ``--mount``: comma-separated ``type=bind,src=/a,dst=/b,ro``; InvalidArgument in Podman's words.

    Types: bind, glob, volume, tmpfs, ramfs, devpts, image. Fields with commas stand in double quotes.
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
    if kind not in ("bind", "glob", "volume", "tmpfs", "ramfs"):
        if kind == "artifact":
            raise InvalidArgument(f"--mount type={kind} is not available yet")
        raise InvalidArgument(f"invalid filesystem type {quote(kind)}")
    if kind == "glob":
        return _MountFields("bind").read(fields).finish_glob(cwd)
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
            source = host_path(self.source or self.destination, cwd)
            self.options = checked(self.options)
        elif self.kind == "volume":
            source = self.source
            if source:
                check_volume_name(source)
        elif self.kind == "tmpfs":
            check_memory(self.options)
        mount = Mount(kind=self.kind, source=source, destination=self.destination, subpath=self.subpath)
        return with_options(mount, self.options)

    def finish_glob(self, cwd: str) -> Mount:
        """The mounts of all paths that match the source."""
        if not self.source:
            raise InvalidArgument("must set source of a glob mount")
        mount = Mount(kind="glob", source=host_path(self.source, cwd), destination=self.destination)
        return with_options(mount, checked(self.options))

    def _once(self, name: str, said: bool) -> None:
        if said:
            raise InvalidArgument(f"cannot pass {quote(name)} option more than once: {NO_ARGUMENT}")

    def _once_of(self, words: str) -> None:
        if words in self.said:
            raise InvalidArgument(f"cannot pass {words} more than once: {NO_ARGUMENT}")
        self.said.add(words)

    def _only_for(self, kind: str, name: str) -> None:
        if self.kind != kind:
            raise InvalidArgument(f"{quote(name)} option not supported for {quote(self.kind)} mount types")

    def _source(self, name: str, value: str, given: bool) -> None:
        if self.kind == "tmpfs":
            raise InvalidArgument(f"{quote(name)} option not supported for {quote(self.kind)} mount types")
        self._once(name, bool(self.source))
        if not given:
            raise InvalidArgument(f"{name}: {NO_ARGUMENT}")
        if not value:
            raise InvalidArgument(f"host directory cannot be empty: {NO_ARGUMENT}")
        self.source = value

    def _access(self, name: str, value: str, given: bool) -> None:
        self._once_of("'readonly', 'ro', or 'rw' options")
        wanted = value.lower() if given else "true"
        if wanted not in ("true", "false"):
            raise InvalidArgument("'readonly', 'ro', or 'rw' must be set to true or false, instead received "
                                  f"{quote(value)}: {NO_ARGUMENT}")
        writable = name == "rw"
        if wanted == "true":
            self.options.append("rw" if writable else "ro")
        elif writable:   # the opposite of ro is the default
            self.options.append("ro")

    def _bind_field(self, name: str, value: str, given: bool) -> None:
        if name == "relabel":
            self._once_of("'relabel' option")
            if value not in ("private", "shared"):
                raise InvalidArgument(f"relabel mount option must be 'private' or 'shared': {BAD_OPTION}")
            self.options.append("Z" if value == "private" else "z")
            return
        self._only_for("bind", name)
        if name == "bind-nonrecursive":
            self.options.append("bind")
            return
        if not given:
            raise InvalidArgument(f"{name}: {NO_ARGUMENT}")
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
            raise InvalidArgument(f"{name}: {NO_ARGUMENT}")
        self.options.append(f"{name.removeprefix('tmpfs-')}={value}")

    def _volume_field(self, field: str, name: str) -> None:
        self._only_for("volume", name)
        if name == "volume-label":
            raise InvalidArgument("the --volume-label option is not presently implemented")
        option = field.partition("=")[2]
        if "=" not in option:
            raise InvalidArgument(f"cannot parse driver opts: {BAD_OPTION}")
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
            raise InvalidArgument(f"{name}: {BAD_OPTION}")


def _argument(name: str, given: str, value: str) -> str:
    if not given:
        raise InvalidArgument(f"{name}: {NO_ARGUMENT}")
    return value


def _is_true(value: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise InvalidArgument(f"'U' or 'chown' must be set to true or false, instead received {quote(value)}: {NO_ARGUMENT}")
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
            raise InvalidArgument(f"{name}: {BAD_OPTION}")
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
                raise InvalidArgument(f"invalid rw value {quote(value)}: {BAD_OPTION}")
            mount = mount.replace(read_write=value == "true")
        elif name == "idmap":
            mount = mount.replace(idmap=value)
        elif name == "subpath":
            if not isabs(_argument(name, equals, value)):
                raise InvalidArgument(f"volume subpath {quote(value)} must be an absolute path")
            mount = mount.replace(subpath=value)
        elif name != "consistency":
            raise InvalidArgument(f"{name}: {BAD_OPTION}")
    if not mount.source or not mount.destination:
        raise InvalidArgument("must set source and destination for image volume")
    return mount

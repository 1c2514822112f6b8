"""Volumes: named directories that outlive containers.

A volume is a row and a directory ``<graphroot>/volumes/<name>/_data``. The directory is made before the row and moved aside
in the transaction that deletes the row, so that a listed volume is whole; where a power cut took one of the two, using the
volume makes the directory again. Data that has no row (of a lost database) is never deleted, and taken over by a new volume
of that name.

A volume of another file system (``--opt type=tmpfs``) is mounted while a container that has it is up; the last one that goes
down unmounts it. Which are up is told by their run directories, which die with a reboot, as mounts do.
"""

from __future__ import annotations

import os
import time

from podling import jsontext
from podling.database import IntegrityError
from podling.engine import names
from podling.engine.options import CreateVolumeOptions, RemoveOptions
from podling.engine.select import label_matches
from podling.engine.shapes import Struct, Time
from podling.errors import (
    AlreadyExists,
    InUse,
    InvalidArgument,
    NoSuchContainer,
    NoSuchVolume,
    NotFound,
    ProgramFailed,
    Unsupported,
)
from podling.linux import files, mounts, process
from podling.linux.trees import copy_content, size_of_content
from podling.model import Volume
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from podling.engine.engine import Engine
    from podling.values.mounts import Mount

DATA = "_data"
LOCAL_OPTIONS = ("device", "o", "type", "uid", "gid", "size", "inodes", "noquota", "copy", "nocopy")


# --- reading ----------------------------------------------------------------------------------------------------------


def exists(engine: Engine, name: str) -> bool:
    """Whether there is a volume of exactly this name."""
    return engine.database.row("SELECT 1 FROM volumes WHERE name = ?", name) is not None


def get_exactly(engine: Engine, name: str) -> Volume:
    """The volume of exactly this name; NoSuchVolume where there is none."""
    row = engine.database.row("SELECT record FROM volumes WHERE name = ?", name)
    if row is None:
        raise NoSuchVolume(f'no volume with name "{name}" found: no such volume')
    return _volume(row[0])


def get(engine: Engine, name: str) -> Volume:
    """The volume of this name or unambiguous beginning of a name; NoSuchVolume where there is none."""
    row = engine.database.row("SELECT record FROM volumes WHERE name = ?", name)
    if row is not None:
        return _volume(row[0])
    rows = engine.database.rows("SELECT record FROM volumes WHERE substr(name, 1, length(?1)) = ?1 LIMIT 2", name)
    if not name or not rows:
        raise NoSuchVolume(f'no volume with name "{name}" found: no such volume')
    if len(rows) > 1:
        raise InvalidArgument(f'more than one result for volume name "{name}": volume already exists',
                              hint="use its whole name")
    return _volume(rows[0][0])


def all_volumes(engine: Engine) -> list[Volume]:
    """Every volume, by name."""
    return [_volume(text) for (text,) in engine.database.rows("SELECT record FROM volumes ORDER BY name")]


def is_anonymous(engine: Engine, name: str) -> bool:
    """Whether a volume was made for one container without a name; False where there is none."""
    row = engine.database.row("SELECT record FROM volumes WHERE name = ?", name)
    return row is not None and _volume(row[0]).anonymous


def mount_count(engine: Engine, volume: Volume) -> int:
    """How many containers have the volume's own file system mounted; 0 for a plain directory."""
    return len(_users_up(engine, volume.name)) if needs_mount(volume.options) else 0


def _users_up(engine: Engine, name: str) -> list[str]:
    return [user for user in engine.containers.using_volume(name) if os.path.exists(engine.paths.run(user))]


def _volume(text: str) -> Volume:
    return Volume.from_json(jsontext.loads(text))


# --- create -----------------------------------------------------------------------------------------------------------


def create(engine: Engine, options: CreateVolumeOptions) -> Volume:
    """Make a volume. AlreadyExists where the name is taken, unless ``ignore``: then the one that is there is answered."""
    name = options.name or names.random_id()
    if not is_name(name):
        raise InvalidArgument("running volume create option: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")
    said, uid, gid = decide_options(options)
    with engine.lock("volume", name).exclusive():
        row = engine.database.row("SELECT record FROM volumes WHERE name = ?", name)
        if row is not None:
            if options.ignore:
                return _volume(row[0])
            raise AlreadyExists(f"volume with name {name} already exists: volume already exists",
                                hint=f"choose another name, or remove it with 'podling volume rm {name}'")
        directory = f"{engine.paths.volumes}/{name}"
        volume = Volume(name=name, driver="local", mountpoint=f"{directory}/{DATA}", created=time.time_ns(),
                        labels=dict(options.labels), options=said, anonymous=options.anonymous, uid=uid, gid=gid)
        _make_directory(engine, volume)
        engine.database.run("INSERT INTO volumes (name, created, record) VALUES (?, ?, ?)", name, volume.created,
                            jsontext.dumps(volume))
    return volume


def ensure(engine: Engine, options: CreateVolumeOptions) -> bool:
    """Make the volume unless it is there; True if it was made here and now, and nobody else has it."""
    try:
        create(engine, options)
    except AlreadyExists:
        return False
    return True


def _make_directory(engine: Engine, volume: Volume) -> None:
    os.makedirs(engine.paths.volumes, 0o701, exist_ok=True)
    for path, mode in ((os.path.dirname(volume.mountpoint), 0o700), (volume.mountpoint, 0o755)):
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            continue
        os.chmod(path, mode)                     # whatever the umask
    if volume.uid or volume.gid:
        os.chown(volume.mountpoint, volume.uid, volume.gid)


def is_name(text: str) -> bool:
    """Whether a text can be a volume's name; none leads out of its directory."""
    return text.isascii() and text[:1].isalnum() and all(letter.isalnum() or letter in "_.-" for letter in text)


def decide_options(options: CreateVolumeOptions) -> tuple[dict[str, str], int, int]:
    """(options as they are stored and shown, uid, gid) of what was said; what cannot work is refused."""
    if options.driver not in ("", "local"):
        raise Unsupported(f"volume driver {options.driver} is not available in podling yet", hint="leave out --driver")
    said = dict(options.options)
    for key, value in said.items():
        if key.lower() not in LOCAL_OPTIONS:
            raise InvalidArgument(f"invalid mount option {key} for driver 'local': invalid argument",
                                  hint="the local driver's options are type, device and o")
        if key.lower() == "device" and said.get("type", "").lower() == "bind" and not os.path.exists(value):
            raise NotFound(f"invalid volume option {key} for driver 'local': stat {value}: no such file or directory")
    uid, gid = options.uid, options.gid
    for word in said.get("o", "").split(","):
        key, _, value = word.partition("=")
        key = key.lower()
        if key in ("uid", "gid"):
            number = _owner(key, value)
            said[key.upper()] = value
            uid, gid = (number, gid) if key == "uid" else (uid, number)
        elif key in ("size", "inodes") and said.get("type"):
            said[key.upper()] = value
        elif key in ("size", "inodes"):
            raise Unsupported("volume options size and inodes not supported: project quotas are not available in podling yet",
                              hint="--opt type=tmpfs --opt device=tmpfs --opt o=size=... gives a bounded volume in memory")
    if needs_mount(said) and not said.get("type") and not said.get("device"):
        raise InvalidArgument("volume option o for driver 'local' needs a type or a device: invalid argument")
    return said, uid, gid


def _owner(key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) < 2**32 - 1):
        raise InvalidArgument(f"cannot convert {key.upper()} {value} to integer: invalid argument")
    return int(value)


def needs_mount(options: dict[str, str]) -> bool:
    """Whether a volume with these options is a file system of its own: anything beyond an owner in ``o``."""
    rest = {word for word in options.get("o", "").split(",") if word and word.partition("=")[0].lower() not in ("uid", "gid")}
    return bool(rest or options.get("type") or options.get("device"))


# --- use by a container -----------------------------------------------------------------------------------------------


def use(engine: Engine, mount: Mount, rootfs: str, owner: Callable[[], tuple[int, int]] | None = None) -> str:
    """The host directory of a container's volume, mounted and filled as it must be; the container's run directory exists.

    ``rootfs`` is the container's mounted root, ``owner`` gives uid and gid of its user, for a volume that is mounted where
    the image has nothing. Idempotent; :func:`release` takes it back.
    """
    volume = get_exactly(engine, mount.source)
    if needs_mount(volume.options):
        with engine.lock("volume", volume.name).exclusive():
            _make_directory(engine, volume)
            if not mounts.is_mounted(volume.mountpoint):
                _mount_file_system(volume)
    elif not os.path.isdir(volume.mountpoint):
        _make_directory(engine, volume)
    if not volume.filled:
        fill(engine, volume, files.resolve_in_root(rootfs, mount.destination), copy=mount.copy_up, owner=owner)
    return volume.mountpoint


def release(engine: Engine, name: str, container_id: str) -> None:
    """The container is down and needs the volume no longer; the last one unmounts its file system. Idempotent."""
    row = engine.database.row("SELECT record FROM volumes WHERE name = ?", name)
    if row is None:
        return
    volume = _volume(row[0])
    if not needs_mount(volume.options):
        return
    with engine.lock("volume", name).exclusive():
        if not [user for user in _users_up(engine, name) if user != container_id]:
            mounts.unmount(volume.mountpoint, lazy=True)


def _mount_file_system(volume: Volume) -> None:
    """Mount by the mount program, whose reading of options and helpers (nfs, cifs) the kernel's call does not have."""
    kind, said = volume.options.get("type", ""), volume.options.get("o", "")
    device = volume.options.get("device", "") or kind
    argv = ["mount"]
    if said:
        argv += ["-o", said]
    if kind == "bind":
        argv += ["-o", "bind"]
    elif kind:
        argv += ["-t", kind]
    try:
        process.run([*argv, "--", device, volume.mountpoint])
    except ProgramFailed as error:
        words = error.output.strip().partition("\n")[0] or error.message     # the rest of it points to dmesg
        raise ProgramFailed(f"mounting volume {volume.name}: {words}", argv=error.argv, status=error.status,
                            output=error.output) from None


def fill(engine: Engine, volume: Volume, source: str, *, copy: bool = True,
         owner: Callable[[], tuple[int, int]] | None = None) -> Volume:
    """On a volume's first use: the owner, mode and content of an image's directory.

    ``source`` is that directory on the host, symbolic links resolved beneath the container's root; it may be missing, then
    the volume belongs to ``owner`` (uid, gid of the container's user). With ``copy`` False only owner and mode are taken
    over; a volume with content is left as it is. The volume must be mounted. Happens once: a second call changes nothing.
    Crash-safe: the copy is made aside and takes the volume's place in one step.
    """
    if volume.filled:
        return volume
    with engine.lock("volume", volume.name).exclusive():
        volume = get_exactly(engine, volume.name)   # another container may have been quicker
        if volume.filled:
            return volume
        if not os.listdir(volume.mountpoint):
            _fill(volume, source, copy, owner)
        return _save(engine, volume.replace(filled=True))


def _fill(volume: Volume, source: str, copy: bool,
          owner: Callable[[], tuple[int, int]] | None) -> None:
    try:
        source_fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        if owner is not None and not _has_owner(volume):
            os.chown(volume.mountpoint, *owner())
        return
    try:
        mounted = needs_mount(volume.options)
        aside = volume.mountpoint if mounted else volume.mountpoint + ".new"
        if not mounted:
            files.remove_tree(aside)             # of an attempt that was cut short
            os.mkdir(aside, 0o700)
        target_fd = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            copy_content(source_fd, target_fd, content=copy)
            if _has_owner(volume):
                os.fchown(target_fd, volume.uid, volume.gid)
        finally:
            os.close(target_fd)
        if not mounted:
            os.rename(aside, volume.mountpoint)  # over the empty directory
    finally:
        os.close(source_fd)


def _has_owner(volume: Volume) -> bool:
    """Whether the user said who owns the volume."""
    return bool(volume.uid or volume.gid) or "UID" in volume.options or "GID" in volume.options


def _save(engine: Engine, volume: Volume) -> Volume:
    engine.database.run("UPDATE volumes SET record = ? WHERE name = ?", jsontext.dumps(volume), volume.name)
    return volume


# --- remove -----------------------------------------------------------------------------------------------------------


def remove(engine: Engine, name: str, *, force: bool = False, timeout: float | None = None) -> list[str]:
    """Remove a volume and its data; the full ids of the containers that ``force`` removed with it.

    InUse while a container uses it, unless ``force``. ``timeout``: seconds a container is given to stop.
    """
    volume = get(engine, name)
    removed: list[str] = []
    for container_id in engine.containers.using_volume(volume.name) if force else ():
        from podling.engine.remove import remove as remove_container

        try:
            remove_container(engine, engine.containers.get(container_id), RemoveOptions(force=True, timeout=timeout))
        except NoSuchContainer:
            continue                             # another command removed it meanwhile
        removed.append(container_id)
    with engine.lock("volume", volume.name).exclusive() as held:
        aside = _remove_row(engine, volume)
        held.remove()
    if aside:
        files.remove_tree(aside)
    return removed


def _remove_row(engine: Engine, volume: Volume) -> str | None:
    """Delete the row and move the directory aside, both or neither; where the directory went (None: there was none)."""
    directory, aside = os.path.dirname(volume.mountpoint), None
    files.make_directories(_rubbish(engine), 0o700)
    try:
        with engine.database.transaction():
            _delete_row(engine, volume)
            if needs_mount(volume.options):
                mounts.unmount(volume.mountpoint, lazy=True)
            aside = files.aside(directory, _rubbish(engine))
    except BaseException:
        if aside is not None:                    # the row could not be written, for example on a full disk
            os.rename(aside, directory)
        raise
    return aside


def _delete_row(engine: Engine, volume: Volume) -> None:
    try:
        changed = engine.database.run("DELETE FROM volumes WHERE name = ?", volume.name)
    except IntegrityError:
        users = ", ".join(engine.containers.using_volume(volume.name))
        raise InUse(f"volume {volume.name} is being used by the following container(s): {users}: volume is being used",
                    hint="remove the containers first, or use 'podling volume rm --force'") from None
    if not changed:
        raise NoSuchVolume(f'no volume with name "{volume.name}" found: no such volume')


def _rubbish(engine: Engine) -> str:
    return engine.paths.volumes + "/.removed"    # no volume's name begins with a dot


def collect(engine: Engine) -> None:
    """Delete what removals that were cut short left behind."""
    rubbish = _rubbish(engine)
    try:
        left = os.listdir(rubbish)
    except FileNotFoundError:
        return
    for name in left:
        files.remove_tree(f"{rubbish}/{name}")


def prune(engine: Engine, filters: dict[str, tuple[str, ...]]) -> list[tuple[str, int]]:
    """Remove the volumes that no container uses and that match; (name, bytes freed) of each."""
    pruned = []
    for volume in list_volumes(engine, {**filters, "dangling": ("true",)}):
        size = disk_usage(volume)
        try:
            remove(engine, volume.name)
        except (InUse, NoSuchVolume):
            continue                             # another command took or removed it meanwhile
        pruned.append((volume.name, size))
    return pruned


def disk_usage(volume: Volume) -> int:
    """Bytes of the files in a volume."""
    try:
        directory_fd = os.open(volume.mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return size_of_content(directory_fd)
    finally:
        os.close(directory_fd)


def inspect_volume(engine: Engine, volume: Volume) -> Struct:
    """A volume in the shape of Podman's JSON."""
    owned = {"UID": volume.uid, "GID": volume.gid, "Anonymous": volume.anonymous}
    left = {"NeedsCopyUp": not volume.filled, "NeedsChown": not volume.filled and not _has_owner(volume)}
    return Struct({
        "Name": volume.name, "Driver": volume.driver, "Mountpoint": volume.mountpoint, "CreatedAt": Time(volume.created),
        "Labels": dict(sorted(volume.labels.items())), "Scope": "local", "Options": dict(sorted(volume.options.items())),
        **{name: value for name, value in owned.items() if value}, "MountCount": mount_count(engine, volume),
        **{name: value for name, value in left.items() if value}, "LockNumber": 0,
    })


# --- which volumes ----------------------------------------------------------------------------------------------------


def list_volumes(engine: Engine, filters: dict[str, tuple[str, ...]]) -> list[Volume]:
    """The volumes that match every filter, by name. Of a filter's values one must match; of labels and options all."""
    volumes = all_volumes(engine)
    for name, values in filters.items():
        matches = _matcher(engine, name, values)
        volumes = [volume for volume in volumes if matches(volume)]
    return volumes


def _matcher(engine: Engine, name: str, values: tuple[str, ...]) -> Callable[[Volume], bool]:
    """The test of one filter."""
    match name:
        case "name":
            patterns = _patterns(values)
            return lambda volume: any(pattern.search(volume.name) for pattern in patterns)
        case "driver":
            return lambda volume: volume.driver in values
        case "scope":
            return lambda _: "local" in values
        case "label":
            return lambda volume: all(label_matches(volume.labels, value) for value in values)
        case "label!":
            return lambda volume: not any(label_matches(volume.labels, value) for value in values)
        case "opt":
            return lambda volume: all(label_matches(volume.options, value) for value in values)
        case "until":
            return _until(values)
        case "since" | "after":
            since = max(get_exactly(engine, value).created for value in values)
            return lambda volume: volume.created > since
        case "dangling":
            dangling = _truth(name, values)
            used = {used for (used,) in engine.database.rows("SELECT DISTINCT volume FROM container_volumes")}
            return lambda volume: (volume.name not in used) in dangling
        case "anonymous":
            anonymous = _truth(name, values)
            return lambda volume: volume.anonymous in anonymous
    raise InvalidArgument(f'"{name}" is an invalid volume filter',
                          hint="the filters are: " + ", ".join(FILTERS))


FILTERS = ("after", "anonymous", "dangling", "driver", "label", "label!", "name", "opt", "scope", "since", "until")


def _patterns(values: tuple[str, ...]) -> list[re.Pattern[str]]:
    import re

    try:
        return [re.compile(value) for value in values]
    except re.error as error:
        raise InvalidArgument(f"invalid name filter: {error}") from None


def _until(values: tuple[str, ...]) -> Callable[[Volume], bool]:
    if len(values) != 1:
        raise InvalidArgument("specify exactly one timestamp for until")
    limit = units.parse_time(values[0], now=time.time_ns())
    return lambda volume: volume.created < limit


def _truth(name: str, values: tuple[str, ...]) -> set[bool]:
    known = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    for value in values:
        if value.lower() not in known:
            raise InvalidArgument(f'"{value}" is not a valid value for the "{name}" filter - must be true or false')
    return {known[value.lower()] for value in values}

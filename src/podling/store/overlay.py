"""The root file systems of containers: an overlay of an image's layers, with a writable directory on top.

    <graphroot>/containers/<id>/upper, work, merged      the container's own
    <graphroot>/containers/<id>/images/<number>/...      the same for images that are mounted into it

The driver "vfs" copies the layers instead, into ``merged``; it is for file systems that cannot carry an overlay. A mount program
(fuse-overlayfs) makes the overlay where the kernel does not let this user.
"""

from __future__ import annotations

import errno
import os

from podling.errors import InvalidArgument, PodlingError
from podling.linux import mounts
from podling.linux.files import aside, make_directories, read_bytes, remove_tree, unique_name, write_atomic
from podling.linux.locks import Lock
from podling.record import Record
from podling.store.layers import ROOT_MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from podling.linux.locks import Held
    from podling.store.mapped import Maps

DRIVERS = ("overlay", "vfs")
# What a container changes must be told from its upper directory alone, whatever the kernel's defaults are; and an upper
# directory may get other lowers (an image mounted elsewhere, a store moved), which index=on refuses.
_FIXED = ("index=off", "redirect_dir=off", "metacopy=off")
_FIXED_FOR_USERS = ("userxattr", "index=off")    # the other two are off with it, and the kernel refuses to be told so
_STEERING = ("index", "redirect_dir", "metacopy", "lowerdir", "upperdir", "workdir", "userxattr")


class Driver(Record):
    """How root file systems are made. ``userxattr``: the kernel's overlay keeps its marks in attributes that users may set."""

    name: str = "overlay"
    mount_program: str = ""
    userxattr: bool = False


class Places(Record):
    """The directories of one file system."""

    upper: str
    work: str
    merged: str


class ContainerFilesystems:
    """The root file systems in one graph root."""

    def __init__(self, graphroot: str, *, driver: str = "overlay", mount_options: str = "", userxattr: bool = False,
                 mount_program: str = "") -> None:
        """``mount_options``: as ``mountopt`` of storage.conf, for all mounts. ``userxattr``, ``mount_program``: see :class:`Driver`."""
        self.graphroot = graphroot
        self.mount_program = mount_program
        self.driver = driver or "overlay"
        if self.driver not in DRIVERS:
            raise InvalidArgument(f"storage driver {driver!r} is not supported", hint=f"use one of {', '.join(DRIVERS)}")
        words = [word for word in mount_options.split(",") if word and word.partition("=")[0] not in _STEERING]
        self._options = (*words, *(_FIXED_FOR_USERS if userxattr else _FIXED))

    def directory(self, container_id: str) -> str:
        """What a container has in the graph root."""
        return f"{self.graphroot}/containers/{container_id}"

    def places(self, container_id: str) -> Places:
        """The directories of a container's root file system, whether they exist or not."""
        return _places(self.directory(container_id))

    # --- making and removing ------------------------------------------------------------------------------------------

    def making(self) -> Held:
        """``with filesystems.making():`` around directory and row of a new container: garbage collection waits meanwhile."""
        make_directories(f"{self.graphroot}/locks", 0o700)
        return Lock(f"{self.graphroot}/locks/containers").shared()

    def make(self, container_id: str) -> None:
        """The directory of a new container; its upper directory is made when it is first mounted."""
        make_directories(f"{self.graphroot}/containers", 0o700)
        os.mkdir(self.directory(container_id), 0o700)

    def remove(self, container_id: str) -> None:
        """Unmount and delete what a container has here; nothing, where it has nothing."""
        path = self.directory(container_id)
        if not os.path.lexists(path):
            return
        mounts.unmount_all(path)
        rubbish = f"{self.graphroot}/rubbish"
        make_directories(rubbish, 0o700)
        moved = aside(path, rubbish)
        if moved is not None:
            remove_tree(moved)

    # --- mounting -----------------------------------------------------------------------------------------------------

    def mount(self, container_id: str, lowers: Sequence[str], *, read_only: bool = False, options: Sequence[str] = (),
              maps: Maps | None = None) -> str:
        """Mount a container's root file system (``lowers`` topmost first) and return where; if it is mounted, just that.

        ``options`` are more mount options, such as "volatile". ``read_only``: nothing can be changed, also by whom may.
        ``maps``: the owners are those that the container's user namespace gives them.
        """
        return self._mount(self.directory(container_id), lowers, read_only=read_only, options=options, maps=maps)

    def unmount(self, container_id: str) -> bool:
        """Unmount a container's root file system, also while somebody uses it; False if it was not mounted."""
        return mounts.unmount(self.places(container_id).merged, lazy=True)

    def mount_image(self, container_id: str, number: int, lowers: Sequence[str], *, writable: bool = False,
                    maps: Maps | None = None) -> str:
        """Mount an image for a container's mount of this number; what is written there lasts as long as the container."""
        directory = self._image_directory(container_id, number)
        make_directories(directory, 0o700)
        return self._mount(directory, lowers, read_only=not writable, maps=maps)

    def unmount_image(self, container_id: str, number: int) -> bool:
        """Unmount such an image; False if it was not mounted."""
        return mounts.unmount(_places(self._image_directory(container_id, number)).merged, lazy=True)

    def discard_image(self, container_id: str, number: int) -> None:
        """Unmount such an image and remove what was written to it. Idempotent."""
        self.unmount_image(container_id, number)
        remove_tree(self._image_directory(container_id, number))

    def _image_directory(self, container_id: str, number: int) -> str:
        return f"{self.directory(container_id)}/images/{number}"

    def _mount(self, directory: str, lowers: Sequence[str], *, read_only: bool, options: Sequence[str] = (),
               maps: Maps | None = None) -> str:
        places = _places(directory)
        if not os.path.isdir(directory):
            raise PodlingError(f"mounting {places.merged}: {directory} does not exist")
        if self.driver == "vfs":
            return self._copy(directory, lowers, read_only=read_only, maps=maps)
        if mounts.is_mounted(places.merged):
            return places.merged
        try:
            for path in (places.merged, places.work):
                make_directories(path, 0o700)
            remove_tree(f"{places.work}/work/incompat")  # what a volatile mount leaves after a crash, to forbid the next one
            if not os.path.isdir(places.upper):
                _make_upper(places.upper, lowers, maps)
            if maps is None:
                self._overlay(directory, lowers, read_only=read_only, options=options)
            else:
                from podling.store.mapped import MappedLayers  # for containers with ids of their own alone

                with MappedLayers(self.graphroot, directory, lowers, maps, copied=bool(self.mount_program)) as mapped:
                    self._overlay(directory, mapped, read_only=read_only, options=options)
        except OSError as error:
            raise PodlingError(f"mounting {places.merged}") from error
        return places.merged

    def _overlay(self, directory: str, lowers: Sequence[str], *, read_only: bool, options: Sequence[str]) -> None:
        places, words = _places(directory), (*self._options, *options)
        if self.mount_program:
            upper = () if read_only else (f"upperdir={escape(places.upper)}", f"workdir={escape(places.work)}")
            self._run_program(places.merged, [places.upper, *lowers] if read_only else list(lowers) or [_empty(directory)], upper)
        elif read_only:                         # the upper directory still comes first: it has the root's attributes
            mounts.overlay(places.merged, lowers=[places.upper, *lowers], options=(*words, "ro"))
        else:
            mounts.overlay(places.merged, lowers=list(lowers) or [_empty(directory)], upper=places.upper, work=places.work,
                           options=words)

    def _run_program(self, merged: str, lowers: Sequence[str], upper: Sequence[str]) -> None:
        """An overlay by fuse-overlayfs, which stays as a process of its own until it is unmounted."""
        from podling.linux import process

        words = [word for word in self._options if word in ("nodev", "nosuid", "noexec", "noatime")]
        text = ",".join((*words, "lowerdir=" + ":".join(map(escape, lowers)), *upper))
        done = process.run([self.mount_program, "-o", text, merged], check=False, timeout=60)
        if done.status != 0 or not mounts.is_mounted(merged):
            said = done.stderr.decode(errors="replace").strip()
            raise PodlingError(f"mounting {merged} with {self.mount_program}: {said or process.describe_status(done.status)}")

    @staticmethod
    def _copy(directory: str, lowers: Sequence[str], *, read_only: bool, maps: Maps | None) -> str:
        """The whole tree, copied once; ``copied`` remembers how large it was."""
        from podling.store.copying import copy_layers  # no other driver needs it

        merged = _places(directory).merged
        if not os.path.isdir(merged):
            temporary = f"{merged}.{unique_name()}"
            try:
                size = copy_layers(lowers, temporary, owner=maps.owner if maps else None)
                write_atomic(f"{directory}/copied", b"%d" % size)
                os.rename(temporary, merged)
            finally:
                remove_tree(temporary)
        if read_only and not mounts.is_mounted(merged):
            mounts.bind(merged, merged, recursive=False, read_only=True)
        return merged

    # --- sizes --------------------------------------------------------------------------------------------------------

    def size(self, container_id: str) -> int:
        """Bytes of the files that a container has written; a file with several names counts once.

        With the driver vfs only how much larger its tree has become.
        """
        if self.driver != "vfs":
            return tree_size(self.places(container_id).upper)
        try:
            copied = int(read_bytes(f"{self.directory(container_id)}/copied"))
        except FileNotFoundError:
            return 0
        return max(0, tree_size(self.places(container_id).merged) - copied)


def escape(path: str) -> str:
    r"""A path within the options of a mount: backslashes, colons and commas are told from separators."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _places(directory: str) -> Places:
    return Places(upper=f"{directory}/upper", work=f"{directory}/work", merged=f"{directory}/merged")


def _empty(directory: str) -> str:
    """A lower directory for an image without layers."""
    path = f"{directory}/empty"
    make_directories(path, 0o755)
    return path


def _make_upper(path: str, lowers: Sequence[str], maps: Maps | None) -> None:
    """The upper directory, which gives the root its attributes: those of the topmost layer whose tar describes the root."""
    status = _root_status(lowers)
    temporary = f"{path}.{unique_name()}"
    os.mkdir(temporary, 0o755)
    if status is not None:
        os.chown(temporary, status.st_uid, status.st_gid)
        os.chmod(temporary, status.st_mode & 0o7777)
        os.utime(temporary, ns=(status.st_mtime_ns, status.st_mtime_ns))
    else:
        os.chmod(temporary, 0o755)              # whatever the umask says
    if maps is not None:
        found = os.stat(temporary)
        os.chown(temporary, *maps.owner(found.st_uid, found.st_gid))
        os.chmod(temporary, found.st_mode & 0o7777)
    os.rename(temporary, path)


def _root_status(lowers: Sequence[str]) -> os.stat_result | None:
    for lower in lowers:
        layer = os.path.dirname(lower)
        if not os.path.lexists(f"{layer}/tar-split") or os.path.lexists(f"{layer}/{ROOT_MARK}"):
            return os.stat(lower)               # a layer of another engine has the right attributes always
    return None


def tree_size(path: str) -> int:
    """Bytes of the files in a tree; 0 where there is none. A file with several names counts once."""
    total = 0
    seen: set[int] = set()
    todo = [path]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        if status.st_nlink > 1:
                            if status.st_ino in seen:
                                continue
                            seen.add(status.st_ino)
                        total += status.st_size
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise                           # not just removed meanwhile
    return total

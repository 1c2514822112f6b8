"""Members of an archive become files beneath one directory, whatever the archive says.

Every name is taken apart here: it is made relative, ``..`` that leads out is Corrupt, and each directory on the way is opened
by itself, without following links, from a descriptor of the directory above. Where the archive itself has put a link in the
way, the link is followed as if the root were "/".

Small files dominate, so a file costs as few system calls as it can: open, write, utimensat, close, and chown or chmod only
where open has not done it already.
"""

from __future__ import annotations

import errno
import os

from podling.errors import Corrupt, PodlingError, Unsupported
from podling.linux.files import open_beneath, remove_tree
from podling.record import Record
from podling.store.archive import headers
from podling.store.archive.directories import Directories
from podling.store.archive.headers import Entry, device_number
from podling.store.archive.paths import META, OPAQUE, WHITEOUT, as_text, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KIND, _DIR, _REG, _LNK, _CHR, _BLK = 0o170000, 0o040000, 0o100000, 0o120000, 0o020000, 0o060000
_SETTLE = 100_000                            # directories whose times are remembered at once
_IGNORED_XATTRS = (b"security.selinux",)     # as Podman: the label belongs to the host
_PRIVATE_XATTRS = (b"trusted.overlay.", b"user.overlay.")  # overlay's own; in a layer they would steer the mount


class UnpackOptions(Record):
    """How an archive is unpacked.

    ``whiteouts``: ``.wh.`` names become what overlay understands instead of files of that name. ``userxattr``: overlay's marks
    are ``user.overlay.*``, for mounts without privilege. ``max_bytes`` (of the uncompressed archive) and ``max_entries``:
    more is Corrupt. ``skip_devices``: device nodes are left out, as Podman does in a user namespace. ``ids``: the (uid, gid) that
    files get for those in the archive.
    """

    whiteouts: bool = True
    userxattr: bool = False
    max_bytes: int | None = None
    max_entries: int | None = None
    skip_devices: bool = False
    ignore_chown_errors: bool = False
    ids: Callable[[int, int], tuple[int, int]] | None = None


class Extractor:
    """Makes files, directories and links beneath ``root_fd``.

    ``keep_fd`` is an empty directory on the same file system for what a later entry of the same archive replaces; without it
    (-1) what is in the way is deleted.
    """

    def __init__(self, root_fd: int, options: UnpackOptions, keep_fd: int = -1) -> None:
        self.root_fd = root_fd
        self.options = options
        self.keep_fd = keep_fd
        self.directories = Directories(root_fd)
        self.size = 0                        # bytes of the files made
        self.missing: set[bytes] = set()     # directories that the archive did not describe (yet)
        self.has_root = False                # the archive describes the root
        self.skipped: list[bytes] = []       # device nodes left out
        self.replaced: list[tuple[int, bytes, bytes]] = []
        self.resolved: list[tuple[int, bytes]] = []
        self.kept: list[tuple[int, bytes]] = []
        self._uid, self._gid = os.geteuid(), os.getegid()
        self._umask = _umask()
        self._fresh = keep_fd >= 0           # the tree is ours alone: a new file has our ids and just the mode we ask for
        self._times: dict[bytes, tuple[int | None, int | None]] = {}     # directory -> (mtime, mode if it is set-group-id)
        self._settled = False                # some directories have their times
        self._cleared = False                # some directory was replaced
        self._index = 0

    # --- names --------------------------------------------------------------------------------------------------------

    def place(self, entry: Entry) -> tuple[int, bytes, bytes]:
        """(descriptor of the directory, last name, whole path) for an entry; made where missing. The root: (root, b"", b"")."""
        self._index = entry.index
        path = clean(entry.name)
        if not path:
            if entry.kind != headers.DIRECTORY:
                raise Corrupt(f"archive: {as_text(entry.name)!r}: the root can only be a directory")
            return self.root_fd, b"", b""
        parent, _, base = path.rpartition(b"/")
        try:
            return self.directories.fd(parent), base, path
        except (FileNotFoundError, NotADirectoryError):
            fd, real = self._make_way(parent, entry)
        if real != parent:
            path = real + b"/" + base if real else base
            if self.keep_fd >= 0 and entry.size:
                self.resolved.append((entry.index, path))
        return fd, base, path

    def _make_way(self, path: bytes, entry: Entry) -> tuple[int, bytes]:
        """Open a directory some part of which is missing, a link, or hidden by a whiteout: (descriptor, path without links)."""
        real = b""
        fd = self.root_fd
        for part in path.split(b"/"):
            if self.options.whiteouts and part.startswith(WHITEOUT):
                raise Corrupt(f"archive: {as_text(entry.name)}: a whiteout is no directory")
            here = real + b"/" + part if real else part
            try:
                fd = self.directories.fd(here)
            except FileNotFoundError:
                self._make_directory(self.directories.fd(real), part, here)
                fd = self.directories.fd(here)
            except NotADirectoryError:
                fd, here = self._through(self.directories.fd(real), part, here, entry)
            real = here
        return fd, real

    def _make_directory(self, parent: int, name: bytes, path: bytes) -> None:
        """A directory that the archive has not described; it may do so later."""
        limit = self.options.max_entries
        if limit is not None and len(self.missing) >= limit:
            raise Corrupt(f"archive: more than the {limit} directories that are allowed")
        self.touch(parent, path)
        os.mkdir(name, 0o755, dir_fd=parent)
        if self._umask & 0o755 or not self._fresh:
            os.fchmod(self.directories.fd(path), 0o755)
        self.missing.add(path)
        self._remember(path, None)

    def _through(self, parent: int, name: bytes, path: bytes, entry: Entry) -> tuple[int, bytes]:
        """A part of a path that is no directory: a whiteout gives way to one that hides the same, a link is followed inside."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if self.options.whiteouts and _is_whiteout(found):
            os.unlink(name, dir_fd=parent)
            self._make_directory(parent, name, path)
            fd = self.directories.fd(path)
            self._mark_opaque(fd)
            return fd, path
        if found.st_mode & _KIND != _LNK:
            raise Corrupt(f"archive: {as_text(entry.name)}: {as_text(path)} is not a directory")
        try:
            fd = open_beneath(self.root_fd, os.fsdecode(path), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Corrupt(f"archive: {as_text(entry.name)}: {as_text(path)} is a link to no directory of it") from error
        try:
            real = self._path_of(fd)
            return self.directories.fd(real), real
        finally:
            os.close(fd)

    def _path_of(self, fd: int) -> bytes:
        """The path of an open directory beneath the root."""
        root = os.readlink(b"/proc/self/fd/%d" % self.root_fd)
        path = os.readlink(b"/proc/self/fd/%d" % fd)
        if path == root:
            return b""
        prefix = root.rstrip(b"/") + b"/"
        if not path.startswith(prefix):
            raise Corrupt(f"archive: a directory moved out of {as_text(root)} while it was unpacked")
        return path[len(prefix):]

    # --- members ------------------------------------------------------------------------------------------------------

    def open_file(self, parent: int, name: bytes, path: bytes, entry: Entry) -> int:
        """A new empty file, open for writing; :meth:`close_file` gives it its attributes."""
        self.size += entry.real_size
        try:
            return os.open(name, _CREATE, entry.mode & 0o777, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name, path)
        return os.open(name, _CREATE, entry.mode & 0o777, dir_fd=parent)

    def close_file(self, fd: int, entry: Entry) -> None:
        """Owner, mode, extended attributes, time: in this order, because each of the first two takes the next away."""
        try:
            mode = entry.mode
            if entry.uid != self._uid or entry.gid != self._gid or not self._fresh:
                self._chown(fd, entry)
                if mode & 0o7000 or mode & self._umask or not self._fresh:
                    os.fchmod(fd, mode)
            elif mode & 0o7000 or mode & self._umask:
                os.fchmod(fd, mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs)
            mtime = entry.mtime
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def _chown(self, fd: int, entry: Entry) -> None:
        try:
            os.chown(fd, entry.uid, entry.gid)
        except OSError as error:
            self._chown_failed(error, entry)

    def _chown_failed(self, error: OSError, entry: Entry) -> None:
        if self.options.ignore_chown_errors:
            return
        if error.errno == errno.EINVAL:
            raise PodlingError(f"potentially insufficient UIDs or GIDs available in user namespace (requested {entry.uid}:"
                               f"{entry.gid} for /{as_text(entry.name)}): Check /etc/subuid and /etc/subgid if configured "
                               "locally") from error
        raise error

    def _set_xattrs(self, target: int | bytes, xattrs: dict[bytes, bytes], *, follow: bool = True) -> None:
        """Extended attributes; what the file system or the kernel does not let us set is left out, as by Podman."""
        for name, value in xattrs.items():
            if name in _IGNORED_XATTRS or name.startswith(_PRIVATE_XATTRS):
                continue
            try:
                os.setxattr(target, name, value, follow_symlinks=follow)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
                    raise

    def directory(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        """A directory; one that exists takes the new attributes."""
        if not name:
            self.has_root = True
            self._dress(self.root_fd, entry)
            self._remember(b"", entry.mtime, entry.mode)
            return
        try:
            os.mkdir(name, entry.mode & 0o777, dir_fd=parent)
            new = True
        except FileExistsError:
            self._clear_for_directory(parent, name, path)
            new = False
        self.missing.discard(path)
        if not new or entry.xattrs or not self._fresh:
            self._dress(self.directories.fd(path), entry)
        else:
            if entry.uid != self._uid or entry.gid != self._gid:
                try:
                    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
                except OSError as error:
                    self._chown_failed(error, entry)
            if entry.mode & (self._umask | 0o5000):
                os.chmod(name, entry.mode & 0o5777, dir_fd=parent)
        self._remember(path, entry.mtime, entry.mode)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Attributes of a directory but its set-group-id bit, which would give its group to what comes into it."""
        self._chown(fd, entry)
        os.fchmod(fd, entry.mode & 0o5777)
        if entry.xattrs:
            self._set_xattrs(fd, entry.xattrs)

    def symlink(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        """A symbolic link, whatever its text; nobody here follows it out of the root."""
        if 0 in entry.link:
            raise Corrupt(f"archive: {as_text(entry.name)}: a link to {entry.link!r}")
        self._make(lambda: os.symlink(entry.link, name, dir_fd=parent), parent, name, path)
        self._dress_special(parent, name, entry)
        if entry.xattrs:
            self._set_xattrs(b"/proc/self/fd/%d/%b" % (parent, name), entry.xattrs, follow=False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def special(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        """A device node or a named pipe."""
        if entry.kind == headers.FIFO:
            self._make(lambda: os.mkfifo(name, entry.mode & 0o777, dir_fd=parent), parent, name, path)
        else:
            if self.options.skip_devices:
                self.skipped.append(path)
                return
            kind = _CHR if entry.kind == headers.CHAR else _BLK
            device = _device(entry)
            try:
                self._make(lambda: os.mknod(name, kind | entry.mode & 0o777, device, dir_fd=parent), parent, name, path)
            except PermissionError as error:
                raise Unsupported(f"archive: making the device node {as_text(path)} needs privileges that this process has not"
                                  ) from error
        self._dress_special(parent, name, entry)
        if entry.mode & (0o7000 | self._umask) or not self._fresh:
            self._chmod_special(parent, name, entry)
        if entry.xattrs:
            self._set_xattrs(b"/proc/self/fd/%d/%b" % (parent, name), entry.xattrs, follow=False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    @staticmethod
    def _chmod_special(parent: int, name: bytes, entry: Entry) -> None:
        """chmod without following a link that somebody may have put in the place, and without opening the device."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{fd}", entry.mode)
        finally:
            os.close(fd)

    def _dress_special(self, parent: int, name: bytes, entry: Entry) -> None:
        if entry.uid != self._uid or entry.gid != self._gid or not self._fresh:
            try:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                self._chown_failed(error, entry)

    def hard_link(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        """Another name for a file of the same archive; like Docker and Podman, the file takes the attributes given here."""
        target = clean(entry.link)
        source_parent, _, source = target.rpartition(b"/")
        if not source:
            raise Corrupt(f"archive: {as_text(entry.name)}: a hard link to {as_text(entry.link)!r}")
        new_parent, source_fd = os.dup(parent), -1  # our own, because looking up closes others
        try:
            source_fd = os.dup(self._source_parent(source_parent, entry))
            self._make(lambda: os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=new_parent, follow_symlinks=False),
                       new_parent, name, path)
            self._dress_link(new_parent, name, entry)
        except (FileNotFoundError, PermissionError) as error:
            raise _no_target(entry) from error
        finally:
            os.close(new_parent)
            if source_fd >= 0:
                os.close(source_fd)

    def _source_parent(self, path: bytes, entry: Entry) -> int:
        """The directory of a hard link's target."""
        try:
            return self.directories.fd(path)
        except (FileNotFoundError, NotADirectoryError):
            pass                             # perhaps it is reached through a link
        try:
            fd = open_beneath(self.root_fd, os.fsdecode(path), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise _no_target(entry) from error
        try:
            return self.directories.fd(self._path_of(fd))
        finally:
            os.close(fd)

    def _dress_link(self, parent: int, name: bytes, entry: Entry) -> None:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if found.st_mode & _KIND != _REG:
            return
        if (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (entry.uid, entry.gid, entry.mode) and not entry.xattrs:
            if found.st_mtime_ns != entry.mtime:
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
            return
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        try:
            self._chown(fd, entry)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    # --- whiteouts ----------------------------------------------------------------------------------------------------

    def whiteout(self, parent: int, name: bytes, path: bytes) -> None:
        """A ``.wh.`` name: hide what layers below have under the rest of the name, or, opaque, in the whole directory."""
        if name == OPAQUE:
            self._mark_opaque(parent)
            return
        if name.startswith(META):
            return                           # aufs kept its books under such names
        hidden = name[len(WHITEOUT):]
        if hidden in (b"", b".", b".."):
            raise Corrupt(f"archive: {as_text(path)} is no valid whiteout")
        try:
            os.mknod(hidden, _CHR, 0, dir_fd=parent)
        except FileExistsError:
            # It hides only what is below: what this same layer has under the name stays, and a directory becomes opaque.
            found = os.stat(hidden, dir_fd=parent, follow_symlinks=False)
            if found.st_mode & _KIND == _DIR:
                self._mark_opaque(self.directories.fd(path[:len(path) - len(name)] + hidden))
        except PermissionError as error:
            raise Unsupported(f"archive: making the whiteout {as_text(path)} needs privileges that this process has not"
                              ) from error

    def _mark_opaque(self, fd: int) -> None:
        name = b"user.overlay.opaque" if self.options.userxattr else b"trusted.overlay.opaque"
        try:
            os.setxattr(fd, name, b"y")
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EPERM):
                raise Unsupported("archive: the file system does not store the mark of an opaque directory "
                                  f"({name.decode()})") from error
            raise

    # --- what is in the way -------------------------------------------------------------------------------------------

    def _make(self, make: Callable[[], None], parent: int, name: bytes, path: bytes) -> None:
        try:
            make()
        except FileExistsError:
            self._clear(parent, name, path)
            make()

    def _clear_for_directory(self, parent: int, name: bytes, path: bytes) -> None:
        """Have a directory where something is, perhaps a directory already."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if found.st_mode & _KIND == _DIR:
            return
        hides = self.options.whiteouts and _is_whiteout(found)
        self._clear(parent, name, path)
        os.mkdir(name, 0o700, dir_fd=parent)
        if hides:
            self._mark_opaque(self.directories.fd(path))

    def _clear(self, parent: int, name: bytes, path: bytes) -> None:
        """Take away what an entry replaces. What has content that the archive cannot be written again without is kept aside."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = found.st_mode & _KIND
        if kind == _DIR:
            self.directories.forget(path)
            self._cleared = True
        if self.keep_fd >= 0 and (kind == _DIR or (kind == _REG and found.st_size)):
            kept = b"%d" % (len(self.replaced) + len(self.kept))
            os.rename(name, kept, src_dir_fd=parent, dst_dir_fd=self.keep_fd)
            self.replaced.append((self._index, path, kept))
        elif kind == _DIR:
            remove_tree(f"/proc/self/fd/{parent}/{os.fsdecode(name)}")
        else:
            os.unlink(name, dir_fd=parent)

    def keep_content(self, entry: Entry) -> int:
        """A file to put content into that belongs to no file of the tree; -1 where it need not be kept."""
        if self.keep_fd < 0:
            return -1
        name = b"%d" % (len(self.replaced) + len(self.kept))
        fd = os.open(name, _CREATE, 0o600, dir_fd=self.keep_fd)
        self.kept.append((entry.index, name))
        return fd

    # --- times of directories -----------------------------------------------------------------------------------------

    def _remember(self, path: bytes, mtime: int | None, mode: int = 0) -> None:
        """A directory's time is set at the end, because every new name in it changes it; so is set-group-id."""
        if len(self._times) >= _SETTLE:
            self.settle()
            self._settled = True
        self._times[path] = (mtime, mode if mode & 0o2000 else None)

    def touch(self, parent: int, path: bytes) -> None:
        """Before a directory changes whose time has been set already: remember to set it again."""
        if self._settled:
            directory = path.rpartition(b"/")[0]
            if directory not in self._times:
                self._times[directory] = (os.stat(parent).st_mtime_ns, None)

    def settle(self) -> None:
        """Give the directories known so far their times and set-group-id bits."""
        for path, (mtime, mode) in self._times.items():
            if self._cleared and not self._is_directory(path):
                continue
            if mode is not None:
                os.fchmod(self.directories.fd(path), mode)
            if mtime is not None:
                parent, _, name = path.rpartition(b"/")
                os.utime(name or b".", ns=(mtime, mtime), dir_fd=self.directories.fd(parent), follow_symlinks=False)
        self._times.clear()

    def _is_directory(self, path: bytes) -> bool:
        """Whether a directory that was made is still one; others may have replaced it or what is above it."""
        try:
            self.directories.fd(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def finish(self) -> None:
        """Set what is left, and forget the directories that did not last."""
        self.settle()
        if self._cleared:
            self.missing = {path for path in self.missing if self._is_directory(path)}

    def close(self) -> None:
        """Close all directories but the root."""
        self.directories.close()


def _no_target(entry: Entry) -> Corrupt:
    return Corrupt(f"archive: {as_text(entry.name)}: a hard link to {as_text(entry.link)}, which is no file of it")


def _is_whiteout(found: os.stat_result) -> bool:
    return found.st_mode & _KIND == _CHR and found.st_rdev == 0


def _device(entry: Entry) -> int:
    major, minor = device_number(entry)
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise Corrupt(f"archive: {as_text(entry.name)}: there is no device {major}:{minor}")
    return os.makedev(major, minor)


def _umask() -> int:
    """The process's umask, read without changing it: other threads may be making files."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    return 0o777                             # Linux before 4.7: unknown, so every mode is set explicitly

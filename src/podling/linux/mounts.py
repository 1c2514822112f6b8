"""Mounting and unmounting, and what is mounted where.

Options are words as mount(8) knows them ("ro", "nodev", "size=1m"). A failed call leaves nothing mounted. Errors are OSError
with the target's path, or PodlingError with what the kernel said where it says more than a number.
"""

from __future__ import annotations

import errno
import os

from podling.errors import PodlingError, Unsupported
from podling.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# option -> (mount(2) flags set, flags cleared)
_FLAGS = {
    "ro": (syscalls.MS_RDONLY, 0), "rw": (0, syscalls.MS_RDONLY),
    "nosuid": (syscalls.MS_NOSUID, 0), "suid": (0, syscalls.MS_NOSUID),
    "nodev": (syscalls.MS_NODEV, 0), "dev": (0, syscalls.MS_NODEV),
    "noexec": (syscalls.MS_NOEXEC, 0), "exec": (0, syscalls.MS_NOEXEC),
    "sync": (syscalls.MS_SYNCHRONOUS, 0), "async": (0, syscalls.MS_SYNCHRONOUS),
    "dirsync": (syscalls.MS_DIRSYNC, 0), "remount": (syscalls.MS_REMOUNT, 0),
    "noatime": (syscalls.MS_NOATIME, 0), "atime": (0, syscalls.MS_NOATIME),
    "nodiratime": (syscalls.MS_NODIRATIME, 0), "diratime": (0, syscalls.MS_NODIRATIME),
    "relatime": (syscalls.MS_RELATIME, 0), "norelatime": (0, syscalls.MS_RELATIME),
    "strictatime": (syscalls.MS_STRICTATIME, 0), "nostrictatime": (0, syscalls.MS_STRICTATIME),
    "lazytime": (syscalls.MS_LAZYTIME, 0), "nolazytime": (0, syscalls.MS_LAZYTIME),
    "nosymfollow": (syscalls.MS_NOSYMFOLLOW, 0),
    "bind": (syscalls.MS_BIND, 0), "rbind": (syscalls.MS_BIND | syscalls.MS_REC, 0),
    "defaults": (0, 0),
}
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE, "rprivate": syscalls.MS_PRIVATE | syscalls.MS_REC,
    "slave": syscalls.MS_SLAVE, "rslave": syscalls.MS_SLAVE | syscalls.MS_REC,
    "shared": syscalls.MS_SHARED, "rshared": syscalls.MS_SHARED | syscalls.MS_REC,
    "unbindable": syscalls.MS_UNBINDABLE, "runbindable": syscalls.MS_UNBINDABLE | syscalls.MS_REC,
}
# mount(2) flag -> attribute of the newer calls
_ATTRIBUTES = {
    syscalls.MS_RDONLY: syscalls.MOUNT_ATTR_RDONLY, syscalls.MS_NOSUID: syscalls.MOUNT_ATTR_NOSUID,
    syscalls.MS_NODEV: syscalls.MOUNT_ATTR_NODEV, syscalls.MS_NOEXEC: syscalls.MOUNT_ATTR_NOEXEC,
    syscalls.MS_NOATIME: syscalls.MOUNT_ATTR_NOATIME, syscalls.MS_NODIRATIME: syscalls.MOUNT_ATTR_NODIRATIME,
    syscalls.MS_STRICTATIME: syscalls.MOUNT_ATTR_STRICTATIME, syscalls.MS_NOSYMFOLLOW: syscalls.MOUNT_ATTR_NOSYMFOLLOW,
}
_PAGE = 4096
_FSCONFIG_STRING = 255
_MOST_LOWERS = 500


def parse_options(options: Iterable[str]) -> tuple[int, int, list[str]]:
    """mount(2) flags, propagation flags (to be set by a call of their own), and the words that the file system gets."""
    flags = propagation = 0
    data = []
    for option in options:
        if option in _FLAGS:
            on, off = _FLAGS[option]
            flags = flags & ~off | on
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option:
            data.append(option)
    return flags, propagation, data


def mount(source: str, target: str, fstype: str, options: Iterable[str] = ()) -> None:
    """Mount a file system; propagation words ("private", "rslave") are set afterwards."""
    flags, propagation, data = parse_options(options)
    syscalls.mount(source, target, fstype, flags, ",".join(data) or None)
    if propagation:
        try:
            syscalls.mount(None, target, None, propagation)
        except OSError:
            unmount(target, lazy=True)
            raise


def set_propagation(target: str, word: str) -> None:
    """Change a mount's propagation: private, slave, shared, unbindable, each with "r" before it for the tree below."""
    syscalls.mount(None, target, None, _PROPAGATION[word])


def tmpfs(target: str, *, size: int | None = None, mode: int = 0o755, options: Iterable[str] = (),
          name: str = "tmpfs") -> None:
    """A tmpfs of at most ``size`` bytes (None: half of the memory); ``name``: what lists of mounts show as its source."""
    limit = () if size is None else (f"size={size}",)
    mount(name, target, "tmpfs", (*options, f"mode={mode:04o}", *limit))


def bind(source: str, target: str, *, recursive: bool = True, read_only: bool = False, propagation: str = "rprivate") -> None:
    """Make ``source`` visible at ``target`` (both directories or both files); what is mounted below comes along.

    It is private, because otherwise unmounting what came along would unmount it below ``source`` as well.
    """
    syscalls.mount(source, target, None, syscalls.MS_BIND | (syscalls.MS_REC if recursive else 0))
    try:
        set_propagation(target, propagation)
        if read_only:
            make_read_only(target, recursive=recursive)
    except OSError:
        unmount(target, lazy=True)
        raise


def make_read_only(target: str, *, recursive: bool = True) -> None:
    """Make a mount read-only, with all mounts below it where the kernel can (Linux 5.12)."""
    try:
        syscalls.mount_setattr(syscalls.AT_FDCWD, target, syscalls.AT_RECURSIVE if recursive else 0,
                               attr_set=syscalls.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        kept = os.statvfs(target).f_flag & (syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        syscalls.mount(None, target, None, syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | kept)


def unmount(target: str, *, lazy: bool = False) -> bool:
    """Unmount what is on top at ``target``; False if it is not a mount point. ``lazy``: also while it is in use."""
    flags = syscalls.UMOUNT_NOFOLLOW | (syscalls.MNT_DETACH if lazy else 0)
    try:
        syscalls.umount2(target, flags)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def unmount_all(path: str, *, lazy: bool = True) -> bool:
    """Unmount everything at or below ``path``; False if there was nothing."""
    found = False
    for point in beneath(path):
        found = unmount(point, lazy=lazy) or found
    return found


# --- what is mounted --------------------------------------------------------------------------------------------------


def is_mounted(path: str) -> bool:
    """Whether ``path`` itself is a mount point, whatever the number of mounts; False where it does not exist."""
    parent, name = os.path.split(path.rstrip("/"))
    if not name or name in (".", ".."):
        parent, name = os.path.split(os.path.realpath(path))
        if not name:
            return True
    directory = -1
    try:
        directory = os.open(parent or ".", os.O_PATH | os.O_CLOEXEC)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return False
    else:
        try:
            return _mount_id(fd) != _mount_id(directory)
        finally:
            os.close(fd)
    finally:
        if directory >= 0:
            os.close(directory)


def _mount_id(fd: int) -> bytes:
    info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(info, 4096)
    finally:
        os.close(info)
    start = text.index(b"mnt_id:") + 7
    return text[start:text.index(b"\n", start)].strip()


def beneath(path: str) -> list[str]:
    """The mount points at or below ``path``, the newest first (so that they can be unmounted in this order)."""
    top = os.path.realpath(path)
    prefix = top.rstrip("/") + "/"
    with open("/proc/self/mountinfo", "rb") as file:
        text = os.fsdecode(file.read())
    if prefix not in text and top not in text and " " not in top and "\\" not in top:
        return []
    points = mount_points(text)
    return [point for point in reversed(points) if point == top or point.startswith(prefix)]


def mount_points(mountinfo: str) -> list[str]:
    """The mount points of a text of /proc/PID/mountinfo, in its order."""
    return [unescape(line.split(" ", 5)[4]) for line in mountinfo.splitlines()]


def unescape(word: str) -> str:
    r"""A word of mountinfo as a path: blanks and backslashes are written there as \040 and \134."""
    if "\\" not in word:
        return word
    pieces = word.split("\\")
    return pieces[0] + "".join(_octal(piece) for piece in pieces[1:])


def _octal(piece: str) -> str:
    code = piece[:3]
    if len(code) == 3 and not code.strip("01234567"):
        return chr(int(code, 8)) + piece[3:]
    return "\\" + piece


# --- overlay ----------------------------------------------------------------------------------------------------------


def overlay(target: str, *, lowers: list[str], upper: str | None = None, work: str | None = None,
            options: tuple[str, ...] = ()) -> None:
    """Mount an overlay of ``lowers`` (topmost first, at most 500) and, unless it is read-only, ``upper`` with ``work``.

    Paths may be of any length. ``options`` are overlay's own ("metacopy=on", "volatile", "userxattr") and the mount's
    ("nodev", "ro"). Raises Unsupported for too many layers, PodlingError with the kernel's reason.
    """
    if not lowers:
        raise PodlingError(f"mounting overlay on {target}: no lower directory")
    if len(lowers) > _MOST_LOWERS:
        raise Unsupported(f"mounting overlay on {target}: {len(lowers)} layers, and the kernel takes at most {_MOST_LOWERS}")
    if len(lowers) == 1 and upper is None:  # the kernel wants two; a read-only view of the one is the same
        try:
            bind(lowers[0], target, recursive=False, read_only=True)
        except OSError as error:
            raise PodlingError(f"mounting {lowers[0]} on {target}") from error
        return
    if not _overlay_by_context(target, lowers, upper, work, options):
        _overlay_by_mount(target, lowers, upper, work, options)


def _overlay_by_context(target: str, lowers: list[str], upper: str | None, work: str | None, options: tuple[str, ...]) -> bool:
    """By fsopen and one "lowerdir+" a layer (Linux 6.7); False where this kernel cannot."""
    flags, propagation, data = parse_options(options)
    try:
        context = syscalls.fsopen("overlay")
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):  # EPERM: a seccomp filter that does not know the call
            return False
        raise PodlingError(f"mounting overlay on {target}") from error
    try:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "source", "overlay")    # what mount(8) lists shows
        if not _configure_layers(context, lowers):
            return False
        if upper is not None and work is not None:
            _set_directory(context, "upperdir", upper, escape=True)
            _set_directory(context, "workdir", work, escape=True)
        for option in data:
            key, equals, value = option.partition("=")
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING if equals else syscalls.FSCONFIG_SET_FLAG, key,
                              value if equals else None)
        if flags & syscalls.MS_RDONLY:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, "ro")
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        attributes = sum(attribute for flag, attribute in _ATTRIBUTES.items() if flags & flag)
        tree = syscalls.fsmount(context, attributes)
    except OSError as error:
        raise _overlay_error(target, error, syscalls.fs_messages(context)) from error
    finally:
        os.close(context)
    try:
        if propagation:
            recursive = syscalls.AT_RECURSIVE if propagation & syscalls.MS_REC else 0
            syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH | recursive, propagation=propagation & ~syscalls.MS_REC)
        syscalls.move_mount(tree, target)
    except OSError as error:
        raise PodlingError(f"mounting overlay on {target}") from error
    finally:
        os.close(tree)
    return True


def _configure_layers(context: int, lowers: list[str]) -> bool:
    for index, lower in enumerate(lowers):
        try:
            _set_directory(context, "lowerdir+", lower)
        except OSError as error:
            if index == 0 and error.errno == errno.EINVAL:  # the option is not known
                return False
            raise
    return True


def _set_directory(context: int, key: str, path: str, *, escape: bool = False) -> None:
    r"""Name a directory; one too long for fsconfig through a descriptor, because the kernel looks it up at once.

    ``upperdir`` and ``workdir`` undo backslashes, ``lowerdir+`` does not.
    """
    text = path.replace("\\", "\\\\") if escape else path
    fd = -1
    try:
        if len(os.fsencode(text)) > _FSCONFIG_STRING:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            text = f"/proc/self/fd/{fd}"
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        if fd >= 0:
            os.close(fd)


def _overlay_error(target: str, error: OSError, kernel: str) -> PodlingError:
    said = f": {kernel}" if kernel else ""
    hint = None
    if error.errno == errno.ENODEV:
        hint = "This kernel has no overlay file system; load its module with 'modprobe overlay'"
    return PodlingError(f"mounting overlay on {target}{said}", hint=hint)


def _overlay_by_mount(target: str, lowers: list[str], upper: str | None, work: str | None, options: tuple[str, ...]) -> None:
    """By mount(2), whose options are one page: long lists are named by descriptors, a few bytes a layer."""
    flags, propagation, data = parse_options(options)
    text = overlay_data([_escape(lower) for lower in lowers], _escape(upper), _escape(work), data)
    try:
        if len(os.fsencode(text)) < _PAGE:
            syscalls.mount("overlay", target, "overlay", flags, text)
        else:
            _mount_by_descriptors(target, [*lowers, *((upper, work) if upper and work else ())], len(lowers), flags, data)
        if propagation:
            try:
                syscalls.mount(None, target, None, propagation)
            except OSError:
                unmount(target, lazy=True)
                raise
    except OSError as error:
        raise _overlay_error(target, error, "") from error


def overlay_data(lowers: list[str], upper: str | None, work: str | None, data: list[str]) -> str:
    """The options of an overlay for mount(2); the paths are escaped already."""
    words = [*data, "lowerdir=" + ":".join(lowers)]
    if upper and work:
        words += [f"upperdir={upper}", f"workdir={work}"]
    return ",".join(words)


def _escape(path: str | None) -> str:
    r"""Backslashes, colons and commas as overlay reads them. "" for None."""
    return "" if path is None else path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _mount_by_descriptors(target: str, directories: list[str], count: int, flags: int, data: list[str]) -> None:
    """Mount in a child that stands in its own /proc/self/fd, where every layer has a name of one to three digits.

    A child, because the working directory belongs to all threads. It does nothing but system calls.
    """
    place = os.open(target, os.O_PATH | os.O_CLOEXEC)
    fds: list[int] = []
    try:
        for path in directories:
            fds.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))  # noqa: PERF401 -- closed below if one fails
        names = [str(fd) for fd in fds]
        upper, work = names[count:] or ("", "")
        text = overlay_data(names[:count], upper, work, data)
        if len(text) >= _PAGE:
            raise Unsupported(f"mounting overlay on {target}: options of {len(text)} bytes, and this kernel takes {_PAGE - 1}")
        _in_child(lambda: _mount_here(str(place), flags, text), target)
    finally:
        for fd in (place, *fds):
            os.close(fd)


def _mount_here(place: str, flags: int, text: str) -> None:
    os.chdir("/proc/self/fd")
    syscalls.mount("overlay", place, "overlay", flags, text)


def _in_child(action: Callable[[], None], path: str) -> None:
    """Do something in a forked child; its errno comes back as exit status."""
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            action()
        except OSError as error:
            status = error.errno or 255
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code), path) if code > 0 else OSError(errno.EINTR, os.strerror(errno.EINTR), path)

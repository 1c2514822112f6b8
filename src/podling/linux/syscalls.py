"""System calls that Python 3.11 does not offer; the only place that calls C functions.

It uses ``_ctypes``, the C half of ``ctypes``, which loads in 0.4 ms instead of 2.4, and only when a call is first made.
Every wrapper raises OSError with errno and the path it was given.
"""

from __future__ import annotations

import os
import sys

from podling.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BYTE_ORDER = sys.byteorder

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_RECURSIVE = 0x8000

# flags of mount(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS, MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC = 1, 2, 4, 8, 16, 32, 64, 128
MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 256, 1024, 2048, 4096, 8192, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_RELATIME = 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21
MS_STRICTATIME, MS_LAZYTIME = 1 << 24, 1 << 25
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8

# flags of clone(2), unshare(2) and setns(2)
CLONE_NEWTIME, CLONE_FS, CLONE_FILES = 0x80, 0x200, 0x400
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

# flags of openat2(2)
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4

# the file system context calls
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_BINARY, FSCONFIG_SET_PATH = 0, 1, 2, 3
FSCONFIG_SET_PATH_EMPTY, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = 4, 5, 6, 7
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP = 0x10, 0x20, 0x80, 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# options of prctl(2)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_READ, PR_CAPBSET_DROP = 1, 4, 15, 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47

# These have the same numbers on every architecture but alpha.
_NUMBERS = {"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "openat2": 437,
            "mount_setattr": 442}


class Library:
    """A C library; :meth:`function` gives its functions."""

    def __init__(self, name: str | None) -> None:
        import _ctypes

        self._ctypes = _ctypes
        self._handle = _ctypes.dlopen(name, 0)  # type: ignore[arg-type]
        self._functions: dict[str, Callable[..., Any]] = {}

    def function(self, name: str, result: str, arguments: str) -> Callable[..., Any]:
        """A C function as a callable; AttributeError where the library has none of this name.

        ``result`` and each letter of ``arguments`` are type codes of the struct module: i I l L q Q, P pointer (bytes, None or
        a number), z string. errno is kept for :func:`last_error`.
        """
        key = f"{name}:{arguments}"
        function = self._functions.get(key)
        if function is None:
            try:
                address = self._ctypes.dlsym(self._handle, name)
            except OSError as error:
                raise AttributeError(str(error)) from error
            function = self._functions[key] = _prototype(result, arguments)(address)
        return function


_types: dict[str, Any] = {}


def _type(code: str) -> Any:
    found = _types.get(code)
    if found is None:
        from _ctypes import _SimpleCData

        found = _types[code] = type(f"c_{code}", (_SimpleCData,), {"_type_": code})
    return found


def _prototype(result: str, arguments: str) -> Any:
    found = _types.get(f"{result}({arguments})")
    if found is None:
        from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_USE_ERRNO, CFuncPtr

        fields = {"_flags_": FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO, "_restype_": _type(result),
                  "_argtypes_": tuple(_type(code) for code in arguments)}
        found = _types[f"{result}({arguments})"] = type("Function", (CFuncPtr,), fields)
    return found


def buffer(size: int) -> Any:
    """Zeroed memory that a C function may write; ``bytes(buffer)`` reads it."""
    from _ctypes import Array

    return type("Buffer", (Array,), {"_type_": _type("B"), "_length_": size})()


def load_library(name: str) -> Library:
    """A shared library by its soname, for example ``libseccomp.so.2``; Unsupported where it is not installed."""
    try:
        return Library(name)
    except (OSError, ImportError) as error:
        raise Unsupported(f"shared library {name} cannot be loaded") from error


_libraries: list[Library] = []


def loaded() -> bool:
    """Whether C functions have been used before, so that another call costs nothing."""
    return bool(_libraries)


def _libc() -> Library:
    if not _libraries:
        try:
            _libraries.append(Library(None))
        except ImportError as error:
            raise Unsupported("this Python interpreter has no _ctypes module, which system calls need") from error
    return _libraries[0]


def last_error(path: str | None = None, second: str | None = None) -> OSError:
    """The exception for the errno that the last C function of this thread has left."""
    from _ctypes import get_errno

    number = get_errno()
    return OSError(number, os.strerror(number), path, None, second)


def _call(name: str, arguments: str, *values: Any, path: str | None = None, second: str | None = None) -> int:
    result: int = _libc().function(name, "i", arguments)(*values)
    if result == -1:
        raise last_error(path, second)
    return result


def _syscall(name: str, arguments: str, *values: Any, path: str | None = None, second: str | None = None) -> int:
    """A system call by number, for those that C libraries got late or not at all."""
    result: int = _libc().function("syscall", "l", "l" + arguments)(_NUMBERS[name], *values)
    if result == -1:
        raise last_error(path, second)
    return result


def _encode(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


# --- mounts -----------------------------------------------------------------------------------------------------------


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2); ``data`` is at most a page (4095 bytes)."""
    _call("mount", "zzzLz", _encode(source), _encode(target), _encode(fstype), flags, _encode(data), path=target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _call("umount2", "zi", _encode(target), flags, path=target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _call("pivot_root", "zz", _encode(new_root), _encode(put_old), path=new_root, second=put_old)


def fsopen(fstype: str) -> int:
    """A descriptor to configure a new file system of this type with (Linux 5.2)."""
    return _syscall("fsopen", "zl", fstype.encode(), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str | None = None, value: str | bytes | None = None, aux: int = 0) -> None:
    """fsconfig(2) on a descriptor of :func:`fsopen`; strings are at most 255 bytes, :func:`fs_messages` explains a failure."""
    content = os.fsencode(value) if value is not None else None
    _syscall("fsconfig", "llzPl", fd, command, _encode(key), content, aux, path=key)


def fsmount(fd: int, attributes: int = 0) -> int:
    """A descriptor of the detached mount of a configured file system; ``attributes`` are MOUNT_ATTR_ flags."""
    return _syscall("fsmount", "lll", fd, FSMOUNT_CLOEXEC, attributes)


def fs_messages(fd: int) -> str:
    """What the kernel has to say of a file system context, "; " between messages, "" for nothing."""
    messages: list[str] = []
    while len(messages) < 16:
        try:
            messages.append(os.read(fd, 8192).decode(errors="replace").strip())
        except OSError:  # ENODATA: no more
            break
    return "; ".join(text[2:] if text[1:2] == " " else text for text in messages)


def open_tree(dirfd: int, path: str, flags: int = 0) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached bind mount."""
    return _syscall("open_tree", "lzl", dirfd, _encode(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(fd: int, target: str, target_dirfd: int = AT_FDCWD) -> None:
    """Attach the detached mount behind ``fd`` at ``target``."""
    _syscall("move_mount", "lzlzl", fd, b"", target_dirfd, _encode(target), MOVE_MOUNT_F_EMPTY_PATH, path=target)


def mount_setattr(dirfd: int, path: str, flags: int = 0, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0,
                  userns_fd: int = 0) -> None:
    """mount_setattr(2), with AT_RECURSIVE for a whole tree (Linux 5.12)."""
    attributes = b"".join(value.to_bytes(8, BYTE_ORDER) for value in (attr_set, attr_clr, propagation, userns_fd))
    _syscall("mount_setattr", "lzlPl", dirfd, _encode(path), flags, attributes, len(attributes), path=path)


# --- files ------------------------------------------------------------------------------------------------------------


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2) with O_CLOEXEC (Linux 5.6). EAGAIN: something was renamed meanwhile; try again."""
    how = b"".join(value.to_bytes(8, BYTE_ORDER) for value in (flags | os.O_CLOEXEC, mode, resolve))
    return _syscall("openat2", "lzPl", dirfd, _encode(path), how, len(how), path=path)


def renameat2(old: str, new: str, flags: int, *, old_dirfd: int = AT_FDCWD, new_dirfd: int = AT_FDCWD) -> None:
    """renameat2(2)."""
    _call("renameat2", "izizI", old_dirfd, _encode(old), new_dirfd, _encode(new), flags, path=old, second=new)


def syncfs(fd: int) -> None:
    """Write the whole file system that ``fd`` is on to its disk."""
    _call("syncfs", "i", fd)


# --- processes --------------------------------------------------------------------------------------------------------


def unshare(flags: int) -> None:
    """unshare(2)."""
    if hasattr(os, "unshare"):  # Python 3.12
        os.unshare(flags)
    else:
        _call("unshare", "i", flags)


def setns(fd: int, kind: int = 0) -> None:
    """setns(2)."""
    if hasattr(os, "setns"):  # Python 3.12
        os.setns(fd, kind)
    else:
        _call("setns", "ii", fd, kind)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with numbers."""
    return _call("prctl", "iLLLL", option, arg2, arg3, arg4, arg5)


def set_process_name(name: str) -> None:
    """What ps shows in its COMMAND column; at most 15 bytes are kept."""
    _call("prctl", "izLLL", PR_SET_NAME, os.fsencode(name)[:15], 0, 0, 0)


def capget(pid: int = 0) -> tuple[int, int, int]:
    """The (effective, permitted, inheritable) capabilities of a process as bit sets."""
    header = 0x20080522.to_bytes(4, BYTE_ORDER) + pid.to_bytes(4, BYTE_ORDER)
    data = buffer(24)
    _call("capget", "PP", header, data)
    words = [int.from_bytes(bytes(data)[at:at + 4], BYTE_ORDER) for at in range(0, 24, 4)]
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32

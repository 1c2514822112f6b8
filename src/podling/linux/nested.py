"""User namespaces below this process' own, made before who will live in them and kept as files.

A map is text as the kernel takes it: "INSIDE OUTSIDE SIZE" lines, outside being ids of this process' namespace.
"""

from __future__ import annotations

import os

from podling.errors import InvalidArgument, PodlingError
from podling.linux import mounts, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Visitor:
    """A forked child that has gone into other namespaces and waits there: ``with Visitor(enter) as pid``.

    ``enter`` does nothing but system calls; its OSError is raised here. For a moment, in a process of one thread.
    """

    def __init__(self, enter: Callable[[], object]) -> None:
        self._enter = enter
        self._pid = self._leash = -1

    def __enter__(self) -> int:
        told, tell = os.pipe2(os.O_CLOEXEC)
        waits, self._leash = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            self._visit(tell, waits)
        os.close(tell)
        os.close(waits)
        answer = os.read(told, 4)
        os.close(told)
        number = int.from_bytes(answer, "little") if len(answer) == 4 else 5    # EIO
        if number:
            self._end()
            raise OSError(number, os.strerror(number))
        return self._pid

    def _visit(self, tell: int, waits: int) -> None:
        """The child's whole life: it never returns."""
        number = 255
        try:
            os.close(self._leash)
            self._enter()
            number = 0
        except OSError as error:
            number = error.errno or 5
        finally:
            os.write(tell, number.to_bytes(4, "little"))
            os.read(waits, 1)
            os._exit(0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        os.close(self._leash)
        os.waitpid(self._pid, 0)


def make(path: str, uid_map: str, gid_map: str) -> None:
    """A new user namespace with these maps, mounted at ``path``; one that is there already is kept."""
    if mounts.is_mounted(path):
        return
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    try:
        with Visitor(lambda: syscalls.unshare(syscalls.CLONE_NEWUSER)) as pid:
            _map(pid, uid_map, gid_map)
            syscalls.mount(f"/proc/{pid}/ns/user", path, None, syscalls.MS_BIND)
    except OSError as error:
        remove(path)
        raise PodlingError("creating user namespace") from error


def temporary(uid_map: str, gid_map: str) -> int:
    """A descriptor of a new user namespace with these maps."""
    with Visitor(lambda: syscalls.unshare(syscalls.CLONE_NEWUSER)) as pid:
        _map(pid, uid_map, gid_map)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _map(pid: int, uid_map: str, gid_map: str) -> None:
    for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())        # in one call: the kernel takes no second
        except OSError as error:
            shown = ", ".join(text.split("\n"))
            raise InvalidArgument(f"the kernel refuses the {name.replace('_', ' ')} \"{shown}\": {error.strerror}",
                                  hint="every id on the right must be one that this user has") from error
        finally:
            os.close(fd)


def remove(path: str) -> None:
    """Let a namespace's file go; idempotent."""
    mounts.unmount(path, lazy=True)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def maps_of(path: str) -> tuple[str, str]:
    """The (uid map, gid map) of the user namespace at a path."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Visitor(lambda: syscalls.setns(fd, syscalls.CLONE_NEWUSER)) as pid:
            found = []
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
                    found.append(file.read())
            return found[0], found[1]
    finally:
        os.close(fd)


def show_mapped(source: str, target: str, user_namespace: int, *, recursive: bool = False) -> None:
    """Mount ``source`` at ``target`` with its owners mapped as the user namespace maps them (Linux 5.12). OSError where it cannot be.

    ``recursive``: what is mounted below comes along, with its owners as they are.
    """
    tree = syscalls.open_tree(syscalls.AT_FDCWD, source, syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if recursive else 0))
    try:
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attr_set=syscalls.MOUNT_ATTR_IDMAP,
                               propagation=syscalls.MS_PRIVATE, userns_fd=user_namespace)
        syscalls.move_mount(tree, target)
    finally:
        os.close(tree)

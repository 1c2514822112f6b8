"""Network namespaces as files, root's under /run/netns, where ``ip netns`` sees them; a file's name is a function of the container's id."""

from __future__ import annotations

import _thread
import os
from fcntl import ioctl

from podling.errors import PodlingError
from podling.linux import mounts, rootless, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")
else:
    import _socket

DIRECTORY = "/run/netns"
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def directory_of(runroot: str) -> str:
    """Where this user's network namespaces are mounted."""
    return f"{runroot}/netns" if rootless.owner() else DIRECTORY


def path_of(container_id: str, directory: str) -> str:
    """Where the container's network namespace is mounted."""
    parts = (container_id[:8], container_id[8:12], container_id[12:16], container_id[16:20], container_id[20:32])
    return f"{directory}/netns-{'-'.join(parts)}"


def make(path: str) -> None:
    """Make a network namespace with its loopback up, mounted at ``path``; one that is there already is kept.

    This process enters the new namespace for a moment, which is cheaper than a child for it; it has one thread only. An ordinary
    user could not come back to the host's namespace: a thread enters, and ends there.
    """
    _share(os.path.dirname(path))
    if mounts.is_mounted(path):
        return
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    try:
        if rootless.owner() is None:
            _visit(path)
        else:
            _in_thread(lambda: _make_here(path))
    except OSError as error:
        delete(path)
        raise PodlingError("creating network namespace") from error


def make_owned(path: str, user_namespace: str) -> None:
    """As :func:`make`, owned by the user namespace at a path: only its root may configure interfaces, ports and settings in there.

    A process that enters the user namespace cannot come back: a child makes the network namespace and waits while it is mounted.
    """
    from podling.linux.nested import Visitor  # for containers with ids of their own alone

    _share(os.path.dirname(path))
    if mounts.is_mounted(path):
        return
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    owner = os.open(user_namespace, os.O_RDONLY | os.O_CLOEXEC)

    def enter() -> None:
        syscalls.setns(owner, syscalls.CLONE_NEWUSER)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _loopback_up()

    try:
        with Visitor(enter) as pid:
            syscalls.mount(f"/proc/{pid}/ns/net", path, None, syscalls.MS_BIND)
    except OSError as error:
        delete(path)
        raise PodlingError("creating network namespace") from error
    finally:
        os.close(owner)


def _visit(path: str) -> None:
    """Make the namespace and come back."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _make_here(path)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def inside(path: str, act: Callable[[], T]) -> T:
    """What ``act`` returns when it is done in the namespace at ``path``; programs that it starts are there too. "": in our own.

    A thread enters and ends there, since an ordinary user cannot come back to the host's namespace.
    """
    if not path:
        return act()

    def enter() -> T:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
        finally:
            os.close(fd)
        return act()

    return _in_thread(enter)


def apart(act: Callable[[], T]) -> T:
    """What ``act`` returns when it is done in a mount namespace of its own, from which nothing comes back; programs stay in it."""
    def enter() -> T:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_FS)
        syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
        return act()

    return _in_thread(enter)


def _in_thread(act: Callable[[], T]) -> T:
    """Do something in a thread of its own, which may change its namespaces."""
    results: list[T] = []
    failures: list[PodlingError | OSError] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            results.append(act())
        except (PodlingError, OSError) as error:           # raised where it is waited for
            failures.append(error)
        finally:
            done.release()

    _thread.start_new_thread(run, ())
    done.acquire()
    if failures:
        raise failures[0]
    return results[0]


def _make_here(path: str) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    _loopback_up()
    syscalls.mount("/proc/thread-self/ns/net", path, None, syscalls.MS_BIND)


def _loopback_up() -> None:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        ioctl(sock.fileno(), _SIOCSIFFLAGS, b"lo".ljust(16, b"\0") + _IFF_UP.to_bytes(2, "little") + bytes(22))
    finally:
        sock.close()


def _share(directory: str) -> None:
    """The directory is a shared mount of its own, as iproute2 makes it: what is deleted here is deleted everywhere."""
    if mounts.is_mounted(directory):
        return
    os.makedirs(directory, 0o755, exist_ok=True)
    mounts.bind(directory, directory, propagation="rshared")


def delete(path: str) -> None:
    """Unmount and remove the namespace's file; the kernel ends the namespace when its last process has; idempotent."""
    try:
        while mounts.unmount(path, lazy=True):
            continue
        os.unlink(path)
    except FileNotFoundError:
        return

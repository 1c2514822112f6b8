"""An ordinary user's user and mount namespaces, entered by this very process, and the process that holds them between commands.

    <runroot>/userns.pid    pid and start time of the holder
    <runroot>/userns.lock   held by who makes or repairs it

The first command forks the holder. The child makes the namespaces; its parent, which is still outside, has ``newuidmap`` and
``newgidmap`` fill in the id maps; then the child becomes a ``sleep`` that costs a quarter of a megabyte. Every command, the first
too, enters by two setns calls. Nothing is believed of the file: the process must have started when it says and be in a user
namespace that belongs to the user. Where the holder is gone, the namespaces are found through a conmon of one of the user's
containers, which lives in them, and get a new holder; where there is none either, nothing is left in them, and they are made anew.
"""

from __future__ import annotations

import errno
import os
from fcntl import ioctl

from podling import log
from podling.errors import PodlingError, ProgramFailed, Unsupported
from podling.linux import files, pids, process, rootless, syscalls, userns
from podling.linux.locks import Lock
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from podling.linux.rootless import Owner

_NS_GET_OWNER_UID = 0xB704
_NAMESPACES = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS
_FOR_EVER = str((1 << 31) - 1)               # seconds; every sleep knows it, not every one "infinity"
_READY, _GO = b"+", b"!"


class Namespaces(Record):
    """Descriptors of a user namespace and its mount namespace."""

    user: int
    mount: int

    def close(self) -> None:
        """Close both."""
        os.close(self.user)
        os.close(self.mount)


def enter(who: Owner, runroot: str) -> None:
    """Make this process root in the user's namespaces, from now on and for its children. It must have no other thread."""
    runtime = rootless.runtime_directory(who)
    found = _held(runroot, who.uid)
    if found is None:
        files.make_directories(runroot, 0o700)
        with Lock(f"{runroot}/userns.lock").exclusive():
            found = _held(runroot, who.uid) or _adopted(runroot, who.uid) or _made(runroot, who)
    try:
        _join(found)
    except OSError as error:
        raise PodlingError(f"entering the user namespace of {who.name}") from error
    finally:
        found.close()
    rootless.mark(who, runtime)


def _join(namespaces: Namespaces) -> None:
    """Entering a mount namespace moves the working directory to its root: it is found again by its name or, hidden, by itself.

    Where the user may not even enter it (``sudo -u`` in root's home), it stays the root.
    """
    here = _descriptor_of_here()
    try:
        name = os.getcwd()
    except OSError:                          # removed, or not to be reached from the root
        name = ""
    try:
        syscalls.setns(namespaces.user, syscalls.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.setns(namespaces.mount, syscalls.CLONE_NEWNS)
        try:
            os.chdir(name)
        except OSError:
            if here >= 0:
                os.fchdir(here)
    finally:
        if here >= 0:
            os.close(here)


def _descriptor_of_here() -> int:
    try:
        return os.open(".", os.O_PATH | os.O_CLOEXEC)
    except PermissionError:
        return -1


# --- finding ----------------------------------------------------------------------------------------------------------


def holder(runroot: str) -> tuple[int, int]:
    """(pid, start time) that the file names, (0, 0) where there is none; nobody has looked at the process."""
    try:
        words = files.read_text(f"{runroot}/userns.pid", 100).split()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0, 0
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else (0, 0)


def _held(runroot: str, uid: int) -> Namespaces | None:
    """The namespaces of the holder, None where it is gone or is not what it should be."""
    pid, start = holder(runroot)
    found = _namespaces_of(pid, uid) if pid else None
    if found is not None and not pids.is_alive(pid, start):   # looked at last: from here on the descriptors count
        found.close()
        return None
    return found


def _namespaces_of(pid: int, uid: int) -> Namespaces | None:
    """The namespaces of a process, None where it has no user namespace of the user's making beside ours."""
    fds = []
    try:
        fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "mnt")]
        if _owner_of(fds[0]) == uid and not os.path.samestat(os.fstat(fds[0]), os.stat("/proc/self/ns/user")):
            return Namespaces(user=fds[0], mount=fds.pop())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass                                 # ended, or somebody else's
    finally:
        if len(fds) != 1:
            for fd in fds:
                os.close(fd)
    return None


def _owner_of(fd: int) -> int:
    return int.from_bytes(ioctl(fd, _NS_GET_OWNER_UID, bytes(4)), syscalls.BYTE_ORDER)


def _adopted(runroot: str, uid: int) -> Namespaces | None:
    """The namespaces in which a conmon of a container lives, with a new holder; None where no container runs."""
    try:
        names = os.listdir(f"{runroot}/containers")
    except FileNotFoundError:
        return None
    for name in names:
        pid = _conmon(f"{runroot}/containers/{name}")
        found = _namespaces_of(pid, uid) if pid else None
        if found is None:
            continue
        _write(runroot, _Holder(lambda found=found: _join(found)))  # type: ignore[misc]
        return found
    return None


def _conmon(bundle: str) -> int:
    """The pid of a container's conmon, 0 where it is none: a pid in a file may be anybody's by now."""
    try:
        pid = int(files.read_text(f"{bundle}/conmon.pid", 20))
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(1 << 16).split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if os.path.basename(words[0]) == b"conmon" and os.fsencode(bundle) in words else 0


# --- making -----------------------------------------------------------------------------------------------------------


def _made(runroot: str, who: Owner) -> Namespaces:
    """New namespaces, with a holder."""
    child = _Holder(lambda: syscalls.unshare(_NAMESPACES))
    try:
        _map(child.pid, who)
        found = _namespaces_of(child.pid, who.uid)
        if found is None:
            raise PodlingError(f"the user namespace of {who.name} ended while it was made")
    except BaseException:
        child.abandon()
        raise
    _write(runroot, child)
    return found


def _write(runroot: str, child: _Holder) -> None:
    try:
        files.write_atomic(f"{runroot}/userns.pid", f"{child.pid} {pids.start_time(child.pid)}\n".encode())
    except BaseException:
        child.abandon()
        raise
    child.go()


class _Holder:
    """A forked child that has entered its namespaces and waits; if its parent ends before :meth:`go`, so does it."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        ready, ready_write = os.pipe()
        wait, self._go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be_holder(prepare, ready_write, wait, self._go)
        os.close(ready_write)
        os.close(wait)
        try:
            said = os.read(ready, 20)
        finally:
            os.close(ready)
        if said != _READY:
            self.abandon()
            raise _refused(int(said or b"0"))

    def go(self) -> None:
        """Let it live."""
        os.write(self._go, _GO)
        os.close(self._go)

    def abandon(self) -> None:
        """Let it end."""
        os.close(self._go)
        os.waitpid(self.pid, 0)


def _be_holder(prepare: Callable[[], None], ready: int, wait: int, go: int) -> NoReturn:
    """The child. Descriptors of the command, its pipes above all, are closed: who reads them waits for the end of all writers."""
    try:
        os.close(go)
        os.setsid()                          # a Ctrl-C at the terminal is not meant for it
        prepare()
        os.write(ready, _READY)
        if os.read(wait, 1) == _GO:
            os.chdir("/")
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.closerange(3, 1 << 20)
            for argv in (["sleep", _FOR_EVER], ["catatonit", "-P"]):
                path = process.find_program(argv[0], ("/usr/bin", "/bin"))
                if path is not None:
                    os.execve(path, argv, {})
    except OSError as error:
        os.write(ready, b"%d" % (error.errno or 0))
    finally:
        os._exit(1)


def _refused(number: int) -> PodlingError:
    """Why the kernel gives no user namespace, and the switch that usually is the reason."""
    switches = (("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
                ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
                ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=28633"))
    for path, value, setting in switches:
        try:
            if files.read_text(path, 100).strip() == value:
                return Unsupported("this host does not let ordinary users have user namespaces", hint=f"as root: sysctl -w {setting}")
        except OSError:
            continue
    why = os.strerror(number).lower() if number else "the child ended"
    hint = "a process whose root was changed by chroot may not make one; use pivot_root" if number == errno.EPERM else None
    return Unsupported(f"a user namespace cannot be made: {why}", hint=hint)


def _map(pid: int, who: Owner) -> None:
    """Give the namespace its ids: 0 is the user, from 1 on follow the subordinate ids, range by range."""
    uids, gids = userns.subids(who.name, who.uid, "/etc/subuid"), userns.subids(who.name, who.uid, "/etc/subgid")
    programs = [process.find_program(name, ("/usr/bin", "/usr/sbin")) for name in ("newuidmap", "newgidmap")]
    if uids and gids and programs[0] and programs[1]:
        for program, own, ranges in ((programs[0], who.uid, uids), (programs[1], who.gid, gids)):
            _call(program, pid, own, ranges)
        return
    _say_why(who, has_ranges=bool(uids and gids))
    # The kernel lets a process map its own ids without any help, on condition that nobody leaves a group by it.
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {who.uid} 1"), ("gid_map", f"0 {who.gid} 1")):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _call(program: str, pid: int, own: int, ranges: tuple[tuple[int, int], ...]) -> None:
    words, first = ["0", str(own), "1"], 1
    for start, size in ranges:
        words += [str(first), str(start), str(size)]
        first += size
    done = process.run([program, str(pid), *words], check=False, timeout=60)
    if done.status == 0:
        return
    kind = os.path.basename(program).removeprefix("new").removesuffix("map")
    said = done.stderr.decode(errors="replace").strip()
    raise ProgramFailed(f"cannot set up namespace using {program!r}: {said or process.describe_status(done.status)}",
                        argv=(program, str(pid), *words), status=done.status, output=said,
                        hint=f"the ranges in /etc/sub{kind} must not overlap, and {program} must be setuid root or have the "
                             f"capability cap_set{kind} as the package uidmap installs it")


def _say_why(who: Owner, *, has_ranges: bool) -> None:
    """Said once, when the namespace is made."""
    if has_ranges:
        log.warning("newuidmap and newgidmap are not installed: containers have one user and one group only. "
                    "Install the package uidmap, then run `podling system migrate`")
        return
    log.warning(f"user {who.name} has no ranges in /etc/subuid and /etc/subgid: containers have one user and one group only. As root: "
                f"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who.name}`, then run `podling system migrate`")

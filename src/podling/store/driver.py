"""Which storage driver works within a user namespace: found out by trying, once a store.

    <graphroot>/driver      what was chosen: its name and, where there is one, the mount program

The choice belongs to the store and outlives a new kernel: what containers have written is told from it, and the marks for deleted
files differ between the kernel's overlay and fuse-overlayfs. ``system reset`` makes a fresh one.
"""

from __future__ import annotations

import os

from podling import log
from podling.errors import PodlingError, Unsupported, explain
from podling.linux import mounts, process
from podling.linux.files import make_directories, read_text, remove_tree, unique_name, write_atomic
from podling.store.overlay import DRIVERS, ContainerFilesystems, Driver
from podling.store.stack import is_opaque

PROGRAM = "fuse-overlayfs"


def choose(graphroot: str, configured: str = "") -> Driver:
    """The store's driver. ``configured``: the driver that it has to be, "" for the best.

    Unsupported where the configured driver does not work here.
    """
    known = _remembered(graphroot)
    if known is not None and configured in ("", known.name):
        return known
    found = _probe(graphroot)
    if configured and found.name != configured:
        raise Unsupported(f"the storage driver {configured} does not work here: neither the kernel's overlay nor {PROGRAM} can be used",
                          hint=f"install {PROGRAM}, or use --storage-driver vfs")
    make_directories(graphroot, 0o700)
    write_atomic(f"{graphroot}/driver", f"{found.name}\n{found.mount_program}\n".encode())
    return found


def _remembered(graphroot: str) -> Driver | None:
    try:
        name, program = read_text(f"{graphroot}/driver", 5000).splitlines()
    except (FileNotFoundError, ValueError):
        return None
    if name not in DRIVERS or (program and not os.access(program, os.X_OK)):
        return None
    return Driver(name=name, mount_program=program, userxattr=not program)


def _probe(graphroot: str) -> Driver:
    candidates = [Driver(userxattr=True)]
    program = process.find_program(PROGRAM, ("/usr/bin", "/usr/local/bin"))
    if program is not None:
        candidates.append(Driver(mount_program=program))
    for candidate in candidates:
        reason = _why_not(graphroot, candidate)
        if not reason:
            return candidate
        log.info(f"storage driver {candidate.mount_program or candidate.name}: {reason}")
    return Driver(name="vfs")


def _why_not(graphroot: str, driver: Driver) -> str:
    """Why an overlay on this file system does not do what it should, "" if it does: a deletion and a replaced directory are kept."""
    top = f"{graphroot}/.probe-{unique_name()}"
    make_directories(f"{top}/lower/d", 0o700)
    trial = ContainerFilesystems(top, driver=driver.name, userxattr=driver.userxattr, mount_program=driver.mount_program)
    try:
        os.close(os.open(f"{top}/lower/f", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        trial.make("c")
        merged = trial.mount("c", [f"{top}/lower"])
        os.unlink(f"{merged}/f")
        os.rmdir(f"{merged}/d")
        os.mkdir(f"{merged}/d")
        if driver.userxattr and not (os.lstat(f"{trial.places('c').upper}/f").st_rdev == 0 and is_opaque(f"{trial.places('c').upper}/d")):
            return "deletions are not kept"
        return "deletions are not kept" if os.path.lexists(f"{merged}/f") else ""
    except (PodlingError, OSError) as error:
        return explain(error)
    finally:
        mounts.unmount_all(top)
        remove_tree(top)

"""Deleting what no row names, found from the directories themselves.

    1. Nobody is between unpacking a layer and giving it to an image: the lock ``layers``, exclusively, or nothing is done here.
    2. Rows of layers that no image has are deleted; then the directories of layers without a row are renamed aside.
    3. Nobody is between making a container's directory and its row: the lock ``containers``; then the same for containers.
    4. What lies aside is deleted.
    5. Downloads that broke off are kept a week, to be continued.

Each step is safe at any instant: rows go before directories, durably, and a rename is what takes a directory out of sight.
"""

from __future__ import annotations

import os
import time

from podling import log
from podling.errors import InUse, explain
from podling.linux import mounts
from podling.linux.files import aside, make_directories, remove_tree
from podling.linux.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from podling.database import Database

_DOWNLOAD_SECONDS = 7 * 24 * 3600


def collect(database: Database, graphroot: str) -> None:
    """All of it. What others are using is left for later; it costs a few listings where there is nothing to do."""
    collect_layers(database, graphroot, empty=False)
    collect_containers(database, graphroot, empty=False)
    empty_rubbish(graphroot)
    _unused_locks(f"{graphroot}/locks", "layer-")
    _old_downloads(f"{graphroot}/blobs/sha256")


def collect_layers(database: Database, graphroot: str, *, empty: bool = True) -> bool:
    """Layers that no image has, and what is left of ones that never were whole; False if somebody is adding some now."""
    def work() -> None:
        unused = "NOT EXISTS (SELECT 1 FROM image_layers WHERE layer_id = layers.id)"
        if database.row(f"SELECT 1 FROM layers WHERE {unused} LIMIT 1") is not None:  # noqa: S608
            with database.durable():
                database.run(f"DELETE FROM layers WHERE {unused}")  # noqa: S608
                database.run("DELETE FROM blobs WHERE diff_id NOT IN (SELECT diff_id FROM layers)")
                for table in ("blob_locations", "blob_annotations"):
                    database.run(f"DELETE FROM {table} WHERE digest NOT IN (SELECT digest FROM blobs)")  # noqa: S608
        known = {key for (key,) in database.rows("SELECT key FROM layers")}
        _move_unknown(f"{graphroot}/layers", known, graphroot)

    done = _alone(f"{graphroot}/locks/layers", work)
    if os.path.isdir(f"{graphroot}/mapped"):
        _alone(f"{graphroot}/locks/mapped", lambda: _collect_mapped(graphroot))
    if done and empty:
        empty_rubbish(graphroot)
    return done


def _collect_mapped(graphroot: str) -> None:
    """Copies of layers with other owners (``store.mapped``) whose layer is gone, and copies that were cut short."""
    layers = set(_names(f"{graphroot}/layers"))
    _move_unknown(f"{graphroot}/mapped", {name for name in _names(f"{graphroot}/mapped") if name.partition("-")[0] in layers}, graphroot)


def collect_containers(database: Database, graphroot: str, *, empty: bool = True) -> bool:
    """Directories of containers that have no row; False if somebody is making a container right now."""
    def work() -> None:
        known = {container_id for (container_id,) in database.rows("SELECT id FROM containers")}
        _move_unknown(f"{graphroot}/containers", known, graphroot, before=mounts.unmount_all)

    done = _alone(f"{graphroot}/locks/containers", work)
    if done and empty:
        empty_rubbish(graphroot)
    return done


def _alone(lock_path: str, work: Callable[[], None]) -> bool:
    """Do something while nobody shares the lock; False if somebody does."""
    make_directories(os.path.dirname(lock_path), 0o700)
    lock = Lock(lock_path)
    if not lock.try_exclusive():
        log.debug(f"garbage collection: {lock_path} is in use, left for later")
        return False
    try:
        work()
    finally:
        lock.release()
    return True


def _move_unknown(directory: str, known: Collection[str], graphroot: str, *,
                  before: Callable[[str], object] | None = None) -> None:
    """Rename aside what is in a directory under a name that nobody knows."""
    unknown = [name for name in _names(directory) if name not in known]
    if not unknown:
        return
    rubbish = f"{graphroot}/rubbish"
    make_directories(rubbish, 0o700)
    for name in unknown:
        path = f"{directory}/{name}"
        log.debug(f"garbage collection: {path}")
        if before is not None:
            before(path)
        aside(path, rubbish)


def empty_rubbish(graphroot: str) -> None:
    """Delete what lies aside; something that cannot be deleted is reported and left."""
    rubbish = f"{graphroot}/rubbish"
    for name in _names(rubbish):
        path = f"{rubbish}/{name}"
        try:
            remove_tree(path)                   # several processes may be at the same tree
        except (OSError, InUse) as error:
            log.warning(f"deleting {path}: {explain(error)}")


def _old_downloads(directory: str) -> None:
    """Blobs and parts of blobs that nobody has continued for long, and the locks of those that are gone."""
    oldest = time.time() - _DOWNLOAD_SECONDS
    for name in _names(directory):
        path = f"{directory}/{name}"
        if name.endswith((".partial", ".parts")) and _modified(path) < oldest:
            lock = Lock(path.rpartition(".")[0] + ".lock")
            if lock.try_exclusive():
                try:
                    os.unlink(path)
                finally:
                    lock.release()
    _unused_locks(directory, "", ".lock")


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return time.time()


def _unused_locks(directory: str, prefix: str, suffix: str = "") -> None:
    """Lock files that nobody holds."""
    for name in _names(directory):
        if name.startswith(prefix) and name.endswith(suffix):
            path = f"{directory}/{name}"
            lock = Lock(path)
            if lock.try_exclusive():
                try:
                    os.unlink(path)             # who waits for it notices
                except FileNotFoundError:
                    log.debug(f"garbage collection: {path} is gone already")
                finally:
                    lock.release()


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []

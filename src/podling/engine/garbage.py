"""What killed commands left behind, found from the directories, removed beside running commands."""

from __future__ import annotations

import os

from podling import log
from podling.engine import volumes
from podling.engine.engine import Engine
from podling.engine.roots import is_up
from podling.engine.start import clean_up, remove_run_directory
from podling.errors import InUse, PodlingError, explain

_LOCK = "container-"                          # before the id in a lock's name


def collect(engine: Engine) -> None:
    """Take down containers whose end nobody cleaned up, then delete what no row names. What is in use is left for later."""
    _unfinished_ends(engine)
    known = {row[0] for row in engine.database.rows("SELECT id FROM containers")}
    _run_directories(engine, known)
    _exit_files(engine, known)
    engine.images.collect()
    volumes.collect(engine)


def _unfinished_ends(engine: Engine) -> None:
    """Containers that ended while their clean-up was killed, or the host restarted."""
    for container, state in engine.containers.list_with_states():
        if state.status == "exited" and is_up(engine, container.id):
            try:
                clean_up(engine, container.id, restart=False)
            except (PodlingError, OSError) as error:
                log.warning(f"cleaning up container {container.id}: {explain(error)}")


def _run_directories(engine: Engine, known: set[str]) -> None:
    """Bundles of containers that exist no longer, with what is mounted in them, and their locks."""
    locks = [name.removeprefix(_LOCK) for name in _listing(engine.paths.locks) if name.startswith(_LOCK)]
    for name in {*_listing(f"{engine.paths.runroot}/containers"), *locks} - known:
        lock = engine.lock("container", name)
        if not lock.try_exclusive():
            continue
        gone = False
        try:
            if engine.database.row("SELECT 1 FROM containers WHERE id = ?", name) is None:
                remove_run_directory(engine, name)
                gone = True
        except (InUse, OSError) as error:
            log.debug(f"left for later: {explain(error)}")
        finally:
            lock.release(remove=gone)


def _exit_files(engine: Engine, known: set[str]) -> None:
    """conmon's words about containers that exist no longer: what they ended with is kept in the database."""
    for name in set(_listing(engine.paths.exits)) - known:
        if engine.database.row("SELECT 1 FROM containers WHERE id = ?", name) is None:
            try:
                os.unlink(f"{engine.paths.exits}/{name}")
            except FileNotFoundError:
                continue                     # by its own clean-up


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []

"""Tasks in forked processes, and in threads where forking is not safe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from podling.database import Database
from podling.errors import Corrupt, PodlingError, ProgramFailed, Unsupported
from podling.image import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = Path(__file__).resolve().parents[3] / "src"


@pytest.fixture(params=["processes", "threads"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways: a second thread forbids forking."""
    if request.param == "processes":
        for thread in threading.enumerate():        # what other tests left running ends in its time
            if thread not in (threading.main_thread(), threading.current_thread()):
                thread.join(10)
                assert not thread.is_alive(), thread
        yield "processes"
        return
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield "threads"
    end.set()
    thread.join()


def test_results_come_in_order(way: str) -> None:
    def task(number: int, tell: Callable[..., None]) -> list[Any]:
        time.sleep(0.01 * (5 - number))
        return [number, os.getpid() != parent]

    parent = os.getpid()
    assert workers.run(5, task, workers=3) == [[number, way == "processes"] for number in range(5)]


def test_nothing_to_do(way: str) -> None:
    assert workers.run(0, lambda number, tell: 1, workers=3) == []


def test_events_are_told(way: str) -> None:
    seen: list[tuple[int, dict[str, Any]]] = []

    def task(number: int, tell: Callable[..., None]) -> None:
        tell(done=1)
        tell(done=2, text="\udcff")

    workers.run(2, task, workers=2, progress=lambda number, event: seen.append((number, event)))
    assert sorted(seen, key=lambda said: (said[0], said[1]["done"])) == [
        (number, event) for number in range(2) for event in ({"done": 1}, {"done": 2, "text": "\udcff"})]


@pytest.mark.parametrize("error", [Corrupt("bad"), Unsupported("no", hint="do this"), PodlingError("what")])
def test_an_error_keeps_its_kind_words_and_hint(way: str, error: PodlingError) -> None:
    def task(number: int, tell: Callable[..., None]) -> None:
        if number == 1:
            raise error from OSError(2, "No such file or directory", "/x")

    with pytest.raises(type(error)) as failure:
        workers.run(3, task, workers=2)
    assert failure.value.message.startswith(error.message)
    assert failure.value.hint == error.hint


def test_a_failure_ends_the_others_after_they_have_undone_their_work(way: str, tmp_path: Path) -> None:
    def task(number: int, tell: Callable[..., None]) -> None:
        if number == 0:
            while len(list(tmp_path.iterdir())) < 2:
                time.sleep(0.01)
            raise Corrupt("bad")
        path = tmp_path / str(number)
        path.touch()
        try:
            for _ in range(2000):
                tell(done=1)
                time.sleep(0.01)
        finally:
            path.unlink()

    begin = time.monotonic()
    with pytest.raises(Corrupt):
        workers.run(3, task, workers=3)
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - begin < 15


def test_those_that_failed_too_undo_all_of_their_work(way: str, tmp_path: Path) -> None:
    """The first failure ends the others while they undo."""
    def task(number: int, tell: Callable[..., None]) -> None:
        path = tmp_path / f"layer{number}"
        path.touch()
        try:
            (tmp_path / f"begun{number}").touch()
            while len(list(tmp_path.glob("begun*"))) < 3:
                time.sleep(0.01)
            raise Corrupt("bad")
        finally:
            time.sleep(0.3 * number)
            path.unlink()

    with pytest.raises(Corrupt):
        workers.run(3, task, workers=3)
    assert list(tmp_path.glob("layer*")) == []


def test_an_interrupted_parent_ends_its_workers(way: str, tmp_path: Path) -> None:
    def interrupt(number: int, event: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    def task(number: int, tell: Callable[..., None]) -> None:
        for _ in range(500):
            tell(done=1)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        workers.run(2, task, workers=2, progress=interrupt)


def test_what_mostly_waits_is_done_by_threads() -> None:
    both = threading.Barrier(2, timeout=5)

    def task(number: int, tell: Callable[..., None]) -> int:
        both.wait()
        return os.getpid()

    assert workers.run(2, task, workers=2, waiting=True) == [os.getpid()] * 2


def test_an_interrupt_does_not_wait_for_what_waits() -> None:
    end = threading.Event()

    def interrupt(number: int, event: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    def task(number: int, tell: Callable[..., None]) -> None:
        tell(done=1)
        end.wait(20)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        workers.run(2, task, workers=2, progress=interrupt, waiting=True)
    assert time.monotonic() - begin < 5
    end.set()


def test_a_killed_worker_is_an_error() -> None:
    def task(number: int, tell: Callable[..., None]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ProgramFailed, match="ended before its work was done"):
        workers.run(2, task, workers=1)


def test_a_fault_in_a_task_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    def task(number: int, tell: Callable[..., None]) -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(PodlingError, match="internal fault: ZeroDivisionError"):
        workers.run(1, task, workers=1)
    assert "oops" in capfd.readouterr().err


def test_workers_end_and_undo_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(SOURCE)!r})
from podling.image import workers

def task(number, tell):
    path = f"{tmp_path}/made-{{number}}"
    os.mkdir(path)
    try:
        time.sleep(60)
    finally:
        os.rmdir(path)

workers.run(2, task, workers=2)
""")
    process = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 10
    while len(list(tmp_path.glob("made-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    while list(tmp_path.glob("made-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(tmp_path.glob("made-*")) == []


def test_workers_have_a_database_of_their_own(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    database.run("INSERT INTO volumes (name, created, record) VALUES ('mine', 1, '')")

    def task(number: int, tell: Callable[..., None]) -> int:
        own = Database(str(tmp_path / "db"))
        own.run("INSERT INTO volumes (name, created, record) VALUES (?, 1, '')", f"worker {number}")
        return len(own.rows("SELECT name FROM volumes WHERE name = 'mine'"))

    assert workers.run(8, task, workers=4, database=database) == [1] * 8
    assert len(database.rows("SELECT name FROM volumes")) == 9

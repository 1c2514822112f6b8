"""Work on several layers at once, in forked processes: Python runs one thread at a time, and both cores should be used.

The parent writes the numbers of the tasks into a pipe; each worker takes the next one when it is free, lower ones first, and
reports on a pipe of its own, a line of JSON for each event. The first failure ends all of them. A worker that is told to end,
by its parent or by the kernel because its parent died, undoes what it was doing first.

A process that has threads must not fork; there the same tasks run in threads, as do tasks that mostly wait for a registry.
"""

from __future__ import annotations

import os
import select
import sys
from _thread import start_new_thread

from podling import errors, jsontext
from podling.database import Error as DatabaseError
from podling.errors import PodlingError, ProgramFailed, explain, hints
from podling.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
    from typing import Any

    from podling.database import Database

    Report = Callable[..., None]
    Task = Callable[[int, Report], Any]
    Progress = Callable[[int, dict[str, Any]], None]
else:
    import _signal as signal  # `signal` itself imports enum (3 ms)

_CHUNK = 1 << 16
_UNDO_SECONDS = 10.0                         # for a worker to delete what it has half done
_AGAIN_SECONDS = 0.02                        # until a worker that was undoing something looks whether it still is
_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
SMALL = 8 << 20                              # bytes of layers that are moved without forking
MOST_TASKS = 16_000                          # what fits into a pipe
_EXPECTED = (PodlingError, OSError, DatabaseError, MemoryError, RecursionError)


def run(count: int, task: Task, *, workers: int, progress: Progress | None = None,
        database: Database | None = None, waiting: bool = False) -> list[Any]:
    """``task(number, report)`` for each number below ``count``; what each returned (JSON values), in order.

    ``report(**event)`` in a task calls ``progress(number, event)`` here. The error of a failed task is raised as what it was.
    ``database`` is closed while processes are forked, if tasks use one of their own on the same file. ``workers`` 0: the tasks
    run here, one after the other, which is quicker where they are short. ``waiting``: they wait for others more than they
    compute and leave nothing half done; threads do, and end with this process where it is interrupted.
    """
    if count > MOST_TASKS:
        raise ValueError(f"{count} tasks are too many")
    results: list[Any] = [None] * count
    if count == 0:
        return results
    if workers == 0:
        return [_run_here(number, task, progress) for number in range(count)]
    if waiting or _has_threads():
        _Threads(count, task, results, progress).run(min(workers, count), may_leave=waiting)
        return results
    started: list[_Worker] = []
    try:
        _start(started, count, task, min(workers, count), database)
        _listen(started, results, progress)
    except BaseException:
        for worker in started:
            worker.tell_to_end()
        raise
    finally:
        for worker in started:
            worker.end()
    return results


def for_layers(sizes: Iterable[int], most: int) -> int:
    """How many workers layers of these sizes (bytes) are worth: 0 where all of them take less time than a fork."""
    return most if sum(sizes) > SMALL else 0


def _run_here(number: int, task: Task, progress: Progress | None) -> Any:
    def report(**event: Any) -> None:
        if progress is not None:
            progress(number, event)

    return task(number, report)


def _has_threads() -> bool:
    """Whether this process has more threads than one; who has started one has loaded the module."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


# --- processes --------------------------------------------------------------------------------------------------------


class _Worker:
    """A forked process as the parent sees it."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd
        self.text = b""

    def lines(self) -> list[bytes] | None:
        """Whole lines that came; None at the end."""
        data = os.read(self.fd, _CHUNK)
        if not data:
            return None
        *whole, self.text = (self.text + data).split(b"\n")
        return whole

    def tell_to_end(self) -> None:
        """Ask it to undo what it is doing and to end."""
        os.kill(self.pid, signal.SIGTERM)    # not yet reaped, so the pid is still its own

    def end(self) -> None:
        """Wait for its end, which is made sure of after a while."""
        while select.select([self.fd], [], [], _UNDO_SECONDS)[0]:
            if not os.read(self.fd, _CHUNK):
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


class _ToldToEnd(BaseException):
    """The parent, or its death, ends this worker."""


def _start(started: list[_Worker], count: int, task: Task, workers: int, database: Database | None) -> None:
    syscalls.prctl(_PR_GET_DUMPABLE)         # loads what each child would load again
    tasks, feed = os.pipe()
    os.write(feed, b"".join([number.to_bytes(2, "big") for number in range(count)]))
    os.close(feed)
    if database is not None:
        database.close()
    try:
        for _ in range(workers):
            started.append(_fork(tasks, task, [worker.fd for worker in started]))
    finally:
        os.close(tasks)
        if database is not None:
            database.reopen()


def _fork(tasks: int, task: Task, others: list[int]) -> _Worker:
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writer)
        return _Worker(pid, reader)
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)      # the terminal sends it to all; the parent ends us
        signal.signal(signal.SIGTERM, _told_to_end)
        signal.signal(signal.SIGALRM, _told_to_end)
        syscalls.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        for fd in (reader, *others):
            os.close(fd)
        if os.getppid() == parent:
            _work(tasks, task, writer)
        status = 0
    except (BrokenPipeError, _ToldToEnd):
        status = 0
    finally:
        try:
            os._exit(status)
        finally:                             # told to end at this very instant: what is above is the parent's
            os._exit(status)


def _told_to_end(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.exc_info()[1] is not None:        # it has failed too, and what it undoes comes first
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        return
    raise _ToldToEnd


def _work(tasks: int, task: Task, writer: int) -> None:
    while len(data := os.read(tasks, 2)) == 2:
        number = int.from_bytes(data, "big")

        def report(number: int = number, **event: Any) -> None:
            _write(writer, {"task": number, "event": event})

        try:
            _write(writer, {"task": number, "result": task(number, report)})
        except (BrokenPipeError, _ToldToEnd):
            raise
        except _EXPECTED as error:
            _write(writer, {"task": number, "error": [_kind(error), explain(error), hints(error)]})
            return
        except BaseException as error:  # noqa: BLE001  a fault of our own must not hang the parent
            sys.excepthook(type(error), error, error.__traceback__)
            _write(writer, {"task": number, "error": ["PodlingError", f"internal fault: {type(error).__name__}", []]})
            return


def _write(fd: int, value: dict[str, Any]) -> None:
    data = jsontext.dumps(value).encode("utf-8", "surrogateescape") + b"\n"
    while data:
        data = data[os.write(fd, data):]


def _kind(error: BaseException) -> str:
    kinds = type(error).__mro__
    return next((kind.__name__ for kind in kinds if getattr(errors, kind.__name__, None) is kind), "PodlingError")


def _listen(started: list[_Worker], results: list[Any], progress: Progress | None) -> None:
    poll = select.poll()
    by_fd = {worker.fd: worker for worker in started}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    missing = set(range(len(results)))
    while missing and by_fd:
        for fd, _ in poll.poll():
            lines = by_fd[fd].lines()
            if lines is None:
                poll.unregister(fd)
                del by_fd[fd]
                continue
            for line in lines:
                _take(jsontext.loads(line.decode("utf-8", "surrogateescape")), results, missing, progress)
    if missing:
        raise ProgramFailed(f"a worker process ended before its work was done ({len(missing)} of {len(results)} left)",
                            hint="it may have been killed for want of memory: see dmesg")


def _take(said: dict[str, Any], results: list[Any], missing: set[int], progress: Progress | None) -> None:
    number = said["task"]
    if "event" in said:
        if progress is not None:
            progress(number, said["event"])
    elif "error" in said:
        kind, words, advice = said["error"]
        raise getattr(errors, kind)(words, hint=advice[0] if advice else None)
    else:
        results[number] = said["result"]
        missing.discard(number)


# --- threads ----------------------------------------------------------------------------------------------------------


class _Threads:
    """The tasks in threads of this process; progress is called in the thread that waits for them."""

    def __init__(self, count: int, task: Task, results: list[Any], progress: Progress | None) -> None:
        self.task = task
        self.results = results
        self.progress = progress
        from _queue import SimpleQueue

        self.waiting = iter(range(count))
        self.said: SimpleQueue[tuple[int, dict[str, Any] | None]] = SimpleQueue()      # None: this thread ended
        self.failure: BaseException | None = None

    def run(self, workers: int, *, may_leave: bool) -> None:
        """Run them all; the first failure is raised once every thread has ended, an interrupt at once if they may be left."""
        for _ in range(workers):
            start_new_thread(self._work, ())
        left = workers
        try:
            while left:
                number, event = self.said.get()
                if event is None:
                    left -= 1
                elif self.progress is not None and self.failure is None:
                    self.progress(number, event)
        except BaseException as error:
            self.failure = error
            while left and not (may_leave and isinstance(error, KeyboardInterrupt)):
                left -= self.said.get()[1] is None
            raise
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        number = 0

        def report(**event: Any) -> None:
            if self.failure is not None:
                raise PodlingError("given up, because another layer failed")
            self.said.put((number, event))

        try:
            while self.failure is None:
                try:
                    number = next(self.waiting)
                except StopIteration:
                    break
                self.results[number] = self.task(number, report)
        except BaseException as error:  # noqa: BLE001  raised again by who waits
            self.failure = self.failure or error
        finally:
            self.said.put((number, None))

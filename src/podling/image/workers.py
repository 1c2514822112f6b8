"""Work on several layers at once, in forked processes: Python runs one thread at a time, and both cores should be used.

The parent writes the numbers of the tasks into a pipe; each worker takes the next one when it is free, lower ones first, and
reports on a pipe of its own, a line of JSON for each event. The first failure ends all of them. A worker whose parent was killed
ends by itself: its task pipe is at its end, or its report finds no reader.
"""

from __future__ import annotations

import os
import select
import signal

from podling import errors, jsontext
from podling.errors import PodlingError, ProgramFailed, explain, hints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Report = Callable[..., None]
    Task = Callable[[int, Report], Any]

_CHUNK = 1 << 16


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


def run(count: int, task: Task, *, workers: int, progress: Callable[[int, dict[str, Any]], None] | None = None) -> list[Any]:
    """``task(number, report)`` for each number below ``count``; what each returned (JSON values), in order.

    ``report(**event)`` in a task calls ``progress(number, event)`` here. The error of a failed task is raised as what it was.
    """
    results: list[Any] = [None] * count
    if count == 0:
        return results
    tasks, feed = os.pipe()
    os.write(feed, bytes(b for number in range(count) for b in number.to_bytes(2, "big")))
    os.close(feed)
    started: list[_Worker] = []
    try:
        for _ in range(min(workers, count)):
            started.append(_fork(tasks, task, [worker.fd for worker in started]))
        os.close(tasks)
        tasks = -1
        _listen(started, results, progress)
    finally:
        if tasks >= 0:
            os.close(tasks)
        for worker in started:
            _end(worker)
    return results


def _fork(tasks: int, task: Task, others: list[int]) -> _Worker:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return _Worker(pid, reader)
    status = 1
    try:
        for fd in (reader, *others):
            os.close(fd)
        signal.signal(signal.SIGINT, signal.SIG_IGN)      # the parent gets it, and ends us
        _work(tasks, task, writer)
        status = 0
    except BrokenPipeError:
        status = 0                                         # the parent is gone
    finally:
        os._exit(status)


def _work(tasks: int, task: Task, writer: int) -> None:
    while len(data := os.read(tasks, 2)) == 2:
        number = int.from_bytes(data, "big")

        def report(number: int = number, **event: Any) -> None:
            _write(writer, {"task": number, "event": event})

        try:
            _write(writer, {"task": number, "result": task(number, report)})
        except (PodlingError, OSError, MemoryError, RecursionError) as error:
            _write(writer, {"task": number, "error": [_kind(error), explain(error), hints(error)]})
            return


def _write(fd: int, value: dict[str, Any]) -> None:
    data = jsontext.dumps(value).encode("utf-8", "surrogateescape") + b"\n"
    while data:
        data = data[os.write(fd, data):]


def _kind(error: BaseException) -> str:
    kinds = type(error).__mro__
    return next((kind.__name__ for kind in kinds if getattr(errors, kind.__name__, None) is kind), "PodlingError")


def _listen(started: list[_Worker], results: list[Any], progress: Callable[[int, dict[str, Any]], None] | None) -> None:
    poll = select.poll()
    by_fd = {worker.fd: worker for worker in started}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    missing = set(range(len(results)))
    while by_fd:
        for fd, _ in poll.poll():
            lines = by_fd[fd].lines()
            if lines is None:
                poll.unregister(fd)
                del by_fd[fd]
                continue
            for line in lines:
                _take(jsontext.loads(line), results, missing, progress)
    if missing:
        raise ProgramFailed(f"a worker process ended before its work was done ({len(missing)} of {len(results)} left)",
                            hint="it may have been killed for want of memory: see dmesg")


def _take(said: dict[str, Any], results: list[Any], missing: set[int],
          progress: Callable[[int, dict[str, Any]], None] | None) -> None:
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


def _end(worker: _Worker) -> None:
    os.close(worker.fd)
    try:
        os.kill(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(worker.pid, 0)

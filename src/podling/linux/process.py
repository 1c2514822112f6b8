"""Programs: starting them, talking to them and waiting for their end. What runs already is recognised by ``linux.pids``.

The only place that starts programs. It builds on the C helper of the standard ``subprocess`` module (vfork speed, every other
descriptor closed, SIGPIPE restored in the child), which costs nothing to import, where ``subprocess`` itself takes 10 ms.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from _posixsubprocess import fork_exec

from podling.errors import PodlingError, ProgramFailed, Unsupported
from podling.linux.pids import ends_within
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, NoReturn, Self
else:
    import _signal  # `signal` itself imports enum (3 ms)

PIPE = -1
INHERIT = -2
_CHUNK = 1 << 16
_LAST_WORDS = 4096
_STDERR_KEPT = 1 << 20
_ROUNDS_AFTER_END = 64  # reads of 64 KiB: more than any pipe holds

SIGTERM, SIGKILL, SIGHUP = int(_signal.SIGTERM), int(_signal.SIGKILL), int(_signal.SIGHUP)


class Completed(Record):
    """How a program ended: its exit status (negative: the signal that ended it) and what it wrote."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""


# --- starting ---------------------------------------------------------------------------------------------------------


def spawn(argv: Sequence[str], *, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None,
          env: Mapping[str, str] | None = None, cwd: str | None = None, pass_fds: Iterable[int] = (),
          new_session: bool = False) -> int:
    """Start a program and return its pid; the caller must :func:`wait` for it.

    Standard streams are descriptors, None for ``/dev/null``, or INHERIT. Descriptors in ``pass_fds`` keep their numbers;
    all others are closed in the program. Raises Unsupported where the program is missing, ProgramFailed where it cannot
    be executed, OSError where ``cwd`` cannot be entered.
    """
    null = -1
    if stdin is None or stdout is None or stderr is None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        streams = [null if fd is None else -1 if fd == INHERIT else fd for fd in (stdin, stdout, stderr)]
        return _start(argv, streams, env, cwd, pass_fds, new_session)
    finally:
        if null >= 0:
            os.close(null)


def _start(argv: Sequence[str], streams: Sequence[int], env: Mapping[str, str] | None, cwd: str | None,
           pass_fds: Iterable[int], new_session: bool) -> int:
    """Fork and execute; an error of either comes back through a pipe that a successful execve closes."""
    report, report_write = _error_pipe()
    try:
        try:
            arguments = [os.fsencode(word) for word in argv]
            settings = None if env is None else [os.fsencode(f"{name}={value}") for name, value in env.items()]
            keep = tuple(sorted({*pass_fds, report_write}))
            vfork: tuple[bool, ...] = (True,) if sys.version_info < (3, 14) else ()  # later ones always use it
            pid: int = fork_exec(
                arguments, _candidates(argv[0], env), True, keep, cwd,  # type: ignore[arg-type]
                settings, streams[0], -1, -1, streams[1], -1, streams[2], report, report_write, True, new_session,
                -1, None, None, None, -1, None, *vfork)  # type: ignore[arg-type]
        finally:
            os.close(report_write)
        trouble = b""
        while part := os.read(report, _CHUNK):
            trouble += part
    finally:
        os.close(report)
    if trouble:
        os.waitpid(pid, 0)
        raise _start_error(trouble, argv, cwd)
    return pid


def _error_pipe() -> tuple[int, int]:
    """A pipe whose write end is not one of the standard streams' numbers, which the child is about to overwrite."""
    read, write = os.pipe()
    low = []
    while write < 3:
        low.append(write)
        write = os.dup(write)
    for fd in low:
        os.close(fd)
    return read, write


def _candidates(program: str, env: Mapping[str, str] | None) -> tuple[bytes, ...]:
    """The paths to try, as execvp does."""
    if "/" in program:
        return (os.fsencode(program),)
    return tuple(os.fsencode(f"{directory}/{program}") for directory in os.get_exec_path(env))


def _start_error(report: bytes, argv: Sequence[str], cwd: str | None) -> Exception:
    """The exception for what the child wrote: ``OSError:<hex errno>:<"noexec" where it failed before execve>``."""
    kind, _, rest = report.partition(b":")
    code, _, detail = rest.partition(b":")
    if kind != b"OSError":
        return PodlingError(f"starting {argv[0]}: {report.decode(errors='replace')}")
    number = int(code, 16)
    cause = OSError(number, os.strerror(number), cwd if detail.startswith(b"noexec") and cwd else argv[0])
    if detail.startswith(b"noexec"):
        return cause
    return _cannot_execute(argv, cause)


def _cannot_execute(argv: Sequence[str], cause: OSError) -> PodlingError:
    program = argv[0]
    error: PodlingError
    if cause.errno in (errno.ENOENT, errno.ENOTDIR):
        where = "" if "/" in program else " in $PATH"
        hint = f"Install the package that has {os.path.basename(program)}, or name its path in containers.conf"
        error = Unsupported(f'executable file "{program}" not found{where}', hint=hint)
    else:
        error = ProgramFailed(f"cannot execute {program}", argv=tuple(argv), status=126, output=cause.strerror or "")
    error.__cause__ = cause
    return error


def replace_process(argv: Sequence[str], env: Mapping[str, str] | None = None) -> NoReturn:
    """Become another program; open descriptors that are inheritable stay open. Raises as :func:`spawn` does."""
    # ignored by Python, and an ignored signal stays ignored after execve
    before = {number: _signal.signal(number, _signal.SIG_DFL) for number in (_signal.SIGPIPE, _signal.SIGXFSZ)}
    try:
        if env is None:
            os.execvp(argv[0], list(argv))
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        for number, handler in before.items():
            _signal.signal(number, handler)
        raise _cannot_execute(argv, error) from error


def ignore_keys() -> None:
    """Leave Ctrl-C and Ctrl-\\ to the child in the foreground that this process waits for."""
    for number in (_signal.SIGINT, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)


# --- running to the end -----------------------------------------------------------------------------------------------


def run(argv: Sequence[str], *, input: bytes = b"", env: Mapping[str, str] | None = None,  # noqa: A002
        cwd: str | None = None, pass_fds: Iterable[int] = (), timeout: float | None = None, check: bool = True,
        stdout_limit: int = 64 << 20, secrets: Iterable[str] = ()) -> Completed:
    """Run a program to its end, feeding it ``input``, and return its status and output.

    What it wrote before it ended is complete; a daemon that it left behind with its pipes open is not waited for. Of standard
    error the last 1 MiB is kept. With ``check`` a status other than 0 raises ProgramFailed with the last words of standard
    error. ``timeout`` is in seconds: the program is killed and ProgramFailed raised, as when it writes more than
    ``stdout_limit`` bytes. Each of ``secrets`` is masked in what an error shows.
    """
    child = Child(argv, stdin=PIPE if input else None, stdout=PIPE, stderr=PIPE, env=env, cwd=cwd, pass_fds=pass_fds)
    with child:
        conversation = _Conversation(child, input, stdout_limit)
        problem = conversation.hold(None if timeout is None else time.monotonic() + timeout)
        if problem:
            child.kill()
            child.wait()
            raise failure(argv, -SIGKILL, bytes(conversation.stderr), secrets, problem)
        status = child.wait()
    if check and status:
        raise failure(argv, status, bytes(conversation.stderr), secrets)
    return Completed(status=status, stdout=bytes(conversation.stdout), stderr=bytes(conversation.stderr))


class _Conversation:
    """Both directions of a child's pipes at once, so that neither side waits for the other for ever."""

    def __init__(self, child: Child, text: bytes, stdout_limit: int) -> None:
        self.child = child
        self.unsent = memoryview(text)
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.stdout_limit = stdout_limit

    def hold(self, deadline: float | None) -> str:
        """Talk until the program has ended; "" or why it must be killed."""
        child = self.child
        try:
            ended = os.pidfd_open(child.pid)
        except OSError:  # before Linux 5.3: the pipes' end must do
            ended = -1
        try:
            return self._hold(ended, deadline)
        finally:
            if ended >= 0:
                os.close(ended)

    def _hold(self, ended: int, deadline: float | None) -> str:
        child = self.child
        poll = select.poll()
        poll.register(child.stdout, select.POLLIN)
        poll.register(child.stderr, select.POLLIN)
        if ended >= 0:
            poll.register(ended, select.POLLIN)
        if child.stdin >= 0:
            os.set_blocking(child.stdin, False)
            poll.register(child.stdin, select.POLLOUT)
        waiting = {child.stdout, child.stderr}
        rounds = _ROUNDS_AFTER_END
        while waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            events = poll.poll(left)
            if not events:
                return "timed out"
            ready = [fd for fd, _ in events]
            for fd in ready:
                if fd == child.stdin:
                    if not self._send():
                        poll.unregister(fd)
                        child.close_stdin()
                elif fd in waiting and not self._receive(fd):
                    poll.unregister(fd)
                    waiting.discard(fd)
            if len(self.stdout) > self.stdout_limit:
                return f"wrote more than {self.stdout_limit} bytes"
            if ended in ready:
                rounds -= 1
                if rounds == 0 or not waiting.intersection(ready):
                    return ""  # it has ended and its pipes are empty, although somebody still holds them open
        return self._await_end(ended, deadline)

    @staticmethod
    def _await_end(ended: int, deadline: float | None) -> str:
        """Wait for a program that closed its output before it ended."""
        left = None if deadline is None else deadline - time.monotonic()
        return "timed out" if ended >= 0 and not ends_within(ended, left) else ""

    def _send(self) -> bool:
        """Send what the pipe takes; False when nothing is left or nobody reads any more."""
        try:
            written = os.write(self.child.stdin, self.unsent[:_CHUNK])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        self.unsent = self.unsent[written:]
        return len(self.unsent) > 0

    def _receive(self, fd: int) -> bool:
        data = os.read(fd, _CHUNK)
        if fd == self.child.stdout:
            self.stdout += data
        else:
            self.stderr += data
            if len(self.stderr) > 2 * _STDERR_KEPT:
                del self.stderr[:-_STDERR_KEPT]
        return bool(data)


def failure(argv: Sequence[str], status: int, stderr: bytes, secrets: Iterable[str] = (), problem: str = "") -> ProgramFailed:
    """The error for a program that ended with ``status`` and these last words on standard error."""
    words = stderr[-_LAST_WORDS:].decode(errors="replace").strip()
    shown = list(argv)
    for secret in secrets:
        if secret:
            words = words.replace(secret, "***")
            shown = [word.replace(secret, "***") for word in shown]
    how = problem or describe_status(status)
    message = f"{os.path.basename(shown[0])}: {words}" if words and not problem else f"{os.path.basename(shown[0])}: {how}"
    return ProgramFailed(message, argv=tuple(shown), status=status, output=words)


def describe_status(status: int) -> str:
    """``exit status 1`` or ``signal: 9``, as Go says it."""
    return f"exit status {status}" if status >= 0 else f"signal: {-status}"


class Child:
    """A running program with pipes to it; a context that ends with the pipes closed and the program reaped.

    Streams are descriptors, None for ``/dev/null``, INHERIT, or PIPE: then ``child.stdin`` is a descriptor to write to,
    ``child.stdout`` and ``child.stderr`` are descriptors to read from (-1 where there is no pipe). Leaving the context
    early, by an exception, kills the program.
    """

    def __init__(self, argv: Sequence[str], *, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None,
                 **options: Any) -> None:
        self.stdin = self.stdout = self.stderr = -1
        self.status: int | None = None
        theirs: list[int] = []
        try:
            streams = [self._stream(stdin, "stdin", theirs), self._stream(stdout, "stdout", theirs),
                       self._stream(stderr, "stderr", theirs)]
            self.pid = spawn(argv, stdin=streams[0], stdout=streams[1], stderr=streams[2], **options)
        except BaseException:
            self.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    def _stream(self, wanted: int | None, name: str, theirs: list[int]) -> int | None:
        if wanted != PIPE:
            return wanted
        read, write = os.pipe()
        ours, their = (write, read) if name == "stdin" else (read, write)
        setattr(self, name, ours)
        theirs.append(their)
        return their

    def close_stdin(self) -> None:
        """Tell the program that no more input follows."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Close all pipes."""
        self.close_stdin()
        for name in ("stdout", "stderr"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)

    def kill(self, signal: int = SIGKILL) -> None:
        """Send a signal, unless the program has been reaped."""
        if self.status is None:
            os.kill(self.pid, signal)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status (negative: a signal), once the program has ended; TimeoutError after ``timeout`` seconds."""
        if self.status is None:
            self.status = wait(self.pid, timeout)
        return self.status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if kind is not None:
            self.kill()
        self.wait()


def wait(pid: int, timeout: float | None = None) -> int:
    """Reap a child: its exit status, negative for a signal. TimeoutError after ``timeout`` seconds without its end."""
    if timeout is not None:
        fd = os.pidfd_open(pid)
        try:
            if not ends_within(fd, timeout):
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(pid))
        finally:
            os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def find_program(name: str, directories: Iterable[str] = ()) -> str | None:
    """The path of an executable: ``name`` itself if it has a slash, else from ``directories``, then from $PATH."""
    if "/" in name:
        return name if _executable(name) else None
    for directory in (*directories, *os.get_exec_path()):
        path = os.path.join(directory, name)
        if _executable(path):
            return path
    return None


def _executable(path: str) -> bool:
    return os.access(path, os.X_OK) and os.path.isfile(path)

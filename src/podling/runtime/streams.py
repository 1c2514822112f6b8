"""A container's standard streams: attaching to conmon.

conmon listens on ``attach`` in the bundle, a SOCK_SEQPACKET socket for any number of clients. Each packet it sends begins with
a byte that says which stream the rest is (2 standard output, 3 standard error; of a terminal everything is 2); what a client
sends goes to the container's standard input as it is, and a half-closed connection closes that input where the container has one
open (``-i`` without a terminal). Window sizes are lines ``1 ROWS COLUMNS`` in the named pipe ``ctl``.

One poll loop moves everything, without threads. It never waits for one side while another could go on: input that conmon does
not take yet is kept, output goes to a pipe or a terminal only as fast as that takes it.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from podling.errors import WrongState
from podling.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    import socket as _socket
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Self

    from podling.runtime.terminals import DetachKeys

    Sink = int | Callable[[bytes], None] | None
else:
    import _signal  # `signal` imports enum (3 ms), `socket` takes 5 ms
    import _socket

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
STDOUT, STDERR = 2, 3                # conmon's numbers
ENDED, DETACHED = "ended", "detached"
_PACKET = 1 << 16                    # conmon sends at most 8 KiB and a byte
_INPUT = 1 << 13                     # conmon takes packets of up to 32 KiB and cuts off the rest
_PIPE_BUF = 4096                     # what a pipe takes at once when poll says that it is ready
_LARGEST_WINDOW = 1000               # conmon refuses more rows or columns
_INPUT_EVENTS = select.POLLIN | select.POLLHUP | select.POLLERR
_POLL_EXIT = 0.0005                  # seconds between two looks for the exit file, once the process is gone
# What a foreground command passes on to the container: all that ends or steers a program.
PROXIED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGABRT", "SIGALRM", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGTSTP",
           "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS", "SIGTRAP", "SIGVTALRM", "SIGPROF", "SIGXCPU")


# --- the connection ---------------------------------------------------------------------------------------------------


def connect(bundle: str) -> _socket.socket:
    """A connection to conmon's attach socket in the bundle; WrongState where none listens.

    It goes through the directory's descriptor: a socket's path may have 107 bytes only, a bundle's may be longer.
    """
    directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/attach")
        except BaseException:
            connection.close()
            raise
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise WrongState("failed to connect to container's attach socket: it is not running") from error
    finally:
        os.close(directory)
    return connection


def resize(bundle: str, rows: int, columns: int) -> bool:
    """Set the size of the container's terminal; False where there is no conmon any more."""
    try:
        control = os.open(f"{bundle}/ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    try:
        os.write(control, b"1 %d %d\n" % (min(rows, _LARGEST_WINDOW), min(columns, _LARGEST_WINDOW)))
    except BrokenPipeError:
        return False
    finally:
        os.close(control)
    return True


# --- the loop ---------------------------------------------------------------------------------------------------------


class Copy:
    """Moves bytes between a connection to conmon and the caller's streams until the container ends or the user leaves.

    ``stdin``: a descriptor to read, None for no input (the container's is then left open). ``stdout``, ``stderr``: a
    descriptor, a function that takes bytes, or None to throw them away.
    ``signals``: a :class:`SignalPipe`; ``on_signal`` is called with each number that it brings. ``process``: pidfd of the
    container's process, and ``has_ended``: whether conmon has written its exit file. With both the loop ends promptly although
    other processes hold the streams open.

    The caller owns all of it and closes it.
    """

    def __init__(self, connection: _socket.socket, *, stdin: int | None = None, stdout: Sink = None, stderr: Sink = None,
                 keys: DetachKeys | None = None) -> None:
        self.connection = connection
        self.stdin = stdin
        self.outputs = {STDOUT: Output(stdout), STDERR: Output(stderr)}
        self.keys = keys
        self.signals: SignalPipe | None = None
        self.on_signal: Callable[[int], None] | None = None
        self.process = -1
        self.has_ended: Callable[[], bool] | None = None
        self._to_send = b""
        self._input_over = stdin is None
        self._detaching = False

    def run(self) -> str:
        """ENDED or DETACHED. OSError where a stream of the caller's fails, BrokenPipeError among them."""
        self.connection.setblocking(False)
        while True:
            if self._detaching and not self._to_send:
                return DETACHED
            ready = self._wait()
            if self.signals is not None and self.signals.fd in ready:
                for number in self.signals.read():
                    if self.on_signal is not None:
                        self.on_signal(number)
            self._write_outputs(ready)
            if self._to_send and ready.get(self.connection.fileno(), 0) & (select.POLLOUT | select.POLLHUP | select.POLLERR):
                self._send()
            takes_input = self.stdin is not None and not self._input_over and not self._to_send
            if takes_input and ready.get(self.stdin or 0, 0) & _INPUT_EVENTS:
                self._read_input()
            if not self._has_output() and ready.get(self.connection.fileno(), 0) & (select.POLLIN | select.POLLHUP):
                if not self._receive():
                    return ENDED
            elif self.process in ready and not self._has_output() and self._is_over():
                return ENDED

    def _has_output(self) -> bool:
        return any(output.pending for output in self.outputs.values())

    def _wait(self) -> dict[int, int]:
        """Whatever can go on: descriptor -> events."""
        poll = select.poll()
        events = {self.connection.fileno(): 0}
        if not self._has_output():
            events[self.connection.fileno()] |= select.POLLIN
        if self._to_send:
            events[self.connection.fileno()] |= select.POLLOUT
        elif not self._input_over and self.stdin is not None:
            events[self.stdin] = events.get(self.stdin, 0) | select.POLLIN
        for output in self.outputs.values():
            if output.pending:
                events[output.fd] = events.get(output.fd, 0) | select.POLLOUT
        for fd in (self.process, self.signals.fd if self.signals is not None else -1):
            if fd >= 0:
                events[fd] = events.get(fd, 0) | select.POLLIN
        for fd, mask in events.items():
            if mask:
                poll.register(fd, mask)
        return dict(poll.poll())

    # output: from conmon to the caller

    def _receive(self) -> bool:
        """Take one packet; False at the end."""
        try:
            packet = self.connection.recv(_PACKET)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not packet:
            return False
        output = self.outputs.get(packet[0])
        if output is not None:
            output.put(packet[1:])
        return True

    def _write_outputs(self, ready: dict[int, int]) -> None:
        for output in self.outputs.values():
            if output.pending and output.fd in ready:
                output.flush()

    def _is_over(self) -> bool:
        """The process is gone: whether all that it wrote has come, which conmon's exit file says."""
        if self.has_ended is None or not self.has_ended():
            time.sleep(_POLL_EXIT)
            return False
        # Everything was sent before the exit file was written: what is not here now never comes.
        return not _readable(self.connection.fileno())

    # input: from the caller to conmon

    def _read_input(self) -> None:
        assert self.stdin is not None
        try:
            data = os.read(self.stdin, _INPUT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:       # a terminal that hung up
                raise
            data = b""
        if data:
            self._take_input(data)
        else:
            self._to_send = self.keys.rest() if self.keys is not None else b""
            self._input_over = True
            if not self._to_send:
                self._close_input()

    def _take_input(self, data: bytes) -> None:
        passed, detach = self.keys.feed(data) if self.keys is not None else (data, False)
        self._to_send += passed
        if detach:
            self._detaching = self._input_over = True

    def _send(self) -> None:
        try:
            sent = self.connection.send(self._to_send[:_INPUT])
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._to_send, self._input_over = b"", True      # the container takes no more; its output may go on
            return
        self._to_send = self._to_send[sent:]
        if not self._to_send and self._input_over and not self._detaching and self.stdin is not None:
            self._close_input()

    def _close_input(self) -> None:
        try:
            self.connection.shutdown(_socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise


class Output:
    """Where one stream goes. A descriptor that could block is written only when poll says that it is ready."""

    def __init__(self, sink: Sink) -> None:
        self._function = sink if callable(sink) else None
        self.fd = -1 if sink is None or callable(sink) else sink
        self.pending = b""
        if self.fd >= 0 and not files.is_open(self.fd):
            self.fd = -1                     # closed by whoever started us: as if it were /dev/null
        self._may_block = self.fd >= 0 and not stat.S_ISREG(os.fstat(self.fd).st_mode)

    def put(self, data: bytes) -> None:
        """Write what fits now; the rest is ``pending``."""
        if self._function is not None:
            self._function(data)
        elif self.fd >= 0:
            self.pending += data
            if not self._may_block or _writable(self.fd):
                self.flush()

    def put_all(self, data: bytes) -> None:
        """Write all of it, however long that takes."""
        self.put(data)
        while self.pending:
            poll = select.poll()
            poll.register(self.fd, select.POLLOUT)
            poll.poll()
            self.flush()

    def flush(self) -> None:
        """Write as much as fits without waiting."""
        while self.pending:
            try:
                written = os.write(self.fd, self.pending[:_PIPE_BUF] if self._may_block else self.pending)
            except BlockingIOError:
                return
            self.pending = self.pending[written:]
            if self.pending and self._may_block and not _writable(self.fd):
                return


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


# --- signals ----------------------------------------------------------------------------------------------------------


class SignalPipe:
    """Signals as bytes to read, while it is entered; the handlers that were there come back afterwards.

    Only in the main thread, as Python wants it. An ignored SIGHUP stays ignored (nohup); SIGINT and SIGQUIT, which a shell
    without job control ignores in whatever runs in the background, do not: who sends them to this process means it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._numbers = [int(getattr(_signal, name)) for name in names if hasattr(_signal, name)]
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self.fd = self._write = -1

    def __enter__(self) -> Self:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._numbers:
            if number != _signal.SIGHUP or _signal.getsignal(number) != _signal.SIG_IGN:
                self._before[number] = _signal.signal(number, _nothing)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(self._wakeup)
        os.close(self.fd)
        os.close(self._write)

    def read(self) -> bytes:
        """The signals that came, one byte each."""
        try:
            return os.read(self.fd, 256)
        except BlockingIOError:
            return b""


def _nothing(number: int, frame: object) -> None:
    """Python writes the signal's number into the pipe; there is nothing else to do."""


# --- attaching --------------------------------------------------------------------------------------------------------


def attach(bundle: str, *, terminal: bool, stdin: int | None, stdout: Sink, stderr: Sink,
           detach_keys: str = DEFAULT_DETACH_KEYS, kill: Callable[[int], None] | None = None,
           start: Callable[[], int] | None = None, process: int = -1, has_ended: Callable[[], bool] | None = None) -> str:
    """Attach this process' terminal or pipes to a container that exists in the runtime: ENDED or DETACHED.

    ``start`` is called once the connection stands and the terminal is raw, so that nothing the container writes is lost; it
    returns the pidfd of the container's process, which the caller closes (otherwise ``process``). ``kill`` gets the number of
    each signal for the container; None passes none on. A terminal's size is passed on at once and whenever it changes.
    """
    keys, size_fd = None, -1
    if terminal or detach_keys != DEFAULT_DETACH_KEYS:
        from podling.runtime import terminals

        sequence = terminals.parse_detach_keys(detach_keys)      # a wrong one is told also where nothing is typed
        if terminal:
            keys = terminals.DetachKeys(sequence)
            size_fd = next((fd for fd in (stdin, stdout) if isinstance(fd, int) and terminals.window_size(fd)), -1)
    if start is not None and not os.path.exists(f"{bundle}/attach"):
        # Log driver passthrough: the container has the very streams of this process, and conmon none to attach to.
        with SignalPipe(_caught(-1, kill)) as signals:
            return _watch(signals, _on_signal(bundle, -1, kill), start())
    connection = connect(bundle)
    copy = Copy(connection, stdin=stdin, stdout=stdout, stderr=stderr, keys=keys)
    copy.on_signal, copy.has_ended = _on_signal(bundle, size_fd, kill), has_ended

    def converse() -> str:
        _pass_size(bundle, size_fd)
        copy.process = start() if start is not None else process
        return copy.run()

    try:
        with SignalPipe(_caught(size_fd, kill)) as copy.signals:
            if not terminal or stdin is None:
                return converse()
            with terminals.RawTerminal(stdin):
                return converse()
    finally:
        connection.close()


def _watch(signals: SignalPipe, on_signal: Callable[[int], None], process: int) -> str:
    """Pass signals on until the process has ended."""
    while True:
        poll = select.poll()
        poll.register(signals.fd, select.POLLIN)
        poll.register(process, select.POLLIN)
        ready = dict(poll.poll())
        for number in signals.read() if signals.fd in ready else b"":
            on_signal(number)
        if process in ready:
            return ENDED


def _caught(size_fd: int, kill: Callable[[int], None] | None) -> list[str]:
    names = list(PROXIED) if kill is not None else []
    if size_fd >= 0 and "SIGWINCH" not in names:
        names.append("SIGWINCH")
    return names


def _pass_size(bundle: str, size_fd: int) -> None:
    if size_fd < 0:
        return
    from podling.runtime.terminals import window_size

    size = window_size(size_fd)
    if size is not None:
        resize(bundle, *size)


def _on_signal(bundle: str, size_fd: int, kill: Callable[[int], None] | None) -> Callable[[int], None]:
    changed = int(_signal.SIGWINCH)

    def act(number: int) -> None:
        if number == changed and size_fd >= 0:
            _pass_size(bundle, size_fd)
        elif kill is not None:
            kill(number)

    return act

"""The loop between conmon's socket and the caller's streams, with a conmon played by the test."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from podling.errors import WrongState
from podling.runtime import streams
from podling.runtime.terminals import DetachKeys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Ends:
    """A connection and the end that conmon would have."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.opened: list[int] = []

    def pipe(self) -> tuple[int, int]:
        pair = os.pipe()
        self.opened += pair
        return pair

    def shut(self, fd: int) -> None:
        self.opened.remove(fd)
        os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.ours.close()
    made.theirs.close()
    for fd in made.opened:
        os.close(fd)


def test_output_goes_where_its_first_byte_says(ends: Ends) -> None:
    got: list[tuple[str, bytes]] = []
    copy = streams.Copy(ends.ours, stdout=lambda data: got.append(("out", data)), stderr=lambda data: got.append(("err", data)))
    for packet in (b"\x02one", b"\x03two", b"\x07unknown", b"\x02three"):
        ends.theirs.send(packet)
    ends.theirs.close()
    assert copy.run() == streams.ENDED
    assert got == [("out", b"one"), ("err", b"two"), ("out", b"three")]


def test_input_is_sent_and_its_end_is_told(ends: Ends) -> None:
    read, write = ends.pipe()
    os.write(write, b"hello")
    ends.shut(write)
    copy = streams.Copy(ends.ours, stdin=read)
    result: list[str] = []
    thread = threading.Thread(target=lambda: result.append(copy.run()))
    thread.start()
    assert b"".join(iter(lambda: ends.theirs.recv(100), b"")) == b"hello"
    ends.theirs.send(b"\x02bye")
    ends.theirs.close()
    thread.join(5)
    assert result == [streams.ENDED]


def test_without_input_the_containers_stays_open(ends: Ends) -> None:
    copy = streams.Copy(ends.ours)
    thread = threading.Thread(target=copy.run)
    thread.start()
    ends.theirs.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ends.theirs.recv(1)
    ends.theirs.close()
    thread.join(5)


def test_detaching_sends_what_came_before(ends: Ends) -> None:
    read, write = ends.pipe()
    os.write(write, b"before\x10\x11after")
    copy = streams.Copy(ends.ours, stdin=read, keys=DetachKeys(b"\x10\x11"))
    assert copy.run() == streams.DETACHED
    assert ends.theirs.recv(100) == b"before"


def test_output_that_nobody_takes_does_not_stop_input(ends: Ends) -> None:
    out_read, out_write = ends.pipe()
    in_read, in_write = ends.pipe()
    copy = streams.Copy(ends.ours, stdin=in_read, stdout=out_write)
    for _ in range(10):
        ends.theirs.send(b"\x02" + b"x" * 8192)           # more than a pipe holds
    thread = threading.Thread(target=copy.run)
    thread.start()
    time.sleep(0.1)
    os.write(in_write, b"input")
    ends.theirs.settimeout(5)
    assert ends.theirs.recv(100) == b"input"
    ends.theirs.close()
    total = 0
    while total < 81920:
        total += len(os.read(out_read, 65536))
    thread.join(5)
    assert not thread.is_alive()


def test_reader_that_left_is_an_error(ends: Ends) -> None:
    read, write = ends.pipe()
    ends.shut(read)
    ends.theirs.send(b"\x02x")
    with pytest.raises(BrokenPipeError):
        streams.Copy(ends.ours, stdout=write).run()


def test_it_ends_with_the_process_although_others_hold_the_streams(ends: Ends) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    got: list[bytes] = []
    copy = streams.Copy(ends.ours, stdout=got.append)
    copy.process = os.pidfd_open(pid)
    begin = time.monotonic()
    copy.has_ended = lambda: time.monotonic() - begin > 0.1     # the exit file comes a little later
    ends.theirs.send(b"\x02last words")
    assert copy.run() == streams.ENDED
    assert got == [b"last words"]
    os.close(copy.process)
    os.waitpid(pid, 0)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(WrongState, match="not running"):
        streams.connect(str(tmp_path))
    assert not streams.resize(str(tmp_path), 10, 10)
    os.mkfifo(tmp_path / "ctl")
    assert not streams.resize(str(tmp_path), 10, 10)
    reader = os.open(tmp_path / "ctl", os.O_RDONLY | os.O_NONBLOCK)
    assert streams.resize(str(tmp_path), 30, 5000)
    assert os.read(reader, 100) == b"1 30 1000\n"
    os.close(reader)

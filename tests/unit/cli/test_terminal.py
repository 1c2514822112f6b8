"""Prompts, raw mode and progress, on a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from podling.cli.context import Writer
from podling.cli.terminal import Progress, ask_password, bar_text, confirm, is_tty, read_line, size
from podling.errors import InvalidArgument


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """(our end, the program's end)."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def written(read: int, write: int) -> str:
    os.close(write)
    with open(read, encoding="utf-8") as file:
        return file.read()


def read_up_to(terminal: int, last: str) -> str:
    """What a terminal shows until these words are there: it hands out what was written in pieces."""
    shown = b""
    while last.encode() not in shown:
        shown += os.read(terminal, 10000)
    return shown.decode()


def test_size(terminal: tuple[int, int]) -> None:
    assert is_tty(terminal[1])
    assert size(terminal[1]) == (24, 80)
    read, write = os.pipe()
    assert size(read) == (0, 0)
    os.close(read)
    os.close(write)


def test_a_password_is_not_shown(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal

    def type_it() -> None:
        while termios.tcgetattr(theirs)[3] & termios.ECHO:      # what is typed before that is thrown away
            time.sleep(0.001)
        os.write(ours, b"s3cret\n")

    typist = threading.Thread(target=type_it)
    typist.start()
    assert ask_password(Writer(theirs), "Password: ", fd=theirs) == "s3cret"
    typist.join()
    assert "s3cret" not in read_up_to(ours, "Password: ")
    assert termios.tcgetattr(theirs)[3] & termios.ECHO


def test_a_password_needs_a_terminal() -> None:
    read, write = os.pipe()
    with pytest.raises(InvalidArgument, match="not a terminal"):
        ask_password(Writer(write), "Password: ", fd=read)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(("answer", "yes"), [(b"y\n", True), (b"Yes\n", True), (b"n\n", False), (b"\n", False)])
def test_confirm(answer: bytes, yes: bool) -> None:
    read, write = os.pipe()
    os.write(write, answer)
    os.close(write)
    null = os.open(os.devnull, os.O_WRONLY)
    assert confirm(Writer(null), "Sure? [y/N] ", fd=read) is yes
    os.close(read)
    os.close(null)


def test_an_input_that_ends_is_no_answer() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with pytest.raises(InvalidArgument, match="reading the answer: EOF"):
        confirm(Writer(null), "Sure? [y/N] ", fd=null)
    os.close(null)


def test_read_line_takes_no_more_than_the_line() -> None:
    read, write = os.pipe()
    os.write(write, b"one\r\ntwo\n")
    os.close(write)
    assert [read_line(read), read_line(read), read_line(read)] == ["one", "two", None]
    os.close(read)


def test_without_a_terminal_each_thing_is_a_line() -> None:
    read, write = os.pipe()
    progress = Progress(Writer(write))
    progress.message("Trying to pull x...")
    progress.begin("a", "Copying blob sha256:a", 100)
    progress.begin("a", "Copying blob sha256:a", 100)
    progress.advance("a", 50)
    progress.end("a")
    progress.close()
    assert written(read, write) == "Trying to pull x...\nCopying blob sha256:a\n"


def test_quiet_says_nothing() -> None:
    read, write = os.pipe()
    progress = Progress(Writer(write), quiet=True)
    progress.message("x")
    progress.begin("a", "x")
    progress.end("a")
    progress.close()
    assert written(read, write) == ""


def test_on_a_terminal_bars_are_drawn_anew(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    progress = Progress(Writer(theirs))
    progress.begin("a", "Copying blob a", 100)
    progress.begin("b", "Copying blob b", 0)
    progress.end("a")
    progress.message("hello")
    progress.end("b", "skipped: already exists")
    progress.close()
    shown = read_up_to(ours, "already exists\r\n")
    assert "\x1b[1A\x1b[J" in shown
    screen = _screen(shown)
    assert screen == ["Copying blob a done", "hello", "Copying blob b skipped: already exists"]


def _screen(text: str) -> list[str]:
    """The lines that remain: up and clear are all that is used."""
    lines = [""]
    position = 0
    while position < len(text):
        if text.startswith("\x1b[", position):
            end = next(index for index in range(position + 2, len(text)) if text[index].isalpha())
            if text[end] == "A":
                del lines[len(lines) - 1 - int(text[position + 2:end]):]
                lines.append("")
            position = end + 1
        elif text.startswith("\r\n", position):
            lines.append("")
            position += 2
        else:
            lines[-1] += text[position]
            position += 1
    return lines[:-1]


@pytest.mark.parametrize(("done", "total", "result", "text"), [
    (0, 100, "", "x [--------------------------------------] 0B / 100B"),
    (50, 100, "", "x [==================>-------------------] 50B / 100B"),
    (100, 100, "", "x [=====================================>] 100B / 100B"),
    (5, 0, "", "x [--------------------------------------] 5B"),
    (5, 5, "done", "x done"),
])
def test_bars(done: int, total: int, result: str, text: str) -> None:
    assert bar_text("x", done, total, result) == text

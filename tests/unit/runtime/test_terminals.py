"""The keys that detach, and the terminal that passes every key on."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import InvalidArgument
from podling.runtime.terminals import DetachKeys, RawTerminal, parse_detach_keys


@pytest.mark.parametrize(("text", "keys"), [
    ("", b""), ("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\0\x1b\x1c\x1d\x1e\x1f"),
    ("ctrl-x,x", b"\x18x"), ("CTRL-a", b"\x01")])
def test_detach_keys(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ctrl-ab", "ab", "a,,b", "é"])
def test_broken_detach_keys(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid detach keys"):
        parse_detach_keys(text)


@given(st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"c", b"a"))), st.sampled_from([b"ab", b"aa", b"aab", b"x"]))
def test_keys_are_found_in_any_pieces(pieces: list[bytes], keys: bytes) -> None:
    finder = DetachKeys(keys)
    passed, whole, found = b"", b"".join(pieces), False
    for piece in pieces:
        data, found = finder.feed(piece)
        passed += data
        if found:
            break
    if not found:
        passed += finder.rest()
    assert found is (keys in whole)
    assert passed == (whole[:whole.index(keys)] if found else whole)


@pytest.fixture
def terminal() -> Iterator[int]:
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


def test_raw_mode_is_undone(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with pytest.raises(ZeroDivisionError), RawTerminal(terminal):
        inside = termios.tcgetattr(terminal)
        assert not inside[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        raise ZeroDivisionError
    assert termios.tcgetattr(terminal) == before


def test_raw_mode_of_something_else_is_nothing() -> None:
    read, write = os.pipe()
    with RawTerminal(read):
        pass
    os.close(read)
    os.close(write)

"""The caller's terminal while it is a container's: every key passed on at once, but for the sequence that detaches.

Loaded only where there is a terminal, or where keys are said.
"""

from __future__ import annotations

import os
import termios

from podling.errors import InvalidDetachKeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` or ``x,ctrl-@`` as the bytes that a terminal sends; "" is b"": never detach."""
    keys = bytearray()
    for word in text.split(",") if text else ():
        if len(word) == 1 and word.isascii():
            keys += word.encode("ascii")
        elif word[:5].lower() == "ctrl-" and len(word) == 6:
            keys.append(_control(word[5], word))
        else:
            raise InvalidDetachKeys(f"invalid detach keys: Unknown character: '{word}'")
    return bytes(keys)


def _control(letter: str, word: str) -> int:
    if "a" <= letter <= "z":
        return ord(letter) - 96
    found = "@[\\]^_".find(letter)
    if found < 0:
        raise InvalidDetachKeys(f"invalid detach keys: Unknown character: '{word}'")
    return (0, 27, 28, 29, 30, 31)[found]


class DetachKeys:
    """Finds a key sequence in a stream that comes in any pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence was completed; what may begin it is held back."""
        if not self._keys:
            return data, False
        text = self._held + data
        found = text.find(self._keys)
        if found >= 0:
            self._held = b""
            return text[:found], True
        keep = next((size for size in range(min(len(self._keys) - 1, len(text)), 0, -1)
                     if self._keys.startswith(text[-size:])), 0)
        self._held = text[len(text) - keep:]
        return text[:len(text) - keep], False

    def rest(self) -> bytes:
        """What is still held back when the input ends."""
        held, self._held = self._held, b""
        return held


class RawTerminal:
    """A terminal that passes every key on at once, while it is entered. A descriptor that is no terminal stays as it is."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if os.isatty(self.fd):
            self._before = termios.tcgetattr(self.fd)
            raw: list[Any] = [part[:] if isinstance(part, list) else part for part in self._before]
            raw[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                        | termios.ICRNL | termios.IXON)
            raw[1] &= ~termios.OPOST
            raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
            raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self.fd, termios.TCSANOW, raw)     # what was typed ahead is kept
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)


def window_size(fd: int) -> tuple[int, int] | None:
    """Rows and columns of a terminal; None where there is none."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return None
    return (size.lines, size.columns) if size.lines and size.columns else None

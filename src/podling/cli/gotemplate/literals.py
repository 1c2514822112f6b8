"""Go's literals: quoted strings, characters and numbers -> values."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.values.gotext import parse_float, parse_int, quote

_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_HEX = "0123456789abcdefABCDEF"
_LENGTHS = {"x": 2, "u": 4, "U": 8}


def unquote(written: str) -> str | None:
    """The text of a string in double or back quotes, or of a character in single ones; None where it is malformed."""
    mark, inside = written[0], written[1:-1]
    if mark == "`":
        return inside.replace("\r", "")
    parts: list[bytes] = []
    position = 0
    while position < len(inside):
        if inside[position] != "\\":
            end = inside.find("\\", position)
            end = len(inside) if end < 0 else end
            parts.append(inside[position:end].encode("utf-8", "surrogateescape"))
            position = end
            continue
        piece, position = _escape(inside, position + 1, mark)
        if piece is None:
            return None
        parts.append(piece)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _escape(text: str, position: int, mark: str) -> tuple[bytes | None, int]:
    """(bytes, position behind) of the escape whose backslash stands before ``position``."""
    letter = text[position : position + 1]
    if letter and (letter in _SIMPLE or letter == mark):
        return _SIMPLE.get(letter, letter).encode(), position + 1
    if letter and letter in _LENGTHS:
        end = position + 1 + _LENGTHS[letter]
        digits = text[position + 1 : end]
        if len(digits) != _LENGTHS[letter] or any(digit not in _HEX for digit in digits):
            return None, position
        return _encoded(int(digits, 16), wide=letter != "x"), end
    digits = text[position : position + 3]
    if len(digits) == 3 and all("0" <= digit <= "7" for digit in digits) and int(digits, 8) < 256:
        return bytes([int(digits, 8)]), position + 3
    return None, position


def _encoded(code: int, *, wide: bool) -> bytes | None:
    if not wide:
        return bytes([code])
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return None
    return chr(code).encode()


def parse_number(written: str) -> int | float:
    """The value of a number or of a character constant; ValueError in Go's words where it is none.

    Numbers written with a point or an exponent are floats, as Go takes them where nothing tells otherwise.
    """
    if written[0] == "'":
        text = unquote(written)
        if not text:
            raise ValueError("invalid syntax")
        if len(text) != 1:
            raise ValueError(f"malformed character constant: {written}")
        return ord(text)
    if written.endswith("i"):
        raise ValueError(f"complex numbers are not supported: {quote(written)}")
    unsigned = written.lstrip("+-").lower()
    hexadecimal = unsigned.startswith("0x")
    try:
        if "." in written or "p" in unsigned or (not hexadecimal and "e" in unsigned):
            return _hexadecimal_float(written) if hexadecimal else parse_float(written)
        return parse_int(written, base=0)
    except InvalidArgument as error:
        overflows = error.message.endswith("value out of range") or (unsigned.isascii() and unsigned.isdigit())
        words = "integer overflow" if overflows and "." not in written else "illegal number syntax"
        raise ValueError(f"{words}: {quote(written)}") from None


def _hexadecimal_float(written: str) -> float:
    if "p" not in written.lower() or len(written) > 100:
        raise InvalidArgument("")
    try:
        return float.fromhex(written.replace("_", ""))
    except (ValueError, OverflowError):
        raise InvalidArgument("") from None

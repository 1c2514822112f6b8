"""Go's textual conventions, as Podman's options and messages show them: numbers, booleans, quoting.

Podman prints the words of Go's ``strconv`` for a malformed number; so do we. Whoever adds context chains:
``raise InvalidArgument("invalid port number") from error``.
"""

from __future__ import annotations

from podling.errors import InvalidArgument

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


def quote(text: str, mark: str = '"') -> str:
    """The text as Go's ``%q`` prints it; undecodable bytes of an argument (surrogates) appear as ``\\xNN``."""
    if text.isascii() and text.isprintable() and mark not in text and "\\" not in text:
        return f"{mark}{text}{mark}"
    return mark + "".join(_quoted(character, mark) for character in text) + mark


def _quoted(character: str, mark: str) -> str:
    if character == mark:
        return "\\" + mark
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_int(text: str, *, base: int = 10, bits: int = 64, function: str = "ParseInt") -> int:
    """A signed integer as ``strconv.ParseInt`` reads it; base 0 takes the base from a prefix (0x, 0o, 0b, 0).

    InvalidArgument in strconv's words: ``strconv.ParseInt: parsing "x": invalid syntax``. ``function`` is the name shown
    (``Atoi``).
    """
    digits = text[1:] if text[:1] in ("+", "-") else text
    value = _magnitude(digits, base)
    if value is None:
        raise InvalidArgument(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    if text[:1] == "-":
        value = -value
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise InvalidArgument(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return value


def parse_uint(text: str, *, base: int = 10, bits: int = 64) -> int:
    """An unsigned integer as ``strconv.ParseUint`` reads it (no sign); InvalidArgument in its words."""
    value = _magnitude(text, base)
    if value is None:
        raise InvalidArgument(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if value >= 1 << bits:
        raise InvalidArgument(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return value


def _magnitude(text: str, base: int) -> int | None:
    """The value of unsigned digits, or None where they are none of Go's."""
    if base == 0:
        base, text = _prefixed(text)
    if not text or len(text) > 1000:  # a longer one is out of range or nonsense, and slow to convert
        return None
    allowed = _DIGITS[:base]
    if any(character not in allowed for character in text.lower()) or not text.isascii():
        return None
    return int(text, base)


def _prefixed(text: str) -> tuple[int, str]:
    """(base, digits) of a number in Go's source form; underscores between digits are dropped."""
    lower = text.lower()
    base, digits = 10, lower
    for prefix, meant in (("0x", 16), ("0o", 8), ("0b", 2)):
        if lower.startswith(prefix):
            base, digits = meant, lower[2:].removeprefix("_")
            break
    else:
        if lower.startswith("0") and len(lower) > 1:
            base, digits = 8, lower[1:].removeprefix("_")
    if digits.startswith("_") or digits.endswith("_") or "__" in digits:
        return base, ""
    return base, digits.replace("_", "")


def parse_float(text: str) -> float:
    """A finite decimal number as ``strconv.ParseFloat`` reads it, without Go's hexadecimal forms; InvalidArgument else."""
    mantissa, mark, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-" if mantissa.startswith("-") else "+").partition(".")
    if exponent[:1] in ("+", "-"):
        exponent = exponent[1:]
    well_formed = text.isascii() and (whole + fraction).isdigit() and (exponent.isdigit() if mark else True)
    if not well_formed or len(text) > 1000:
        raise InvalidArgument(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InvalidArgument(f"strconv.ParseFloat: parsing {quote(text)}: value out of range")
    return value


def parse_bool(text: str) -> bool:
    """A boolean as ``strconv.ParseBool`` reads it: 1, t, T, TRUE, true, True, 0, f, F, FALSE, false, False."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidArgument(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def split_csv(text: str) -> list[str]:
    """The fields of one line of comma-separated values, as pflag's string slices and ``--mount`` read them.

    A field in double quotes may hold commas and, doubled, quotes. InvalidArgument in the words of Go's ``encoding/csv``.
    """
    if '"' not in text:
        return text.split(",")
    fields: list[str] = []
    position = 0
    while True:
        if text.startswith('"', position):
            field, position = _quoted_field(text, position + 1)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            field = text[position:end]
            if '"' in field:
                column = position + field.index('"') + 1
                raise InvalidArgument(f'parse error on line 1, column {column}: bare " in non-quoted-field')
            position = end
        fields.append(field)
        if position >= len(text):
            return fields
        position += 1


def _quoted_field(text: str, start: int) -> tuple[str, int]:
    """(field, position of what follows its closing quote) of a quoted field whose content begins at ``start``."""
    parts: list[str] = []
    while True:
        end = text.find('"', start)
        if end < 0:
            raise InvalidArgument(f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
        parts.append(text[start:end])
        if text.startswith('""', end):
            parts.append('"')
            start = end + 2
        elif end + 1 == len(text) or text[end + 1] == ",":
            return "".join(parts), end + 1
        else:
            raise InvalidArgument(f'parse error on line 1, column {end + 1}: extraneous or missing " in quoted-field')

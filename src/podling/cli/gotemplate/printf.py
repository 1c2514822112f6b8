"""Go's ``fmt.Sprint``, ``Sprintln`` and ``Sprintf`` over the values of a template."""

from __future__ import annotations

from podling.cli.gotemplate.values import format_float, is_nil, kind, text, type_name
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_WIDEST = 1_000_000   # Go's own limit for widths and precisions


def sprint(values: Sequence[Any]) -> str:
    """The values one after another, with a blank between two neighbours neither of which is a string."""
    parts: list[str] = []
    after_string = True
    for value in values:
        is_string = type(value) is str
        if not is_string and not after_string:
            parts.append(" ")
        parts.append(text(value))
        after_string = is_string
    return "".join(parts)


def sprintln(values: Sequence[Any]) -> str:
    """The values with blanks between them and a newline at the end."""
    return " ".join(text(value) for value in values) + "\n"


class _Verb:
    """One ``%-10.3v`` of a format: its flags, numbers and letter."""

    __slots__ = ("flags", "letter", "precision", "width")

    def __init__(self) -> None:
        self.flags = ""
        self.width = -1
        self.precision = -1
        self.letter = ""


def sprintf(layout: str, values: Sequence[Any]) -> str:
    """The values by a format; what does not fit is shown as Go shows it (``%!d(string=x)``, ``%!d(MISSING)``)."""
    parts: list[str] = []
    used, position = 0, 0
    while True:
        percent = layout.find("%", position)
        if percent < 0:
            parts.append(layout[position:])
            break
        parts.append(layout[position:percent])
        verb, position, used = _read_verb(layout, percent + 1, values, used)
        if not verb.letter:
            parts.append("%!(NOVERB)")
        elif verb.letter == "%":
            parts.append("%")
        elif used >= len(values):
            parts.append(f"%!{verb.letter}(MISSING)")
        else:
            parts.append(_formatted(verb, values[used]))
            used += 1
    if used < len(values):
        parts.append(f"%!(EXTRA {', '.join(_with_type(value) for value in values[used:])})")
    return "".join(parts)


def _with_type(value: Any) -> str:
    return "<nil>" if is_nil(value) else f"{type_name(value)}={text(value)}"


def _read_verb(layout: str, position: int, values: Sequence[Any], used: int) -> tuple[_Verb, int, int]:
    """(verb, position behind it, values used) of what follows a percent sign."""
    verb = _Verb()
    while layout[position : position + 1] in tuple("+-# 0"):
        verb.flags += layout[position]
        position += 1
    verb.width, position, used = _read_number(layout, position, values, used)
    if verb.width < -1:
        verb.flags += "-"
        verb.width = -verb.width
    if layout[position : position + 1] == ".":
        verb.precision, position, used = _read_number(layout, position + 1, values, used)
        verb.precision = max(verb.precision, 0)
    verb.letter = layout[position : position + 1]
    return verb, position + 1, used


def _read_number(layout: str, position: int, values: Sequence[Any], used: int) -> tuple[int, int, int]:
    """(number or -1, position behind it, values used); ``*`` takes the number from the values."""
    if layout[position : position + 1] == "*":
        value = values[used] if used < len(values) else None
        good = type(value) is int and abs(value) <= _WIDEST
        return (value if good else -1), position + 1, used + 1   # type: ignore[return-value]
    end = position
    while "0" <= layout[end : end + 1] <= "9":
        end += 1
    digits = layout[position:end]
    return (min(int(digits[:9]), _WIDEST) if digits else -1), end, used


def _formatted(verb: _Verb, value: Any) -> str:
    letter, shape = verb.letter, kind(value)
    if letter == "T":
        return _padded(verb, "<nil>" if is_nil(value) else type_name(value))
    if letter == "v":
        return _plain_value(verb, value, shape)
    if is_nil(value):
        return f"%!{letter}(<nil>)"
    if shape in ("slice", "map") and letter not in "tp":
        return _padded_items(verb, value, shape)
    if shape == "bool" and letter == "t":
        return _padded(verb, text(value))
    if shape == "int" and letter in "bdoOxXcqU":
        return _integer(verb, value)
    if shape == "float" and letter in "eEfFgG":
        return _float(verb, value)
    if shape == "struct" and letter in "sq":
        value, shape = text(value), "string"
    if shape == "string" and letter in "sqxX":
        return _string(verb, value)
    return f"%!{letter}({type_name(value)}={_plain_value(verb, value, shape)})"


def _plain_value(verb: _Verb, value: Any, shape: str) -> str:
    if "#" in verb.flags:
        return _padded(verb, quote(value) if shape == "string" else text(value))
    if shape == "int":
        return _integer(verb, value)
    if shape == "float":
        return _float(verb, value)
    if shape == "string":
        return _string(verb, value)
    return _padded(verb, text(value, named="+" in verb.flags))


def _padded_items(verb: _Verb, value: Any, shape: str) -> str:
    """A list or map with the verb applied to each of its items, as Go does."""
    if shape == "slice":
        return f"[{' '.join(_formatted(verb, item) for item in value)}]"
    return f"map[{' '.join(f'{_formatted(verb, key)}:{_formatted(verb, value[key])}' for key in sorted(value, key=str))}]"


def _padded(verb: _Verb, shown: str) -> str:
    if verb.width <= len(shown):
        return shown
    return shown.ljust(verb.width) if "-" in verb.flags else shown.rjust(verb.width, "0" if _zeros(verb) else " ")


def _zeros(verb: _Verb) -> bool:
    return "0" in verb.flags and "-" not in verb.flags


def _integer(verb: _Verb, value: int) -> str:
    letter = verb.letter
    if letter in "cqU":
        if not 0 <= value <= 0x10FFFF:
            value = 0xFFFD
        shown = f"U+{value:04X}" if letter == "U" else chr(value) if letter == "c" else quote(chr(value), "'")
        return _padded(verb, shown)
    base = {"b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}.get(letter, "d")
    digits = format(abs(value), base)
    if verb.precision >= 0:
        digits = "" if verb.precision == 0 and value == 0 else digits.rjust(verb.precision, "0")
    prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(letter, "") if "#" in verb.flags else "0o" if letter == "O" else ""
    sign = "-" if value < 0 else "+" if "+" in verb.flags else " " if " " in verb.flags else ""
    if _zeros(verb) and verb.precision < 0:
        digits = digits.rjust(verb.width - len(sign), "0")
    shown = sign + prefix + digits
    if verb.width <= len(shown):
        return shown
    return shown.ljust(verb.width) if "-" in verb.flags else shown.rjust(verb.width)


def _float(verb: _Verb, value: float) -> str:
    letter = "g" if verb.letter == "v" else verb.letter.lower()
    precision = verb.precision if verb.precision >= 0 else 6 if letter in "ef" else -1
    shown = format_float(value, letter, precision)
    shown = shown.upper() if verb.letter in "EG" else shown
    if "+" in verb.flags and not shown.startswith(("-", "+")):
        shown = "+" + shown
    elif " " in verb.flags and not shown.startswith(("-", "+")):
        shown = " " + shown
    if _zeros(verb) and verb.width > len(shown) and shown[:1] in ("-", "+"):
        return shown[0] + shown[1:].rjust(verb.width - 1, "0")
    return _padded(verb, shown)


def _string(verb: _Verb, value: str) -> str:
    if verb.letter in "xX":
        raw = value.encode("utf-8", "surrogateescape")
        raw = raw[: verb.precision] if verb.precision >= 0 else raw
        shown = raw.hex(" ") if " " in verb.flags else raw.hex()
        return _padded(verb, shown.upper() if verb.letter == "X" else shown)
    if verb.precision >= 0:
        value = value[: verb.precision]
    if verb.letter == "q":
        value = f"`{value}`" if "#" in verb.flags and "`" not in value and value.isprintable() else quote(value)
    return _padded(verb, value)

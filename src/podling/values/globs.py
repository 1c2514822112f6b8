"""Shell patterns as Go's ``path.Match`` reads them: ``*`` and ``?`` stop at a slash, ``[^a-z]``, ``\\*`` a star."""

from __future__ import annotations

from podling.errors import InvalidArgument


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits the pattern; InvalidArgument where the pattern is malformed."""
    parts = _parse(pattern)
    # The classic loop: after a mismatch go back to the last star and let it take one character more.
    part = position = 0
    star, taken = -1, 0
    while position < len(text):
        if part < len(parts) and parts[part] is None:
            star, taken = part, position
            part += 1
        elif part < len(parts) and _fits(parts[part], text[position]):
            part += 1
            position += 1
        elif star >= 0 and text[taken] != "/":
            taken += 1
            part, position = star + 1, taken
        else:
            return False
    return all(rest is None for rest in parts[part:])


class _Set:
    """What one place of a pattern allows: ``?`` (anything but a slash), a letter, or a class in brackets."""

    __slots__ = ("negated", "ranges")

    def __init__(self, ranges: list[tuple[str, str]], *, negated: bool = False) -> None:
        self.ranges = ranges
        self.negated = negated


def _fits(allowed: _Set | None, character: str) -> bool:
    assert allowed is not None
    inside = any(low <= character <= high for low, high in allowed.ranges)
    return inside != allowed.negated


def _parse(pattern: str) -> list[_Set | None]:
    """The pattern's places; None stands for ``*``."""
    parts: list[_Set | None] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if not parts or parts[-1] is not None:
                parts.append(None)
        elif character == "?":
            parts.append(_Set([("/", "/")], negated=True))
        elif character == "[":
            found, position = _parse_class(pattern, position)
            parts.append(found)
        else:
            if character == "\\":
                if position == len(pattern):
                    raise _malformed()
                character, position = pattern[position], position + 1
            parts.append(_Set([(character, character)]))
    return parts


def _parse_class(pattern: str, position: int) -> tuple[_Set, int]:
    """(class, position behind it) of what follows ``[``."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[tuple[str, str]] = []
    while True:
        if pattern[position : position + 1] == "]" and ranges:
            return _Set(ranges, negated=negated), position + 1
        low, position = _class_character(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _class_character(pattern, position + 1)
        ranges.append((low, high))


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    character = pattern[position : position + 1]
    if character == "\\":
        position += 1
        character = pattern[position : position + 1]
    elif character in ("-", "]"):
        raise _malformed()
    if not character or position + 1 == len(pattern):
        raise _malformed()
    return character, position + 1


def _malformed() -> InvalidArgument:
    return InvalidArgument("syntax error in pattern")

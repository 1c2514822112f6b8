"""YAML out of JSON values, in the layout of the encoder that Podman uses: keys sorted, lists not indented."""

from __future__ import annotations

from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WORDS = frozenset(("", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "-.inf", "+.inf"))
_FIRST = "-?:,[]{}#&*!|>'\"%@`"


def dump(value: Any) -> str:
    """The text of a value, ending in a newline."""
    if isinstance(value, (dict, list, tuple)) and value:
        return "".join(line + "\n" for line in _lines(value))
    return _scalar(value, "") + "\n"


def _lines(value: Any) -> list[str]:
    """A mapping or sequence that is not empty."""
    if isinstance(value, dict):
        return [line for key in sorted(value) for line in _entry(f"{_scalar(str(key), '')}:", value[key])]
    found = []
    for item in value:
        inner = _lines(item) if isinstance(item, (dict, list, tuple)) and item else _scalar(item, "").split("\n")
        found += [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
    return found


def _entry(key: str, value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [key, *(f"  {line}" for line in _lines(value))]
    if isinstance(value, (list, tuple)) and value:
        return [key, *_lines(value)]
    return f"{key} {_scalar(value, '  ')}".split("\n")


def _scalar(value: Any, indent: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (dict, list, tuple)):
        return "{}" if isinstance(value, dict) else "[]"
    text: str = value
    if "\n" in text and text.isprintable() is False and all(line.isprintable() for line in text.split("\n")):
        return _block(text, indent)
    if not text.isprintable() or text.lower() in _WORDS or _looks_like_number(text):
        return quote(text)
    if text[0] in _FIRST or text[0] == " " or text[-1] in " :" or ": " in text or " #" in text:
        return "'" + text.replace("'", "''") + "'"
    return text


def _block(text: str, indent: str) -> str:
    """Several lines as they are, after ``|`` (one newline at the end), ``|-`` (none) or ``|+`` (more)."""
    body = text.rstrip("\n")
    newlines = len(text) - len(body)
    mark = {0: "|-", 1: "|"}.get(newlines, "|+")
    lines = text.removesuffix("\n").split("\n")
    return "\n".join([mark, *(f"{indent}{line}" if line else "" for line in lines)])


def _looks_like_number(text: str) -> bool:
    """Whether a reader of YAML would take the text for a number or a date."""
    if text[0] not in "+-.0123456789":
        return False
    plain = text.replace("_", "").replace(",", "")
    if ":" in text and text.replace(":", "").isdigit():      # minutes and seconds, to old readers
        return True
    for read in (float, lambda digits: int(digits, 0)):
        try:
            read(plain)
        except ValueError:
            continue
        return True
    return len(text) >= 10 and text[4:5] == "-" and text[7:8] == "-" and text[:4].isdigit()

"""JSON text <-> values without the standard package's start-up cost.

``import json`` takes 6 ms, nearly all of it for the regular expressions of its pure Python fallback. The two C functions
behind it are builtin and free; they are used directly, and where an interpreter lacks them, ``json`` itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING:
    make_scanner: Any
    make_encoder: Any
    _quote: Any
else:
    try:
        from _json import encode_basestring as _quote
        from _json import make_encoder, make_scanner
    except ImportError:  # another interpreter than CPython
        make_scanner = make_encoder = None

_MARK = b"\xef\xbb\xbf"                     # which some editors put before UTF-8
_BLANK = " \t\n\r"


class _Settings:
    """What the C scanner asks of its decoder."""

    strict = False
    object_hook = None
    object_pairs_hook: Any = None
    parse_float = float
    parse_int = int
    parse_constant: Any = float
    memo: dict[str, str] = {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'Duplicate key "{next(name for name in names if names.count(name) > 1)}"')
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name}")


class _StrictSettings(_Settings):
    """The same, and an object whose keys repeat is an error: readers of signed texts must not differ in what they see."""

    strict = True
    object_pairs_hook = staticmethod(_unique)
    parse_constant = staticmethod(_no_constant)


def _refuse(value: object) -> Any:
    to_json = getattr(value, "to_json", None)
    if to_json is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return to_json()


if make_scanner is None:
    import json

    def loads(text: str | bytes) -> Any:
        """The value of a JSON text; ValueError where it is not JSON."""
        return json.loads(text)

    def loads_strict(text: str | bytes) -> Any:
        """As :func:`loads`; ValueError also for repeated keys, control characters in strings and halves of surrogate pairs."""
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        dumps(value).encode()
        return value

    def dumps(value: Any) -> str:
        """Compact JSON text."""
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_refuse)

    def _quote(text: str) -> str:
        """A JSON string."""
        return json.dumps(text, ensure_ascii=False)

else:
    _scan = make_scanner(_Settings)
    _scan_strict = make_scanner(_StrictSettings)

    def loads(text: str | bytes) -> Any:
        """The value of a JSON text; ValueError where it is not JSON."""
        return _loads(text, _scan)

    def loads_strict(text: str | bytes) -> Any:
        """As :func:`loads`; ValueError also for repeated keys, control characters in strings and halves of surrogate pairs."""
        value = _loads(text, _scan_strict)
        dumps(value).encode()
        return value

    def _loads(text: str | bytes, scan: Any) -> Any:
        if isinstance(text, bytes):
            text = text.removeprefix(_MARK).decode()
        start = 0
        while start < len(text) and text[start] in _BLANK:
            start += 1
        try:
            value, end = scan(text, start)
        except StopIteration as stop:
            raise ValueError(f"not JSON: unexpected text at character {stop.value}") from None
        except RecursionError:
            raise ValueError("not JSON: nested too deeply") from None
        except SystemError:  # the C scanner found an error, but json.decoder, whose exception it raises, is not loaded
            import json

            return json.loads(text)
        if text[end:].strip(_BLANK):
            raise ValueError(f"not JSON: extra text at character {end}")
        return value

    def dumps(value: Any) -> str:
        """Compact JSON text."""
        encode = make_encoder({}, _refuse, _quote, None, ":", ",", False, False, True)
        return "".join(encode(value, 0))


def pretty(value: Any, indent: str = "     ") -> str:
    """JSON text over several lines, in the layout of Go's MarshalIndent (Podman indents by five spaces)."""
    parts: list[str] = []
    _layout(value, "\n", indent, parts)
    return "".join(parts)


def _layout(value: Any, newline: str, indent: str, parts: list[str]) -> None:
    if isinstance(value, dict):
        if not value:
            parts.append("{}")
            return
        inner, mark = newline + indent, "{"
        for key, item in value.items():
            parts.append(f"{mark}{inner}{_quote(str(key))}: ")
            _layout(item, inner, indent, parts)
            mark = ","
        parts.append(newline + "}")
    elif isinstance(value, (list, tuple)):
        if not value:
            parts.append("[]")
            return
        inner, mark = newline + indent, "["
        for item in value:
            parts.append(mark + inner)
            _layout(item, inner, indent, parts)
            mark = ","
        parts.append(newline + "]")
    else:
        parts.append(dumps(value))

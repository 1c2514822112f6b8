"""The functions of templates: Go's own and those of Podman (join, json, lower, pad, split, title, truncate, upper)."""

from __future__ import annotations

from podling import jsontext
from podling.cli.gotemplate.printf import sprint, sprintf, sprintln
from podling.cli.gotemplate.values import NIL, NO_VALUE, concrete, is_nil, kind, plain, printed, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LONGEST = 1 << 26
"""Longest text that a function may make."""


class FunctionError(Exception):
    """A function refuses its arguments; the message is Go's."""


class Function:
    """A function: the Go types of its parameters, that of any further ones ("" for none), and what it does."""

    __slots__ = ("call", "further", "parameters")

    def __init__(self, call: Callable[..., Any], parameters: str = "", further: str = "") -> None:
        self.call = call
        self.parameters = tuple(parameters.split())
        self.further = further


# --- printing and escaping --------------------------------------------------------------------------------------------


def _print(*values: Any) -> str:
    return sprint([concrete(value) for value in values])


def _println(*values: Any) -> str:
    return sprintln([concrete(value) for value in values])


def _printf(layout: str, *values: Any) -> str:
    return sprintf(layout, [concrete(value) for value in values])


def _joined(values: tuple[Any, ...]) -> str:
    """The arguments of an escaping function as one text."""
    if len(values) == 1:
        return printed(values[0])
    return sprint(["<no value>" if value is NO_VALUE or value is NIL else value for value in values])


_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"


def _html(*values: Any) -> str:
    return "".join(_HTML.get(character, character) for character in _joined(values))


def _js(*values: Any) -> str:
    return "".join(_js_character(character) for character in _joined(values))


def _js_character(character: str) -> str:
    if character in _JS:
        return _JS[character]
    return character if character.isprintable() else f"\\u{ord(character):04X}"


def _urlquery(*values: Any) -> str:
    raw = _joined(values).encode("utf-8", "surrogateescape")
    return "".join("+" if byte == 32 else chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in raw)


def _json(value: Any) -> str:
    return jsontext.dumps(plain(value))


# --- parts of values --------------------------------------------------------------------------------------------------


def _index_number(index: Any, limit: int) -> int:
    if kind(index) != "int":
        raise FunctionError("cannot index slice/array with " + ("nil" if is_nil(index) else f"type {type_name(index)}"))
    if not 0 <= index < limit:
        raise FunctionError(f"index out of range: {index}")
    return int(index)


def _index(item: Any, *indexes: Any) -> Any:
    if is_nil(item):
        raise FunctionError("index of untyped nil")
    for index in indexes:
        shape = kind(item)
        if shape == "nil":
            raise FunctionError("index of nil pointer")
        if shape == "slice":
            item = item[_index_number(index, len(item))]
            item = NIL if item is None else item
        elif shape == "string":
            raw = item.encode("utf-8", "surrogateescape")
            item = raw[_index_number(index, len(raw))]
        elif shape == "map":
            item = _map_item(item, index)
        else:
            raise FunctionError(f"can't index item of type {type_name(item)}")
    return item


def _map_item(mapping: dict[Any, Any], key: Any) -> Any:
    if is_nil(key):
        raise FunctionError("value is nil; should be of type string")
    if kind(key) != "string" and not (mapping and kind(next(iter(mapping))) == kind(key)):
        raise FunctionError(f"value has type {type_name(key)}; should be string")
    if key in mapping:
        return NIL if mapping[key] is None else mapping[key]
    zeros = {"string": "", "bool": False, "int": 0, "float": 0.0}
    shapes = {kind(item) for item in mapping.values()} or {"string"}   # an empty map: of strings, as labels are
    return zeros.get(shapes.pop(), NIL) if len(shapes) == 1 else NIL


def _slice(item: Any, *indexes: Any) -> Any:
    shape = kind(item)
    if shape == "nil":
        raise FunctionError("slice of untyped nil")
    if len(indexes) > 3:
        raise FunctionError(f"too many slice indexes: {len(indexes)}")
    if shape not in ("string", "slice"):
        raise FunctionError(f"can't slice item of type {type_name(item)}")
    if shape == "string" and len(indexes) == 3:
        raise FunctionError("cannot 3-index slice a string")
    whole = item.encode("utf-8", "surrogateescape") if shape == "string" else item
    bounds = [_index_number(index, len(whole) + 1) for index in indexes]
    low = bounds[0] if bounds else 0
    high = bounds[1] if len(bounds) > 1 else len(whole)
    for first, second in zip((low, high), (high, *bounds[2:]), strict=False):
        if first > second:
            raise FunctionError(f"invalid slice index: {first} > {second}")
    part = whole[low:high]
    return part.decode("utf-8", "surrogateescape") if shape == "string" else part


def _len(item: Any) -> int:
    shape = kind(item)
    if shape == "nil":       # most often a nil list or map
        return 0
    if shape == "string":
        return len(item.encode("utf-8", "surrogateescape"))
    if shape in ("slice", "map"):
        return len(item)
    raise FunctionError(f"len of type {type_name(item)}")


def _call(function: Any, *values: Any) -> Any:
    if is_nil(function):
        raise FunctionError("call of nil")
    if kind(function) != "func":
        raise FunctionError(f"non-function of type {type_name(function)}")
    check_arity(function, len(values), "")
    return function(*(concrete(value) for value in values))


def check_arity(function: Any, given: int, name: str) -> None:
    """FunctionError unless a Python function takes this many arguments; nothing is known of one without code."""
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__func__", None), "__code__", None)
    if code is None or code.co_flags & 4:      # *arguments
        return
    most = code.co_argcount - (getattr(function, "__self__", None) is not None)
    least = most - len(getattr(function, "__defaults__", None) or ())
    if not least <= given <= most:
        words = f"wrong number of args for {name}: want {least} got {given}"
        raise FunctionError(words if name else f"wrong number of args: got {given} want {least}")


# --- comparison -------------------------------------------------------------------------------------------------------

_BASIC = ("bool", "int", "float", "string")
_BAD_TYPE = "invalid type for comparison"
_BAD_PAIR = "incompatible types for comparison"


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    return any(_equal(first, other) for other in others)


def _equal(first: Any, other: Any) -> bool:
    one, two = kind(first), kind(other)
    if "nil" in (one, two):
        return one == two
    if one != two and (one in _BASIC or two in _BASIC):
        raise FunctionError(_BAD_PAIR)
    if one != two:
        raise FunctionError(f"non-comparable types {printed(first)}: {type_name(first)}, {type_name(other)}: {printed(other)}")
    if one in ("slice", "map", "func"):
        raise FunctionError(f"non-comparable type {printed(other)}: {type_name(other)}")
    return bool(first == other)


def _ne(first: Any, other: Any) -> bool:
    return not _equal(first, other)


def _lt(first: Any, other: Any) -> bool:
    one, two = kind(first), kind(other)
    if one not in _BASIC or two not in _BASIC:
        raise FunctionError(_BAD_TYPE)
    if one != two:
        raise FunctionError(_BAD_PAIR)
    if one == "bool":
        raise FunctionError(_BAD_TYPE)
    return bool(first < other)


def _le(first: Any, other: Any) -> bool:
    return _lt(first, other) or _equal(first, other)


def _gt(first: Any, other: Any) -> bool:
    return not _le(first, other)


def _ge(first: Any, other: Any) -> bool:
    return not _lt(first, other)


# --- Podman's ---------------------------------------------------------------------------------------------------------


def _join(values: list[str], separator: str) -> str:
    if len(values) * len(separator) > LONGEST:
        raise FunctionError("result is too long")
    return separator.join(values)


def _split(value: str, separator: str) -> list[str]:
    return value.split(separator) if separator else list(value)


def _pad(value: str, before: int, behind: int) -> str:
    if before < 0 or behind < 0:
        raise FunctionError("strings: negative Repeat count")
    if before > LONGEST or behind > LONGEST:
        raise FunctionError("result is too long")
    return " " * before + value + " " * behind if value else value


def _truncate(value: str, length: int) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    if len(raw) < length:
        return value
    if length < 0:
        raise FunctionError(f"runtime error: slice bounds out of range [:{length}]")
    return raw[:length].decode("utf-8", "surrogateescape")


def _single(changed: str, character: str) -> str:
    """The changed character, unless its case needs several: Go's mapping is one to one."""
    return changed if len(changed) == 1 else character


def _lower(value: str) -> str:
    if value.isascii():
        return value.lower()
    return "".join(_single(character.lower(), character) for character in value).replace("\u0130", "i")


def _upper(value: str) -> str:
    return value.upper() if value.isascii() else "".join(_single(character.upper(), character) for character in value)


def _title(value: str) -> str:
    parts: list[str] = []
    before = " "
    for character in value:
        inside_word = before == "_" or before.isalnum() or not (before.isascii() or before.isspace())
        parts.append(character if inside_word else _single(character.title(), character))
        before = character
    return "".join(parts)


# `and` and `or` are evaluated where they stand, because their arguments are only evaluated as far as needed.
FUNCTIONS: dict[str, Function] = {
    "and": Function(lambda *values: values[-1], "any", "any"),
    "call": Function(_call, "any", "any"),
    "eq": Function(_eq, "any", "any"),
    "ge": Function(_ge, "any any"),
    "gt": Function(_gt, "any any"),
    "html": Function(_html, "", "any"),
    "index": Function(_index, "any", "any"),
    "join": Function(_join, "[]string string"),
    "js": Function(_js, "", "any"),
    "json": Function(_json, "any"),
    "le": Function(_le, "any any"),
    "len": Function(_len, "any"),
    "lower": Function(_lower, "string"),
    "lt": Function(_lt, "any any"),
    "ne": Function(_ne, "any any"),
    "not": Function(lambda value: not truth(value), "any"),
    "or": Function(lambda *values: values[-1], "any", "any"),
    "pad": Function(_pad, "string int int"),
    "print": Function(_print, "", "any"),
    "printf": Function(_printf, "string", "any"),
    "println": Function(_println, "", "any"),
    "slice": Function(_slice, "any", "any"),
    "split": Function(_split, "string string"),
    "title": Function(_title, "string"),
    "truncate": Function(_truncate, "string int"),
    "upper": Function(_upper, "string"),
    "urlquery": Function(_urlquery, "", "any"),
}

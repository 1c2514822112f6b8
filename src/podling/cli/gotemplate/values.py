"""How Go sees a value: its kind, its truth, its type's name, its text (``%v``), its JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class _Nothing:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return False


NO_VALUE = _Nothing("<no value>")
"""What a map has for a key that it has not."""

NIL = _Nothing("<nil>")
"""None as the value of a map or the element of a list: a nil interface, which prints as ``<no value>`` but has no fields."""

NUMBERS = (int, float)


class NilPointer:
    """A nil pointer to a struct: ``<nil>``, false, null in JSON, and an error that names its type for whoever wants a field of it."""

    __slots__ = ("go_type",)

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type


class NilList(tuple):  # type: ignore[type-arg]
    """A nil slice: printed and used as an empty one, null in JSON."""

    __slots__ = ()


class NilMap(dict):  # type: ignore[type-arg]
    """A nil map: printed and used as an empty one, null in JSON."""

    __slots__ = ()


def is_nil(value: Any) -> bool:
    """Whether a value is None, a nil pointer, or stands for nothing at all."""
    return value is None or value is NO_VALUE or value is NIL or type(value) is NilPointer


def concrete(value: Any) -> Any:
    """The value for a Python function: None for all that is nil."""
    return None if is_nil(value) else value


def truth(value: Any) -> bool:
    """Go's truth: false, 0, nil and what is empty are false; structs are always true."""
    return not is_nil(value) and (bool(value) if isinstance(value, (bool, int, float, str, list, tuple, dict)) else True)


def is_struct(value: dict[Any, Any]) -> bool:
    """Whether a dict stands for a struct: its class says so, or it has only exported Go names as keys and not only strings."""
    if getattr(value, "go_struct", False):
        return True
    if not value or all(type(item) is str for item in value.values()):
        return False
    return all(type(key) is str and key[:1].isupper() and key.isidentifier() for key in value)


def kind(value: Any) -> str:
    """nil, bool, int, float, string, slice, map, func or struct (which a text with methods is too: a time)."""
    if is_nil(value):
        return "nil"
    for types, name in _KINDS:
        if isinstance(value, types):
            return "struct" if name == "string" and hasattr(type(value), "fields") else name
    return "func" if callable(value) and not hasattr(value, "fields") else "struct"


_KINDS: tuple[tuple[Any, str], ...] = (
    (bool, "bool"), (int, "int"), (float, "float"), (str, "string"), ((list, tuple), "slice"), (dict, "map"),
)


def type_name(value: Any) -> str:
    """The name that Go gives to the value's type: ``string``, ``int``, ``[]string``, ``map[string]interface {}``."""
    shape = kind(value)
    if shape == "nil":
        return "interface {}"
    if shape == "slice":
        return f"[]{_common_type(value)}"
    if shape == "map":
        return f"map[string]{_common_type(value.values())}"
    if shape == "float":
        return "float64"
    if shape in ("struct", "func"):
        return str(getattr(value, "go_type", "")) or type(value).__name__
    return shape


def _common_type(values: Any) -> str:
    names = {kind(item) for item in values}
    if len(names) == 1:
        only = names.pop()
        if only in ("string", "bool", "int"):
            return only
    return "interface {}"


def members(value: Any) -> Mapping[str, Any] | None:
    """Name -> value of what an object shows as its fields; None where it shows its attributes."""
    fields = getattr(value, "fields", None)
    return fields if hasattr(fields, "keys") else None


# --- text -------------------------------------------------------------------------------------------------------------


def printed(value: Any) -> str:
    """The text of a pipeline's value: what ``{{.X}}`` prints."""
    if value is NO_VALUE or value is NIL:
        return "<no value>"
    return value if type(value) is str else text(value)


def text(value: Any, *, named: bool = False) -> str:
    """The value as ``%v`` prints it (``named``: ``%+v``): ``true``, ``[a b]``, ``map[k:v]`` sorted by key, ``<nil>``."""
    shape = kind(value)
    if shape == "nil":
        return "<nil>"
    if shape == "bool":
        return "true" if value else "false"
    if shape in ("int", "string"):
        return str(value)
    if shape == "float":
        return format_float(value)
    if shape == "slice":
        return f"[{' '.join(text(item, named=named) for item in value)}]"
    if shape == "map":
        return _map_text(value, named)
    return _object_text(value, named)


def _map_text(value: dict[Any, Any], named: bool) -> str:
    if is_struct(value):
        return _struct_text(value, named)
    return f"map[{' '.join(f'{text(key)}:{text(value[key], named=named)}' for key in sorted_keys(value))}]"


def _object_text(value: Any, named: bool) -> str:
    own_text: object = type(value).__str__
    if own_text is not object.__str__:
        return str(value)
    if hasattr(value, "to_json"):
        return text(value.to_json(), named=named)
    return _struct_text(_attributes(value), named)


def _struct_text(fields: dict[str, Any], named: bool) -> str:
    return "{" + " ".join((f"{key}:" if named else "") + text(item, named=named) for key, item in fields.items()) + "}"


def _attributes(value: Any) -> dict[str, Any]:
    return {name: item for name, item in getattr(value, "__dict__", {}).items() if not name.startswith("_")}


def sorted_keys(value: dict[Any, Any]) -> list[Any]:
    """The keys in the order in which Go prints and ranges over them."""
    if all(type(key) is str for key in value):
        return sorted(value)
    return sorted(value, key=lambda key: (str(type(key)), key if isinstance(key, NUMBERS) else 0, str(key)))


def format_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """A float as Go's strconv.FormatFloat writes it, in the least digits that tell it apart (``precision`` -1)."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0:
        return _with_precision(value, verb, precision)
    mantissa, _, exponent = repr(value).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or "0") - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0") or "0"
    if digits == "0":
        point = 1
    if verb == "e" or (verb == "g" and not -4 <= point - 1 < 6):
        shown = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        power = point - 1
        return f"{sign}{shown}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _with_precision(value: float, verb: str, precision: int) -> str:
    """Python's form, which differs from Go's for ``g`` in nothing but a precision of 0."""
    return f"{value:.{max(precision, 1) if verb == 'g' else precision}{verb}}"


# --- JSON -------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value in JSON's own types; the keys of maps sorted, as Go writes them."""
    if is_nil(value) or type(value) in (NilList, NilMap):
        return None
    if isinstance(value, dict):
        keys = list(value) if is_struct(value) else sorted_keys(value)
        return {str(key): plain(value[key]) for key in keys}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if callable(value):
        return plain(value())
    return {name: plain(item) for name, item in _attributes(value).items()}

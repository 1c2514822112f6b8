"""Values of configuration tables, checked against what a field takes.

A field's kind names its converter: what it gives is plain JSON, so that it can be kept in the cache.
"""

from __future__ import annotations

from podling import log
from podling.errors import Corrupt, InvalidArgument
from podling.values.units import parse_duration, parse_size_decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class WrongValue(Exception):
    """A value is not of its field's kind; the text says what was expected."""


def merge(tables: Iterable[tuple[str, dict[str, Any]]], fields: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Field -> value of all files together, later ones overriding earlier ones.

    ``tables``: (path, its table). ``fields``: dotted key ("engine.runtime") -> (field, kind). A list of texts whose file says
    ``{append=true}`` is added to what earlier files said, here and in later files until ``{append=false}``. Keys that are not
    in ``fields`` are left alone. Corrupt, naming file and key, for a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    appending: dict[str, bool] = {}
    for path, table in tables:
        for key, raw in _flatten(table, fields):
            if key not in fields:
                log.debug(f"{path}: {key} is not used")
                continue
            field, kind = fields[key]
            try:
                value = _KINDS[kind](raw)
            except (WrongValue, InvalidArgument) as error:
                section, _, name = key.rpartition(".")
                place = f"{name} in [{section}]" if section else name
                raise Corrupt(f"reading configuration file {path}: {place}: {error}", hint=f"Correct it in {path}") from None
            if kind == "texts":
                value, append = value
                appending[field] = appending.get(field, False) if append is None else append
                if appending[field]:
                    value = [*values.get(field, []), *value]
            elif kind in ("paths by name", "texts by name", "table"):
                value = {**values.get(field, {}), **value}
            values[field] = value
    return values


def _flatten(table: Mapping[str, Any], fields: Mapping[str, tuple[str, str]], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and their values; a key of ``fields`` is not looked into."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in fields:
            yield from _flatten(value, fields, key + ".")
        else:
            yield key, value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongValue(f"expected a text in quotes, not {_say(value)}")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0", ""):
        return value.lower() in ("true", "1")  # storage.conf writes them in quotes
    if not isinstance(value, bool):
        raise WrongValue(f"expected true or false, not {_say(value)}")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongValue(f"expected a whole number, not {_say(value)}")
    return value


def _natural(value: Any) -> int:
    if _number(value) < 0:
        raise WrongValue(f"expected a number that is not negative, not {value}")
    return int(value)


def _texts(value: Any) -> tuple[list[str], bool | None]:
    """(texts, whether they are appended: None where the list does not say)."""
    if isinstance(value, str):
        raise WrongValue(f"expected a list of texts, [{_say(value)}], not {_say(value)}")
    if not isinstance(value, list):
        raise WrongValue(f"expected a list of texts, not {_say(value)}")
    texts, append = [], None
    for item in value:
        if isinstance(item, dict) and set(item) == {"append"} and isinstance(item["append"], bool):
            append = item["append"]
        else:
            texts.append(_text(item))
    return texts, append


def _size(value: Any) -> int:
    size = _number(value) if isinstance(value, int) else parse_size_decimal(_text(value)) if value else 0
    if size < 0:
        raise WrongValue(f"expected a size, not {_say(value)}")
    return size


def _duration(value: Any) -> int | None:
    """Nanoseconds; None for ""."""
    return parse_duration(value) if _text(value) else None


def _paths_by_name(value: Any) -> dict[str, list[str]]:
    return {name: _texts(paths)[0] for name, paths in _table(value).items()}


def _texts_by_name(value: Any) -> dict[str, str]:
    return {name: _text(item) for name, item in _table(value).items()}


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongValue(f"expected a table, not {_say(value)}")
    return value


def _subnet_pools(value: Any) -> list[tuple[str, int]]:
    if not isinstance(value, list):
        raise WrongValue(f"expected a list of tables with base and size, not {_say(value)}")
    return [(_text(_table(pool).get("base", "")), _natural(_table(pool).get("size", 0))) for pool in value]


def _log_size(value: Any) -> int:
    size = _number(value)
    if 0 <= size < 8192:
        raise WrongValue(f"log size max should be negative or >= 8192, not {size}")
    return size


def _cgroup_manager(value: Any) -> str:
    if value not in ("systemd", "cgroupfs"):
        raise WrongValue(f"expected systemd or cgroupfs, not {_say(value)}")
    return str(value)


def _say(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else f"{value}"


_KINDS: dict[str, Callable[[Any], Any]] = {
    "text": _text, "flag": _flag, "number": _number, "natural": _natural, "texts": _texts, "size": _size,
    "duration": _duration, "paths by name": _paths_by_name, "texts by name": _texts_by_name, "subnet pools": _subnet_pools,
    "log size": _log_size, "cgroup manager": _cgroup_manager, "table": _table,
}


def frozen(value: Any) -> Any:
    """A value out of JSON as records hold it: lists become tuples."""
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return value

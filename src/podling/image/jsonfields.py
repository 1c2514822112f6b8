"""Typed access to JSON that a stranger wrote: every wrong type is a Corrupt error that names the field."""

from __future__ import annotations

from podling import jsontext
from podling.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LARGEST_SIZE = (1 << 63) - 1
_NAMES: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number",
                           float: "a number", type(None): "null"}


def load_object(content: bytes, what: str, *, limit: int) -> dict[str, Any]:
    """The JSON object in ``content``; Corrupt where it is longer than ``limit`` bytes, no JSON, or no object."""
    if len(content) > limit:
        raise Corrupt(f"{what} is {len(content)} bytes long, more than the {limit} that are allowed")
    try:
        value = jsontext.loads(content)
    except (ValueError, RecursionError, MemoryError) as error:
        raise Corrupt(f"{what} is not JSON: {describe_json_error(error)}") from None
    if not isinstance(value, dict):
        raise Corrupt(f"{what}: expected an object, found {name_of(value)}")
    return value


def describe_json_error(error: BaseException) -> str:
    """Why a text is not JSON, in few words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start}"
    return str(error)[:200].removeprefix("not JSON: ") or type(error).__name__


def name_of(value: object) -> str:
    """What a JSON value is, for an error: "a list"."""
    return _NAMES.get(type(value), "something else")


class Fields:
    """One JSON object with its name for errors (``manifest: layers[2]``). Absent and null are the same, as in Go."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def wrong(self, name: str, expected: str, found: object) -> Corrupt:
        """The error for a field of the wrong type."""
        return Corrupt(f"{self.where}: {name}: expected {expected}, found {name_of(found)}")

    def text(self, name: str, default: str = "") -> str:
        """A string; Corrupt for another type, or one that has no UTF-8 form or a NUL in it."""
        value = self.values.get(name)
        return default if value is None else self._check_text(name, value)

    def _check_text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        if "\0" in value or not _is_utf8(value):
            raise Corrupt(f"{self.where}: {name}: the string has characters that are not allowed")
        return value

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number between 0 and 2^63 - 1."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "a whole number", value)
        if not 0 <= value <= LARGEST_SIZE:
            raise Corrupt(f"{self.where}: {name}: {str(value)[:30]} is out of range")
        return value

    def flag(self, name: str) -> bool:
        """True or false; absent is false."""
        value = self.values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def object(self, name: str) -> Fields:
        """A nested object; absent is empty."""
        value = self.values.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return Fields(value, f"{self.where}: {name}")

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; absent is empty."""
        found = []
        for position, value in enumerate(self._list(name)):
            if not isinstance(value, dict):
                raise self.wrong(f"{name}[{position}]", "an object", value)
            found.append(Fields(value, f"{self.where}: {name}[{position}]"))
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; absent is empty."""
        return tuple([self._check_text(f"{name}[{position}]", value) for position, value in enumerate(self._list(name))])

    def words(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, None where it is absent; one string is a list of one, as Docker once wrote commands."""
        value = self.values.get(name)
        if value is None:
            return None
        return (self._check_text(name, value),) if isinstance(value, str) else self.texts(name)

    def text_map(self, name: str) -> dict[str, str]:
        """An object of strings; absent is empty."""
        inner = self.object(name)
        for key in inner.values:
            self._check_text(name, key)
        return {key: inner.text(key) for key in inner.values}

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys of an object that stands for a set (``Volumes``); absent is empty."""
        return tuple([self._check_text(name, key) for key in self.object(name).values])

    def _list(self, name: str) -> list[Any]:
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a list", value)
        return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True

"""Values in the shapes that Podman's JSON and Go templates give them."""

from __future__ import annotations

import os

from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Time(str):
    """A time: RFC 3339 as a string and in JSON, ``2006-01-02 15:04:05.9 +0000 UTC`` where it is printed.

    A template sees a struct with the methods of Go's: ``{{.Created.Unix}}``.
    """

    __slots__ = ("local", "nanoseconds")
    nanoseconds: int
    local: bool
    go_type = "time.Time"

    def __new__(cls, nanoseconds: int, *, local: bool = True) -> Time:
        """The time so many nanoseconds after 1970, in the local zone or in UTC; 0 is Go's zero time, year 1."""
        found = super().__new__(cls, units.format_rfc3339(nanoseconds, local=local) if nanoseconds else "0001-01-01T00:00:00Z")
        found.nanoseconds = nanoseconds
        found.local = local
        return found

    def __str__(self) -> str:
        """As Go prints it, which is what templates show."""
        return units.go_time(self.nanoseconds, local=self.local) if self.nanoseconds else "0001-01-01 00:00:00 +0000 UTC"

    @property
    def fields(self) -> dict[str, Callable[..., Any]]:
        """Name -> method, as templates call them."""
        from podling.values.gotime import READINGS, Moment  # only templates with such a method need them

        moment = Moment(self.nanoseconds, local=self.local)

        def bound(reading: Callable[[Moment], Any]) -> Callable[[], Any]:
            return lambda: reading(moment)

        return {
            "Format": moment.format, "String": lambda: str(self), "IsZero": lambda: self.nanoseconds == 0,
            "UTC": lambda: Time(self.nanoseconds, local=False), "Local": lambda: Time(self.nanoseconds),
            **{name: bound(reading) for name, reading in READINGS.items()},
        }


class Struct(dict):  # type: ignore[type-arg]
    """A Go struct: an object in JSON, ``{a b c}`` in a template, where an absent field is an error. A plain dict is a map."""

    __slots__ = ()
    go_struct = True


def or_null(values: Any) -> Any:
    """None in place of something empty: Go's nil slices and maps."""
    return values or None


def exists_or_empty(path: str) -> str:
    """The path, or "" where there is nothing."""
    return path if os.path.exists(path) else ""

"""Go's ``time.Time`` as templates call it: ``{{.Created.Unix}}``, ``{{.State.StartedAt.Format "2006-01-02"}}``."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000_000
ZERO_SECONDS = -62135596800                      # 0001-01-01, the time that was never set

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Moment:
    """A time in one zone. ``seconds`` since 1970 in UTC, ``nanosecond`` within the second; ``calendar`` is the clock there."""

    __slots__ = ("calendar", "nanosecond", "seconds")

    def __init__(self, nanoseconds: int, *, local: bool) -> None:
        """The time so many nanoseconds after 1970 in the local zone or in UTC; 0 is Go's zero time, year 1 in UTC."""
        if nanoseconds == 0:
            self.seconds, self.nanosecond, local = ZERO_SECONDS, 0, False
        else:
            self.seconds, self.nanosecond = divmod(nanoseconds, SECOND)
        self.calendar = time.localtime(self.seconds) if local else time.gmtime(self.seconds)

    def format(self, layout: str) -> str:
        """The time in the layout of Go's reference time, ``Mon Jan 2 15:04:05 2006 MST``."""
        parts = []
        while layout:
            word = next((word for word in _WORDS if layout.startswith(word)), "")
            if word == "Jan" and layout[3:4].islower():      # a word that only begins like the month
                word = ""
            if word:
                parts.append(_WORDS[word](self))
                layout = layout[len(word):]
            elif (digits := _fraction_digits(layout)):
                parts.append(self._fraction(layout[0], layout[1], digits))
                layout = layout[1 + digits:]
            else:
                parts.append(layout[0])
                layout = layout[1:]
        return "".join(parts)

    def offset(self, separator: str, *, zulu: bool = False, minutes: bool = True, seconds: bool = False) -> str:
        """The zone's distance from UTC: ``+0100``, ``+01:00``, ``Z``."""
        away = self.calendar.tm_gmtoff
        if zulu and away == 0:
            return "Z"
        parts = [f"{abs(away) // 3600:02d}"]
        if minutes:
            parts.append(f"{abs(away) // 60 % 60:02d}")
        if seconds:
            parts.append(f"{abs(away) % 60:02d}")
        return ("-" if away < 0 else "+") + separator.join(parts)

    def _fraction(self, point: str, kind: str, digits: int) -> str:
        text = f"{self.nanosecond:09d}"[:digits]
        if kind == "9":
            text = text.rstrip("0")
        return point + text if text else ""


def _fraction_digits(layout: str) -> int:
    """How many digits a fraction of a second at the beginning of the layout has (``.000``, ``,999``), or 0 where none is."""
    if layout[:1] not in (".", ",") or layout[1:2] not in ("0", "9"):
        return 0
    rest = layout[1:]
    digits = len(rest) - len(rest.lstrip(layout[1]))
    return 0 if rest[digits:digits + 1].isdigit() else min(digits, 9)


def _hour12(moment: Moment) -> int:
    return moment.calendar.tm_hour % 12 or 12


# What stands in a layout -> its text; of words that begin alike the longer one stands first.
_WORDS: dict[str, Callable[[Moment], str]] = {
    "January": lambda m: _MONTHS[m.calendar.tm_mon - 1], "Jan": lambda m: _MONTHS[m.calendar.tm_mon - 1][:3],
    "Monday": lambda m: _DAYS[m.calendar.tm_wday], "Mon": lambda m: _DAYS[m.calendar.tm_wday][:3],
    "MST": lambda m: m.calendar.tm_zone,
    "2006": lambda m: f"{m.calendar.tm_year:04d}",
    "002": lambda m: f"{m.calendar.tm_yday:03d}", "__2": lambda m: f"{m.calendar.tm_yday:3d}",
    "01": lambda m: f"{m.calendar.tm_mon:02d}", "02": lambda m: f"{m.calendar.tm_mday:02d}",
    "03": lambda m: f"{_hour12(m):02d}", "04": lambda m: f"{m.calendar.tm_min:02d}",
    "05": lambda m: f"{m.calendar.tm_sec:02d}", "06": lambda m: f"{m.calendar.tm_year % 100:02d}",
    "15": lambda m: f"{m.calendar.tm_hour:02d}", "1": lambda m: str(m.calendar.tm_mon),
    "_2": lambda m: f"{m.calendar.tm_mday:2d}", "2": lambda m: str(m.calendar.tm_mday), "3": lambda m: str(_hour12(m)),
    "4": lambda m: str(m.calendar.tm_min), "5": lambda m: str(m.calendar.tm_sec),
    "PM": lambda m: "PM" if m.calendar.tm_hour >= 12 else "AM", "pm": lambda m: "pm" if m.calendar.tm_hour >= 12 else "am",
    "-07:00:00": lambda m: m.offset(":", seconds=True), "-070000": lambda m: m.offset("", seconds=True),
    "-07:00": lambda m: m.offset(":"), "-0700": lambda m: m.offset(""), "-07": lambda m: m.offset("", minutes=False),
    "Z07:00:00": lambda m: m.offset(":", zulu=True, seconds=True), "Z070000": lambda m: m.offset("", zulu=True, seconds=True),
    "Z07:00": lambda m: m.offset(":", zulu=True), "Z0700": lambda m: m.offset("", zulu=True),
    "Z07": lambda m: m.offset("", zulu=True, minutes=False),
}

# Methods without arguments that give a number or a word.
READINGS: dict[str, Callable[[Moment], int | str]] = {
    "Year": lambda m: m.calendar.tm_year, "Month": lambda m: _MONTHS[m.calendar.tm_mon - 1], "Day": lambda m: m.calendar.tm_mday,
    "Hour": lambda m: m.calendar.tm_hour, "Minute": lambda m: m.calendar.tm_min, "Second": lambda m: m.calendar.tm_sec,
    "Nanosecond": lambda m: m.nanosecond, "Weekday": lambda m: _DAYS[m.calendar.tm_wday], "YearDay": lambda m: m.calendar.tm_yday,
    "Unix": lambda m: m.seconds, "UnixMilli": lambda m: m.seconds * 1000 + m.nanosecond // 1_000_000,
    "UnixMicro": lambda m: m.seconds * 1_000_000 + m.nanosecond // 1000, "UnixNano": lambda m: m.seconds * SECOND + m.nanosecond,
}

"""Sizes, durations and times <-> text, in the forms of docker/go-units and of Go's ``time`` package.

Sizes are bytes, durations and times nanoseconds (times since 1970, UTC). Nothing here needs ``datetime`` or ``re``.
"""

from __future__ import annotations

import time

from podling.errors import InvalidArgument
from podling.values.gotext import parse_float, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
_DAY = 86400

ZERO_TIME = -62135596800 * SECOND
"""Go's zero time, 0001-01-01T00:00:00Z: what Podman shows for a time that never came."""

_LARGEST = (1 << 63) - 1
_SIZE_PREFIXES = "kmgtp"
_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_DURATION_UNITS = {
    "ns": 1, "us": 1_000, "\u00b5s": 1_000, "\u03bcs": 1_000, "ms": 1_000_000, "s": SECOND, "m": MINUTE, "h": HOUR,
}

# --- sizes ------------------------------------------------------------------------------------------------------------


def parse_size(text: str) -> int:
    """Bytes of ``512m``, ``1.5GiB``, ``64 kb``: binary units, as go-units' RAMInBytes; InvalidArgument otherwise."""
    return _parse_size(text, 1024)


def parse_size_decimal(text: str) -> int:
    """Bytes of ``10mb`` where a kilobyte has 1000, as go-units' FromHumanSize (``--log-opt max-size``)."""
    return _parse_size(text, 1000)


def _parse_size(text: str, base: int) -> int:
    last = max((text.rfind(character) for character in "0123456789. "), default=-1)
    if last < 0:
        raise InvalidArgument(f"invalid size: '{text}'")
    number = text[:last] if text[last] == " " else text[: last + 1]
    size = int(number) if number.isascii() and number.isdigit() and len(number) < 20 else parse_float(number)
    if size < 0 or number.startswith("-"):
        raise InvalidArgument(f"invalid size: '{text}'")
    suffix = text[last + 1 :].lower()
    if suffix not in ("", "b"):
        power = _SIZE_PREFIXES.find(suffix[0]) + 1
        if power == 0 or suffix[1:] not in ("", "b", "ib"):
            raise InvalidArgument(f"invalid suffix: '{suffix}'")
        size *= base**power
    if size > _LARGEST:
        raise InvalidArgument(f"invalid size: '{text}' is too large")
    return int(size)


def format_size(size: float, *, digits: int = 3, separator: str = " ") -> str:
    """``187 MB``, ``4.26 MB``: decimal units as ``podman images`` shows them (``podman ps --size``: separator "")."""
    return _format_size(size, 1000, _DECIMAL_UNITS, digits, separator)


def format_size_binary(size: float, *, digits: int = 4, separator: str = "") -> str:
    """``1.5GiB``: binary units as go-units' BytesSize."""
    return _format_size(size, 1024, _BINARY_UNITS, digits, separator)


def _format_size(size: float, base: int, names: tuple[str, ...], digits: int, separator: str) -> str:
    value = float(size)
    step = 0
    while value >= base and step < len(names) - 1:
        value /= base
        step += 1
    return f"{value:.{digits}g}{separator}{names[step]}"


# --- durations --------------------------------------------------------------------------------------------------------


def parse_duration(text: str) -> int:
    """Nanoseconds of ``1h2m3s``, ``1.5h``, ``-10ms``, ``0``, as Go's time.ParseDuration and in its error words."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    invalid = InvalidArgument(f"time: invalid duration {quote(text)}")
    if not rest:
        raise invalid
    total = 0
    while rest:
        number, rest = _leading(rest, lambda character: character in "0123456789.")
        whole, _, fraction = number.partition(".")
        if not whole + fraction or "." in fraction:
            raise invalid
        unit, rest = _leading(rest, lambda character: character not in "0123456789.")
        if not unit:
            raise InvalidArgument(f"time: missing unit in duration {quote(text)}")
        if unit not in _DURATION_UNITS:
            raise InvalidArgument(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        if len(whole) > 30:
            raise invalid
        scale = _DURATION_UNITS[unit]
        fraction = fraction[:18]  # finer than a nanosecond whatever the unit
        total += int(whole or "0") * scale + int(fraction or "0") * scale // 10 ** len(fraction)
        if total > _LARGEST + (text[0] == "-"):
            raise invalid
    return -total if text[0] == "-" else total


def _leading(text: str, belongs: Callable[[str], bool]) -> tuple[str, str]:
    """(the characters at the start that belong, the rest)."""
    end = 0
    while end < len(text) and belongs(text[end]):
        end += 1
    return text[:end], text[end:]


def parse_seconds(text: str) -> int:
    """Nanoseconds of a plain number of seconds or of a Go duration (``30``, ``1m30s``)."""
    return int(text) * SECOND if text.isascii() and text.isdigit() and len(text) < 10 else parse_duration(text)


def format_duration(nanoseconds: int) -> str:
    """``1h2m3s``, ``1.5s``, ``100ms``, ``0s``: Go's Duration.String."""
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if value == 0:
        return "0s"
    if value < SECOND:
        for unit, scale in (("ms", 1_000_000), ("\u00b5s", 1_000), ("ns", 1)):
            if value >= scale:
                return f"{sign}{_decimal(value, scale)}{unit}"
    minutes, rest = divmod(value, MINUTE)
    text = f"{_decimal(rest, SECOND)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return sign + text


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    digits = str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"


def human_duration(nanoseconds: int) -> str:
    """``About a minute``, ``3 hours``: go-units' HumanDuration, as ``podman ps`` shows ages."""
    seconds = int(nanoseconds / SECOND)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = int(nanoseconds / MINUTE)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(nanoseconds / HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, divisor, unit in (
        (48, 1, "hours"), (24 * 7 * 2, 24, "days"), (24 * 30 * 2, 24 * 7, "weeks"), (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // divisor} {unit}"
    return f"{int(nanoseconds / HOUR) // 24 // 365} years"


# --- times ------------------------------------------------------------------------------------------------------------


def parse_time(text: str, *, now: int, backwards: bool = True) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time or date, of unix seconds, or of a Go duration before ``now``.

    A time without a zone is UTC. ``backwards`` False counts a duration from ``now`` onwards (``logs --until``).
    """
    found = _parse_rfc3339(text)
    if found is not None:
        return found
    try:
        return _unix_time(text)
    except InvalidArgument:
        pass  # not a number; a duration is still possible
    try:
        duration = parse_duration(text)
    except InvalidArgument:
        raise InvalidArgument("unable to interpret time value", hint="give a time (2026-01-31T10:00:00Z), unix seconds or "
                              "a duration (10m)") from None
    return now - duration if backwards else now + duration


def _unix_time(text: str) -> int:
    whole, _, fraction = text.partition(".")
    if text.isascii() and whole.isdigit() and len(whole) < 12 and (fraction + "0").isdigit():
        return int(whole) * SECOND + int(fraction[:9].ljust(9, "0"))
    value = parse_float(text)
    if abs(value) > 1e11:
        raise InvalidArgument("unable to interpret time value")
    return int(value * SECOND)


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of ``2006-01-02T15:04:05.999999999+01:00`` (as in an image's ``created``); InvalidArgument."""
    found = _parse_rfc3339(text)
    if found is None:
        raise InvalidArgument(f"parsing time {quote(text)}: not in the form of RFC 3339")
    return found


def _parse_rfc3339(text: str) -> int | None:
    date, zone = text[:10], text[10:]
    year, month, day = _number(date[:4], 4), _number(date[5:7], 2), _number(date[8:], 2)
    if date[4:5] != "-" or date[7:8] != "-" or year is None or month is None or day is None:
        return None
    if not 1 <= month <= 12 or not 1 <= day <= _days_in(year, month):
        return None
    nanoseconds = 0
    if zone[:1] == "T":
        clock = _parse_clock(zone[1:])
        if clock is None:
            return None
        nanoseconds, zone = clock
    offset = _parse_offset(zone)
    if offset is None:
        return None
    return (days_since_1970(year, month, day) * _DAY - offset) * SECOND + nanoseconds


def _parse_clock(text: str) -> tuple[int, str] | None:
    """(nanoseconds since midnight, what follows) of ``15:04:05.999``."""
    hour, minute, second = _number(text[:2], 2), _number(text[3:5], 2), _number(text[6:8], 2)
    if hour is None or minute is None or second is None or text[2:3] != ":" or text[5:6] != ":":
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    nanoseconds, rest = 0, text[8:]
    if rest[:1] in (".", ","):
        digits, rest = _leading(rest[1:], lambda character: character in "0123456789")
        if not digits:
            return None
        nanoseconds = int(digits[:9].ljust(9, "0"))
    return ((hour * 60 + minute) * 60 + second) * SECOND + nanoseconds, rest


def _parse_offset(zone: str) -> int | None:
    """Seconds east of UTC of ``Z``, ``+01:00`` or nothing."""
    if zone in ("", "Z"):
        return 0
    hours, minutes = _number(zone[1:3], 2), _number(zone[4:], 2)
    if zone[0] not in "+-" or zone[3:4] != ":" or hours is None or minutes is None or hours > 24 or minutes > 59:
        return None
    seconds = (hours * 60 + minutes) * 60
    return -seconds if zone[0] == "-" else seconds


def _number(text: str, width: int) -> int | None:
    return int(text) if len(text) == width and text.isascii() and text.isdigit() else None


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the proleptic Gregorian calendar (negative before)."""
    shifted = year - (month <= 2)  # the year begins in March, so that the leap day is its last
    era, year_of_era = divmod(shifted, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def _date(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a number of days since 1970-01-01, the inverse of :func:`days_since_1970`."""
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * shifted_month + 2) // 5 + 1


def format_rfc3339(nanoseconds: int, *, local: bool = False) -> str:
    """``2006-01-02T15:04:05.999999999Z``: Go's RFC3339Nano, without trailing zeros, in UTC or in the local zone."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    offset = time.localtime(seconds).tm_gmtoff if local else 0
    date, clock = _date_and_clock(seconds + offset)
    return f"{date}T{clock}{_fraction(fraction)}{_offset(offset, ':') if offset else 'Z'}"


def go_time(nanoseconds: int, *, local: bool = False) -> str:
    """``2006-01-02 15:04:05.999999999 +0000 UTC``: Go's Time.String, in UTC or in the local zone."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    offset, zone = 0, "UTC"
    if local:
        there = time.localtime(seconds)
        offset, zone = there.tm_gmtoff, there.tm_zone
    date, clock = _date_and_clock(seconds + offset)
    return f"{date} {clock}{_fraction(fraction)} {_offset(offset, '')} {zone}"


def _date_and_clock(seconds: int) -> tuple[str, str]:
    days, rest = divmod(seconds, _DAY)
    year, month, day = _date(days)
    return f"{year:04d}-{month:02d}-{day:02d}", f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def _offset(seconds: int, separator: str) -> str:
    sign, minutes = ("-", -seconds // 60) if seconds < 0 else ("+", seconds // 60)
    return f"{sign}{minutes // 60:02d}{separator}{minutes % 60:02d}"

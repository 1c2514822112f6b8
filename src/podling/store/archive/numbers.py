"""The number fields of tar headers: octal text, base-256, and the decimals of pax records.

What Go's archive/tar accepts is accepted, because images are written and read by it; everything else is Corrupt.
"""

from __future__ import annotations

from podling.errors import Corrupt

SECOND = 1_000_000_000
_LARGEST = (1 << 63) - 1
_DIGITS = b"0123456789"
_LATEST = 1 << 35                            # seconds; the year 3058, beyond what any file system stores


def parse_number(field: bytes) -> int:
    """A numeric header field: octal digits with blanks and NULs around them, or base-256 where the first bit is set."""
    text = field.strip(b" \0")
    if text.isdigit():
        try:
            return int(text, 8)
        except ValueError:
            raise Corrupt("tar header: a number is not octal") from None
    if field[0] & 0x80:
        return _base_256(field)
    text = text.partition(b"\0")[0]
    if text.strip(b"01234567"):
        raise Corrupt("tar header: a number is not octal")
    return int(text, 8) if text else 0


def _base_256(field: bytes) -> int:
    """Two's complement, big endian, after the marking first bit."""
    value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    if field[0] & 0x40:
        value -= 1 << (8 * len(field) - 1)
    if not -_LARGEST <= value <= _LARGEST:
        raise Corrupt(f"tar header: the number {field!r} is out of range")
    return value


def parse_decimal(value: bytes, key: str) -> int:
    """A whole number of a pax record; Corrupt for anything but digits with at most a sign before them."""
    digits = value[1:] if value[:1] == b"-" else value
    if not digits or digits.strip(_DIGITS) or len(digits) > 19:
        raise Corrupt(f"pax record {key}: {value[:40]!r} is not a number")
    number = int(value)
    if not -_LARGEST <= number <= _LARGEST:
        raise Corrupt(f"pax record {key}: {value[:40]!r} is out of range")
    return number


def parse_pax_time(value: bytes) -> int:
    """A pax time, ``seconds[.fraction]``, in nanoseconds; digits beyond the ninth are cut off."""
    whole, _, fraction = value.partition(b".")
    seconds = parse_decimal(whole, "mtime")
    if fraction.strip(_DIGITS):
        raise Corrupt(f"pax record mtime: {value[:40]!r} is not a time")
    nanoseconds = int(fraction[:9].ljust(9, b"0"))
    return bounded_time(seconds, -nanoseconds if whole[:1] == b"-" else nanoseconds)


def bounded_time(seconds: int, nanoseconds: int = 0) -> int:
    """The time in nanoseconds, not beyond what the kernel takes."""
    return max(-_LATEST, min(_LATEST, seconds)) * SECOND + nanoseconds


def format_octal(value: int, width: int) -> bytes:
    """A header field of ``width`` bytes: octal with a final NUL where it fits, base-256 otherwise."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value & ((1 << (8 * width - 1)) - 1) | 1 << (8 * width - 1)).to_bytes(width, "big")


def format_pax_time(nanoseconds: int) -> bytes:
    """A time as ``seconds[.fraction]`` without needless zeros."""
    seconds, rest = divmod(abs(nanoseconds), SECOND)
    text = b"%d" % seconds if not rest else (b"%d.%09d" % (seconds, rest)).rstrip(b"0")
    return b"-" + text if nanoseconds < 0 else text

"""Internet and hardware addresses as Go reads and prints them, without the ``ipaddress`` module's start-up cost."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.values.gotext import quote

_HEX = "0123456789abcdefABCDEF"


def parse_ip(text: str) -> str:
    """An IPv4 or IPv6 address in its normal form (``::1``, ``10.0.0.1``); InvalidArgument otherwise.

    An IPv4 address inside IPv6 (``::ffff:10.0.0.1``) is returned as IPv4, as Go's net.IP prints it. Zones are refused.
    """
    octets = _parse_v4(text) if ":" not in text else _parse_v6(text)
    if octets is None:
        raise InvalidArgument(f"invalid IP address {quote(text)}")
    if len(octets) == 16 and octets[:12] == (0,) * 10 + (255, 255):
        octets = octets[12:]
    return ".".join(map(str, octets)) if len(octets) == 4 else _format_v6(octets)


def is_ipv6(address: str) -> bool:
    """Whether a normal address is IPv6."""
    return ":" in address


def _parse_v4(text: str) -> tuple[int, ...] | None:
    parts = text.split(".", 4)
    if len(parts) != 4:
        return None
    for part in parts:
        if not (part.isascii() and part.isdigit()) or len(part) > 3 or (len(part) > 1 and part[0] == "0") or int(part) > 255:
            return None
    return tuple(int(part) for part in parts)


def _parse_v6(text: str) -> tuple[int, ...] | None:
    if len(text) > 45 or text.count("::") > 1 or ":::" in text:
        return None
    before, gap, after = text.partition("::")
    left = _groups(before, last=not gap)
    right = _groups(after, last=True)
    if left is None or right is None:
        return None
    missing = 16 - len(left) - len(right)
    if (gap and missing < 2) or (not gap and missing != 0):
        return None
    return tuple(left + [0] * missing + right)


def _groups(text: str, *, last: bool) -> list[int] | None:
    """The octets of groups between colons; the last one of an address may be an IPv4 address."""
    octets: list[int] = []
    if not text:
        return octets
    parts = text.split(":")
    for index, part in enumerate(parts):
        if last and index == len(parts) - 1 and "." in part:
            tail = _parse_v4(part)
            if tail is None:
                return None
            octets.extend(tail)
        elif 0 < len(part) <= 4 and all(character in _HEX for character in part):
            octets.extend(divmod(int(part, 16), 256))
        else:
            return None
    return octets


def _format_v6(octets: tuple[int, ...]) -> str:
    groups = [octets[index] << 8 | octets[index + 1] for index in range(0, 16, 2)]
    best_start, best_length, start = 0, 1, 0  # a single zero is not shortened
    while start < 8:
        length = 0
        while start + length < 8 and groups[start + length] == 0:
            length += 1
        if length > best_length:
            best_start, best_length = start, length
        start += length or 1
    if best_length == 1:
        return ":".join(f"{group:x}" for group in groups)
    left = ":".join(f"{group:x}" for group in groups[:best_start])
    right = ":".join(f"{group:x}" for group in groups[best_start + best_length :])
    return f"{left}::{right}"


def parse_mac(text: str) -> str:
    """A hardware address of 6, 8 or 20 octets in its normal form (``92:d0:c6:0a:29:33``); InvalidArgument otherwise."""
    invalid = InvalidArgument(f"address {text}: invalid MAC address")
    plain = text.replace(".", "") if text[4:5] == "." else text.replace(text[2:3], "") if text[2:3] in (":", "-") else ""
    if len(plain) not in (12, 16, 40) or any(character not in _HEX for character in plain):
        raise invalid
    width, mark = (4, ".") if text[4:5] == "." else (2, text[2])
    if mark.join(plain[index : index + width] for index in range(0, len(plain), width)) != text:
        raise invalid
    return ":".join(plain[index : index + 2] for index in range(0, len(plain), 2)).lower()

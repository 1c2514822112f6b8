"""Internet addresses and subnets as numbers, without the standard package's 10 ms of start-up."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
else:
    import _socket  # `socket` takes 5 ms


class Range(Record):
    """A subnet: its first address as a number, the bits of its prefix, 4 or 6."""

    first: int
    prefix: int
    version: int

    @property
    def bits(self) -> int:
        """Bits of an address."""
        return 32 if self.version == 4 else 128

    @property
    def last(self) -> int:
        """The last address, IPv4's broadcast."""
        return self.first | (1 << (self.bits - self.prefix)) - 1

    def holds(self, address: str) -> bool:
        """Whether the address is in the subnet."""
        number, version = parse_address(address)
        return version == self.version and self.first <= number <= self.last


def parse_address(text: str) -> tuple[int, int]:
    """(the address as a number, 4 or 6)."""
    for family, version in ((_socket.AF_INET, 4), (_socket.AF_INET6, 6)):
        try:
            return int.from_bytes(_socket.inet_pton(family, text), "big"), version
        except OSError:
            continue
    raise InvalidArgument(f"{text!r} is not an IP address")


def format_address(number: int, version: int) -> str:
    """The address's text."""
    size, family = (4, _socket.AF_INET) if version == 4 else (16, _socket.AF_INET6)
    return _socket.inet_ntop(family, number.to_bytes(size, "big"))


def parse_subnet(text: str) -> Range:
    """``10.88.0.0/16`` or ``fd00::/64``."""
    address, separator, bits = text.partition("/")
    number, version = parse_address(address)
    most = 32 if version == 4 else 128
    if not separator or not bits.isdigit() or int(bits) > most:
        raise InvalidArgument(f"invalid CIDR address: {text}")
    prefix = int(bits)
    mask = (1 << most) - (1 << (most - prefix))
    return Range(first=number & mask, prefix=prefix, version=version)

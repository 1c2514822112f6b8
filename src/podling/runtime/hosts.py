"""/etc/hosts as text: parsing a base file and writing a container's. Pure."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HOST_NAMES = ("host.containers.internal", "host.docker.internal")
HOST_GATEWAY = "host-gateway"


class Entry(Record):
    """One line: an address and its names."""

    address: str
    names: tuple[str, ...]

    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.address}\t{' '.join(self.names)}\n"


def parse_hosts(text: str) -> list[Entry]:
    """The lines of a hosts file, comments and empty ones left out."""
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            found.append(Entry(address=words[0], names=tuple(words[1:])))
    return found


def extra_hosts(lines: Iterable[str], host_address: str) -> list[Entry]:
    """``--add-host``: ``name:address``, ``name;name2:address``; the address may be ``host-gateway``."""
    found = []
    for line in lines:
        names, colon, address = line.partition(":")
        if not colon:
            raise InvalidArgument(f'unable to parse host entry "{line}": incorrect format')
        if not names:
            raise InvalidArgument(f'hostname in host entry "{line}" is empty')
        if not address:
            raise InvalidArgument(f'IP address in host entry "{line}" is empty')
        if address == HOST_GATEWAY:
            if not host_address:
                raise InvalidArgument(f'unable to replace "{HOST_GATEWAY}" of host entry "{line}": host containers internal '
                                      "IP address is empty")
            address = host_address
        found.append(Entry(address=address, names=tuple(name for name in names.split(";") if name)))
    return found


def hosts_text(base: str, added: Iterable[str], own: Iterable[Entry], host_address: str) -> str:
    """A container's hosts file: the user's entries, the base file's, then localhost, the host and the container itself.

    A name that stands there already is not given again, so that the user's word counts.
    """
    first = extra_hosts(added, host_address) + parse_hosts(base)
    last = [Entry(address="127.0.0.1", names=("localhost",)), Entry(address="::1", names=("localhost",))]
    if host_address:
        last.append(Entry(address=host_address, names=HOST_NAMES))
    known = {name for entry in first for name in entry.names}
    lines = [entry.line() for entry in first]
    for entry in (*last, *own):
        free = tuple(name for name in entry.names if name not in known)
        if free:
            lines.append(entry.replace(names=free).line())
    return "".join(lines)

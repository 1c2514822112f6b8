"""Addresses of live containers: taken in a transaction when a container starts, freed by its end.

Static addresses are a container's own while it does not run, too: none of them is given to another that asks for any. One that asks for the
very same gets it while the owner does not run, as with Podman.
"""

from __future__ import annotations

from podling.errors import InUse, InvalidArgument, PodlingError
from podling.network.addresses import format_address, parse_address, parse_subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.database import Database
    from podling.model import Network, Subnet


class Leases:
    """The addresses in use, by network."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take(self, network: Network, container_id: str, static: tuple[str, ...] = (), *, others: tuple[str, ...] = ()) -> tuple[str, ...]:
        """One address in each of the network's subnets for the container; ``static`` ones where they belong, none of ``others``.

        The next one after the last that was given, as Podman does, so that an address is not used again at once. InUse for a
        static address that somebody has, PodlingError where a subnet is full. Taken again, the same are given.
        """
        subnets = [parse_subnet(subnet.subnet) for subnet in network.subnets]
        for address in static:
            if not any(subnet.holds(address) for subnet in subnets):
                raise InvalidArgument(f"requested static ip {address} not in any subnet on network {network.name}")
        with self.database.transaction():
            mine = self.of(network.name, container_id)
            if mine:
                return tuple(address for subnet in subnets for address in mine if subnet.holds(address))
            found = []
            for subnet, parsed in zip(network.subnets, subnets, strict=True):
                asked = next((address for address in static if parsed.holds(address)), "")
                address = self._check(network.name, subnet, asked) if asked else self._next(network.name, subnet, others)
                self.database.run("INSERT INTO leases (network, address, container_id) VALUES (?, ?, ?)", network.name, address,
                                  container_id)
                found.append(address)
        return tuple(found)

    def of(self, network: str, container_id: str) -> tuple[str, ...]:
        """A container's addresses in a network."""
        return tuple(row[0] for row in self.database.rows(
            "SELECT address FROM leases WHERE network = ? AND container_id = ? ORDER BY address", network, container_id))

    def any_of(self, container_id: str) -> bool:
        """Whether a container has any address."""
        return self.database.row("SELECT 1 FROM leases WHERE container_id = ?", container_id) is not None

    def release(self, container_id: str) -> None:
        """The container's addresses are free; idempotent."""
        self.database.run("DELETE FROM leases WHERE container_id = ?", container_id)

    def release_one(self, network: str, container_id: str) -> None:
        """The container's addresses in one network are free; idempotent."""
        self.database.run("DELETE FROM leases WHERE network = ? AND container_id = ?", network, container_id)

    def _check(self, network: str, subnet: Subnet, address: str) -> str:
        if address == subnet.gateway:
            raise InUse(f"IPAM error: requested ip address {address} is the gateway of network {network}")
        owner = self.database.row("SELECT container_id FROM leases WHERE network = ? AND address = ?", network, address)
        if owner is not None:
            raise InUse(f"IPAM error: requested ip address {address} is already allocated to container ID {owner[0]}")
        return address

    def _next(self, network: str, subnet: Subnet, others: tuple[str, ...]) -> str:
        parsed = parse_subnet(subnet.subnet)
        first = parse_address(subnet.lease_start)[0] if subnet.lease_start else parsed.first + 1
        last = parse_address(subnet.lease_end)[0] if subnet.lease_end else parsed.last - (1 if parsed.version == 4 else 0)
        used = {row[0] for row in self.database.rows("SELECT address FROM leases WHERE network = ?", network)}
        used |= {row[0] for row in self.database.rows("SELECT address FROM static_addresses WHERE network = ?", network)}
        used |= {subnet.gateway, *others}
        mark = self.database.row("SELECT address FROM lease_marks WHERE network = ? AND subnet = ?", network, subnet.subnet)
        after = parse_address(mark[0])[0] + 1 if mark is not None else first
        if not first <= after <= last:
            after = first
        for number in (*range(after, min(last, after + 70_000) + 1), *range(first, after)):
            address = format_address(number, parsed.version)
            if address not in used:
                self.database.run("INSERT OR REPLACE INTO lease_marks (network, subnet, address) VALUES (?, ?, ?)", network,
                                  subnet.subnet, address)
                return address
        raise PodlingError(f"IPAM error: failed to find free IP in range: {format_address(first, parsed.version)} - "
                           f"{format_address(last, parsed.version)}")

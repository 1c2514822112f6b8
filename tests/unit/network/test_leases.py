"""Addresses: static ones are kept for whom they were promised to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podling.database import Database
from podling.errors import InUse
from podling.model import Network, Subnet
from podling.network.leases import Leases

if TYPE_CHECKING:
    from pathlib import Path

NETWORK = Network(name="n", id="1", subnets=(Subnet(subnet="10.5.0.0/24", gateway="10.5.0.1"),))


def database(path: str, containers: int) -> Database:
    made = Database(path)
    for number in range(containers):
        made.run("INSERT INTO containers (id, name, created, summary, config) VALUES (?, ?, 0, '', '')", f"c{number}", f"c{number}")
    return made


def promise(made: Database, container: str, address: str) -> None:
    made.run("INSERT INTO static_addresses (network, address, container_id) VALUES ('n', ?, ?)", address, container)


def test_static_addresses(tmp_path: Path) -> None:
    made = database(str(tmp_path / "podling.db"), 3)
    promise(made, "c0", "10.5.0.2")
    leases = Leases(made)
    assert leases.take(NETWORK, "c1") == ("10.5.0.3",)
    assert leases.take(NETWORK, "c2", ("10.5.0.2",)) == ("10.5.0.2",)       # by name, while its owner does not run
    with pytest.raises(InUse, match="already allocated to container ID c2"):
        leases.take(NETWORK, "c0", ("10.5.0.2",))
    leases.release("c2")
    assert leases.take(NETWORK, "c0", ("10.5.0.2",)) == ("10.5.0.2",)
    with pytest.raises(InUse, match="gateway"):
        leases.take(NETWORK, "c2", ("10.5.0.1",))

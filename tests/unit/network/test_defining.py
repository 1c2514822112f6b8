"""New networks: free names and subnets, refusals in Podman's words, definitions that are read back."""

from __future__ import annotations

import pytest

from podling.engine.networks.definitions import parse_range, parse_route
from podling.errors import AlreadyExists, PodlingError
from podling.model import Network, Route, Subnet
from podling.network import driveropts
from podling.network.addresses import parse_subnet
from podling.network.defining import Taken, define
from podling.network.hostnets import HostNetworks
from podling.network.networks import from_json, to_json

POOLS = (("10.89.0.0/16", 24),)
TAKEN = Taken(networks=(Network(name="a", id="1", interface="podman1", subnets=(Subnet(subnet="10.89.0.0/24"),)),),
              host=HostNetworks(interfaces=("lo", "podman2"), subnets=(parse_subnet("10.89.1.0/24"),),
                                routed=(parse_subnet("10.89.2.0/23"),)))


def asked(**values: object) -> Network:
    return Network(**{"name": "n", "id": "", "dns_enabled": True, **values})


def test_name_interface_and_subnet_are_the_first_free_ones() -> None:
    network = define(asked(name=""), TAKEN, POOLS)
    assert (network.name, network.interface, len(network.id)) == ("podman3", "podman3", 64)
    assert network.subnets == (Subnet(subnet="10.89.4.0/24", gateway="10.89.4.1"),)


def test_ipv6_adds_a_random_subnet_of_fd00() -> None:
    subnets = define(asked(ipv6=True), TAKEN, POOLS).subnets
    assert len(subnets) == 2
    assert subnets[1].subnet.startswith("fd")
    assert subnets[1].subnet.endswith("/64")


@pytest.mark.parametrize(("values", "words"), [
    ({"name": "a"}, "network name a already used: network already exists"),
    ({"name": "host"}, 'cannot create network with name "host" because it conflicts with a valid network mode'),
    ({"name": "a b"}, "network name a b invalid: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument"),
    ({"interface": "podman1"}, "bridge name podman1 already in use"),
    ({"subnets": (Subnet(subnet="10.89.1.128/25"),)}, "subnet 10.89.1.128/25 is already used on the host or by another config"),
    ({"subnets": (Subnet(subnet="10.5.0.0/24", gateway="10.6.0.1"),)}, "gateway 10.6.0.1 not in subnet 10.5.0.0/24"),
    ({"ipam": {"driver": "foo"}}, 'unsupported ipam driver "foo"'),
    ({"driver": "macvlan", "interface": "nope"}, "parent interface nope does not exist"),
    ({"driver": "ipvlan"}, "ipam driver dhcp is not supported with ipvlan"),
])
def test_refusals_have_podmans_words(values: dict[str, object], words: str) -> None:
    with pytest.raises(PodlingError) as raised:
        define(asked(**values), TAKEN, POOLS)
    assert raised.value.message == words
    assert isinstance(raised.value, AlreadyExists) == words.endswith("already exists")


@pytest.mark.parametrize(("driver", "options", "words"), [
    ("bridge", {"mtu": "-1"}, "mtu -1 is less than zero"),
    ("bridge", {"vlan": "5000"}, "vlan ID 5000 must be between 0 and 4094"),
    ("bridge", {"bclim": "1"}, "unsupported bridge network option bclim"),
    ("macvlan", {"mode": "foo"}, 'unknown macvlan mode "foo"'),
])
def test_options_are_refused(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(PodlingError, match=words):
        driveropts.checked(driver, options)


def test_ranges_and_routes() -> None:
    assert parse_range("10.5.0.16/28") == ("10.5.0.17", "10.5.0.31")
    assert parse_range("10.5.0.7-10.5.0.9") == ("10.5.0.7", "10.5.0.9")
    assert parse_route("10.21.0.0/24,10.1.1.1,5") == Route(destination="10.21.0.0/24", gateway="10.1.1.1", metric=5)


def test_what_inspect_shows_is_a_definition() -> None:
    network = define(asked(labels={"k": "v"}, options={"isolate": "1"}), TAKEN, POOLS)
    assert from_json({**to_json(network), "containers": {}}) == network

"""Pieces of ``inspect`` that need no engine."""

from __future__ import annotations

import pytest

from podling.engine import inspect
from podling.model import Healthcheck, NetworkStatus
from podling.runtime import spec
from podling.values.mounts import Mount


def test_the_version_of_the_specification_is_the_one_that_is_written() -> None:
    assert inspect.OCI_VERSION == spec.OCI_VERSION


@pytest.mark.parametrize(("cgroup", "shown"), [
    ("/libpod_parent/libpod-1", "/libpod_parent/libpod-1"), ("machine.slice:libpod:1", "/machine.slice/libpod-1.scope"),
])
def test_a_cgroup_is_shown_as_a_path(cgroup: str, shown: str) -> None:
    assert inspect.shown_cgroup(cgroup) == shown


def test_addresses_are_sorted_by_family() -> None:
    status = NetworkStatus(mac_address="aa:bb", addresses=("fd00::2/64", "10.88.0.2/16"), gateways=("10.88.0.1", "fd00::1"))
    assert inspect.addresses(status) == {
        "Gateway": "10.88.0.1", "IPAddress": "10.88.0.2", "IPPrefixLen": 16, "IPv6Gateway": "fd00::1",
        "GlobalIPv6Address": "fd00::2", "GlobalIPv6PrefixLen": 64, "MacAddress": "aa:bb"}


def test_no_network_has_empty_addresses() -> None:
    assert set(inspect.addresses(None).values()) == {"", 0}


def test_a_mounts_options_are_sorted_into_their_fields() -> None:
    mount = Mount(kind="bind", source="/a", destination="/b", options=("ro", "rslave", "noexec"), relabel="Z")
    assert inspect.described_mount(mount, {"Type": "bind"}) == {
        "Type": "bind", "Mode": "Z", "Options": ["noexec", "rbind"], "RW": False, "Propagation": "rslave"}


def test_a_health_check_leaves_out_what_is_not_set() -> None:
    assert inspect.health(Healthcheck(test=("CMD", "true"), retries=3)) == {"Test": ["CMD", "true"], "Retries": 3}

"""What a network can be told: MTU, VLAN, metric, routes, isolation, IPv6, somebody else's bridge; and several networks a container."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

SERVE = ("sh", "-c", "mkdir -p /w; echo served > /w/index.html; exec httpd -f -v -p 80 -h /w 2>&1")
OVERRIDE = "/etc/containers/override.conf"
OUTSIDE = ("ip", "netns", "exec", "outside")


@pytest.fixture(scope="module")
def prepared(shared_world: World, busybox: Path) -> World:
    """The world's uplink leads to a host of its own, 198.51.100.1 and fd99::1, with a web server that logs its clients."""
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("sh", "-ec", """
        ip netns add outside; ip link set uplink1 netns outside; ip -n outside addr add 198.51.100.1/24 dev uplink1
        ip -n outside addr add fd99::1/64 dev uplink1 nodad; ip addr add fd99::2/64 dev uplink0 nodad
        ip -n outside link set uplink1 up; ip -n outside link set lo up
        mkdir /run/outside; echo outside >/run/outside/index.html""")
    with open(shared_world.path("/run/outside.log"), "wb") as log:
        shared_world.spawn(*OUTSIDE, "busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/run/outside", stdout=log, stderr=log)
    shared_world.run(*OUTSIDE, "curl", "-s", "--retry", "9", "--retry-connrefused", "http://127.0.0.1/")
    shared_world.before = shared_world.observe()
    return shared_world


@pytest.fixture
def ready(prepared: World) -> Iterator[World]:
    yield prepared
    prepared.run("podling", "rm", "-af", "-t", "0", check=False)
    prepared.run("podling", "network", "prune", "-f", check=False)
    prepared.assert_nothing_left()


def configured(world: World, line: str) -> dict[str, str]:
    """The environment in which containers.conf says so under [network]."""
    world.path(OVERRIDE).write_text(f"[network]\n{line}\n", encoding="ascii")
    return {"CONTAINERS_CONF_OVERRIDE": OVERRIDE}


def create(world: World, name: str, *words: str) -> None:
    world.run("podling", "network", "create", *words, name)


def start(world: World, name: str, *words: str, command: tuple[str, ...] = SERVE, env: dict[str, str] | None = None) -> None:
    world.run("podling", "run", "-d", "--name", name, *words, "bb", *command, env=env)


def inside(world: World, container: str, *words: str) -> str:
    return world.run("podling", "exec", container, *words, check=False).stdout


def reaches(world: World, container: str, host: str) -> bool:
    return inside(world, container, "timeout", "1", "wget", "-qO-", f"http://{host}/") in ("served\n", "outside\n")


def waits(world: World, container: str, host: str) -> None:
    world.wait_until(lambda: reaches(world, container, host), f"{container} reaches {host}")


def default_routes(world: World, container: str) -> list[str]:
    return [line for line in inside(world, container, "ip", "route").splitlines() if line.startswith("default")]


def test_mtu(ready: World) -> None:
    create(ready, "small", "-o", "mtu=1400", "--subnet", "10.75.1.0/24")
    start(ready, "c", "--network", "small")
    assert "mtu 1400" in inside(ready, "c", "ip", "link", "show", "eth0")
    create(ready, "plain")
    ready.run("ip", "link", "set", "uplink0", "mtu", "1450")                       # as in many clouds
    start(ready, "d", "--network", "plain")
    assert "mtu 1450" in inside(ready, "d", "ip", "link", "show", "eth0")
    ready.run("ip", "link", "set", "uplink0", "mtu", "1500")


def test_metric_and_several_networks(ready: World) -> None:
    create(ready, "n1", "--subnet", "10.75.1.0/24", "-o", "metric=200")
    create(ready, "n2", "--subnet", "10.75.2.0/24", "-o", "metric=50")
    create(ready, "n3", "--subnet", "10.75.3.0/24", "-o", "no_default_route=1")
    for number in (1, 2, 3):
        start(ready, f"s{number}", "--network", f"n{number}", "--ip", f"10.75.{number}.9")
    start(ready, "c", "--network", "n1:ip=10.75.1.5,alias=one", "--network", "n2:interface_name=extra,ip=10.75.2.5", "--network", "n3")
    assert [" ".join(line.split()) for line in default_routes(ready, "c")] == [
        "default via 10.75.2.1 dev extra metric 50", "default via 10.75.1.1 dev eth0 metric 200"]
    for number in (1, 2, 3):
        waits(ready, "c", f"10.75.{number}.9")
        waits(ready, "c", f"s{number}")
    waits(ready, "s1", "one")
    waits(ready, "c", "198.51.100.1")
    assert not reaches(ready, "s3", "198.51.100.1")


def test_routes(ready: World) -> None:
    create(ready, "n1", "--subnet", "10.75.1.0/24", "--route", "10.99.0.0/24,10.75.1.9,77")
    start(ready, "c", "--network", "n1")
    assert ["10.99.0.0/24", "via", "10.75.1.9", "dev", "eth0", "metric", "77"] in [
        line.split() for line in inside(ready, "c", "ip", "route").splitlines()]


def test_vlan(ready: World) -> None:
    if ready.run("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1", check=False).returncode:
        pytest.skip("this kernel's bridges have no VLANs")
    ready.run("ip", "link", "delete", "probe")
    create(ready, "n1", "--subnet", "10.75.1.0/24", "-o", "vlan=77", "--interface-name", "vlans")
    start(ready, "s", "--network", "n1", "--ip", "10.75.1.9", "-p", "8080:80")
    start(ready, "c", "--network", "n1")
    waits(ready, "c", "10.75.1.9")
    waits(ready, "c", "198.51.100.1")
    ports = json.loads(ready.run("bridge", "-j", "vlan").stdout)
    assert {entry["vlan"] for port in ports for entry in port["vlans"]} == {77}
    assert len(ports) == 3                                                          # the bridge and both containers
    assert ready.run("curl", "-sm", "2", "http://127.0.0.1:8080/").stdout == "served\n"


@pytest.mark.parametrize("driver", ["", "iptables"])
def test_isolation(ready: World, driver: str) -> None:
    env = configured(ready, f'firewall_driver = "{driver}"' if driver else "")
    options = {"a": ("-o", "isolate=true"), "b": ("-o", "isolate=1"), "c": (), "d": ("-o", "isolate=strict")}
    for number, (name, words) in enumerate(options.items()):
        create(ready, name, "--subnet", f"10.75.{number}.0/24", *words)
        start(ready, name, "--network", name, "--ip", f"10.75.{number}.9", env=env)
    for number, name in enumerate(options):
        waits(ready, name, f"10.75.{number}.9")
        waits(ready, name, "198.51.100.1")
    ask = "for number in 0 1 2 3; do (timeout 1 wget -qO- http://10.75.$number.9/ >/dev/null && echo $number) & done; wait"
    reached = {one: {int(number) for number in inside(ready, one, "sh", "-c", ask).split()} for one in options}
    assert reached == {"a": {0, 2}, "b": {1, 2}, "c": {0, 1, 2}, "d": {3}}
    ready.run("podling", "rm", "-af", "-t", "0", env=env)


@pytest.mark.parametrize("driver", ["", "iptables"])
def test_internal(ready: World, driver: str) -> None:
    env = configured(ready, f'firewall_driver = "{driver}"' if driver else "")
    create(ready, "n1", "--internal", "--subnet", "10.75.1.0/24", "--ipv6", "--subnet", "fd75::/64")
    create(ready, "n2", "--subnet", "10.75.2.0/24")
    start(ready, "s", "--network", "n1", "--ip", "10.75.1.9", env=env)
    start(ready, "c", "--network", "n1", env=env)
    start(ready, "o", "--network", "n2", "--ip", "10.75.2.9", env=env)
    waits(ready, "c", "10.75.1.9")
    waits(ready, "c", "s")
    waits(ready, "o", "10.75.2.9")
    for name in ("s", "c"):
        inside(ready, name, "ip", "route", "add", "default", "via", "10.75.1.1")    # not even with a route
    assert not reaches(ready, "c", "198.51.100.1")
    assert not reaches(ready, "c", "10.75.2.9")
    assert not reaches(ready, "o", "10.75.1.9")
    ready.run("podling", "rm", "-af", "-t", "0", env=env)


@pytest.mark.parametrize("driver", ["", "iptables"])
def test_ipv6_with_published_ports(ready: World, driver: str) -> None:
    env = configured(ready, f'firewall_driver = "{driver}"' if driver else "")
    create(ready, "n6", "--ipv6", "--subnet", "10.75.1.0/24", "--subnet", "fd75::/64")
    create(ready, "o6", "--ipv6", "--subnet", "fd76::/64")
    start(ready, "s", "--network", "n6", "--ip6", "fd75::9", "-p", "8080:80", "-p", "[::]:8081:80", env=env)
    start(ready, "c", "--network", "o6", "-p", "[fd99::2]:8082:80", env=env)
    waits(ready, "c", "[fd75::9]")
    waits(ready, "s", "[fd99::1]")
    for url in ("127.0.0.1:8080", "[fd99::2]:8081"):
        assert ready.run("curl", "-gsm", "2", f"http://{url}/", check=False).stdout == "served\n", url
    for url, got in (("[fd99::2]:8081", "served\n"), ("198.51.100.2:8080", "served\n"), ("[fd99::2]:8082", "served\n")):
        assert ready.run(*OUTSIDE, "curl", "-gsm", "2", f"http://{url}/", check=False).stdout == got, url
    clients = ready.path("/run/outside.log").read_text()
    assert "[fd99::2]" in clients                                                   # masqueraded
    assert "fd75::" not in clients
    ready.run("podling", "rm", "-af", "-t", "0", env=env)


def addresses(world: World) -> list[str]:
    """What ``ip`` shows of br7's addresses, whether the kernel is still looking for others who have them or not."""
    return world.run("ip", "addr", "show", "br7").stdout.replace(" tentative", "").splitlines()[2:]


def test_somebody_elses_bridge(ready: World) -> None:
    missing = ready.run("podling", "run", "--rm", "--network", "theirs", "bb", "true", check=False)
    assert missing.returncode == 125
    create(ready, "theirs", "-o", "mode=unmanaged", "--interface-name", "br7", "--subnet", "10.75.7.0/24", "--gateway", "10.75.7.254")
    missing = ready.run("podling", "run", "--rm", "--network", "theirs", "bb", "true", check=False)
    assert "in unmanaged mode, the bridge br7 must already exist on the host" in missing.stderr
    ready.run("ip", "link", "add", "br7", "up", "type", "bridge")
    missing = ready.run("podling", "run", "--rm", "--network", "theirs", "bb", "true", check=False)
    assert "the name server needs one" in missing.stderr
    ready.run("ip", "addr", "add", "10.75.7.3/24", "dev", "br7")                # which no container is given: three come before
    before = addresses(ready)
    start(ready, "s", "--network", "theirs", "--ip", "10.75.7.9")
    start(ready, "c", "--network", "theirs")
    assert ready.run("curl", "-sm", "2", "--retry", "3", "--retry-connrefused", "http://10.75.7.9/").stdout == "served\n"
    assert "nameserver 10.75.7.3" in inside(ready, "c", "cat", "/etc/resolv.conf")
    waits(ready, "c", "s")
    assert "default via 10.75.7.254" in default_routes(ready, "c")[0]
    assert "br7" not in ready.run("nft", "list", "ruleset").stdout
    ready.run("podling", "rm", "-f", "-t", "0", "s", "c")
    ready.wait_until(lambda: not ready.path("/run/containers/podling/networks/bridges/theirs").exists(), "it is swept up")
    assert addresses(ready) == before
    ready.run("ip", "link", "delete", "br7")


def test_a_vrf_that_is_not_there_is_told(ready: World) -> None:
    create(ready, "n1", "-o", "vrf=blue")
    refused = ready.run("podling", "run", "--rm", "--network", "n1", "bb", "true", check=False)
    assert (refused.returncode, "get vrf to set up bridge interface: there is no interface blue" in refused.stderr) == (126, True)


def test_a_vrf(ready: World) -> None:
    if ready.run("ip", "link", "add", "red", "up", "type", "vrf", "table", "77", check=False).returncode:
        pytest.skip("this kernel has no VRF")
    create(ready, "n1", "-o", "vrf=red", "--subnet", "10.75.1.0/24")
    start(ready, "s", "--network", "n1", "--ip", "10.75.1.9")
    start(ready, "c", "--network", "n1")
    waits(ready, "c", "10.75.1.9")
    assert "10.75.1.0/24" in ready.run("ip", "route", "show", "table", "77").stdout
    ready.run("podling", "rm", "-f", "-t", "0", "s", "c")
    ready.run("ip", "link", "delete", "red")


def test_beside_networks_of_netavark(ready: World) -> None:
    """Traffic between them is forwarded, in both directions and over published ports, and masqueraded as between netavark's own."""
    netavark = configured(ready, 'network_backend = "netavark"')
    create(ready, "ours", "--subnet", "10.75.1.0/24")
    create(ready, "theirs", "--subnet", "10.75.2.0/24")
    start(ready, "o", "--network", "ours", "--ip", "10.75.1.9", "-p", "8081:80")
    start(ready, "t", "--network", "theirs", "--ip", "10.75.2.9", "-p", "8082:80", env=netavark)
    for name, host, client in (("o", "10.75.2.9", "10.75.2.1"), ("t", "10.75.1.9", "10.75.1.1")):
        waits(ready, name, host)
        server = "t" if name == "o" else "o"
        ready.wait_until(lambda server=server, client=client: f"{client}]" in ready.run("podling", "logs", server).stdout, "the client")  # type: ignore[misc]
        assert reaches(ready, name, f"198.51.100.2:{8082 if name == 'o' else 8081}")
        waits(ready, name, "198.51.100.1")
    for port in (8081, 8082):
        assert ready.run(*OUTSIDE, "curl", "-sm", "2", f"http://198.51.100.2:{port}/").stdout == "served\n"
        assert ready.run("curl", "-sm", "2", f"http://127.0.0.1:{port}/").stdout == "served\n"
    assert "10.75." not in ready.path("/run/outside.log").read_text()
    ready.run("podling", "network", "connect", "theirs", "o", env=netavark)
    waits(ready, "o", "t")                                        # one name server for both
    ready.run("podling", "rm", "-f", "-t", "0", "o", "t", env=netavark)


@pytest.mark.parametrize("driver", ["none", "iptables"])
def test_other_firewall_drivers(ready: World, driver: str) -> None:
    env = configured(ready, f'firewall_driver = "{driver}"')
    create(ready, "n1", "--subnet", "10.75.1.0/24")
    start(ready, "s", "--network", "n1", "--ip", "10.75.1.9", "-p", "8080:80", env=env)
    start(ready, "c", "--network", "n1", env=env)
    waits(ready, "c", "s")
    published = ready.run(*OUTSIDE, "curl", "-sm", "1", "http://198.51.100.2:8080/", check=False).stdout
    assert (published == "served\n") == (driver == "iptables")
    assert reaches(ready, "c", "198.51.100.1") == (driver == "iptables")
    rules = ready.run("iptables-save").stdout
    assert ("8080" in rules) == (driver == "iptables")
    assert "table inet podling" not in ready.run("nft", "list", "tables").stdout
    ready.run("iptables-restore", stdin=b"*nat\nCOMMIT\n*filter\nCOMMIT\n")               # a host's own rules are loaded: ours are gone
    ready.run("podling", "network", "reload", "--all", env=env)
    assert ready.run("iptables-save").stdout.count("podling:") == rules.count("podling:")
    assert reaches(ready, "c", "198.51.100.1") == (driver == "iptables")
    ready.run("podling", "rm", "-f", "-t", "0", "s", "c", env=env)


def test_a_host_name_for_the_gateway(ready: World) -> None:
    server = ready.spawn("busybox", "httpd", "-f", "-p", "8070", "-h", "/run/outside", stdout=subprocess.DEVNULL)
    start(ready, "c", "--add-host", "gate:host-gateway", command=("sleep", "1000"))
    waits(ready, "c", "gate:8070")
    server.kill()
    server.wait()

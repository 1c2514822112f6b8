"""Names of containers by aardvark-dns, which our own driver starts, feeds and ends; beside netavark's, whose results are the same."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

TOLD = "/run/containers/podling/networks/aardvark-dns"
OVERRIDE = "/etc/containers/override.conf"


@pytest.fixture
def ready(shared_world: World, busybox: Path) -> Iterator[World]:
    shared_world.run("podling", "load", "-q", "-i", str(busybox))
    shared_world.run("podling", "network", "create", "--ignore", "--ipv6", "--dns", "192.0.2.53", "--subnet", "10.71.0.0/24",
                     "--subnet", "fd71::/64", "named")
    yield shared_world
    shared_world.run("podling", "rm", "-af", "-t", "0", check=False)


def overriding(world: World, text: str) -> dict[str, str]:
    """The environment in which containers.conf says so too."""
    world.path(OVERRIDE).write_text(text, encoding="ascii")
    return {"CONTAINERS_CONF_OVERRIDE": OVERRIDE}


def resolves(world: World, name: str, address: str, *, asker: str = "c", kind: str = "a") -> bool:
    said = world.run("podling", "exec", asker, "timeout", "2", "nslookup", f"-type={kind}", name, check=False).stdout
    return f"Address: {address}\n" in said


def settings(world: World, container: str, **options: Any) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(world.run("podling", "inspect", container, **options).stdout)[0]["NetworkSettings"]
    return shown


def test_the_same_as_by_netavark(ready: World) -> None:
    """What inspect shows, what the container finds in /etc, what the name server is told."""
    seen = []
    for backend in ("", '[network]\nnetwork_backend = "netavark"\n'):
        env = overriding(ready, backend)
        ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "--ip", "10.71.0.9", "--ip6", "fd71::9", "-p", "8085:80",
                  "--mac-address", "92:d0:c6:0a:29:33", "--network-alias", "other", "--dns", "192.0.2.54", "bb", "sleep", "1000", env=env)
        shown = json.dumps(settings(ready, "c", env=env), sort_keys=True)
        etc = ready.run("podling", "exec", "c", "cat", "/etc/resolv.conf", "/etc/hosts", env=env).stdout
        told = ready.path(f"{TOLD}/named").read_text()
        driven = "podling" if ready.run("nft", "list", "table", "inet", "podling", check=False).returncode == 0 else "netavark"
        container = ready.run("podling", "inspect", "--format", "{{.Id}}", "c", env=env).stdout.strip()
        ready.run("podling", "rm", "-f", "-t", "0", "c", env=env)
        ready.assert_nothing_left()
        seen.append((driven, *(re.sub(f"{container[:12]}(?:{container[12:]})?|netns-[0-9a-f-]*", "ID", text)
                               for text in (shown, etc, told))))
    assert [each[0] for each in seen] == ["podling", "netavark"]
    assert seen[0][1:] == seen[1][1:]
    assert seen[0][3] == "10.71.0.1,fd71::1 192.0.2.53\nID 10.71.0.9 fd71::9 c,other,ID 192.0.2.54\n"


def test_names_aliases_and_short_ids(ready: World) -> None:
    ready.run("podling", "run", "-d", "--name", "peer", "--network", "named", "--ip", "10.71.0.7", "--ip6", "fd71::7",
              "--network-alias", "other", "bb", "sleep", "1000")
    ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "bb", "sleep", "1000")
    short = ready.run("podling", "inspect", "--format", "{{.Id}}", "peer").stdout[:12]
    ready.wait_until(lambda: resolves(ready, "peer.dns.podman", "10.71.0.7"), "the name server answers")
    for name in ("peer.dns.podman", "other.dns.podman", f"{short}.dns.podman", "peer"):
        assert resolves(ready, name, "10.71.0.7")
    assert resolves(ready, "peer.dns.podman", "fd71::7", kind="aaaa")
    ready.run("podling", "stop", "-t", "0", "peer")
    assert not resolves(ready, "peer.dns.podman", "10.71.0.7")
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer")
    ready.assert_nothing_left()                               # aardvark-dns has ended with the last one
    ready.wait_until(lambda: not list(ready.path(TOLD).iterdir()), "nothing of it is left")


def test_the_default_network_has_names_when_its_file_says_so(ready: World) -> None:
    path = ready.path("/etc/containers/networks/podman.json")
    shown = json.loads(ready.run("podling", "network", "inspect", "podman").stdout)      # ... | jq .[]
    path.write_text(json.dumps({**shown[0], "dns_enabled": True}), encoding="utf-8")
    ready.run("podling", "run", "-d", "--name", "peer", "--ip", "10.88.0.77", "bb", "sleep", "1000")
    ready.run("podling", "run", "-d", "--name", "c", "bb", "sleep", "1000")
    ready.wait_until(lambda: resolves(ready, "peer.dns.podman", "10.88.0.77"), "the name server answers")
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer")
    path.unlink()
    ready.run("podling", "run", "-d", "--name", "c", "bb", "sleep", "1000")
    assert "10.88.0.1" not in ready.run("podling", "exec", "c", "cat", "/etc/resolv.conf").stdout
    ready.run("podling", "rm", "-f", "-t", "0", "c")
    ready.assert_nothing_left()


def test_another_port_and_a_host_that_drops_what_comes_in(ready: World) -> None:
    """dns_bind_port leaves port 53 to the host's own server; ufw's policy of the chain INPUT is to drop."""
    env = overriding(ready, "[network]\ndns_bind_port = 5353\n")
    ready.run("iptables", "-P", "INPUT", "DROP")
    ready.run("podling", "run", "-d", "--name", "peer", "--network", "named", "--ip", "10.71.0.7", "bb", "sleep", "1000", env=env)
    ready.run("podling", "run", "-d", "--name", "c", "--network", "named", "bb", "sleep", "1000", env=env)
    assert "10.71.0.1:5353" in ready.run("ss", "-Hlun").stdout
    ready.wait_until(lambda: resolves(ready, "peer.dns.podman", "10.71.0.7"), "the name server answers")
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer", env=env)
    ready.wait_until(lambda: "PODLING" not in ready.run("iptables", "-S").stdout, "the rules go")
    ready.run("iptables", "-P", "INPUT", "ACCEPT")
    ready.assert_nothing_left()


def test_internal_networks_have_names_too(ready: World) -> None:
    ready.run("podling", "network", "create", "--internal", "--subnet", "10.72.0.0/24", "inner")
    ready.run("podling", "run", "-d", "--name", "peer", "--network", "inner", "--ip", "10.72.0.7", "bb", "sleep", "1000")
    ready.run("podling", "run", "-d", "--name", "c", "--network", "inner", "bb", "sleep", "1000")
    ready.wait_until(lambda: resolves(ready, "peer.dns.podman", "10.72.0.7"), "the name server answers")
    assert [path.name for path in ready.path(TOLD).iterdir() if path.name != "aardvark.pid"] == ["inner%int"]
    assert "default" not in ready.run("podling", "exec", "c", "ip", "route").stdout
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer")
    ready.run("podling", "network", "rm", "inner")
    ready.assert_nothing_left()


def test_killed_it_disturbs_nobody_and_comes_back(ready: World) -> None:
    for name in ("peer", "c"):
        ready.run("podling", "run", "-d", "--name", name, "--network", "named", "bb", "sleep", "1000")
    ready.run("pkill", "-9", "-f", "^[^ ]*aardvark-dns --config")
    ready.run("podling", "stop", "-t", "0", "c")
    ready.run("podling", "network", "disconnect", "named", "peer")
    ready.run("podling", "network", "connect", "--ip", "10.71.0.7", "named", "peer")
    ready.run("podling", "start", "c")
    ready.wait_until(lambda: resolves(ready, "peer.dns.podman", "10.71.0.7"), "the name server answers again")
    ready.run("pkill", "-9", "-f", "^[^ ]*aardvark-dns --config")
    ready.run("podling", "rm", "-f", "-t", "0", "c", "peer")
    ready.assert_nothing_left()


def test_without_aardvark_it_is_told(ready: World) -> None:
    """Where it is not installed networks work, but for names."""
    env = overriding(ready, '[engine]\nhelper_binaries_dir = ["/nowhere"]\n')
    done = ready.run("podling", "run", "--rm", "--network", "named", "bb", "cat", "/etc/resolv.conf", env=env)
    assert "names of containers do not resolve on named" in done.stderr
    assert "10.71.0.1" not in done.stdout
    ready.assert_nothing_left()


def test_another_name_server_of_the_host_is_told(ready: World) -> None:
    other = ready.spawn("/usr/bin/python3", "-c", "import socket, time; s = socket.socket(2, 2); s.bind(('', 53)); time.sleep(99)")
    ready.wait_until(lambda: ":53 " in ready.run("ss", "-Hlun").stdout, "it listens")
    refused = ready.run("podling", "run", "--rm", "--network", "named", "bb", "true", check=False)
    assert refused.returncode == 126
    assert "aardvark-dns cannot listen at 10.71.0.1 port 53/udp: address already in use" in refused.stderr
    assert "dns_bind_port" in refused.stderr
    ready.run("podling", "run", "--rm", "--network", "named", "bb", "true", env=overriding(ready, "[network]\ndns_bind_port = 5353\n"))
    other.kill()
    other.wait()
    ready.assert_nothing_left()

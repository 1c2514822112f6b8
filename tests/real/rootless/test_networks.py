"""Networks of an ordinary user: bridges in the rootless network namespace, DNS, ports, the host, and what is killed heals."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.users import User

SERVE = ("sh", "-c", "mkdir /w; echo hello >/w/index.html; exec httpd -f -v -p 80 -h /w 2>&1")
OUTSIDE = ("ip", "netns", "exec", "outside")


@pytest.fixture(scope="module", autouse=True)
def outside(user: User) -> None:
    """The user's uplink leads to a host of its own, 198.51.100.1, which answers HTTP."""
    world = user.world
    world.run("sh", "-ec", """
        ip netns add outside; ip link set uplink1 netns outside; ip -n outside addr add 198.51.100.1/24 dev uplink1
        ip -n outside link set uplink1 up; ip -n outside link set lo up
        mkdir /run/outside; echo outside >/run/outside/index.html
        ip netns exec outside busybox httpd -p 80 -h /run/outside""")
    user.podling("network", "create", "n1")
    world.before = world.observe()


def get(user: User, address: str) -> str:
    return user.run("curl", "-sg", "--max-time", "5", f"http://{address}/", check=False).stdout


def processes(user: User, word: str) -> list[int]:
    found = []
    for pid in user.world.processes():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if word in file.read().decode(errors="replace").replace("\0", " "):
                    found.append(pid)
        except OSError:
            continue
    return found


def assert_nothing_left(user: User) -> None:
    user.assert_nothing_left()
    user.assert_no_network_left()


@pytest.mark.parametrize("program", ["slirp4netns", "pasta"])
def test_bridges_names_ports_and_the_world(user: User, program: str) -> None:
    user.world.path("/etc/containers/joint.conf").write_text(f'[network]\ndefault_rootless_network_cmd = "{program}"\n', encoding="ascii")
    env = {"CONTAINERS_CONF_OVERRIDE": "/etc/containers/joint.conf"}
    user.podling("run", "-d", "--name", "w", "--network", "n1", "-p", "8080:80", "bb", *SERVE, env=env)
    user.world.wait_until(lambda: get(user, "127.0.0.1:8080") == "hello\n", "the server")
    run = ("run", "--rm", "--network", "n1", "bb")
    assert user.podling(*run, "wget", "-qO-", "http://w/", env=env) == "hello\n"
    assert user.podling(*run, "wget", "-qO-", "http://198.51.100.1/", env=env) == "outside\n"
    assert user.world.run(*OUTSIDE, "curl", "-s", "--max-time", "5", "http://198.51.100.2:8080/").stdout == "hello\n"
    user.world.wait_until(lambda: "198.51.100.1" in user.podling("logs", "w"), "the client's own address in the log")
    address = user.podling("inspect", "--format", "{{.NetworkSettings.Networks.n1.IPAddress}}", "w", env=env).strip()
    assert address.startswith("10.89.0.")
    user.podling("rm", "-f", "-t", "0", "w", env=env)
    assert_nothing_left(user)
    assert not user.world.run("pgrep", "-f", "^[^ ]*pasta --config-net", check=False).stdout


def test_udp_clients_keep_their_addresses(user: User) -> None:
    serve = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53)); print('ready', flush=True)\n"
             "while True: peer = s.recvfrom(99)[1]; s.sendto(peer[0].encode(), peer)")
    ask = ("import socket, sys; s = socket.socket(2, 2); s.settimeout(5); s.connect((sys.argv[1], 5300)); s.send(b'?'); "
           "print(s.recv(99).decode())")
    host = ("-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro")
    for network, seen in (("n1", "198.51.100.1"), ("slirp4netns", "10.0.2.100")):
        user.podling("run", "-d", "--name", "u", "--network", network, "-p", "5300:53/udp", *host, "bb", "/usr/bin/python3", "-c", serve)
        user.world.wait_until(lambda: "ready" in user.podling("logs", "u"), "the server")
        assert user.world.run(*OUTSIDE, "/usr/bin/python3", "-c", ask, "198.51.100.2").stdout.strip() == seen
        assert user.world.run("/usr/bin/python3", "-c", ask, "127.0.0.1").stdout.strip() != "127.0.0.1"
        user.podling("rm", "-f", "-t", "0", "u")
    assert_nothing_left(user)


def test_the_host_is_reached(user: User) -> None:
    server = user.spawn("busybox", "httpd", "-f", "-p", "198.51.100.2:8070", "-h", "/etc")
    for name in ("host.containers.internal", "host.docker.internal"):
        for network in ("n1", "slirp4netns"):
            assert "root:" in user.podling("run", "--rm", "--network", network, "bb", "wget", "-qO-", f"http://{name}:8070/passwd")
    server.kill()
    server.wait()
    assert_nothing_left(user)


def test_without_a_network_they_meet_by_the_hosts_ports(user: User) -> None:
    user.podling("run", "-d", "--name", "w", "-p", "8080:80", "bb", *SERVE)
    user.world.wait_until(lambda: get(user, "127.0.0.1:8080") == "hello\n", "the server")
    assert user.podling("run", "--rm", "bb", "wget", "-qO-", "http://host.containers.internal:8080/") == "hello\n"
    user.podling("run", "--rm", "bb", "wget", "-qO-", "http://10.0.2.100:80/", status=1)
    user.podling("rm", "-f", "-t", "0", "w")
    assert_nothing_left(user)


def test_low_ports_are_refused_with_what_allows_them(user: User) -> None:
    for network in ("slirp4netns", "n1", "slirp4netns:port_handler=slirp4netns", "pasta"):
        said = user.podling("run", "--rm", "-p", "80:80", "--network", network, "bb", "true", status=126)
        assert "rootlessport cannot expose privileged port 80, you can add 'net.ipv4.ip_unprivileged_port_start=80'" in said
    assert_nothing_left(user)


@pytest.mark.parametrize("option", ["--ip=10.0.2.7", "--mac-address=02:00:00:00:00:01", "--network-alias=x"])
def test_what_only_bridges_have_is_refused_of_the_default_network(user: User, option: str) -> None:
    refused = user.podling("create", option, "bb", status=125)
    assert f"Error: {option.partition('=')[0]} can only be set when the network mode is bridge" in refused
    assert "It is slirp4netns: leave out" in refused


def test_what_is_killed_heals(user: User) -> None:
    user.podling("run", "-d", "--name", "w", "--network", "n1", "-p", "8080:80", "bb", *SERVE)
    user.world.wait_until(lambda: get(user, "127.0.0.1:8080") == "hello\n", "the server")
    words = ("slirp4netns --", "forwarder", "aardvark-dns --")
    for word in words:
        assert processes(user, word), word
        for pid in processes(user, word):
            os.kill(pid, signal.SIGKILL)
    user.world.wait_until(lambda: not any(processes(user, word) for word in words), "they end")
    run = ("run", "--rm", "--network", "n1", "bb", "wget", "-qO-")
    assert user.podling(*run, "http://198.51.100.1/") == "outside\n"           # the next start heals the namespace
    user.podling("restart", "-t", "0", "w")
    user.world.wait_until(lambda: get(user, "127.0.0.1:8080") == "hello\n", "the server again")
    assert user.podling(*run, "http://w/") == "hello\n"
    user.podling("rm", "-f", "-t", "0", "w")
    assert_nothing_left(user)


def test_a_running_container_joins_and_leaves(user: User) -> None:
    user.podling("network", "create", "--disable-dns", "n2")
    user.podling("run", "-d", "--name", "peer", "--network", "n1", "bb", *SERVE)
    user.podling("run", "-d", "--name", "w", "--network", "n2", "-p", "8080:80", "bb", *SERVE)
    user.world.wait_until(lambda: get(user, "127.0.0.1:8080") == "hello\n", "the server")
    user.podling("network", "connect", "n1", "w")
    assert user.podling("exec", "w", "wget", "-qO-", "http://peer/") == "hello\n"
    user.podling("network", "disconnect", "n2", "w")                     # its ports led there
    assert "eth0" not in user.podling("exec", "w", "cat", "/proc/net/dev")
    assert get(user, "127.0.0.1:8080") == "hello\n"
    user.podling("network", "disconnect", "n1", "w")
    assert get(user, "127.0.0.1:8080") == ""
    user.podling("network", "connect", "n2", "w")
    assert get(user, "127.0.0.1:8080") == "hello\n"
    user.podling("rm", "-f", "-t", "0", "w", "peer")
    user.podling("network", "rm", "n2")
    assert_nothing_left(user)


RESOLVER = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.53", 53))
while True:
    data, peer = sock.recvfrom(512)
    end = data.index(b"\\0", 12) + 5
    good = data[end - 4:end - 2] == b"\\0\\1" and b"upstream" in data
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + bytes([203, 0, 113, 7]) if good else b""
    sock.sendto(data[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([good]) + bytes(4) + data[12:end] + answer, peer)
"""


def test_names_of_the_world_by_a_resolver_on_the_hosts_loopback(user: User) -> None:
    world = user.world
    world.run("sh", "-c", "echo nameserver 127.0.0.53 >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf")
    resolver = world.spawn("python3", "-c", RESOLVER)
    for network in ("n1", "bridge", "slirp4netns"):
        said = user.podling("run", "--rm", "--network", network, "bb", "nslookup", "-type=a", "upstream.example.org")
        assert "203.0.113.7" in said, network
    resolver.kill()
    resolver.wait()
    world.run("umount", "/etc/resolv.conf")
    assert_nothing_left(user)


@pytest.mark.parametrize("network", ["n1", "bridge"])
def test_many_come_and_go_at_once(user: User, network: str) -> None:
    """The namespace ends with the last, and not while anybody has something in it."""
    running = [user.spawn("podling", "run", "--rm", "--network", network, "-p", f"{8100 + number}:80", "bb", "true", stderr=subprocess.PIPE)
               for number in range(12)]
    for process in running:
        _, errors = process.communicate()
        assert (process.returncode, errors.decode()) == (0, "")
    assert_nothing_left(user)


def test_unshare_enters_the_namespace(user: User) -> None:
    user.podling("run", "-d", "--name", "w", "--network", "n1", "bb", *SERVE)
    address = user.podling("inspect", "--format", "{{.NetworkSettings.Networks.n1.IPAddress}}", "w").strip()
    assert user.podling("unshare", "--rootless-netns", "curl", "-s", f"http://{address}/") == "hello\n"
    assert user.podling("unshare", "--rootless-netns", "cat", "/etc/resolv.conf") == "nameserver 10.0.2.3\n"
    user.podling("rm", "-f", "-t", "0", "w")
    assert user.podling("unshare", "--rootless-netns", "curl", "-s", "http://198.51.100.1/") == "outside\n"    # made for it alone
    assert_nothing_left(user)


@pytest.mark.parametrize("line", ["", 'network_backend = "netavark"', 'firewall_driver = "iptables"'])
def test_without_the_administrators_programs_on_the_path(user: User, line: str) -> None:
    """Debian's ordinary users have no /usr/sbin on their $PATH, where nft and iptables are."""
    user.world.path("/etc/containers/backend.conf").write_text(f"[network]\n{line}\n", encoding="ascii")
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "CONTAINERS_CONF_OVERRIDE": "/etc/containers/backend.conf"}
    user.podling("run", "-d", "--name", "w", "--network", "n1", "-p", "8080:80", "bb", *SERVE, env=env)
    user.world.wait_until(lambda: get(user, "127.0.0.1:8080") == "hello\n", "the server")
    run = ("run", "--rm", "--network", "n1", "bb", "wget", "-qO-")
    assert user.podling(*run, "http://w/", env=env) == "hello\n"
    assert user.podling(*run, "http://198.51.100.1/", env=env) == "outside\n"
    assert user.world.run(*OUTSIDE, "curl", "-s", "--max-time", "5", "http://198.51.100.2:8080/").stdout == "hello\n"
    user.world.wait_until(lambda: "198.51.100.1" in user.podling("logs", "w"), "the client's own address in the log")
    user.podling("rm", "-f", "-t", "0", "w", env=env)
    assert_nothing_left(user)

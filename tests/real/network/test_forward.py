"""The forwarder of ports between two namespaces, without containers: TCP, UDP, both versions, many, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from podling.network import companions, forward, namespaces
from podling.values.ports import PortMapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.sandbox import World

NETNS, RUNROOT, HERE = "/run/netns/c", "/run/test", "10.0.2.100"


class Forwarded:
    """A namespace with the address HERE, and a forwarder into it."""

    def __init__(self, *ports: PortMapping) -> None:
        namespaces.make(NETNS)
        subprocess.run(["sh", "-ec", f"ip -n c addr add {HERE}/32 dev lo; ip -n c addr add fd00::100/128 dev lo nodad"], check=False,
                       stderr=subprocess.DEVNULL)
        self.life = companions.Lifeline("c", RUNROOT)
        forwarding = forward.begin("c", forward.Listening(ports, owner_of=dict), [HERE, "fd00::100"], netns=NETNS, runroot=RUNROOT,
                                   life=self.life.near, near=[f"{HERE}/32"])
        forwarding.finish()
        found = companions.find(f"{RUNROOT}/networks/forward-c")
        assert found is not None
        self.process = found

    def serve(self, port: int, talk: Callable[[socket.socket], None], kind: int = socket.SOCK_STREAM) -> None:
        """Serve in the namespace, one thread a connection."""
        def listen() -> socket.socket:
            sock = socket.socket(socket.AF_INET6, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("::", port))
            return sock

        sock = namespaces.inside(NETNS, listen)
        if kind == socket.SOCK_DGRAM:
            threading.Thread(target=talk, args=(sock,), daemon=True).start()
            return
        sock.listen(1000)

        def accept() -> None:
            while True:
                threading.Thread(target=talk, args=(sock.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()


def echo(sock: socket.socket) -> None:
    while data := sock.recv(1 << 16):
        sock.sendall(data)
    sock.close()


def in_world(world: World, function: Callable[[], Any]) -> Any:
    return world.call(function)


@pytest.fixture(scope="module")
def place(shared_world: World) -> Iterator[World]:
    yield shared_world
    shared_world.run("ip", "netns", "delete", "c", check=False)


def test_bytes_arrive_whole_and_half_closed_connections_go_on(place: World) -> None:
    def scene() -> str:
        forwarded = Forwarded(PortMapping(container_port=80, host_port=8080))

        def digest(sock: socket.socket) -> None:
            found = hashlib.sha256()
            while data := sock.recv(1 << 16):
                found.update(data)
            time.sleep(0.05)                                  # the other side has closed its half long ago
            sock.sendall(found.hexdigest().encode())
            sock.close()

        forwarded.serve(80, digest)
        data = os.urandom(1 << 20) * 20
        for address in ("127.0.0.1", "::1", "198.51.100.2"):
            with socket.create_connection((address, 8080)) as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(100).decode() == hashlib.sha256(data).hexdigest()
                assert sock.recv(1) == b""
        forward.down("c", RUNROOT)
        return "done"

    assert in_world(place, scene) == "done"


def test_many_connections_and_slow_readers(place: World) -> None:
    def scene() -> int:
        forwarded = Forwarded(PortMapping(container_port=80, host_port=8080))
        forwarded.serve(80, echo)
        socks = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(300)]
        slow = socks.pop()
        slow.setblocking(False)
        try:
            while True:
                slow.send(bytes(1 << 16))                     # it never reads: its way fills up, the others' do not
        except BlockingIOError:
            pass
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number)
        good = sum(sock.recv(10) == b"%d" % number for number, sock in enumerate(socks))
        for sock in (*socks, slow):
            sock.close()
        deadline = time.monotonic() + 20
        while len(os.listdir(f"/proc/{forwarded.process[0]}/fd")) > 40 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(os.listdir(f"/proc/{forwarded.process[0]}/fd")) <= 40
        forward.down("c", RUNROOT)
        return good

    assert in_world(place, scene) == 299


def test_nobody_listens_and_resets(place: World) -> None:
    def scene() -> str:
        forwarded = Forwarded(PortMapping(container_port=80, host_port=8080, length=2))
        with socket.create_connection(("127.0.0.1", 8080)) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)

        def rude(sock: socket.socket) -> None:
            sock.recv(10)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
            sock.close()

        forwarded.serve(81, rude)
        with socket.create_connection(("127.0.0.1", 8081)) as sock, pytest.raises(ConnectionResetError):
            sock.sendall(b"hello")
            sock.recv(1)
        forward.down("c", RUNROOT)
        return "done"

    assert in_world(place, scene) == "done"


def test_udp_answers_come_from_the_address_that_was_asked(place: World) -> None:
    def scene() -> str:
        forwarded = Forwarded(PortMapping(container_port=53, host_port=5300, protocol="udp"))

        def answer(sock: socket.socket) -> None:
            while True:
                data, peer = sock.recvfrom(1 << 16)
                sock.sendto(data[::-1], peer)

        forwarded.serve(53, answer, socket.SOCK_DGRAM)
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "198.51.100.2"), (socket.AF_INET6, "::1")):
            clients = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(20)]
            for number, client in enumerate(clients):
                client.settimeout(5)
                client.connect((address, 5300))               # it hears this address alone
                client.send(b"%03d" % number + bytes(1000))
            for number, client in enumerate(clients):
                assert client.recv(2000)[-3:] == (b"%03d" % number)[::-1]
                client.close()
        forward.down("c", RUNROOT)
        return "done"

    assert in_world(place, scene) == "done"


def test_a_thousand_ports_in_one_process_that_ends_with_its_lifeline(place: World) -> None:
    def scene() -> tuple[float, int]:
        begun = time.monotonic()
        forwarded = Forwarded(PortMapping(container_port=10000, host_port=10000, length=1000))
        took = time.monotonic() - begun
        forwarded.serve(10999, echo)
        with socket.create_connection(("127.0.0.1", 10999)) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        with open(f"/proc/{forwarded.process[0]}/status", encoding="ascii") as file:
            anonymous = next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
        forwarded.life.close()
        deadline = time.monotonic() + 20
        while companions.find(f"{RUNROOT}/networks/forward-c") is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert companions.find(f"{RUNROOT}/networks/forward-c") is None
        forward.down("c", RUNROOT)
        return took, anonymous

    took, anonymous = in_world(place, scene)
    assert took < 10
    assert anonymous < 8000, "KiB of its own"


def test_a_port_that_is_taken_is_told(place: World) -> None:
    def scene() -> str:
        with socket.create_server(("127.0.0.1", 8080)):
            try:
                forward.Listening([PortMapping(container_port=80, host_port=8080)], owner_of=lambda: {(8080, "tcp"): "web"})
            except forward.InUse as error:
                return f"{error.message} | {error.hint}"
        return ""

    assert in_world(place, scene) == ("rootlessport listen tcp 0.0.0.0:8080: bind: address already in use | "
                                      "container web has it: stop it, or publish another port")

"""HTTP/1.1 by our own client, against scripted servers; and by way of a proxy, against one that is scripted too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podling.image.registry import http1
from podling.image.registry.connection import Connection, ConnectionFault, Patience
from tests.support.hostile import HostileRegistry, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = Patience(connect=2.0, read=0.5, retries=0)


@pytest.fixture
def server() -> Iterator[HostileRegistry]:
    with HostileRegistry() as running:
        yield running


def body_of(server: HostileRegistry, raw: bytes, *, method: str = "GET") -> bytes:
    """What a client takes for the body of an answer that is these bytes."""
    server.script[f"{method} /x"] = [Reply(raw=raw)]
    client = http1.Client(connect=2.0, read=0.5, context=None)
    try:
        response, parts = client.request(method, f"http://{server.host}/x", {}, None), []
        while data := response.read(7):
            parts.append(data)
        return b"".join(parts)
    finally:
        client.clear()


@pytest.mark.parametrize(("raw", "body"), [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome text", b"some text"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsome \r\n4;ext=1\r\ntext\r\n0\r\nTrailer: x\r\n\r\n", b"some text"),
    (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length:2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
])
def test_bodies_end_where_they_say(server: HostileRegistry, raw: bytes, body: bytes) -> None:
    assert body_of(server, raw) == body


@pytest.mark.parametrize("raw", [
    b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n", b"HTTP/1.1 200 " + b"a" * 70_000,
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
])
def test_what_is_no_http_is_refused(server: HostileRegistry, raw: bytes) -> None:
    with pytest.raises(http1.Broken):
        body_of(server, raw)


def test_a_head_takes_no_control_characters() -> None:
    client = http1.Client(connect=2.0, read=0.5, context=None)
    with pytest.raises(http1.Broken, match="control characters"):
        client.request("GET", "http://127.0.0.1:1/", {"Authorization": "a\r\nHost: b"}, None)


def test_a_proxy_is_asked_for_the_whole_url(server: HostileRegistry) -> None:
    server.script["GET http://registry.example/v2/"] = [Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]
    connection = Connection("registry.example", patience=PATIENCE, env={"HTTP_PROXY": f"http://{server.host}"})
    assert connection.send("GET", "http://registry.example/v2/", headers={}).body(10) == b"ok"
    assert server.requests[-1].path == "http://registry.example/v2/"
    connection.close()


def test_a_proxy_that_is_not_there_is_named() -> None:
    connection = Connection("registry.example", patience=PATIENCE, env={"HTTPS_PROXY": "http://127.0.0.1:1"})
    with pytest.raises(ConnectionFault, match="proxyconnect: connect: connection refused"):
        connection.send("GET", "https://registry.example/v2/", headers={})

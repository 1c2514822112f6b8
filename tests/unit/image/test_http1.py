"""HTTP/1.1 as its client speaks it: what is sent, and answers of every kind."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from podling.image.registry import http1
from podling.image.registry.http1 import Answer, Channel, EndedEarly, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel and what is at its other end."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    theirs.settimeout(5)
    with contextlib.closing(ours), contextlib.closing(theirs):
        yield Channel(ours), theirs


def said(ends: tuple[Channel, socket.socket], raw: bytes, method: str = "GET", *, close: bool = True) -> Answer:
    """The answer that these bytes are."""
    ends[1].sendall(raw)
    if close:
        ends[1].shutdown(socket.SHUT_WR)
    return ends[0].answer(method)


def body(answer: Answer, size: int = 7) -> bytes:
    return b"".join(iter(lambda: answer.read(size), b""))


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(("raw", "content", "is_last"), [
    (HEAD + b"Content-Length: 11\r\n\r\nhello world", b"hello world", False),
    (HEAD + b"content-length:0\r\n\r\n", b"", False),
    (HEAD + b"Content-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n006\r\n world\r\n0\r\nTrailer: x\r\n\r\n", b"hello world", False),
    (HEAD + b"Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a", True),
    (HEAD + b"\r\nto the end", b"to the end", True),
    (HEAD + b"Connection: Keep-Alive, close\r\nContent-Length: 2\r\n\r\nab", b"ab", True),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab", True),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab", b"ab", False),
    (b"HTTP/1.1 200\nContent-Length: 2\n\nab", b"ab", False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na", b"a", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", False),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b"", False),
])
def test_bodies_end_where_the_head_says(ends: tuple[Channel, socket.socket], raw: bytes, content: bytes, is_last: bool) -> None:
    answer = said(ends, raw)
    assert body(answer) == content
    assert answer.is_whole
    assert answer.is_last == is_last


def test_an_answer_to_head_has_a_length_and_no_body(ends: tuple[Channel, socket.socket]) -> None:
    answer = said(ends, HEAD + b"Content-Length: 7\r\n\r\n", "HEAD", close=False)
    assert (answer.length, answer.read(1), answer.is_whole, answer.is_last) == (7, b"", True, False)
    assert ends[0].is_silent


def test_headers_repeat_and_go_on(ends: tuple[Channel, socket.socket]) -> None:
    answer = said(ends, HEAD + b"WWW-Authenticate: Basic\r\nwww-authenticate:Bearer a=b,\r\n  c=\xe9\r\nX-Empty:\r\n"
                  b"Content-Length: 0\r\n\r\n")
    assert answer.headers["www-authenticate"] == ["Basic", "Bearer a=b, c=\u00e9"]
    assert answer.header("www-authenticate") == "Basic, Bearer a=b, c=\u00e9"
    assert (answer.header("x-empty"), answer.header("absent")) == ("", "")


@pytest.mark.parametrize("raw", [
    b"garbage\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02\x02\x16\n", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 \r\n\r\n",
    HEAD + b"no colon\r\n\r\n", HEAD + b": no name\r\n\r\n", HEAD + b"bad name: x\r\n\r\n",
    HEAD + b"name : x\r\n\r\n", HEAD + b" goes on\r\n\r\n", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    HEAD + b"Content-Length: -1\r\n\r\n", HEAD + b"Content-Length: 0x10\r\n\r\n", HEAD + b"Content-Length: 1_0\r\n\r\n",
    HEAD + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    HEAD + b"X: " + b"x" * (http1.LONGEST_LINE + 10), HEAD + b"X: y\r\n" * (http1.MOST_LINES + 1) + b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
])
def test_what_is_no_answer_is_refused(ends: tuple[Channel, socket.socket], raw: bytes) -> None:
    threading.Thread(target=ends[1].sendall, args=(raw,), daemon=True).start()
    with pytest.raises(Malformed):
        ends[0].answer("GET")


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK", HEAD, HEAD + b"Content-Length: 1\r\n"])
def test_an_answer_without_end_is_told(ends: tuple[Channel, socket.socket], raw: bytes) -> None:
    with pytest.raises(EndedEarly):
        said(ends, raw)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(("raw", "error"), [
    (HEAD + b"Content-Length: 5\r\n\r\nhell", EndedEarly), (CHUNKED + b"5\r\nhell", EndedEarly), (CHUNKED + b"5\r\nhello\r\n", EndedEarly),
    (CHUNKED + b"5\r\nhello\r\n0\r\n", EndedEarly), (CHUNKED + b"5\r\nhello world\r\n0\r\n\r\n", Malformed), (CHUNKED + b"\r\n", Malformed),
    (CHUNKED + b"-5\r\nhello\r\n", Malformed), (CHUNKED + b"0x5\r\nhello\r\n", Malformed), (CHUNKED + b"+5\r\nhello\r\n", Malformed),
    (CHUNKED + b"1_0\r\nhello\r\n", Malformed), (CHUNKED + b"f" * 16 + b"\r\nhello\r\n", Malformed),
    (CHUNKED + b"0\r\n" + b"X: y\r\n" * (http1.MOST_LINES + 1), Malformed),
])
def test_bodies_that_lie_or_break_off_are_refused(ends: tuple[Channel, socket.socket], raw: bytes, error: type[Exception]) -> None:
    answer = said(ends, raw)
    with pytest.raises(error):
        body(answer)
    assert not answer.is_whole


def test_answers_follow_one_another(ends: tuple[Channel, socket.socket]) -> None:
    channel, server = ends
    for number in range(3):
        channel.send("GET", f"/{number}", {"Host": "h"})
        assert server.recv(1000) == f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        assert body(said(ends, HEAD + b"Content-Length: 1\r\n\r\n%d" % number, close=False)) == b"%d" % number
        assert channel.is_silent


def test_what_nobody_asked_for_spoils_a_connection(ends: tuple[Channel, socket.socket]) -> None:
    assert body(said(ends, HEAD + b"Content-Length: 1\r\n\r\na" + HEAD, close=False)) == b"a"
    assert not ends[0].is_silent
    assert not Channel(said_later(ends)).is_silent


def said_later(ends: tuple[Channel, socket.socket]) -> socket.socket:
    """The socket, when something more has come."""
    ends[1].sendall(b"more")
    assert isinstance(ends[0].sock, socket.socket)
    return ends[0].sock


def received(server: socket.socket) -> bytes:
    server.settimeout(0.2)
    found = b""
    with contextlib.suppress(TimeoutError):
        while data := server.recv(1 << 20):
            found += data
    return found


def test_bodies_are_sent_with_their_length_or_in_chunks(ends: tuple[Channel, socket.socket]) -> None:
    channel, server = ends
    large = b"x" * 100_000
    for method, content, expected in (
        ("GET", None, b"\r\n"), ("DELETE", None, b"\r\n"),
        ("POST", None, b"Content-Length: 0\r\n\r\n"), ("PUT", b"", b"Content-Length: 0\r\n\r\n"),
        ("PUT", b"small", b"Content-Length: 5\r\n\r\nsmall"), ("PUT", large, b"Content-Length: 100000\r\n\r\n" + large),
        ("PATCH", iter([b"one", b"", b"eleven more"]), b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\nb\r\neleven more\r\n0\r\n\r\n"),
        ("PATCH", iter([]), b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ):
        channel.send(method, "/x?y", {"Host": "h"}, content)
        assert received(server) == method.encode() + b" /x?y HTTP/1.1\r\nHost: h\r\n" + expected


@pytest.mark.parametrize(("target", "headers"), [
    ("/a b", {}), ("/a\r\nX: y", {}), ("/\u00e9", {}), ("/\x7f", {}),
    ("/", {"X": "a\r\nY: b"}), ("/", {"X\n": "a"}), ("/", {"X": "\u20ac"}),
])
def test_what_would_be_another_request_is_not_sent(ends: tuple[Channel, socket.socket], target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        ends[0].send("GET", target, headers)
    assert received(ends[1]) == b""


def test_the_first_address_that_answers_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = http1.connect("localhost", server.getsockname()[1], 5)
        assert made.gettimeout() == 5
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        made.close()
    with pytest.raises(ConnectionRefusedError):
        http1.connect("127.0.0.1", 1, 5)
    with pytest.raises(socket.gaierror):
        http1.connect("no-such-host.invalid", 1, 5)

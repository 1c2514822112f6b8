"""A registry that does what a test tells it: breaks off, stalls, lies, refuses. It serves blobs and manifests from memory.

    server.script["GET /v2/x/blobs/sha256:..."] = [Reply(cut_after=1000), Reply(status=503)]    # then as it should be
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import socketserver
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Request:
    """What a client asked."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.sent = 0                                                   # bytes of the answer's body

    def __repr__(self) -> str:
        return f"{self.method} {self.path} {self.headers.get('range', '')}".strip()


class Reply:
    """One answer. ``status`` None: what a good registry says. ``change``: the body, changed."""

    def __init__(self, status: int | None = None, *, headers: dict[str, str] | None = None, body: bytes | None = None,
                 cut_after: int | None = None, stall: float = 0.0, stall_after: int | None = None, no_range: bool = False,
                 change: Callable[[bytes], bytes] | None = None, length: int | None = None, raw: bytes | None = None,
                 chunked: bool = False) -> None:
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.cut_after = cut_after        # bytes of the body, then the connection is closed
        self.stall = stall                # seconds of silence, before the status line or after stall_after bytes of the body
        self.stall_after = stall_after
        self.no_range = no_range
        self.change = change
        self.length = length              # a Content-Length that lies
        self.raw = raw                    # sent instead of everything
        self.chunked = chunked


class HostileRegistry:
    """The server; ``requests`` is its log."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}   # (repository, tag or digest) -> (content, type)
        self.script: dict[str, list[Reply]] = {}                        # "METHOD path-part" -> answers, one after the other
        self.requests: list[Request] = []
        self.no_ranges = False                                          # it sends whole blobs whatever is asked
        self.one_range = False                                          # it knows no requests for several ranges
        self.lock = threading.Lock()
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError, ValueError):
                    while owner.serve_one(self.rfile, self.wfile):
                        pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients break off: that is what these tests are about."""

            def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
                super().finish_request(context.wrap_socket(request, server_side=True) if context else request, client_address)

        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> HostileRegistry:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add_image(self, repository: str, tag: str, blobs: dict[str, bytes], manifest: bytes, media_type: str) -> str:
        """Serve an image; its manifest's digest."""
        digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
        self.blobs.update(blobs)
        self.manifests[repository, tag] = self.manifests[repository, digest] = (manifest, media_type)
        return digest

    def asked(self, part: str) -> list[Request]:
        """The requests whose line has this text."""
        return [request for request in self.requests if part in f"{request.method} {request.path}"]

    def serve_one(self, rfile, wfile) -> bool:  # type: ignore[no-untyped-def]
        """Answer one request; False where the connection ends."""
        line = rfile.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return False
        headers: dict[str, str] = {}
        while (header := rfile.readline(65536).decode("latin-1").strip()):
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = _chunks(rfile) if "transfer-encoding" in headers else rfile.read(int(headers.get("content-length", 0)))
        request = Request(line[0], line[1], headers, body)
        with self.lock:
            self.requests.append(request)
            reply = self._scripted(request)
        return self._answer(request, reply, wfile)

    def _scripted(self, request: Request) -> Reply:
        for key, replies in self.script.items():
            method, _, part = key.partition(" ")
            if method == request.method and part in request.path and replies:
                return replies.pop(0)
        return Reply()

    def _good(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/v2/":
            return 200, {}, b"{}"
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", request.path)
        if found and found[2] == "manifests" and (found[1], found[3]) in self.manifests:
            content, media_type = self.manifests[found[1], found[3]]
            return 200, {"Content-Type": media_type,
                         "Docker-Content-Digest": "sha256:" + hashlib.sha256(content).hexdigest()}, content
        if found and found[2] == "blobs" and found[3] in self.blobs:
            return 200, {"Content-Type": "application/octet-stream"}, self.blobs[found[3]]
        code = "MANIFEST_UNKNOWN" if found and found[2] == "manifests" else "BLOB_UNKNOWN"
        return 404, {}, b'{"errors":[{"code":"%s","message":"%s"}]}' % (code.encode(), code.replace("_", " ").lower().encode())

    def _answer(self, request: Request, reply: Reply, wfile) -> bool:  # type: ignore[no-untyped-def]
        if reply.stall and reply.stall_after is None:
            time.sleep(reply.stall)
        if reply.raw is not None:
            wfile.write(reply.raw)
            return False
        status, headers, body = self._good(request)
        if reply.body is not None:
            body = reply.body
        if reply.status is not None:
            status, headers = reply.status, {}
            body = reply.body or b""
        if reply.change is not None:
            body = reply.change(body)
        if status == 200 and "," in request.headers.get("range", "") and not (reply.no_range or self.no_ranges or self.one_range):
            parts = [(int(first), int(last)) for first, last in re.findall(r"(\d+)-(\d+)", request.headers["range"])]
            status, headers["Content-Type"] = 206, "multipart/byteranges; boundary=frontier"
            body = b"".join(b"\r\n--frontier\r\nContent-Type: x\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%s" % (
                first, last, len(body), body[first:last + 1]) for first, last in parts) + b"\r\n--frontier--\r\n"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if status == 200 and wanted and not reply.no_range and not self.no_ranges:
            start, end = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
            status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(body)}"
            body = body[start:end + 1]
        request.sent = len(body)
        headers.update(reply.headers)
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            headers["Content-Length"] = str(len(body) if reply.length is None else reply.length)
        lines = [f"HTTP/1.1 {status} Whatever", *[f"{name}: {value}" for name, value in headers.items()], "", ""]
        wfile.write("\r\n".join(lines).encode("latin-1"))
        if request.method == "HEAD":
            return True
        return self._send_body(reply, body, wfile)

    @staticmethod
    def _send_body(reply: Reply, body: bytes, wfile) -> bool:  # type: ignore[no-untyped-def]
        if reply.stall_after is not None:
            wfile.write(body[:reply.stall_after])
            wfile.flush()
            time.sleep(reply.stall)
            body = body[reply.stall_after:]
        if reply.cut_after is not None:
            wfile.write(body[:reply.cut_after])
            return False
        wfile.write(body)
        return True


def _chunks(rfile) -> bytes:  # type: ignore[no-untyped-def]
    """A body in chunks."""
    body = b""
    while (size := int(rfile.readline(100), 16)):
        body += rfile.read(size)
        rfile.readline(100)
    rfile.readline(100)
    return body


@pytest.fixture
def hostile() -> Iterator[HostileRegistry]:
    """A scripted registry without TLS."""
    with HostileRegistry() as server:
        yield server

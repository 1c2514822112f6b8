"""Debian's docker-registry on a free loopback port: plain HTTP, TLS, htpasswd, or with a token server of our own.

    with serve(tmp_path / "registry", login="token") as registry:
        registry.host == "localhost:41234"

Each has its own storage; its access log tells what was really asked for.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "tester", "se:cr:et"
# htpasswd -Bbn tester se:cr:et
HTPASSWD = "tester:$2y$05$Pr9kCn8xyqGsXfg1mO8MFeCGuvokrpiPxQSvsNYCb4CuM80t9.12S\n"
ISSUER, SERVICE = "test-issuer", "test-registry"


def free_port() -> int:
    """A loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningRegistry:
    """A docker-registry at ``host``; ``ca`` is its CA's file where it speaks TLS."""

    def __init__(self, directory: Path, host: str, ca: Path | None) -> None:
        self.directory = directory
        self.host = host
        self.ca = ca

    @property
    def log(self) -> str:
        """What was asked of it so far."""
        return (self.directory / "log").read_text(errors="replace")

    def requests(self, method: str = "", part: str = "") -> list[str]:
        """The access log's lines with this method and this text."""
        return [line for line in self.log.splitlines() if f'"{method}' in line and part in line and "HTTP/1.1\"" in line]

    def forget_log(self) -> None:
        """Begin to count anew (the registry appends)."""
        with (self.directory / "log").open("r+b") as file:
            file.truncate(0)

    def skopeo(self, *arguments: str, login: bool = False) -> str:
        """Run skopeo against it, without verifying TLS."""
        verb, *rest = arguments
        options = {"copy": ["--src-tls-verify=false", "--dest-tls-verify=false"]}.get(verb, ["--tls-verify=false"])
        if login:
            sides = [f"--{side}-creds" for side, place in zip(("src", "dest"), rest[-2:], strict=True) if "docker://" in place]
            names = sides if verb == "copy" else ["--creds"]
            options += [word for name in names for word in (name, f"{USER}:{PASSWORD}")]
        done = subprocess.run(["skopeo", verb, *options, *rest], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """(CA, server certificate, server key) for localhost and 127.0.0.1, made by openssl; a client's are beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key = directory / "ca.crt", directory / "ca.key"
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
             "/CN=test CA", "-keyout", str(ca_key), "-out", str(ca))
    for name, extension in (("server", "subjectAltName=DNS:localhost,IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        key, request, certificate = (directory / f"{name}.{kind}" for kind in ("key", "csr", "cert"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", str(key), "-out", str(request))
        extensions = directory / f"{name}.ext"
        extensions.write_text(extension + "\n")
        _openssl("x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", "2",
                 "-extfile", str(extensions), "-out", str(certificate))
    return ca, directory / "server.cert", directory / "server.key"


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def serve(directory: Path, *, tls: bool = False, client_certificates: bool = False, login: str = "",
          read_only: bool = False) -> Iterator[RunningRegistry]:
    """A registry in ``directory``; ``login``: "", "basic" (USER, PASSWORD) or "token" (the same login at a token server)."""
    directory.mkdir(parents=True, exist_ok=True)
    host = f"localhost:{free_port()}"
    config: dict[str, object] = {
        "version": 0.1, "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True},
                                    "maintenance": {"readonly": {"enabled": read_only}}},
        "log": {"level": "warn", "accesslog": {"disabled": False}},
    }
    http_config: dict[str, object] = {"addr": host.replace("localhost", "127.0.0.1")}
    ca = None
    with contextlib.ExitStack() as stack:
        if tls:
            ca, certificate, key = certificates(directory / "tls")
            http_config["tls"] = {"certificate": str(certificate), "key": str(key),
                                  **({"clientcas": [str(ca)]} if client_certificates else {})}
        if login == "basic":
            (directory / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
        if login == "token":
            server = stack.enter_context(TokenServer(directory / "token"))
            config["auth"] = {"token": {"realm": server.realm, "service": SERVICE, "issuer": ISSUER,
                                        "rootcertbundle": str(server.certificate)}}
        config["http"] = http_config
        (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        log = stack.enter_context((directory / "log").open("ab"))
        process = subprocess.Popen(["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log)
        try:
            _await(host, process, directory / "log")
            yield RunningRegistry(directory, host, ca)
        finally:
            process.terminate()
            process.wait(10)


def _await(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    port = int(host.rpartition(":")[2])
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"docker-registry does not listen: {log.read_text()}")


class TokenServer:
    """Gives bearer tokens that docker-registry believes: pull for everybody, everything for USER; ``asked`` has the queries."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = directory / "token.key", directory / "token.crt"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=token", "-keyout", str(self.key),
                 "-out", str(self.certificate))
        self.asked: list[dict[str, list[str]]] = []
        self.life = 300
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self, parse_qs(urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                owner.answer(self, parse_qs(body))

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://localhost:{self.server.server_port}/token"

    def __enter__(self) -> TokenServer:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: http.server.BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        """A token for what is asked, 401 for a wrong password."""
        self.asked.append(query)
        said = handler.headers.get("Authorization", "")
        user = query.get("refresh_token", [""])[0] == "identity"
        if said:
            name, _, password = base64.b64decode(said.removeprefix("Basic ")).decode().partition(":")
            if (name, password) != (USER, PASSWORD):
                self._send(handler, 401, {"details": "incorrect username or password"})
                return
            user = True
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = [action for action in actions.split(",") if user or (action == "pull" and not name.startswith("private"))]
            access.append({"type": kind, "name": name, "actions": allowed})
        self._send(handler, 200, {"token": self.token(access), "expires_in": self.life})

    @staticmethod
    def _send(handler: http.server.BaseHTTPRequestHandler, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def token(self, access: list[dict[str, object]]) -> str:
        """A JSON web token signed with RS256."""
        der = base64.b64encode(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).decode()
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "", "aud": SERVICE, "exp": now + self.life, "nbf": now - 5, "iat": now, "jti": "1",
                  "access": access}
        signed = f"{_base64url(json.dumps({'typ': 'JWT', 'alg': 'RS256', 'x5c': [der]}))}.{_base64url(json.dumps(claims))}"
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=signed.encode(), check=True,
                                   capture_output=True).stdout
        return f"{signed}.{_base64url(signature)}"


def _base64url(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A plain registry without TLS and login."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    with serve(tmp_path_factory.mktemp("registry")) as running:
        yield running

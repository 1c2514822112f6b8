"""Connections to one registry: TLS with certs.d, proxies from the environment, time-outs, and faults in Podman's words."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from podling import __version__
from podling.errors import InvalidArgument, RegistryError, Unsupported, describe
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Callable, Iterable, Mapping
    from urllib.parse import SplitResult

CERTIFICATE_DIRECTORIES = ("~/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
CONNECTIONS = 8
USER_AGENT = f"podling/{__version__}"


class Patience(Record):
    """How long one waits for a registry; all times in seconds."""

    connect: float = 15.0        # TLS included
    read: float = 60.0           # without a single byte
    retries: int = 3
    first_delay: float = 1.0     # doubled with each retry
    longest_delay: float = 60.0  # a longer Retry-After is an error at once


class ConnectionFault(RegistryError):
    """No answer, or a broken one. ``passing``: trying again may help."""

    def __init__(self, message: str, *, passing: bool = True, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.passing = passing


class Answer:
    """What a server answered: its status and headers; the body is read as it comes.

    ``release`` is called once the body was read to its end: the connection serves the next request.
    """

    def __init__(self, response: http.client.HTTPResponse, what: str, patience: Patience, release: Callable[[bool], None]) -> None:
        self._response = response
        self._what = what
        self._patience = patience
        self._release: Callable[[bool], None] | None = release
        self._received = 0
        self.status = response.status
        if response.isclosed():
            self._let_go(usable=not response.will_close)

    def header(self, name: str) -> str:
        """A header's value, "" where it is absent."""
        return self._response.getheader(name) or ""

    def headers(self, name: str) -> list[str]:
        """The values of a header that may be repeated."""
        return [str(value) for value in self._response.headers.get_all(name) or ()]

    @property
    def length(self) -> int | None:
        """The body's length as announced."""
        text = self.header("content-length").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of the body, b"" at its end; ConnectionFault where the connection breaks."""
        try:
            data = self._response.read(size)
        except (http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise fault(error, self._what, self._patience) from None
        self._received += len(data)
        if not data and self._response.length:
            self.close()
            raise ConnectionFault(f"{self._what}: the answer ended after {self._received} of {self.length} bytes")
        if not data or self._response.isclosed():
            self._let_go(usable=not self._response.will_close)
        return data

    def body(self, limit: int) -> bytes:
        """The whole body; where it is longer than ``limit`` its first ``limit + 1`` bytes. Nothing more can be read after."""
        body = bytearray()
        while len(body) <= limit and (data := self.read(min(1 << 16, limit + 1 - len(body)))):
            body += data
        if len(body) > limit:
            self.close()
        return bytes(body)

    def close(self) -> None:
        """Give up what is unread, and the connection."""
        self._response.close()
        self._let_go(usable=False)

    def _let_go(self, *, usable: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(usable)


class _Route(Record):
    """How a server is reached: its scheme, name and port, by way of a proxy's URL or directly ("")."""

    scheme: str
    host: str
    port: int
    proxy: str = ""

    @property
    def is_tunnel(self) -> bool:
        """Whether the proxy only passes bytes on."""
        return bool(self.proxy) and self.scheme == "https"


class Connection:
    """The connections to one registry and to where it sends us; threads may share it, a forked process opens its own."""

    def __init__(self, host: str, *, insecure: bool = False, cert_dir: str = "", patience: Patience | None = None,
                 env: Mapping[str, str] | None = None) -> None:
        self.insecure = insecure
        self.patience = patience or Patience()
        self._certificates = cert_dir or certificate_directory(host)
        self._env = os.environ if env is None else env
        self._idle: dict[_Route, list[http.client.HTTPConnection]] = {}
        self._context: ssl.SSLContext | None = None      # made once: a forked process opens its own connections with it
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None = None) -> Answer:
        """Send one request and return the answer with its body unread; ConnectionFault where there is none."""
        what = f'{method.capitalize()} "{_shown(url)}"'
        route, target = self._route(url)
        connection = self._take(route, what)
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **_proxy_login(route), **headers}
        try:
            try:
                connection.request(method, target, body=body, headers=sent, encode_chunked=not (body is None or isinstance(body, bytes)))
            except BrokenPipeError:
                pass                         # it has heard enough: its answer says why
            response = connection.getresponse()
        except (http.client.HTTPException, OSError, ValueError) as error:
            connection.close()
            raise fault(error, what, self.patience) from None
        except BaseException:
            connection.close()
            raise
        return Answer(response, what, self.patience, lambda usable: self._give_back(route, connection, usable=usable))

    def _route(self, url: str) -> tuple[_Route, str]:
        """How to reach a URL's server, and what to ask it for."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise ConnectionFault(f'"{_shown(url)}": {error}', passing=False) from None
        if not parts.hostname:
            raise ConnectionFault(f'"{_shown(url)}": it names no host', passing=False)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        route = _Route(scheme=parts.scheme, host=parts.hostname, port=port, proxy=proxy_for(url, self._env))
        if route.proxy and not route.is_tunnel:
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
        return route, target

    def _take(self, route: _Route, what: str) -> http.client.HTTPConnection:
        """A connection that waits for a request, or a new one."""
        with self._lock:
            if self._owner != os.getpid():
                self._idle, self._owner = {}, os.getpid()
            while idle := self._idle.get(route):
                connection = idle.pop()
                if _is_silent(connection):
                    return connection
                connection.close()
        connection = self._new(route)
        try:
            connection.connect()
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise _connect_fault(error, f"{what}: proxyconnect" if route.proxy else what, self.patience) from None
        connection.sock.settimeout(self.patience.read)
        return connection

    def _new(self, route: _Route) -> http.client.HTTPConnection:
        nearest = urlsplit(route.proxy) if route.proxy else None
        host, port = (nearest.hostname or "", nearest.port or 80) if nearest else (route.host, route.port)
        if route.scheme == "http" and (nearest is None or nearest.scheme == "http"):
            return http.client.HTTPConnection(host, port, timeout=self.patience.connect)
        if nearest is not None and nearest.scheme == "https" and route.is_tunnel:
            raise Unsupported("HTTPS by way of a proxy that itself speaks HTTPS is not supported",
                              hint="name the proxy as http://... in HTTPS_PROXY, or the registry in NO_PROXY")
        with self._lock:
            if self._context is None:        # reading the system's certificates takes 20 ms, and plain HTTP needs none
                self._context = tls_context(self._certificates, self.insecure)
        connection = http.client.HTTPSConnection(host, port, timeout=self.patience.connect, context=self._context)
        if nearest is not None:
            connection.set_tunnel(route.host, route.port, _login_of(nearest))
        return connection

    def _give_back(self, route: _Route, connection: http.client.HTTPConnection, *, usable: bool) -> None:
        with self._lock:
            idle = self._idle.setdefault(route, [])
            if usable and self._owner == os.getpid() and len(idle) < CONNECTIONS:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all connections."""
        if self._owner == os.getpid():
            for idle in self._idle.values():
                for connection in idle:
                    connection.close()
            self._idle.clear()


def _is_silent(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection is still open: one that can be read from was closed by the other side."""
    if connection.sock is None:
        return False
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return not waiting.poll(0)


def _login_of(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode('ascii')}"}


def _proxy_login(route: _Route) -> dict[str, str]:
    """The header for a proxy that sees the request itself."""
    return _login_of(urlsplit(route.proxy)) if route.proxy and not route.is_tunnel else {}


# --- faults -----------------------------------------------------------------------------------------------------------


def fault(error: BaseException, what: str, patience: Patience) -> ConnectionFault:
    """The error for a request or a body that broke off."""
    if isinstance(error, TimeoutError):
        return ConnectionFault(f"{what}: nothing received for {patience.read:g} seconds")
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error, what)
    if isinstance(error, (http.client.InvalidURL, ValueError)):
        return ConnectionFault(f"{what}: {error}", passing=False)
    if isinstance(error, http.client.IncompleteRead):
        return ConnectionFault(f"{what}: connection broke: the answer ended early")
    words = describe(error) if isinstance(error, OSError) and error.errno else str(error)
    return ConnectionFault(f"{what}: connection broke: {words[:200] or type(error).__name__}")


def _connect_fault(error: BaseException, what: str, patience: Patience) -> ConnectionFault:
    """The error for a connection that could not be made."""
    if isinstance(error, socket.gaierror):
        return ConnectionFault(f"{what}: lookup failed: {describe(error)}", passing=error.errno == socket.EAI_AGAIN)
    if isinstance(error, TimeoutError):
        return ConnectionFault(f"{what}: no connection within {patience.connect:g} seconds")
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error, what)
    if isinstance(error, OSError) and error.errno:
        return ConnectionFault(f"{what}: connect: {describe(error)}")
    return ConnectionFault(f"{what}: {str(error)[:200] or type(error).__name__}")


def _tls_fault(error: ssl.SSLError, what: str) -> ConnectionFault:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectionFault(f"{what}: tls: failed to verify certificate: {error.verify_message}", passing=False,
                               hint="put the registry's CA into /etc/containers/certs.d/HOST:PORT/ca.crt, or use --cert-dir or "
                                    "--tls-verify=false")
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return ConnectionFault(f"{what}: http: server gave HTTP response to HTTPS client", passing=False,
                               hint="for a registry without TLS use --tls-verify=false, or insecure = true in registries.conf")
    return ConnectionFault(f"{what}: tls: {reason.replace('_', ' ').lower() or error}", passing=False)


def _shown(url: str) -> str:
    """A URL for an error: without a query, which may hold a signature."""
    return url.partition("?")[0]


# --- TLS --------------------------------------------------------------------------------------------------------------


def certificate_directory(host: str, directories: tuple[str, ...] = CERTIFICATE_DIRECTORIES) -> str:
    """The first certs.d directory that there is for a registry (``host:port``), or ""."""
    for directory in directories:
        path = os.path.join(os.path.expanduser(directory), host)
        if os.path.isdir(path):
            return path
    return ""


def tls_context(certificates: str, insecure: bool) -> ssl.SSLContext:
    """TLS as the system trusts it, with what a certs.d directory adds: ``*.crt`` CAs, ``*.cert`` with ``*.key`` ourselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not insecure:
        context.load_default_certs()         # 20 ms
    if hasattr(ssl, "VERIFY_X509_STRICT"):  # on by default from Python 3.13 on, and refuses what every other client takes
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificates:
        _load_certificates(context, certificates)
    return context


def _load_certificates(context: ssl.SSLContext, directory: str) -> None:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise InvalidArgument(f"reading certificates: {describe(error)}") from error
    for name in names:
        stem, dot, kind = name.rpartition(".")
        path = os.path.join(directory, name)
        try:
            if dot and kind == "crt":
                context.load_verify_locations(path)
            elif dot and kind == "cert":
                if f"{stem}.key" not in names:
                    raise InvalidArgument(f"missing key {stem}.key for client certificate {name}. Note that CA certificates "
                                          "should use the extension .crt")
                context.load_cert_chain(path, os.path.join(directory, f"{stem}.key"))
            elif dot and kind == "key" and f"{stem}.cert" not in names:
                raise InvalidArgument(f"missing client certificate {stem}.cert for key {name}")
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"loading certificate {path}: {getattr(error, 'reason', None) or describe(error)}") from error


# --- proxies ----------------------------------------------------------------------------------------------------------


def proxy_for(url: str, env: Mapping[str, str]) -> str:
    """The proxy's URL for a request, "" for none: HTTPS_PROXY, HTTP_PROXY and NO_PROXY with the rules of Go's programs."""
    parts = urlsplit(url)
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = env.get(name) or env.get(name.lower()) or ""
    host = (parts.hostname or "").rstrip(".").lower()
    if not proxy or _is_excepted(host, parts.port or (443 if parts.scheme == "https" else 80),
                                 env.get("NO_PROXY") or env.get("no_proxy") or ""):
        return ""
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise Unsupported(f"{name}={proxy.partition('://')[0]}://...: only HTTP and HTTPS proxies are supported")
    return proxy


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in exceptions.lower().split(","):
        entry = entry.strip()
        if entry == "*":
            return True
        name, entry_port = _split_port(entry)
        if not name or (entry_port and entry_port != str(port)):
            continue
        if address is not None:
            if _in_network(address, name):
                return True
        elif host.endswith("." + name.removeprefix("*").lstrip(".")) or host == name:
            return True
    return False


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress  # only where a proxy is named

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    import ipaddress

    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False

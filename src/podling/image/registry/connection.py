"""Connections to one registry: TLS with certs.d, proxies from the environment, time-outs, and faults in Podman's words."""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from binascii import b2a_base64

from podling import __version__
from podling.errors import RegistryError, Unsupported, describe
from podling.image.registry import http1
from podling.record import Record
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    import socket as _socket
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from podling.image.registry.http1 import Channel
    from podling.values.urls import Url
else:
    import _socket

CERTIFICATE_DIRECTORIES = ("~/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
CONNECTIONS = 8
USER_AGENT = f"podling/{__version__}"


class Patience(Record):
    """How long one waits for a registry; all times in seconds."""

    connect: float = 15.0        # TLS included
    read: float = 60.0           # without a single byte
    retries: int = 3
    first_delay: float = 1.0
    growth: float = 2.0          # of the delay, with each retry
    longest_delay: float = 60.0  # a longer Retry-After is an error at once

    def longer(self, delay: float) -> float:
        """The delay that follows one."""
        return min(delay * self.growth, self.longest_delay)


class ConnectionFault(RegistryError):
    """No answer, or a broken one. ``passing``: trying again may help."""

    def __init__(self, message: str, *, passing: bool = True, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.passing = passing


class Answer:
    """What a server answered: its status and headers; the body is read as it comes.

    ``release`` is called once the body was read to its end: the connection serves the next request.
    """

    def __init__(self, answer: http1.Answer, what: str, patience: Patience, release: Callable[[bool], None]) -> None:
        self._answer = answer
        self._what = what
        self._patience = patience
        self._release: Callable[[bool], None] | None = release
        self._received = 0
        self.status = answer.status
        self.length = answer.length          # of the body, as announced
        if answer.is_whole:
            self._let_go(usable=not answer.is_last)

    def header(self, name: str) -> str:
        """A header's value (``name`` in lower case), "" where it is absent."""
        return self._answer.header(name)

    def headers(self, name: str) -> list[str]:
        """The values of a header that may be repeated."""
        return self._answer.headers.get(name, [])

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of the body, b"" at its end; ConnectionFault where the connection breaks."""
        try:
            data = self._answer.read(size)
        except (http1.Malformed, OSError) as error:
            self.close()
            if isinstance(error, http1.EndedEarly) and self.length is not None:
                raise ConnectionFault(f"{self._what}: the answer ended after {self._received} of {self.length} bytes") from None
            raise fault(error, self._what, self._patience) from None
        self._received += len(data)
        if self._answer.is_whole:
            self._let_go(usable=not self._answer.is_last)
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
        self._idle: dict[_Route, list[Channel]] = {}
        self._context: ssl.SSLContext | None = None      # made once: a forked process opens its own connections with it
        self._owner = os.getpid()
        self._lock = allocate_lock()

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None = None) -> Answer:
        """Send one request and return the answer with its body unread; ConnectionFault where there is none."""
        what = f'{method.capitalize()} "{_shown(url)}"'
        route, target, authority = self._route(url)
        sent = {"Host": authority, "User-Agent": USER_AGENT, "Accept-Encoding": "identity", **_proxy_login(route), **headers}
        channel = self._take(route, what)
        try:
            try:
                channel.send(method, target, sent, body)
            except BrokenPipeError:
                pass                         # it has heard enough: its answer says why
            answer = channel.answer(method)
        except (http1.Malformed, OSError, ValueError) as error:
            channel.close()
            raise fault(error, what, self.patience) from None
        except BaseException:
            channel.close()
            raise
        return Answer(answer, what, self.patience, lambda usable: self._give_back(route, channel, usable=usable))

    def _route(self, url: str) -> tuple[_Route, str, str]:
        """(how to reach a URL's server, what to ask it for, which server is meant)."""
        parts = urls.split(url)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise ConnectionFault(f'"{_shown(url)}": {error}', passing=False) from None
        if not parts.host:
            raise ConnectionFault(f'"{_shown(url)}": it names no host', passing=False)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = parts.authority.rpartition("@")[2]
        route = _Route(scheme=parts.scheme, host=parts.host, port=port, proxy=proxy_for(url, self._env))
        if route.proxy and not route.is_tunnel:
            target = f"http://{authority}{target}"
        return route, target, authority

    def _take(self, route: _Route, what: str) -> Channel:
        """A connection that waits for a request, or a new one."""
        with self._lock:
            if self._owner != os.getpid():
                self._idle, self._owner = {}, os.getpid()
            while idle := self._idle.get(route):
                channel = idle.pop()
                if channel.is_silent:
                    return channel
                channel.close()
        try:
            return self._new(route)
        except (http1.Malformed, OSError) as error:
            raise _connect_fault(error, f"{what}: proxyconnect" if route.proxy else what, self.patience) from None

    def _new(self, route: _Route) -> Channel:
        nearest = urls.split(route.proxy) if route.proxy else None
        if nearest is not None and nearest.scheme == "https":
            raise Unsupported("a proxy that itself speaks HTTPS is not supported",
                              hint="name the proxy as http://... in HTTPS_PROXY and HTTP_PROXY, or the registry in NO_PROXY")
        host, port = (route.host, route.port) if nearest is None else (nearest.host, nearest.port or 80)
        channel = http1.Channel(http1.connect(host, port, self.patience.connect))
        try:
            if nearest is not None and route.is_tunnel:
                _tunnel(channel, route, nearest)
            if route.scheme == "https":
                channel = http1.Channel(self._tls().wrap_socket(channel.sock, server_hostname=route.host))
            channel.sock.settimeout(self.patience.read)
        except BaseException:
            channel.close()
            raise
        return channel

    def _tls(self) -> ssl.SSLContext:
        """Made once: reading the system's certificates takes 20 ms, and plain HTTP needs none."""
        from podling.image.registry import tls

        with self._lock:
            if self._context is None:
                self._context = tls.context(self._certificates, insecure=self.insecure)
            return self._context

    def _give_back(self, route: _Route, channel: Channel, *, usable: bool) -> None:
        with self._lock:
            idle = self._idle.setdefault(route, [])
            if usable and self._owner == os.getpid() and len(idle) < CONNECTIONS:
                idle.append(channel)
                return
        channel.close()

    def close(self) -> None:
        """Close all connections."""
        if self._owner == os.getpid():
            for idle in self._idle.values():
                for connection in idle:
                    connection.close()
            self._idle.clear()


def _tunnel(channel: Channel, route: _Route, proxy: Url) -> None:
    """Have a proxy connect us to the route's server."""
    place = f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"
    channel.send("CONNECT", place, {"Host": place, "User-Agent": USER_AGENT, **_login_of(proxy)})
    answer = channel.answer("HEAD")          # what is like it: a success has no body, whatever its headers say
    if not 200 <= answer.status < 300:
        raise http1.Malformed(f"Tunnel connection failed: status {answer.status}")
    if not channel.is_silent:
        raise http1.Malformed("Tunnel connection failed: the proxy speaks first")


def _login_of(proxy: Url) -> dict[str, str]:
    if proxy.login is None:
        return {}
    return {"Proxy-Authorization": "Basic " + b2a_base64(":".join(proxy.login).encode(), newline=False).decode("ascii")}


def _proxy_login(route: _Route) -> dict[str, str]:
    """The header for a proxy that sees the request itself."""
    return _login_of(urls.split(route.proxy)) if route.proxy and not route.is_tunnel else {}


# --- faults -----------------------------------------------------------------------------------------------------------


def fault(error: BaseException, what: str, patience: Patience) -> ConnectionFault:
    """The error for a request or a body that broke off."""
    if isinstance(error, TimeoutError):
        return ConnectionFault(f"{what}: nothing received for {patience.read:g} seconds")
    if (of_tls := _tls_fault(error, what)) is not None:
        return of_tls
    if isinstance(error, ValueError):
        return ConnectionFault(f"{what}: {error}", passing=False)
    words = describe(error) if isinstance(error, OSError) and error.errno else str(error)
    return ConnectionFault(f"{what}: connection broke: {words[:200] or type(error).__name__}")


def _connect_fault(error: BaseException, what: str, patience: Patience) -> ConnectionFault:
    """The error for a connection that could not be made."""
    if isinstance(error, _socket.gaierror):
        return ConnectionFault(f"{what}: lookup failed: {describe(error)}", passing=error.errno == _socket.EAI_AGAIN)
    if isinstance(error, TimeoutError):
        return ConnectionFault(f"{what}: no connection within {patience.connect:g} seconds")
    words = f"connect: {describe(error)}" if isinstance(error, OSError) and error.errno else str(error)[:200]
    return _tls_fault(error, what) or ConnectionFault(f"{what}: {words or type(error).__name__}")


def _tls_fault(error: BaseException, what: str) -> ConnectionFault | None:
    """The error for one of TLS, None for another; where TLS was not loaded there is none."""
    loaded = sys.modules.get("ssl")
    if loaded is None or not isinstance(error, loaded.SSLError):
        return None
    from podling.image.registry import tls

    said, advice = tls.words(error)
    return ConnectionFault(f"{what}: {said}", passing=False, hint=advice)


def _shown(url: str) -> str:
    """A URL for an error: without a query, which may hold a signature."""
    return url.partition("?")[0]


def certificate_directory(host: str, directories: tuple[str, ...] = CERTIFICATE_DIRECTORIES) -> str:
    """The first certs.d directory that there is for a registry (``host:port``), or ""."""
    for directory in directories:
        path = os.path.join(os.path.expanduser(directory), host)
        if os.path.isdir(path):
            return path
    return ""


# --- proxies ----------------------------------------------------------------------------------------------------------


def proxy_for(url: str, env: Mapping[str, str]) -> str:
    """The proxy's URL for a request, "" for none: HTTPS_PROXY, HTTP_PROXY and NO_PROXY with the rules of Go's programs."""
    parts = urls.split(url)
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = env.get(name) or env.get(name.lower()) or ""
    host = parts.host.rstrip(".")
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

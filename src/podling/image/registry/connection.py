"""Connections to one registry: TLS with certs.d, proxies from the environment, time-outs, and faults in Podman's words."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
from urllib.parse import unquote, urlsplit

from podling import __version__, libraries
from podling.errors import InvalidArgument, RegistryError, Unsupported, describe
from podling.record import Record

libraries.add_site_packages()

import urllib3  # noqa: E402
from urllib3 import exceptions as faults  # noqa: E402

urllib3.disable_warnings(faults.InsecureRequestWarning)  # who says --tls-verify=false knows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

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
    """What a server answered: its status and headers; the body is read as it comes."""

    def __init__(self, response: urllib3.response.BaseHTTPResponse, what: str, patience: Patience) -> None:
        self._response = response
        self._what = what
        self._patience = patience
        self._received = 0
        self.status = response.status

    def header(self, name: str) -> str:
        """A header's value, "" where it is absent."""
        return self._response.headers.get(name) or ""

    def headers(self, name: str) -> list[str]:
        """The values of a header that may be repeated."""
        return list(self._response.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """The body's length as announced."""
        text = self.header("content-length").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of the body, b"" at its end; ConnectionFault where the connection breaks."""
        try:
            data = self._response.read(size)
        except (faults.HTTPError, OSError) as error:
            raise fault(error, self._what, self._patience) from None
        self._received += len(data)
        if not data and self._response.length_remaining:
            raise ConnectionFault(f"{self._what}: the answer ended after {self._received} of {self.length} bytes")
        return data

    def body(self, limit: int) -> bytes:
        """The whole body; where it is longer than ``limit`` its first ``limit + 1`` bytes. Nothing more can be read after."""
        body = bytearray()
        while len(body) <= limit and (data := self.read(min(1 << 16, limit + 1 - len(body)))):
            body += data
        if len(body) > limit:
            self.close()
        else:
            self._response.release_conn()  # the connection serves the next request
        return bytes(body)

    def close(self) -> None:
        """Give up what is unread, and the connection."""
        self._response.close()


class Connection:
    """The connections to one registry and to where it sends us; threads may share it, a forked process opens its own."""

    def __init__(self, host: str, *, insecure: bool = False, cert_dir: str = "", patience: Patience | None = None,
                 env: Mapping[str, str] | None = None) -> None:
        self.insecure = insecure
        self.patience = patience or Patience()
        self._certificates = cert_dir or certificate_directory(host)
        self._env = os.environ if env is None else env
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._context: ssl.SSLContext | None = None      # made once: a forked process opens its own connections with it
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None = None) -> Answer:
        """Send one request and return the answer with its body unread; ConnectionFault where there is none."""
        what = f'{method.capitalize()} "{_shown(url)}"'
        pool = self._pool(url)
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        chunked = body is not None and not isinstance(body, bytes)
        try:
            response = pool.urlopen(method, url, headers=sent, body=body, chunked=chunked, retries=False, redirect=False,
                                    preload_content=False, decode_content=False)
        except (faults.HTTPError, OSError) as error:
            raise fault(error, what, self.patience) from None
        return Answer(response, what, self.patience)

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The pool for a URL: by way of a proxy, or direct."""
        proxy, secure = proxy_for(url, self._env), url.startswith("https:")
        with self._lock:
            if self._owner != os.getpid():
                self._pools, self._owner = {}, os.getpid()
            pool = self._pools.get((proxy, secure))
            if pool is None:
                pool = self._pools[proxy, secure] = self._open_pool(proxy, secure)
            return pool

    def _open_pool(self, proxy: str, secure: bool) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=self.patience.connect, read=self.patience.read)
        options: dict[str, Any] = {"num_pools": CONNECTIONS, "maxsize": CONNECTIONS, "timeout": timeout}
        if secure:  # reading the system's certificates takes 20 ms, and plain HTTP needs none
            if self._context is None:
                self._context = tls_context(self._certificates, self.insecure)
            options["ssl_context"] = self._context
        if not proxy:
            return urllib3.PoolManager(**options)
        parts = urlsplit(proxy)
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
        return urllib3.ProxyManager(proxy, **options)

    def close(self) -> None:
        """Close all connections."""
        if self._owner == os.getpid():
            for pool in self._pools.values():
                pool.clear()


# --- faults -----------------------------------------------------------------------------------------------------------


def fault(error: BaseException, what: str, patience: Patience) -> ConnectionFault:
    """The error for a request or a body that broke off."""
    while isinstance(error, faults.ProxyError) and isinstance(getattr(error, "original_error", None), Exception):
        what, error = f"{what}: proxyconnect", error.original_error
    cause = error.__cause__ or error.__context__
    if isinstance(error, faults.NewConnectionError):  # before the next: some versions of urllib3 take it for a time-out
        if isinstance(cause, socket.gaierror):
            return ConnectionFault(f"{what}: lookup failed: {describe(cause)}", passing=cause.errno == socket.EAI_AGAIN)
        return ConnectionFault(f"{what}: connect: {describe(cause) if isinstance(cause, OSError) else error}")
    if isinstance(error, faults.ConnectTimeoutError):
        return ConnectionFault(f"{what}: no connection within {patience.connect:g} seconds")
    if isinstance(error, faults.ReadTimeoutError):
        return ConnectionFault(f"{what}: nothing received for {patience.read:g} seconds")
    if isinstance(error, (faults.SSLError, ssl.SSLError)):
        return _tls_fault(error, cause, what)
    if isinstance(error, (faults.LocationParseError, faults.InvalidHeader)):
        return ConnectionFault(f"{what}: {error}", passing=False)
    inner = error.args[-1] if isinstance(error, faults.ProtocolError) and error.args else error
    if isinstance(inner, faults.IncompleteRead):
        return ConnectionFault(f"{what}: connection broke: the answer ended after {inner.partial} bytes")
    words = describe(inner) if isinstance(inner, OSError) else str(inner)
    return ConnectionFault(f"{what}: connection broke: {words[:200] or type(inner).__name__}")


def _tls_fault(error: BaseException, cause: BaseException | None, what: str) -> ConnectionFault:
    inner = next((found for found in (cause, *error.args, error) if isinstance(found, ssl.SSLError)), None)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return ConnectionFault(f"{what}: tls: failed to verify certificate: {inner.verify_message}", passing=False,
                               hint="put the registry's CA into /etc/containers/certs.d/HOST:PORT/ca.crt, or use --cert-dir or "
                                    "--tls-verify=false")
    reason = getattr(inner, "reason", None) or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return ConnectionFault(f"{what}: http: server gave HTTP response to HTTPS client", passing=False,
                               hint="for a registry without TLS use --tls-verify=false, or insecure = true in registries.conf")
    return ConnectionFault(f"{what}: tls: {reason.replace('_', ' ').lower() or inner or error}", passing=False)


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
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False

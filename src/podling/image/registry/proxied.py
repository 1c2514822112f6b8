"""Requests by way of an HTTP or HTTPS proxy: what is sent to it, and tunnels through it, by urllib3."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import unquote, urlsplit

from podling import libraries
from podling.errors import describe
from podling.image.registry.connection import ConnectionFault, tls_fault

libraries.add_site_packages()

import urllib3  # noqa: E402
from urllib3 import exceptions as faults  # noqa: E402

urllib3.disable_warnings(faults.InsecureRequestWarning)  # who says --tls-verify=false knows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from podling.image.registry.connection import Patience

CONNECTIONS = 8


class Proxied:
    """Connections by way of one proxy; threads may share it."""

    def __init__(self, proxy: str, patience: Patience, context: ssl.SSLContext | None) -> None:
        self.patience = patience
        timeout = urllib3.Timeout(connect=patience.connect, read=patience.read)
        options: dict[str, Any] = {"num_pools": CONNECTIONS, "maxsize": CONNECTIONS, "timeout": timeout}
        if context is not None:
            options["ssl_context"] = context
        parts = urlsplit(proxy)
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
        self._manager = urllib3.ProxyManager(proxy, **options)

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None) -> ProxiedResponse:
        """Send one request; ConnectionFault."""
        what = f'{method.capitalize()} "{url.partition("?")[0]}"'
        chunked = body is not None and not isinstance(body, bytes)
        try:
            response = self._manager.urlopen(method, url, headers=headers, body=body, chunked=chunked, retries=False, redirect=False,
                                             preload_content=False, decode_content=False)
        except (faults.HTTPError, OSError) as error:
            raise fault(error, what, self.patience) from None
        return ProxiedResponse(response, what, self.patience)

    def clear(self) -> None:
        """Close what is kept."""
        self._manager.clear()


class ProxiedResponse:
    """urllib3's answer, its faults in our words."""

    def __init__(self, response: urllib3.response.BaseHTTPResponse, what: str, patience: Patience) -> None:
        self._response = response
        self._what = what
        self._patience = patience
        self.status = response.status
        self.headers = response.headers

    @property
    def length_remaining(self) -> int | None:
        """Bytes that must follow."""
        return self._response.length_remaining

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, b"" at the end; ConnectionFault."""
        try:
            return self._response.read(size)
        except (faults.HTTPError, OSError) as error:
            raise fault(error, self._what, self._patience) from None

    def release_conn(self) -> None:
        """The connection serves the next request."""
        self._response.release_conn()

    def close(self) -> None:
        """Give up what is unread, and the connection."""
        self._response.close()


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
        return tls_fault(error, cause, what)
    if isinstance(error, (faults.LocationParseError, faults.InvalidHeader)):
        return ConnectionFault(f"{what}: {error}", passing=False)
    inner = error.args[-1] if isinstance(error, faults.ProtocolError) and error.args else error
    if isinstance(inner, faults.IncompleteRead):
        return ConnectionFault(f"{what}: connection broke: the answer ended after {inner.partial} bytes")
    words = describe(inner) if isinstance(inner, OSError) else str(inner)
    return ConnectionFault(f"{what}: connection broke: {words[:200] or type(inner).__name__}")

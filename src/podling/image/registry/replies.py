"""What a registry answers when it does not do what was asked, as errors in Podman's words."""

from __future__ import annotations

from podling import jsontext
from podling.errors import NotInRegistry, RegistryError, Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.image.registry.connection import Answer

ERROR_LIMIT = 64 << 10

# Docker's and OCI's error codes with the message that says no more than the code.
_PLAIN_MESSAGES = {
    "MANIFEST_UNKNOWN": "manifest unknown",
    "DENIED": "requested access to the resource is denied", "TOOMANYREQUESTS": "too many requests",
    "BLOB_UNKNOWN": "blob unknown to registry", "UNSUPPORTED": "the operation is unsupported",
}
# What servers say without a body, and proxies on the way; http.HTTPStatus knows all of them, for 2 ms of enum.
_PHRASES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    407: "Proxy Authentication Required", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required",
    412: "Precondition Failed", 413: "Request Entity Too Large", 415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable", 418: "I'm a Teapot", 425: "Too Early", 429: "Too Many Requests",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}
_PASSING = (408, 425, 500, 502, 503, 504)


class TooManyRequests(RegistryError):
    """Status 429; ``wait`` is the registry's Retry-After in seconds, None where it says nothing."""

    wait: float | None = None


class Passing(RegistryError):
    """A fault on the registry's side that may be over the next time (status 5xx)."""


def reply_error(answer: Answer, registry: str = "") -> RegistryError:
    """The error that an answer means which is none of those hoped for; what was asked for, the caller adds."""
    body = answer.body(ERROR_LIMIT)
    status = answer.status
    text = _words(status, body)
    if status in (401, 403):
        return Unauthorized(text, hint=f"log in with 'podling login {registry}'" if registry else None)
    if status == 404:
        return NotInRegistry(text)
    if status == 429:
        error = TooManyRequests(f"too many requests to registry: {text}",
                                hint=f"'podling login {registry}' may raise the limit" if registry else None)
        error.wait = _retry_after(answer)
        return error
    return Passing(text) if status in _PASSING else RegistryError(text)


def _words(status: int, body: bytes) -> str:
    said = registry_words(body)
    if said:
        return f"{said} (status {status})"
    return f"invalid status code from registry {status} ({_PHRASES.get(status, 'unknown')})"


def registry_words(body: bytes) -> str:
    """The first error of ``{"errors": [{"code": ..., "message": ...}]}``, else a short plain body, else ""."""
    try:
        value = jsontext.loads(body) if body[:1] == b"{" else None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        errors = value.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else value
        if not isinstance(first, dict):
            return ""
        code, message = str(first.get("code") or ""), str(first.get("message") or first.get("details") or "")
        if not message or message.lower() == _PLAIN_MESSAGES.get(code):
            return _printable(message or code.replace("_", " ").lower())
        return _printable(f"{code.replace('_', ' ').lower()}: {message}" if code else message)
    text = body[:200].decode("utf-8", "replace").strip()
    return _printable(text) if text and not text.startswith("<") and "\ufffd" not in text else ""


def _printable(text: str) -> str:
    """A registry's words for a terminal: one line, no control characters, not endless."""
    return "".join([character if character.isprintable() else " " for character in text[:500]]).strip()


def _retry_after(answer: Answer) -> float | None:
    """Seconds of a Retry-After header; dates are left out (no registry sends them)."""
    value = answer.header("retry-after").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None

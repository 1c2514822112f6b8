"""``docker-daemon:``: images of a Docker daemon on this host, by its API on a socket (``GET /images/NAME/get``, ``POST /images/load``).

Podman's own service answers the same way. What it sends is a docker-archive, spooled into the store's directory and read like any other.
"""

from __future__ import annotations

from podling import jsontext
from podling.config.requirements import normalized
from podling.errors import InvalidArgument, NoSuchImage, ProgramFailed
from podling.image.places import DockerArchive, Place
from podling.image.registry import unixsocket
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOCKET = "/var/run/docker.sock"
_ANSWER_LIMIT = 1 << 20


def checked_name(place: Place) -> str:
    """What the daemon is asked for: ``NAME:TAG`` in full, or ``sha256:ID``; InvalidArgument."""
    text = place.path
    if text.startswith("sha256:"):
        return text
    try:
        reference = normalized(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid reference {place}") from error
    if reference.digest:
        raise InvalidArgument(f"{place}: a Docker daemon knows images by name and tag, or by id", hint="docker-daemon:NAME:TAG")
    return str(reference.with_tag())


class DaemonImage(DockerArchive):
    """One image of the daemon."""

    transport = "docker-daemon"

    def __init__(self, place: Place, *, spool: str, path: str = SOCKET) -> None:
        name = checked_name(place)
        with unixsocket.request(path, "GET", f"/images/{urls.quoted(name, safe='/:')}/get") as (status, read):
            if status == 404:
                raise NoSuchImage(f"{place}: the daemon has no image {name}")
            if status != 200:
                raise ProgramFailed(f"loading image from docker engine: {_words(_whole(read))} (status {status})")
            super().__init__(place, spool=spool, read=read)
        self.identity = str(place)
        self.scope = "" if name.startswith("sha256:") else name
        self.wanted = None if name.startswith("sha256:") else normalized(name)


def load(archive: Iterator[bytes], path: str = SOCKET) -> None:
    """Have the daemon load a docker-archive; ProgramFailed with its words."""
    with unixsocket.request(path, "POST", "/images/load?quiet=1", archive) as (status, read):
        body = _whole(read)
    failures = [said["error"] for line in body.splitlines() if isinstance(said := _json(line), dict) and said.get("error")]
    if status != 200 or failures:
        raise ProgramFailed(f"error response from daemon: {failures[0] if failures else _words(body)}"[:1000])


def _whole(read: Callable[[int], bytes]) -> bytes:
    body = b""
    while len(body) < _ANSWER_LIMIT and (data := read(_ANSWER_LIMIT - len(body))):
        body += data
    return body


def _json(line: bytes) -> object:
    try:
        return jsontext.loads(line)
    except ValueError:
        return None


def _words(body: bytes) -> str:
    value = _json(body)
    text = str(value.get("message") or value.get("cause")) if isinstance(value, dict) else body[:200].decode("utf-8", "replace")
    return "".join([character if character.isprintable() else " " for character in text[:500]]).strip()

"""The bytes of blobs from and to a registry: downloads that continue where they broke off, uploads that stream."""

from __future__ import annotations

from podling import log
from podling.errors import Corrupt, NotInRegistry, RegistryError, explain
from podling.image import digests
from podling.image.registry.client import final, pull_scope, push_scope
from podling.image.registry.connection import ConnectionFault
from podling.image.registry.replies import ERROR_LIMIT
from podling.values import urls
from podling.values.reference import parse_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from podling.image.manifest import Descriptor
    from podling.image.partials import Partial
    from podling.image.registry.client import Registry
    from podling.image.registry.connection import Answer

    Result = TypeVar("Result")

CHUNK = 1 << 17
PROGRESS = 1 << 16  # bytes that make a new try worth its own count of retries


def blob_path(repository: str, digest: str) -> str:
    """The path of a blob below the registry."""
    return f"/v2/{urls.quoted(repository)}/blobs/{urls.quoted(digest, safe=':')}"


# --- down -------------------------------------------------------------------------------------------------------------


def read(registry: Registry, repository: str, descriptor: Descriptor, limit: int) -> bytes:
    """A small blob (a configuration), verified; Corrupt where it is longer than ``limit`` or has another digest."""
    what = f"reading blob {descriptor.digest} of {registry.host}/{repository}"
    if descriptor.size > limit:
        raise Corrupt(f"{what}: it is {descriptor.size} bytes long, more than the {limit} that are allowed")

    def attempt() -> bytes:
        return registry.request("GET", blob_path(repository, descriptor.digest), scopes=pull_scope(repository)).body(limit)

    content = registry.patiently(what, attempt)
    if len(content) > limit:
        raise Corrupt(f"{what}: it is longer than the {limit} bytes that are allowed")
    digests.verify(content, descriptor.digest, what)
    return content


def download(registry: Registry, repository: str, descriptor: Descriptor, partial: Partial) -> None:
    """Bring a partial file to the blob's full length and verify its digest.

    A broken connection is continued by Range at the byte where it broke; tries are counted anew when some of it came. On an
    error what came so far stays for the next time, unless it cannot be right. Corrupt, NotInRegistry, RegistryError.
    """
    what = f"reading blob {descriptor.digest} of {registry.host}/{repository}"
    patience = registry.patience
    failures, delay, mark = 0, patience.first_delay, partial.size
    while partial.size < descriptor.size:
        try:
            _receive(registry, repository, descriptor, partial, what)
            break
        except RegistryError as error:
            if partial.size - mark >= PROGRESS:
                failures, delay, mark = 0, patience.first_delay, partial.size
            failures += 1
            pause = registry.pause_after(error, delay)
            if pause is None or failures > patience.retries:
                raise final(error, what) from error
            registry.wait(pause, failures, f"{what}: {explain(error)}")
            delay = patience.longer(delay)
    partial.verify(what)


def _receive(registry: Registry, repository: str, descriptor: Descriptor, partial: Partial, what: str) -> None:
    """One request for what is missing, appended to the partial file."""
    start = partial.size
    headers = {"Range": f"bytes={start}-"} if start else {}
    answer = registry.request("GET", blob_path(repository, descriptor.digest), scopes=pull_scope(repository), headers=headers,
                              accept=(200, 206) if start else (200,))
    try:
        skip = _offset(answer, start)
        if answer.length is not None and answer.length != descriptor.size - (start - skip):
            raise Corrupt(f"{what}: the registry sends {answer.length + start - skip} bytes, "
                          f"the manifest says {descriptor.size}")
        while data := answer.read(CHUNK):
            if skip:  # the registry knows no Range: what we have comes again
                data, skip = data[skip:], max(0, skip - len(data))
            if partial.size + len(data) > descriptor.size:
                raise Corrupt(f"{what}: it is longer than the {descriptor.size} bytes that the manifest says")
            partial.append(data)
            if partial.size == descriptor.size:
                break
    except BaseException:
        answer.close()
        raise
    if partial.size < descriptor.size:
        answer.close()
        raise ConnectionFault(f"connection broke: it ended after {partial.size} of {descriptor.size} bytes")
    if answer.body(ERROR_LIMIT):
        raise Corrupt(f"{what}: it is longer than the {descriptor.size} bytes that the manifest says")


def _offset(answer: Answer, start: int) -> int:
    """How many bytes of the body are already there: 0 where the Range was honoured, else all that we have."""
    if answer.status == 200:
        return start
    unit, _, rest = answer.header("content-range").partition(" ")
    first = rest.partition("-")[0].strip()
    if unit != "bytes" or first != str(start):
        raise RegistryError(f"asked for the bytes from {start} on, the registry sends {answer.header('content-range')[:80]!r}")
    return 0


def stream(registry: Registry, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
    """A blob as it comes, never more of it than its size; the caller checks its digest."""
    answer = registry.request("GET", blob_path(repository, descriptor.digest), scopes=pull_scope(repository))
    left = descriptor.size
    try:
        while left and (data := answer.read(min(CHUNK, left))):
            left -= len(data)
            yield data
    finally:
        answer.close()


# --- up ---------------------------------------------------------------------------------------------------------------


def size_of(registry: Registry, repository: str, digest: str) -> int | None:
    """The size of a blob that the repository has (-1 if the registry does not say), None where it has it not."""

    def attempt() -> int | None:
        answer = registry.request("HEAD", blob_path(repository, digest), scopes=push_scope(repository), accept=(200, 404))
        answer.body(0)
        if answer.status == 404:
            return None
        return -1 if answer.length is None else answer.length

    return registry.patiently(f"checking blob {digest} in {registry.host}/{repository}", attempt)


def mount(registry: Registry, repository: str, digest: str, origin: str) -> tuple[bool, str]:
    """Take a blob over from another repository of the same registry, without its bytes.

    (whether that went, where the registry began an upload instead or ""): one that is not needed is to be given to :func:`cancel`.
    """

    def attempt() -> tuple[bool, str]:
        path = f"/v2/{urls.quoted(repository)}/blobs/uploads/?{urls.query([('mount', digest), ('from', origin)])}"
        answer = registry.request("POST", path, scopes=push_scope(repository, read=(origin,)), body=b"", accept=(201, 202))
        answer.body(ERROR_LIMIT)
        return answer.status == 201, answer.header("location") if answer.status == 202 else ""

    return registry.patiently(f"trying to reuse blob {digest} in {registry.host}/{repository}", attempt)


def upload_bytes(registry: Registry, repository: str, content: bytes, digest: str, *, session: str = "") -> None:
    """Store a small blob. ``session``: where the registry has begun an upload already, "" for nowhere."""

    def finish(location: str) -> None:
        _finish(registry, repository, location, digest, content)

    _upload(registry, repository, digest, session, finish)


def upload_stream(registry: Registry, repository: str, make: Callable[[], Iterator[bytes]], name: str, *,
                  session: str = "") -> tuple[str, int]:
    """Store a blob of unknown digest as it is made; (its digest, its size).

    ``make`` begins anew for each try. ``name`` is what an error calls it; ``session`` as for :func:`upload_bytes`.
    """

    def send(location: str) -> tuple[str, int]:
        counted = _Counted(make())
        answer = registry.request("PATCH", location, scopes=push_scope(repository),
                                  headers={"Content-Type": "application/octet-stream"}, body=counted, accept=(202, 201, 204))
        answer.body(ERROR_LIMIT)
        digest = counted.digester.digest
        _finish(registry, repository, answer.header("location") or location, digest, b"")
        return digest, counted.digester.size

    return _upload(registry, repository, name, session, send)


def _upload(registry: Registry, repository: str, name: str, session: str, send: Callable[[str], Result]) -> Result:
    """``send(location)`` in the session that there is, or in a new one; again in a new one where the registry has forgotten it."""
    given = [session] if session else []

    def attempt() -> Result:
        location = given.pop() if given else _begin(registry, repository)
        try:
            return send(location)
        except NotInRegistry:
            log.debug(f"uploading {name} anew, the registry has forgotten {location.partition('?')[0]}")
            return send(_begin(registry, repository))

    return registry.patiently(f"writing blob {name} to {registry.host}/{repository}", attempt)


class _Counted:
    """An iterator that knows the digest of what it gave."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.source = source
        self.digester = digests.Digester()

    def __iter__(self) -> Iterator[bytes]:
        for data in self.source:
            if data:
                self.digester.update(data)
                yield data


def _begin(registry: Registry, repository: str) -> str:
    answer = registry.request("POST", f"/v2/{urls.quoted(repository)}/blobs/uploads/", scopes=push_scope(repository), body=b"",
                              accept=(202,))
    answer.body(ERROR_LIMIT)
    location = answer.header("location")
    if not location:
        raise RegistryError("the registry does not say where to upload to")
    return location


def _finish(registry: Registry, repository: str, location: str, digest: str, content: bytes) -> None:
    parse_digest(digest)
    separator = "&" if urls.split(location).query else "?"
    headers = {"Content-Type": "application/octet-stream"} if content else {}
    answer = registry.request("PUT", f"{location}{separator}{urls.query([('digest', digest)])}", scopes=push_scope(repository),
                              headers=headers, body=content, accept=(201, 204))
    answer.body(ERROR_LIMIT)


def cancel(registry: Registry, repository: str, location: str) -> None:
    """Give up an upload that was begun."""
    try:
        registry.request("DELETE", location, scopes=push_scope(repository), accept=(200, 202, 204, 404, 405)).body(ERROR_LIMIT)
    except RegistryError:
        return  # the registry forgets abandoned uploads by itself

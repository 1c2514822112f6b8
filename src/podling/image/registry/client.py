"""One registry by the distribution protocol (https://github.com/opencontainers/distribution-spec), without the bytes of layers.

The way of a request: 1. the registry is pinged once, which tells TLS or not and how to log in; 2. the request goes out with a
token for its scopes; 3. a 401 gets it a new token, once; 4. redirects are followed, our login stays behind when they lead to
another host; 5. faults on the way and on the registry's side are tried again, with growing pauses.
"""

from __future__ import annotations

import time
from _thread import allocate_lock

from podling import log
from podling.errors import Corrupt, NotInRegistry, RegistryError, Unauthorized, explain
from podling.image import digests
from podling.image.jsonfields import Fields, load_object
from podling.image.manifest import INDEX_TYPES, MANIFEST_LIMIT, MANIFEST_TYPES
from podling.image.registry.authorization import Authorization
from podling.image.registry.connection import Connection, ConnectionFault, Patience
from podling.image.registry.replies import ERROR_LIMIT, Passing, TooManyRequests, reply_error
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    from podling.image.registry.authorization import Credentials
    from podling.image.registry.connection import Answer

    Result = TypeVar("Result")

DOCKER_HUB_HOST = "registry-1.docker.io"
REDIRECTS = 10
TAGS_LIMIT = 16 << 20        # bytes of one page of tags
TAG_PAGES = 10_000
_ACCEPT = ", ".join([*MANIFEST_TYPES, *INDEX_TYPES, "application/vnd.docker.distribution.manifest.v1+prettyjws"])
_REDIRECT = (301, 302, 303, 307, 308)


class Registry:
    """A registry; threads may share it. ``host`` is what references say: ``docker.io``, ``localhost:5000``."""

    def __init__(self, host: str, *, insecure: bool = False, cert_dir: str = "", credentials: Credentials | None = None,
                 patience: Patience | None = None, env: Mapping[str, str] | None = None) -> None:
        self.host = host
        self.insecure = insecure
        self.patience = patience or Patience()
        self.connection = Connection(host, insecure=insecure, cert_dir=cert_dir, patience=self.patience, env=env)
        self.authorization = Authorization(self.connection, host, credentials)
        self._address = DOCKER_HUB_HOST if host == "docker.io" else host
        self._base = ""
        self.keeps_signatures = False        # known once it was pinged
        self._lock = allocate_lock()

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()

    # --- requests -----------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Find out how the registry is spoken to, once; RegistryError where it does not answer."""
        with self._lock:
            if not self._base:
                self._base = self.patiently(f"pinging container registry {self._address}", self._ping)

    def _ping(self) -> str:
        """The base URL: with TLS; without, where the registry may be insecure and speaks none.

        Behind a port that was named is one of the two. There plain HTTP is tried first, without any login: a server that wants TLS
        says so at once, and one that does not spares us loading it.
        """
        if not self.insecure:
            return self._ping_scheme("https")
        if urls.split(f"//{self._address}").port is None:
            try:
                return self._ping_scheme("https")
            except ConnectionFault:
                return self._ping_scheme("http")
        try:
            return self._ping_scheme("http")
        except RegistryError:
            try:
                return self._ping_scheme("https")
            except ConnectionFault:
                pass                         # it speaks no TLS: the first answer counts
            raise

    def _ping_scheme(self, scheme: str) -> str:
        base = f"{scheme}://{self._address}"
        answer = self.connection.send("GET", f"{base}/v2/", headers={})
        if answer.status not in (200, 401):
            raise reply_error(answer)
        answer.body(ERROR_LIMIT)
        self.keeps_signatures = answer.header("x-registry-supports-signatures") == "1"
        if answer.status == 401:
            self.authorization.learn(answer, secure=scheme == "https")
        return base

    def patiently(self, what: str, attempt: Callable[[], Result]) -> Result:
        """``attempt()``, again after a pause while it fails for a passing reason; the error gets ``what`` before it."""
        delay = self.patience.first_delay
        for number in range(1, self.patience.retries + 2):
            try:
                return attempt()
            except RegistryError as error:
                pause = self.pause_after(error, delay)
                if pause is None or number > self.patience.retries:
                    raise final(error, what) from error
                self.wait(pause, number, f"{what}: {explain(error)}")
                delay = self.patience.longer(delay)
        raise AssertionError("unreachable")

    def pause_after(self, error: RegistryError, delay: float) -> float | None:
        """Seconds to wait before the next try, None where trying again is of no use."""
        if isinstance(error, TooManyRequests):
            wait = delay if error.wait is None else error.wait
            return wait if wait <= self.patience.longest_delay else None
        if isinstance(error, ConnectionFault):
            return delay if error.passing else None
        return delay if isinstance(error, Passing) else None

    def wait(self, pause: float, number: int, why: str) -> None:
        """Say so and wait."""
        log.warning(f"Failed, retrying in {pause:g}s ... ({number}/{self.patience.retries}). Error: {why}")
        time.sleep(pause)

    def request(self, method: str, path: str, *, scopes: tuple[str, ...], headers: Mapping[str, str] | None = None,
                body: bytes | Iterable[bytes] | None = None, accept: tuple[int, ...] = (200,)) -> Answer:
        """Send one request, logged in, and follow redirects; the answer, if its status is one of ``accept``.

        ``path`` is below the registry, or a whole URL that the registry gave. A ``body`` that is no bytes is sent once only.
        NotInRegistry, Unauthorized, RegistryError with the registry's words, but not with what was asked.
        """
        self.ping()
        url = self.resolve(path)
        answer = self._send(method, url, scopes, headers, body)
        if answer.status == 401 and (body is None or isinstance(body, bytes)) and self.authorization.refresh(answer, scopes):
            answer.body(ERROR_LIMIT)
            answer = self._send(method, url, scopes, headers, body)
        answer = self._follow(answer, method, url, scopes, headers, body)
        if answer.status not in accept:
            raise reply_error(answer, self.host)
        return answer

    def resolve(self, path: str) -> str:
        """The URL for a path, or for a Location of the registry: one that only forgot our TLS gets it back."""
        url = urls.join(self._base + "/", path)
        mine, theirs = urls.split(self._base), urls.split(url)
        if mine.scheme == "https" and theirs.scheme == "http" and theirs.authority == mine.authority:
            return url.replace("http:", "https:", 1)
        self._check_target(url, self._base)
        return url

    def _check_target(self, url: str, origin: str) -> None:
        scheme = urls.split(url).scheme
        if scheme not in ("http", "https") or (scheme == "http" and origin.startswith("https:") and not self.insecure):
            raise RegistryError(f"registry {self.host} sends us to {url.partition('?')[0][:200]}, which has no TLS")

    def _send(self, method: str, url: str, scopes: tuple[str, ...], headers: Mapping[str, str] | None,
              body: bytes | Iterable[bytes] | None) -> Answer:
        sent = dict(headers or {})
        if urls.split(url).authority == urls.split(self._base).authority:
            login = self.authorization.header(scopes)
            if login is not None:
                sent["Authorization"] = login
        return self.connection.send(method, url, headers=sent, body=body)

    def _follow(self, answer: Answer, method: str, url: str, scopes: tuple[str, ...], headers: Mapping[str, str] | None,
                body: bytes | Iterable[bytes] | None) -> Answer:
        for _ in range(REDIRECTS):
            location = answer.header("location")
            if answer.status not in _REDIRECT or not location:
                return answer
            if body is not None and not (answer.status in (307, 308) and isinstance(body, bytes)):
                return answer
            answer.body(ERROR_LIMIT)
            target = urls.join(url, location)
            self._check_target(target, url)
            url = target
            answer = self._send(method, url, scopes, headers, body)
        raise RegistryError(f"registry {self.host} redirects more than {REDIRECTS} times")

    # --- manifests and tags -------------------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """(the manifest or index as it was stored, the media type that the registry calls it) of a tag or a digest.

        What is asked for by digest has that digest; Corrupt otherwise. NotInRegistry, Unauthorized, RegistryError.
        """
        what = f"reading manifest {reference} in {self.host}/{repository}"

        def attempt() -> tuple[bytes, str]:
            answer = self.request("GET", manifest_path(repository, reference), scopes=pull_scope(repository),
                                  headers={"Accept": _ACCEPT})
            return answer.body(MANIFEST_LIMIT), answer.header("content-type")

        content, media_type = self.patiently(what, attempt)
        if len(content) > MANIFEST_LIMIT:
            raise Corrupt(f"{what}: it is longer than the {MANIFEST_LIMIT} bytes that are allowed")
        if ":" in reference:
            digests.verify(content, reference, f"{what}: the manifest")
        return content, media_type

    def manifest_digest(self, repository: str, reference: str) -> str:
        """The digest of what a tag stands for, without fetching it where the registry tells; NotInRegistry."""

        def attempt() -> str:
            answer = self.request("HEAD", manifest_path(repository, reference), scopes=pull_scope(repository),
                                  headers={"Accept": _ACCEPT})
            answer.body(0)
            return answer.header("docker-content-digest")

        said = self.patiently(f"reading manifest {reference} in {self.host}/{repository}", attempt)
        return said or digests.digest_of(self.manifest(repository, reference)[0])

    def put_manifest(self, repository: str, reference: str, content: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest; its digest."""
        what = f"writing manifest {reference} to {self.host}/{repository}"

        def attempt() -> str:
            answer = self.request("PUT", manifest_path(repository, reference), scopes=push_scope(repository),
                                  headers={"Content-Type": media_type}, body=content, accept=(200, 201, 202))
            answer.body(ERROR_LIMIT)
            return answer.header("docker-content-digest")

        stored, ours = self.patiently(what, attempt), digests.digest_of(content)
        if stored.startswith("sha256:") and stored != ours:
            raise Corrupt(f"{what}: the registry stored {stored}, which is not what was sent ({ours})")
        return ours

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, in the registry's order."""
        found: list[str] = []
        path = f"/v2/{urls.quoted(repository)}/tags/list"
        for _ in range(TAG_PAGES):
            page, following = self._tags_page(path, repository)
            found += page
            if not following or following == path:
                break
            path = following
        return found

    def _tags_page(self, path: str, repository: str) -> tuple[list[str], str]:
        what = f"fetching tags list of {self.host}/{repository}"

        def attempt() -> tuple[bytes, str]:
            answer = self.request("GET", path, scopes=pull_scope(repository))
            return answer.body(TAGS_LIMIT), answer.header("link")

        body, link = self.patiently(what, attempt)
        return list(Fields(load_object(body, what, limit=TAGS_LIMIT), what).texts("tags")), _next_page(link)

    def check_login(self) -> None:
        """Unauthorized where the registry does not take our credentials (``podling login``)."""
        try:
            self.patiently(f"logging into {self.host}", lambda: self.request("GET", "/v2/", scopes=()).body(ERROR_LIMIT))
        except Unauthorized as error:
            raise Unauthorized(f'logging into "{self.host}": invalid username/password') from error


def final(error: RegistryError, what: str) -> RegistryError:
    """What is raised from an error that is not tried again: of its kind, if that tells the caller what to do next."""
    return (type(error) if isinstance(error, (NotInRegistry, Unauthorized)) else RegistryError)(what)


def manifest_path(repository: str, reference: str) -> str:
    """The path of a manifest below the registry."""
    return f"/v2/{urls.quoted(repository)}/manifests/{urls.quoted(reference, safe=':')}"


def pull_scope(repository: str) -> tuple[str, ...]:
    """The scope of a token that may read a repository."""
    return (f"repository:{repository}:pull",)


def push_scope(repository: str, *, read: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The scope of a token that may write a repository, and read others (for mounting their blobs)."""
    return (f"repository:{repository}:pull,push", *[f"repository:{name}:pull" for name in read if name != repository])


def _next_page(link: str) -> str:
    """The target of ``</v2/...>; rel="next"``, without its host: a registry does not send us elsewhere for its tags."""
    target, mark, rest = link.strip().removeprefix("<").partition(">")
    if not mark or "next" not in rest:
        return ""
    parts = urls.split(target)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path

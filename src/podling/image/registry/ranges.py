"""Parts of a blob from a registry, each by one request with a Range; a broken connection is continued where it broke."""

from __future__ import annotations

from podling.errors import RegistryError, explain
from podling.image.registry.blobs import CHUNK, blob_path
from podling.image.registry.client import final, pull_scope
from podling.image.registry.connection import ConnectionFault
from podling.image.registry.replies import ERROR_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.image.manifest import Descriptor
    from podling.image.registry.client import Registry
    from podling.image.registry.connection import Answer


class NoRanges(RegistryError):
    """The registry sends whole blobs only."""


class Ranges:
    """A blob's parts; ``fetched`` counts the bytes that came."""

    def __init__(self, registry: Registry, repository: str, descriptor: Descriptor) -> None:
        self.registry = registry
        self.repository = repository
        self.descriptor = descriptor
        self.fetched = 0

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``."""
        return b"".join(self.open(start, end))

    def open(self, start: int, end: int) -> Iterator[bytes]:
        """As :meth:`read`, in pieces as they come. NoRanges, NotInRegistry, RegistryError."""
        what = f"reading a part of blob {self.descriptor.digest} of {self.registry.host}/{self.repository}"
        patience = self.registry.patience
        failures, delay = 0, patience.first_delay
        while start < end:
            try:
                for data in self._receive(start, end):
                    start += len(data)
                    failures, delay = 0, patience.first_delay
                    yield data
            except NoRanges:
                raise
            except RegistryError as error:
                failures += 1
                pause = self.registry.pause_after(error, delay)
                if pause is None or failures > patience.retries:
                    raise final(error, what) from error
                self.registry.wait(pause, failures, f"{what}: {explain(error)}")
                delay = min(delay * 2, patience.longest_delay)

    def _receive(self, start: int, end: int) -> Iterator[bytes]:
        """One request for what is missing."""
        answer = self.registry.request("GET", blob_path(self.repository, self.descriptor.digest), accept=(200, 206),
                                       scopes=pull_scope(self.repository), headers={"Range": f"bytes={start}-{end - 1}"})
        try:
            _check(answer, start)
            while start < end and (data := answer.read(min(CHUNK, end - start))):
                self.fetched += len(data)
                start += len(data)
                yield data
            if start < end:
                raise ConnectionFault(f"connection broke: {end - start} bytes of a range are missing")
        except BaseException:
            answer.close()
            raise
        answer.body(ERROR_LIMIT)             # nothing, if it kept to the range; the connection serves the next one


def _check(answer: Answer, start: int) -> None:
    unit, _, rest = answer.header("content-range").partition(" ")
    if answer.status != 206 or unit != "bytes" or rest.partition("-")[0].strip() != str(start):
        raise NoRanges(f"asked for the bytes from {start} on, the registry sends {answer.header('content-range')[:80]!r}")

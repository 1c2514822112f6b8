"""Parts of a blob from a registry by requests with a Range: many in one answer where the registry knows how, else one by one.

A broken connection is continued where it broke. What comes is not trusted beyond its positions; who reads checks digests.
"""

from __future__ import annotations

from podling.errors import RegistryError, explain
from podling.image.registry.blobs import CHUNK, blob_path
from podling.image.registry.client import final, pull_scope
from podling.image.registry.connection import ConnectionFault
from podling.image.registry.replies import ERROR_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podling.image.manifest import Descriptor
    from podling.image.registry.client import Registry
    from podling.image.registry.connection import Answer

_MOST_TOGETHER = 100                         # ranges in one request: 2 KiB of a header
_LONGEST_HEAD = 1 << 14                      # bytes before a part of an answer


class NoRanges(RegistryError):
    """The registry sends whole blobs only."""


class Abilities:
    """What a registry is known to do: storage behind it often sends the whole blob where several ranges are asked for."""

    several_ranges = True


class Ranges:
    """A blob's parts; ``fetched`` counts the bytes that came. Parts that are read one after the other may be announced."""

    def __init__(self, registry: Registry, repository: str, descriptor: Descriptor, abilities: Abilities | None = None) -> None:
        """``abilities`` is shared by all blobs of a registry, so that it is tried once."""
        self.registry = registry
        self.repository = repository
        self.descriptor = descriptor
        self.fetched = 0
        self._announced: list[tuple[int, int]] = []     # the next one last
        self._abilities = abilities or Abilities()
        self._answer: _Several | None = None

    def announce(self, wanted: list[tuple[int, int]]) -> None:
        """What will be opened, in this order: it is asked for together."""
        self._announced = list(reversed(wanted))

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
                    self.fetched += len(data)
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
                delay = patience.longer(delay)

    def _receive(self, start: int, end: int) -> Iterator[bytes]:
        """A range, out of an answer that has several, or by a request of its own."""
        try:
            several = self._several(start, end)
            if several is not None:
                yield from several.pieces(start, end)
                if not self._announced:
                    several.finish()
                    self._answer = None
                return
            answer = self._request([(start, end)])
            try:
                _check(answer, start)
                yield from _pieces(answer.read, end - start)
            except BaseException:
                answer.close()
                raise
            answer.body(ERROR_LIMIT)         # nothing, if it kept to the range; the connection serves the next one
        except BaseException:
            self.close()
            raise

    def _several(self, start: int, end: int) -> _Several | None:
        """The answer in which this range is the next; None where it has to be asked for alone."""
        if not self._announced or self._announced[-1] != (start, end):
            self.close()                     # the rest of a range that broke, or one that nobody announced
            self._announced = [wanted for wanted in self._announced if wanted[0] > start]
            return None
        self._announced.pop()
        if self._answer is not None and self._answer.left:
            return self._answer
        if self._answer is not None:
            self._answer.finish()
            self._answer = None
        together = [(start, end), *reversed(self._announced[1 - _MOST_TOGETHER:])]
        if not self._abilities.several_ranges or len(together) == 1:
            return None
        answer = self._request(together)
        if answer.status != 206 or not answer.header("content-type").lower().startswith("multipart/byteranges"):
            answer.close()
            self._abilities.several_ranges = False
            return None
        self._answer = _Several(answer, len(together))
        return self._answer

    def _request(self, wanted: list[tuple[int, int]]) -> Answer:
        text = ",".join([f"{start}-{end - 1}" for start, end in wanted])
        return self.registry.request("GET", blob_path(self.repository, self.descriptor.digest), accept=(200, 206),
                                     scopes=pull_scope(self.repository), headers={"Range": f"bytes={text}"})

    def close(self) -> None:
        """Give up an answer of which not all was read."""
        if self._answer is not None:
            self._answer.answer.close()
            self._answer = None


class _Several:
    """An answer of the type multipart/byteranges (RFC 9110, 14.6), read part by part; ``left``: parts not yet read."""

    def __init__(self, answer: Answer, count: int) -> None:
        self.answer = answer
        self.left = count
        self._waiting = b""

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The next part, which has to be this range; ConnectionFault where it is not."""
        head = self._head()
        if f"content-range: bytes {start}-{end - 1}/" not in head.lower():
            raise ConnectionFault(f"asked for the bytes from {start} to {end - 1}, the registry sends something else")
        self.left -= 1
        yield from _pieces(self._read, end - start)

    def _head(self) -> str:
        """The lines before a part's content."""
        while (at := self._waiting.lstrip(b"\r\n").find(b"\r\n\r\n")) < 0:
            data = self.answer.read(CHUNK)
            if not data or len(self._waiting) > _LONGEST_HEAD:
                raise ConnectionFault("a part of the registry's answer has no beginning")
            self._waiting += data
        text = self._waiting.lstrip(b"\r\n")
        self._waiting = text[at + 4:]
        return text[:at].decode("latin-1")

    def _read(self, size: int) -> bytes:
        if self._waiting:
            data, self._waiting = self._waiting[:size], self._waiting[size:]
            return data
        return self.answer.read(size)

    def finish(self) -> None:
        """Read the end; the connection serves the next request."""
        self.answer.body(ERROR_LIMIT)


def _pieces(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    while size:
        data = read(min(CHUNK, size))
        if not data:
            raise ConnectionFault(f"connection broke: {size} bytes of a range are missing")
        size -= len(data)
        yield data


def _check(answer: Answer, start: int) -> None:
    unit, _, rest = answer.header("content-range").partition(" ")
    if answer.status != 206 or unit != "bytes" or rest.partition("-")[0].strip() != str(start):
        raise NoRanges(f"asked for the bytes from {start} on, the registry sends {answer.header('content-range')[:80]!r}")

"""Blobs on their way: what came of a download so far, in a file that a later run continues.

    <graphroot>/blobs/sha256/<hex>.partial     the first bytes of the blob
    <graphroot>/blobs/sha256/<hex>.lock        held by whoever downloads it, until its layer is stored

A partial file is believed only once the whole of it has its digest. While it grows, another process reads behind
(:class:`Following`): it is told of new bytes through a pipe, and gets to the end only when the digest was right.
"""

from __future__ import annotations

import errno
import os

from podling.errors import Corrupt, PodlingError
from podling.image import digests
from podling.linux import files
from podling.linux.locks import Lock
from podling.values.reference import parse_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from podling.linux.locks import Held

MORE, VERIFIED, FAILED = b"+", b"V", b"F"
_HASH_CHUNK = 1 << 20


def blob_file(graphroot: str, digest: str, kind: str) -> str:
    """The path of a blob's file of a kind (``partial``, ``lock``)."""
    algorithm, name = parse_digest(digest)
    return f"{graphroot}/blobs/{algorithm}/{name}.{kind}"


class Partial:
    """A blob's first bytes, ours alone while the context lasts; ``size`` bytes are there.

    The context begins by waiting for whoever else downloads this blob, and ends with what came so far kept on disk, unless
    :meth:`discard` was called.
    """

    def __init__(self, graphroot: str, digest: str, expected_size: int) -> None:
        self.digest = digest
        self.expected_size = expected_size
        self.path = blob_file(graphroot, digest, "partial")
        self.size = 0
        self.resumed = 0                       # bytes of an earlier run
        self.on_growth: Callable[[], None] = lambda: None
        self._lock: Held = Lock(blob_file(graphroot, digest, "lock")).exclusive()
        self._digester = digests.Digester(parse_digest(digest)[0])
        self._fd = -1

    def __enter__(self) -> Partial:
        files.make_directories(os.path.dirname(self.path), 0o700)
        self._lock.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()
        self._lock.remove()
        self._lock.__exit__(kind, error, trace)

    def open(self) -> None:
        """Open the file, made where it is absent, and count in what an earlier run left."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._fd).st_size > self.expected_size:
            os.ftruncate(self._fd, 0)
        while data := os.pread(self._fd, _HASH_CHUNK, self.size):
            self._digester.update(data)
            self.size += len(data)
        self.resumed = self.size

    def append(self, data: bytes) -> None:
        """Add bytes at the end; on a full disk what came so far makes room again."""
        try:
            files.write_all(self._fd, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.discard()
            raise PodlingError(f"writing {self.path}") from error
        self._digester.update(data)
        self.size += len(data)
        self.on_growth()

    def verify(self, what: str) -> None:
        """Corrupt unless these are all bytes of the blob; then none of them are kept."""
        found = self._digester.digest
        if found != self.digest or self.size != self.expected_size:
            self.discard()
            if self.size != self.expected_size:
                raise Corrupt(f"{what}: it has {self.size} bytes, not the {self.expected_size} that the manifest says")
            raise digests.mismatch(what, self.digest, found)

    def discard(self) -> None:
        """Delete the file; who reads behind keeps what it has open."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Following:
    """A partial file read while it grows. ``next_word`` waits for one of MORE, VERIFIED or FAILED; b"": the writer is gone."""

    def __init__(self, path: str, next_word: Callable[[], bytes]) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._next_word = next_word
        self._position = 0
        self.ended = False                     # the writer said its last word

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, as soon as there are some; b"" once all were read and their digest was right."""
        while True:
            data = os.pread(self._fd, size, self._position)
            if data:
                self._position += len(data)
                return data
            if self.ended:
                return b""
            self._listen()

    def at(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``, so far as they are there."""
        return os.pread(self._fd, end - start, start)

    def _listen(self) -> None:
        word = self._next_word()
        if word == VERIFIED:
            self.ended = True
        elif word != MORE:
            self.ended = True
            raise Interrupted("the download failed")

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Interrupted(PodlingError):
    """A layer that is not stored because its download failed; the download's own error says why."""

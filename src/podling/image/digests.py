"""Digests of content (``sha256:...``) and their verification. Apart from the manifests, because hashlib costs start-up time."""

from __future__ import annotations

import hashlib

from podling.errors import Corrupt
from podling.values.reference import parse_digest

CHUNK = 1 << 20


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of some bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def verify(content: bytes, digest: str, what: str) -> None:
    """Corrupt unless ``content`` has the digest."""
    found = digest_of(content, parse_digest(digest)[0])
    if found != digest:
        raise mismatch(what, digest, found)


def mismatch(what: str, expected: str, found: str) -> Corrupt:
    """The error for content with another digest than it was announced with."""
    return Corrupt(f"{what} does not match its digest: expected {expected}, got {found}")


class Digester:
    """The digest of bytes that come in parts."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.hash = hashlib.new(algorithm)
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add some bytes."""
        self.hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """The digest of all bytes so far."""
        return f"{self.algorithm}:{self.hash.hexdigest()}"

"""An image in a registry as a Source: its layers are downloaded and unpacked at the same time, and resumed where they broke."""

from __future__ import annotations

import os
import threading

from podling.errors import PodlingError
from podling.image import digests, manifest
from podling.image.manifest import Descriptor
from podling.image.partials import FAILED, MORE, VERIFIED, Following, Interrupted, Partial
from podling.image.places import BlobSource, Found, LayerStream
from podling.image.registry import blobs
from podling.image.registry.client import Registry
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.config.auth import Credentials
    from podling.values.reference import Reference

_REPORT = 1 << 20                            # bytes between two reports of progress


class Access(Record):
    """How a registry is reached."""

    insecure: bool = False
    cert_dir: str = ""
    credentials: Credentials | None = None
    retries: int | None = None
    retry_delay: float | None = None

    def open(self, host: str) -> Registry:
        """A client for this registry."""
        registry = Registry(host, insecure=self.insecure, cert_dir=self.cert_dir, credentials=self.credentials)
        changes = {name: value for name, value in (("retries", self.retries), ("first_delay", self.retry_delay)) if value is not None}
        if changes:
            registry.patience = registry.patience.replace(**changes)
        return registry


class Remote(BlobSource):
    """One reference in a registry. ``reference`` is where it is fetched, ``name`` what it is called here (mirrors differ)."""

    transport = "docker"

    def __init__(self, reference: Reference, access: Access, graphroot: str, *, name: Reference) -> None:
        self.reference = reference
        self.access = access
        self.graphroot = graphroot
        self.identity = str(name)
        self._registry: Registry | None = None
        self._owner = 0

    @property
    def registry(self) -> Registry:
        """A client of this process' own: connections do not survive a fork."""
        if self._registry is None or self._owner != os.getpid():
            self._registry = self.access.open(self.reference.registry)
            self._owner = os.getpid()
        return self._registry

    def top(self) -> tuple[bytes, str]:
        """The manifest or index of the tag or digest."""
        return self.registry.manifest(self.reference.repository, self.reference.digest or self.reference.tag or "latest")

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob or a manifest, by digest."""
        if descriptor.media_type in (*manifest.MANIFEST_TYPES, *manifest.INDEX_TYPES):
            content, _ = self.registry.manifest(self.reference.repository, descriptor.digest)
            digests.verify(content, descriptor.digest, f"reading manifest {descriptor.digest}")
            return content
        return blobs.read(self.registry, self.reference.repository, descriptor, limit)

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer; its download begins with the first read."""
        return Download(self, found.layers[number], progress)

    def close(self) -> None:
        """Close the connections."""
        if self._registry is not None and self._owner == os.getpid():
            self._registry.close()


class Download(LayerStream):
    """A blob that a thread downloads into a partial file, read behind it; digest and size are checked by the download."""

    def __init__(self, remote: Remote, descriptor: Descriptor, progress: Callable[[int], None]) -> None:
        super().__init__(self._follow, f"reading blob {descriptor.digest} of {remote.identity}", None)
        self.remote = remote
        self.blob = descriptor
        self._progress = progress
        self._reported = 0
        self._partial: Partial | None = None
        self._following: Following | None = None
        self._thread: threading.Thread | None = None
        self._error: PodlingError | OSError | None = None
        self._words = (-1, -1)
        self._stored = False

    def _follow(self, size: int) -> bytes:
        if self._following is None:
            self._begin()
        assert self._following is not None
        try:
            return self._following.read(size)
        except Interrupted:
            if self._error is not None:
                raise self._error from None
            raise

    def _begin(self) -> None:
        partial = Partial(self.remote.graphroot, self.blob.digest, self.blob.size)
        partial.__enter__()
        self._partial = partial
        partial.open()
        self._words = os.pipe()
        reader = self._words[0]
        self._following = Following(partial.path, lambda: os.read(reader, 1))
        partial.on_growth = self._grown
        self._thread = threading.Thread(target=self._download, args=(partial,), daemon=True)
        self._thread.start()

    def _grown(self) -> None:
        assert self._partial is not None
        os.write(self._words[1], MORE)
        if self._partial.size - self._reported >= _REPORT:
            self._reported = self._partial.size
            self._progress(self._partial.size)

    def _download(self, partial: Partial) -> None:
        try:
            blobs.download(self.remote.registry, self.remote.reference.repository, self.blob, partial)
        except (PodlingError, OSError) as error:
            self._error = error
            os.write(self._words[1], FAILED)
            return
        os.write(self._words[1], VERIFIED)

    def finish(self) -> None:
        """The layer is stored: the partial file goes."""
        if self._following is not None:
            super().finish()
        self._stored = True

    def close(self) -> None:
        """End the download; what came of it stays, unless the layer is stored."""
        if self._thread is not None and self._stored:
            self._thread.join()
        if self._following is not None:
            self._following.close()
        if self._partial is not None:
            if self._stored:
                self._partial.discard()
            self._partial.__exit__(None, None, None)

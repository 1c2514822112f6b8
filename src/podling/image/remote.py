"""An image in a registry as a Source: its layers are downloaded and unpacked at the same time, and resumed where they broke."""

from __future__ import annotations

import os

from podling.config.auth import Credentials
from podling.errors import PodlingError
from podling.image import manifest
from podling.image.partials import FAILED, MORE, VERIFIED, Following, Interrupted, Partial
from podling.image.places import BlobSource, Found, LayerStream
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from podling.config.registries_d import SignaturePlaces
    from podling.image.manifest import Descriptor
    from podling.image.registry.client import Registry
    from podling.image.registry.ranges import Abilities, Ranges
    from podling.image.signatures.stored import Signature
    from podling.values.reference import Reference

_REPORT = 1 << 20                            # bytes between two reports of progress
_PATIENCE = 1.0                              # seconds for a download that is given up to notice it


class Access(Record):
    """How a registry is reached. ``retries`` and ``retry_delay`` (seconds, the same for each): None is the client's own."""

    insecure: bool = False
    cert_dir: str = ""
    credentials: Credentials | None = None
    retries: int | None = None
    retry_delay: float | None = None

    def open(self, host: str) -> Registry:
        """A client for this registry."""
        from podling.image.registry.client import Registry  # HTTP and TLS, 60 ms, are for whoever really goes there
        from podling.image.registry.connection import Patience

        patience = Patience()
        if self.retries is not None:
            patience = patience.replace(retries=self.retries)
        if self.retry_delay is not None:
            patience = patience.replace(first_delay=self.retry_delay, growth=1)
        return Registry(host, insecure=self.insecure, cert_dir=self.cert_dir, credentials=self.credentials, patience=patience)


class Remote(BlobSource):
    """One reference in a registry. ``reference`` is where it is fetched, ``name`` what it is called here (mirrors differ)."""

    transport = "docker"
    is_remote = True

    def __init__(self, reference: Reference, access: Access, graphroot: str, *, name: Reference,
                 places: SignaturePlaces | None = None) -> None:
        """``places``: where its signatures are; None: it is asked for none."""
        self.reference = reference
        self.graphroot = graphroot
        self.identity = str(name)
        self.wanted = name.without_tag()
        self.scope, self.shown = str(self.wanted), f"docker://{self.wanted}"
        self.access = access
        self.places = places
        self.registry = access.open(reference.registry)
        self._abilities: Abilities | None = None

    def top(self) -> tuple[bytes, str]:
        """The manifest or index of the tag or digest."""
        self.registry.ping()
        return self.registry.manifest(self.reference.repository, self.reference.digest or self.reference.tag or "latest")

    def signatures(self, digest: str, *, listed: bool) -> list[Signature]:
        """Those in the lookaside place, or that a registry of OpenShift has, and where the configuration says so those in the registry."""
        if self.places is None:
            return []
        where = str(self.reference.without_tag())
        found: list[Signature] = []
        base = self.places.lookaside(where)
        if self.registry.keeps_signatures:
            from podling.image.signatures import extension

            found = extension.read(self.registry, self.reference.repository, digest)
        elif base:
            from podling.image.signatures import lookaside

            found = lookaside.read(base, self.reference, digest, self.access)
        if self.places.attachments(where):
            from podling.image.signatures import attachments

            found += attachments.read(self.registry, self.reference.repository, digest)
        return found

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob or a manifest, by digest."""
        from podling.image.registry import blobs

        if descriptor.media_type in (*manifest.MANIFEST_TYPES, *manifest.INDEX_TYPES):
            return self.registry.manifest(self.reference.repository, descriptor.digest)[0]
        return blobs.read(self.registry, self.reference.repository, descriptor, limit)

    def prepare(self) -> None:
        """The client's part for blobs, and the decoder that most layers need."""
        import threading  # noqa: F401  before the fork, not in each child

        from podling.image.compression import preload
        from podling.image.registry import blobs  # noqa: F401

        preload()

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer; its download begins with the first read."""
        return Download(self, found.layers[number], progress)

    def ranges(self, found: Found, number: int) -> Ranges:
        """A layer's parts."""
        from podling.image.registry.ranges import Abilities, Ranges

        self._abilities = self._abilities or Abilities()
        return Ranges(self.registry, self.reference.repository, found.layers[number], self._abilities)

    def close(self) -> None:
        """Close the connections."""
        self.registry.close()


class Download(LayerStream):
    """A blob that a thread downloads into a partial file, read behind it; digest and size are checked by the download.

    1. The first read takes the blob's lock, which may mean to wait for another process, and starts the thread.
    2. The thread appends what comes and says MORE; at the end VERIFIED or FAILED. From then on it waits.
    3. Closing lets it go: it deletes the file if the layer is stored or what came was wrong, and frees the lock.
    """

    def __init__(self, remote: Remote, descriptor: Descriptor, progress: Callable[[int], None]) -> None:
        import threading  # what an image needs of which a layer is missing, and no push

        super().__init__(self._follow, f"reading blob {descriptor.digest} of {remote.identity}", None)
        self.remote = remote
        self.blob = descriptor
        self.resumed = False                 # some bytes are of an earlier run
        self._progress = progress
        self._reported = 0
        self._following: Following | None = None
        self._thread: threading.Thread | None = None
        self._error: PodlingError | OSError | None = None
        self._reader = -1
        self._keep = True
        self._released = threading.Event()

    def _follow(self, size: int) -> bytes:
        if self._following is None:
            self._following = self._begin()
        try:
            return self._following.read(size)
        except Interrupted:
            if self._error is None:
                raise
        raise self._error

    def _begin(self) -> Following:
        import threading

        partial = Partial(self.remote.graphroot, self.blob.digest, self.blob.size)
        partial.__enter__()
        try:
            partial.open()
            self.resumed = partial.resumed > 0
            self._reader, writer = os.pipe()
            reader = self._reader
            following = Following(partial.path, lambda: os.read(reader, 1))
            partial.on_growth = lambda: self._grown(partial, writer)
            self._thread = threading.Thread(target=self._download, args=(partial, writer), daemon=True)
            self._thread.start()
        except BaseException:
            partial.__exit__(None, None, None)
            raise
        return following

    def _grown(self, partial: Partial, writer: int) -> None:
        """Runs in the thread; a reader that is gone ends the download (BrokenPipeError)."""
        os.write(writer, MORE)
        if partial.size - self._reported >= _REPORT:
            self._reported = partial.size
            self._progress(partial.size)

    def _download(self, partial: Partial, writer: int) -> None:
        """The thread."""
        from podling.image.registry import blobs

        try:
            blobs.download(self.remote.registry, self.remote.reference.repository, self.blob, partial)
            word = VERIFIED
        except (PodlingError, OSError) as error:
            self._error = error
            word = FAILED
        try:
            os.write(writer, word)
        except BrokenPipeError:
            pass
        self._released.wait()
        if not self._keep:
            partial.discard()
        partial.__exit__(None, None, None)
        os.close(writer)

    def fetch(self, start: int, end: int) -> bytes:
        """Some of the bytes that have come."""
        return b"" if self._following is None else self._following.at(start, end)

    def finish(self) -> None:
        """The layer is stored: the partial file goes."""
        if self._following is not None:
            super().finish()
        self._keep = False

    def forget(self) -> None:
        """What came is wrong: the next download begins at its beginning."""
        self._keep = False

    def close(self) -> None:
        """End the download; what came of it stays, unless the layer is stored."""
        if self._following is not None:
            self._following.close()
            os.close(self._reader)
            self._following = None
        self._released.set()
        if self._thread is not None:
            # one that still waits for the network ends with this process, or with the next byte that comes
            self._thread.join(_PATIENCE)

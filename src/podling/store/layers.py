"""Layers: the unpacked changes that images are made of, shared by all images that have them.

    <graphroot>/layers/<key>/diff         one layer as an overlay lower directory
    <graphroot>/layers/<key>/tar-split    what is needed to write its tar again
    <graphroot>/layers/<key>/replaced     only where its tar names a file twice: what the later one replaced
    <graphroot>/layers/<key>/root         only where its tar describes the root directory: an empty mark
    <graphroot>/layers/<key>/chunks       only where it came with a table of contents: what it holds, by digest
    <graphroot>/layers/.tmp-*             a layer being unpacked, or what a killed process left of one
    <graphroot>/locks/layer-<hex>         held by who unpacks the layer with this digest, so that nobody else does
    <graphroot>/locks/layers              shared by who relies on a layer that no image has yet, exclusive for who deletes

The key is the hex part of the digest of the uncompressed tar. A tar that leaves out a parent directory takes that directory's
owner, mode and time from the layers below; it is another layer above other layers, and its key is the digest of the chain.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from podling.errors import NotFound
from podling.linux.files import make_directories
from podling.linux.locks import Lock
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podling.database import Database
    from podling.linux.locks import Held

TEMPORARY = ".tmp-"
ROOT_MARK = "root"
_COLUMNS = "id, key, diff_id, size, tar_size"


class Layer(Record):
    """A layer that is there. ``path`` is its overlay directory; sizes are bytes: of its files, of its uncompressed tar."""

    id: int
    key: str
    diff_id: str
    size: int
    tar_size: int
    path: str


class UnpackRules(Record):
    """How this process may unpack: fields of :class:`podling.store.archive.extract.UnpackOptions`."""

    userxattr: bool = False
    skip_devices: bool = False
    ignore_chown_errors: bool = False


class Layers:
    """The layers of one store.

    Whoever asks for layers to build an image on keeps them from being deleted until :meth:`release`, or until the process and
    the children it has forked meanwhile have ended.
    """

    def __init__(self, database: Database, graphroot: str, rules: UnpackRules | None = None) -> None:
        self.database = database
        self.rules = rules or UnpackRules()
        self.graphroot = graphroot
        self.directory = f"{graphroot}/layers"
        self.locks = f"{graphroot}/locks"
        self._held: Held | None = None
        self._mutex = allocate_lock()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, diff_id: str, parents: Sequence[Layer] = ()) -> Layer | None:
        """The layer with this content for a place on top of ``parents`` (lowest first), None where it is not there.

        It, and all others, are held until :meth:`release`.
        """
        self.hold()
        keys = [hex_of(diff_id)]
        if self.is_chained(diff_id):
            keys.append(chain_key(diff_id, parents))
        for key in keys:
            found = self.with_key(key)
            if found is not None:
                return found
        return None

    def with_key(self, key: str) -> Layer | None:
        """The layer in the directory of this name, not held."""
        row = self.database.row(f"SELECT {_COLUMNS} FROM layers WHERE key = ?", key)  # noqa: S608
        return None if row is None else self._layer(row)

    def is_chained(self, diff_id: str) -> bool:
        """Whether a layer of this content is known that depends on the layers below it."""
        return self.database.row("SELECT 1 FROM layers WHERE diff_id = ? AND key <> ?", diff_id, hex_of(diff_id)) is not None

    def get(self, layer_id: int) -> Layer:
        """The layer of this number."""
        row = self.database.row(f"SELECT {_COLUMNS} FROM layers WHERE id = ?", layer_id)  # noqa: S608
        if row is None:
            raise NotFound(f"layer {layer_id}: layer not known")
        return self._layer(row)

    def of_image(self, image_id: str) -> tuple[Layer, ...]:
        """The layers of an image, lowest first."""
        rows = self.database.rows(
            f"SELECT {_COLUMNS} FROM image_layers JOIN layers ON id = layer_id WHERE image_id = ? ORDER BY position",  # noqa: S608
            image_id)
        return tuple([self._layer(row) for row in rows])

    def path(self, layer: Layer) -> str:
        """The layer's directory for overlay."""
        return layer.path

    def _layer(self, row: tuple) -> Layer:  # type: ignore[type-arg]
        number, key, diff_id, size, tar_size = row
        return Layer(id=number, key=key, diff_id=diff_id, size=size, tar_size=tar_size, path=f"{self.directory}/{key}/diff")

    def open_tar(self, layer: Layer, *, verify: bool = True) -> Iterator[bytes]:
        """The layer's tar, byte for byte as it came, in chunks of about a megabyte.

        Corrupt, naming the file, where the layer's directory was changed; without ``verify`` the digest of the whole is left to
        the caller.
        """
        from podling.store.archive.pack import pack  # hashlib and zlib are not for `run` and `ps`

        return pack(os.path.dirname(layer.path), verify=verify)

    # --- adding -------------------------------------------------------------------------------------------------------

    def add(self, stream: Callable[[int], bytes], *, diff_id: str | None = None,
            parents: Sequence[Layer] | Callable[[], Sequence[Layer]] = (), progress: Callable[[int], object] | None = None,
            max_bytes: int | None = None, sync: bool = True, chunks: Callable[[], bytes] | None = None) -> Layer:
        """Unpack a layer and keep it; if it is there already, or comes there meanwhile, nothing is read.

        ``stream(n)`` gives up to ``n`` bytes of the uncompressed tar, b"" at the end; it is first called when the layer is
        really needed. ``diff_id`` is the digest that it must have, None where nobody knows yet. ``parents`` are the layers
        below, lowest first; a function is called only if the layer leaves out directories, and may wait for them.
        ``progress`` is called with the number of bytes of each chunk. Not to be called within a transaction; any thread may
        call it.

        ``chunks`` is called once the layer is unpacked and gives the file of this name (:mod:`podling.store.chunks`), b"" for none.

        ``max_bytes``: a longer tar is Corrupt. The layer is held as by :meth:`find`. Corrupt for a wrong digest or tar; on
        failure nothing of it remains. ``sync=False``: a power cut may damage the layer.
        """
        from podling.store.adding import add, counted  # as above

        read = stream if progress is None else counted(stream, progress)
        return add(self, read, diff_id=diff_id, parents=parents, max_bytes=max_bytes, sync=sync, chunks=chunks)

    def reuse(self, diff_id: str, parents: Sequence[Layer]) -> Layer | None:
        """As :meth:`find`; a layer of this content above other parents is made again for these, without a download."""
        found = self.find(diff_id, parents)
        if found is not None:
            return found
        row = self.database.row(f"SELECT {_COLUMNS} FROM layers WHERE diff_id = ? LIMIT 1", diff_id)  # noqa: S608
        if row is None:
            return None
        tar = self.open_tar(self._layer(row), verify=False)
        return self.add(lambda _: next(tar, b""), diff_id=diff_id, parents=parents)

    # --- holding ------------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep all layers from being deleted until :meth:`release`."""
        with self._mutex:
            if self._held is None:
                make_directories(self.locks, 0o700)
                held = Lock(self.lock_path("layers")).shared()
                held.__enter__()
                self._held = held

    def release(self) -> None:
        """Let go; layers that no image has may be deleted from now on."""
        with self._mutex:
            if self._held is not None:
                self._held.__exit__(None, None, None)
                self._held = None

    def lock_path(self, name: str) -> str:
        """The file of one of the store's locks."""
        return f"{self.locks}/{name}"


def hex_of(digest: str) -> str:
    """The hex part of a digest; it becomes a file name, so nothing else will do."""
    hexadecimal = digest.partition(":")[2]
    if not hexadecimal or hexadecimal.strip("0123456789abcdef"):
        raise ValueError(f"{digest!r} is no digest")
    return hexadecimal


def chain_key(diff_id: str, parents: Sequence[Layer]) -> str:
    """The key of a layer that depends on those below."""
    from hashlib import sha256  # 3 ms, only for images that have such layers

    return sha256("\n".join([*(parent.key for parent in parents), diff_id]).encode()).hexdigest()

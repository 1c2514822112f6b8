"""Adding a layer: unpacked aside, checked, synced, renamed, and only then known.

A kill or a power cut at any instant leaves either the layer whole and known, or a directory that garbage collection deletes.
"""

from __future__ import annotations

import os
import time

from podling import log
from podling.database import Database
from podling.errors import Corrupt, InUse, PodlingError, explain
from podling.linux import syscalls
from podling.linux.files import aside, make_directories, remove_tree, sync_directory, unique_name, write_atomic
from podling.linux.locks import Lock
from podling.store.archive.extract import UnpackOptions
from podling.store.archive.split import DIFF
from podling.store.archive.unpack import Unpacked, unpack
from podling.store.chunks import FILE as CHUNKS
from podling.store.layers import ROOT_MARK, TEMPORARY, Layer, Layers, chain_key, hex_of
from podling.store.stack import is_directory, lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podling.linux.locks import Held

    Parents = Sequence[Layer] | Callable[[], Sequence[Layer]]

# Seconds to wait for another process that unpacks the same layer, then the work is done twice. It may be waiting for us: two
# images can have the same two layers in another order, and a layer that leaves out directories waits for those below it.
_PATIENCE = 600.0
_OWN_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux")


def add(layers: Layers, read: Callable[[int], bytes], *, diff_id: str | None, parents: Parents, max_bytes: int | None,
        sync: bool, chunks: Callable[[], bytes] | None = None) -> Layer:
    """See :meth:`podling.store.layers.Layers.add`."""
    layers.hold()
    database = Database(layers.database.path)   # the caller may be another thread than the one that opened it
    try:
        options = UnpackOptions(max_bytes=max_bytes, **layers.rules.__dict__)
        adding = _Adding(Layers(database, layers.graphroot), parents, options, sync=sync, chunks=chunks)
        if diff_id is None:
            return adding.unpack(read, None)
        held = _wait_for_others(layers.lock_path(f"layer-{hex_of(diff_id)}"))
        try:
            return adding.find_or_unpack(read, diff_id)
        finally:
            if held is not None:
                held.remove()                   # who waits for it takes a new one
                held.__exit__(None, None, None)
    finally:
        database.close()


def mend(layers: Layers, layer: Layer, read: Callable[[int], bytes], parents: Parents) -> None:
    """Bring a damaged layer's content back from its tar; what has it mounted keeps what it had. Corrupt for another tar."""
    layers.hold()
    held = _wait_for_others(layers.lock_path(f"layer-{hex_of(layer.diff_id)}"))
    try:
        _Adding(layers, parents, UnpackOptions(**layers.rules.__dict__), sync=True).mend(read, layer)
    finally:
        if held is not None:
            held.remove()
            held.__exit__(None, None, None)


def _wait_for_others(path: str) -> Held | None:
    """The lock of a layer, None where another process has held it for too long."""
    held = Lock(path).exclusive(timeout=_PATIENCE)
    try:
        held.__enter__()
    except InUse as error:
        log.info(f"not waiting any longer: {explain(error)}")
        return None
    return held


def counted(stream: Callable[[int], bytes], progress: Callable[[int], object]) -> Callable[[int], bytes]:
    """The stream; ``progress`` is told the size of each chunk."""

    def read(size: int) -> bytes:
        chunk = stream(size)
        progress(len(chunk))
        return chunk

    return read


class _Adding:
    """One layer on its way into the store."""

    def __init__(self, layers: Layers, parents: Parents, options: UnpackOptions, *, sync: bool,
                 chunks: Callable[[], bytes] | None = None) -> None:
        self.layers = layers
        self.options = options
        self.sync = sync
        self._chunks = chunks
        self._parents = parents
        self._chain: Sequence[Layer] | None = None

    @property
    def chain(self) -> Sequence[Layer]:
        """The layers below, waited for if need be."""
        if self._chain is None:
            self._chain = self._parents() if callable(self._parents) else self._parents
        return self._chain

    def find_or_unpack(self, read: Callable[[int], bytes], diff_id: str) -> Layer:
        """The layer; another process may have been quicker."""
        found = self._find(diff_id)
        return self.unpack(read, diff_id) if found is None else found

    def _find(self, diff_id: str) -> Layer | None:
        for key in (hex_of(diff_id), *([chain_key(diff_id, self.chain)] if self.layers.is_chained(diff_id) else ())):
            found = self.layers.with_key(key)
            if found is not None:
                return found
        return None

    def unpack(self, read: Callable[[int], bytes], diff_id: str | None) -> Layer:
        """Unpack the layer aside and put it in its place."""
        make_directories(self.layers.directory, 0o700)
        temporary = f"{self.layers.directory}/{TEMPORARY}{unique_name()}"
        os.mkdir(temporary, 0o700)
        try:
            key, unpacked = self._prepare(read, diff_id, temporary)
            return self._place(temporary, key, unpacked)
        finally:
            remove_tree(temporary)              # unless it has its name by now

    def _prepare(self, read: Callable[[int], bytes], diff_id: str | None, temporary: str) -> tuple[str, Unpacked]:
        """Make all of the layer in a directory of its own, on the disk; (its key, what was in its tar)."""
        unpacked = self._unpack(read, temporary)
        if diff_id is not None and unpacked.diff_id != diff_id:
            raise Corrupt(f"layer {diff_id} does not match its digest: its tar has the digest {unpacked.diff_id}")
        key = hex_of(unpacked.diff_id)
        if unpacked.missing_parents:
            key = chain_key(unpacked.diff_id, self.chain)
            inherit(f"{temporary}/{DIFF}", unpacked.missing_parents, [layer.path for layer in reversed(self.chain)])
        if unpacked.has_root:
            os.close(os.open(f"{temporary}/{ROOT_MARK}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        index = self._chunks() if self._chunks is not None else b""
        if index:
            write_atomic(f"{temporary}/{CHUNKS}", index)
        if self.sync:
            _sync(temporary)
        return key, unpacked

    def mend(self, read: Callable[[int], bytes], layer: Layer) -> None:
        """Make a known layer anew and exchange it, in one step, with what is in its place; that is deleted."""
        place, temporary = os.path.dirname(layer.path), f"{self.layers.directory}/{TEMPORARY}{unique_name()}"
        os.mkdir(temporary, 0o700)
        try:
            key, _ = self._prepare(read, layer.diff_id, temporary)
            if key != layer.key:
                raise Corrupt(f"layer {layer.diff_id} does not fit on the layers below it")
            if os.path.lexists(place):
                syscalls.renameat2(temporary, place, syscalls.RENAME_EXCHANGE)
            else:
                os.rename(temporary, place)
            sync_directory(self.layers.directory)
        finally:
            remove_tree(temporary)

    def _unpack(self, read: Callable[[int], bytes], temporary: str) -> Unpacked:
        fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return unpack(read, fd, self.options)
        finally:
            os.close(fd)

    def _place(self, temporary: str, key: str, unpacked: Unpacked) -> Layer:
        """Give the directory its name and write its row, in one transaction; whoever was quicker wins."""
        layers = self.layers
        database = layers.database
        place = f"{layers.directory}/{key}"
        rubbish = f"{layers.graphroot}/rubbish"
        with database.transaction():
            found = layers.with_key(key)
            if found is not None:
                return found
            if os.path.lexists(place):          # without a row: a killed process left it
                make_directories(rubbish, 0o700)
                aside(place, rubbish)
            os.rename(temporary, place)
            if self.sync:
                sync_directory(layers.directory)
            database.run("INSERT INTO layers (key, diff_id, size, tar_size, created) VALUES (?, ?, ?, ?, ?)",
                         key, unpacked.diff_id, unpacked.size, unpacked.tar_size, time.time_ns())
            added = layers.with_key(key)
        if added is None:
            raise PodlingError(f"layer {unpacked.diff_id}: it was not stored")
        return added


def _sync(path: str) -> None:
    """Bring the layer to the disk before anybody is told of it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)


def inherit(directory: str, missing: Sequence[str], lowers: Sequence[str]) -> None:
    """Give directories that the layer's tar left out what they have in the layers below (topmost first)."""
    for path in missing:
        found = lookup(lowers, path)
        if found and is_directory(found[0]):
            _copy_attributes(found[0], f"{directory}/{path}")


def _copy_attributes(source: str, target: str) -> None:
    """Owner, mode, extended attributes and time of a directory."""
    status = os.stat(source, follow_symlinks=False)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, status.st_mode & 0o7777)
        for name in os.listxattr(source, follow_symlinks=False):
            if not name.startswith(_OWN_XATTRS):
                os.setxattr(fd, name, os.getxattr(source, name, follow_symlinks=False))
        os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
    finally:
        os.close(fd)

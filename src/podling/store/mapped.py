"""Layers with the owners that a container's user namespace gives them.

Where the kernel can, as idmapped mounts, which last only until the overlay is mounted on them:

    <graphroot>/containers/<id>/mapped/<number>

elsewhere (an ordinary user's store, an old kernel) as copies with changed owners, shared by all containers that have the same layer
and the same map, and deleted by the garbage collection that deletes the layer:

    <graphroot>/mapped/<layer's key>-<map>/diff
    <graphroot>/mapped/.tmp-*                    a copy being made, or what a killed process left of one

A copy shares its blocks with the layer where the file system can (reflink). Layers of another engine's store have no key of ours;
their copies are the container's own, in its directory.
"""

from __future__ import annotations

import errno
import os

from podling import log
from podling.errors import PodlingError
from podling.linux import mounts, nested, syscalls
from podling.linux.files import aside, make_directories, remove_tree, unique_name
from podling.linux.locks import Lock
from podling.linux.trees import copy_content
from podling.record import Record
from podling.store.layers import TEMPORARY
from podling.values import idmaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from podling.values.idmaps import Span

_OVERLAY_ON_IDMAPPED = (5, 19)               # the first Linux whose overlay takes idmapped lower layers
_CANNOT = (errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Maps(Record):
    """A container's maps, and the path of its user namespace; "" where it has none at the moment."""

    uids: tuple[Span, ...]
    gids: tuple[Span, ...]
    namespace: str = ""

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """The engine's ids for a layer's; -1 (leave it as it is) for one that the container does not have."""
        found = idmaps.to_outside(self.uids, uid), idmaps.to_outside(self.gids, gid)
        return (-1 if found[0] is None else found[0]), (-1 if found[1] is None else found[1])


class MappedLayers:
    """``with MappedLayers(...) as lowers:`` the directories to mount for the container, in the order of ``lowers``."""

    def __init__(self, graphroot: str, container: str, lowers: Sequence[str], maps: Maps, *, copied: bool = False) -> None:
        """``container``: the container's directory in the graph root, which exists. ``copied``: never as mounts."""
        self.graphroot = graphroot
        self.lowers = list(lowers)
        self.maps = maps
        self.copied = copied
        self._container = container
        self._points = f"{container}/mapped"

    def __enter__(self) -> list[str]:
        if not self.copied and _kernel() >= _OVERLAY_ON_IDMAPPED and self._show():
            return [f"{self._points}/{number}" for number in range(len(self.lowers))]
        return copies(self.graphroot, self._container, self.lowers, self.maps)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hide()

    def _show(self) -> bool:
        if self.maps.namespace:
            namespace = os.open(self.maps.namespace, os.O_RDONLY | os.O_CLOEXEC)
        else:
            namespace = nested.temporary(idmaps.kernel_text(self.maps.uids), idmaps.kernel_text(self.maps.gids))
        try:
            for number, lower in enumerate(self.lowers):
                make_directories(f"{self._points}/{number}", 0o700)
                nested.show_mapped(lower, f"{self._points}/{number}", namespace)
        except OSError as error:
            self._hide()
            if error.errno not in _CANNOT:
                raise PodlingError(f"mounting {lower} with the container's ids") from error
            log.debug(f"layers are copied for the container's ids: {error}")
            return False
        finally:
            os.close(namespace)
        return True

    def _hide(self) -> None:
        if os.path.isdir(self._points):
            mounts.unmount_all(self._points)
            remove_tree(self._points)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(letter for letter in minor if letter.isdigit()) or "0")


# --- copies -----------------------------------------------------------------------------------------------------------


def copies(graphroot: str, container: str, lowers: Sequence[str], maps: Maps) -> list[str]:
    """The directories of copies of the layers with the container's owners; those that are missing are made, several at once."""
    directory = f"{graphroot}/mapped"
    make_directories(directory, 0o700)
    make_directories(f"{graphroot}/locks", 0o700)
    places = [_place(graphroot, container, lower, maps) for lower in lowers]
    missing = [(lower, place) for lower, place in zip(lowers, places, strict=True) if not os.path.isdir(place)]
    if missing:
        log.debug(f"copying {len(missing)} layers with the owners of the container's user namespace")
        with Lock(f"{graphroot}/locks/mapped").shared():     # garbage collection waits meanwhile
            _make_all(graphroot, missing, maps)
    return [f"{place}/diff" for place in places]


def forget(graphroot: str, key: str) -> None:
    """Delete the copies of a layer that was made anew; the next container with such ids makes them again."""
    directory = f"{graphroot}/mapped"
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        if name.partition("-")[0] == key:
            moved = aside(f"{directory}/{name}", directory)
            if moved is not None:
                remove_tree(moved)


def _place(graphroot: str, container: str, lower: str, maps: Maps) -> str:
    layer = os.path.dirname(lower)
    if os.path.dirname(layer) != f"{graphroot}/layers":
        from hashlib import sha256  # 3 ms, for stores of other engines alone

        return f"{container}/layers/{sha256(lower.encode()).hexdigest()}"
    return f"{graphroot}/mapped/{os.path.basename(layer)}-{_name(maps)}"


def _name(maps: Maps) -> str:
    """A map as part of a file name: readable where it is short."""
    sides = [",".join(idmaps.texts(maps.uids)), ",".join(idmaps.texts(maps.gids))]
    text = "+".join(dict.fromkeys(sides)).replace(":", ".")
    if len(text) <= 160:
        return text
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()


def _make_all(graphroot: str, missing: Sequence[tuple[str, str]], maps: Maps) -> None:
    """Children make the copies, as many at once as there are processors: each layer is a job of its own."""
    workers = min(len(missing), os.cpu_count() or 1)
    if workers == 1:
        for lower, place in missing:
            _make(graphroot, lower, place, maps)
        return
    pids = []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for lower, place in missing[worker::workers]:
                    _make(graphroot, lower, place, maps)
                status = 0
            except (OSError, PodlingError) as error:
                log.debug(f"copying layers: {error}")
            finally:
                os._exit(status)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    for lower, place in missing:                 # what a child failed at is tried here, where its error is told
        if not os.path.isdir(place):
            _make(graphroot, lower, place, maps)


def _make(graphroot: str, lower: str, place: str, maps: Maps) -> None:
    """Copy one layer aside, sync, and give it its name; whoever comes second waits for the first."""
    with Lock(f"{graphroot}/locks/layer-{os.path.basename(place)[:240]}").exclusive() as held:
        held.remove()                            # nobody needs it afterwards: the copy is there
        if os.path.isdir(place):
            return
        aside = f"{graphroot}/mapped/{TEMPORARY}{unique_name()}"
        try:
            os.mkdir(aside, 0o700)
            os.mkdir(f"{aside}/diff", 0o755)
            _copy(lower, f"{aside}/diff", maps)
            make_directories(os.path.dirname(place), 0o700)
            os.rename(aside, place)
        except OSError as error:
            hint = None
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = "a container with other ids needs a copy of its image; free some space, or leave out --userns"
            raise PodlingError(f"copying the layer {lower} for the container's ids", hint=hint) from error
        finally:
            remove_tree(aside)


def _copy(lower: str, target: str, maps: Maps) -> None:
    source_fd = os.open(lower, _DIRECTORY)
    try:
        target_fd = os.open(target, _DIRECTORY)
        try:
            copy_content(source_fd, target_fd, owner=maps.owner)
            syscalls.syncfs(target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)

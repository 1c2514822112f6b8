"""Where the root of a container with ids of its own reaches its root file system while the runtime makes it.

The runtime then works as the container's root, who cannot go through the engine's private directories, nor through an ordinary
user's home. So the root file system is also at ``<place>/podling-<id>/root``, in a directory that is the container's root's alone. It is
unmounted before the container's process starts; runc goes into the empty directory for each ``exec``.

Root's place is /run. An ordinary user has none that everybody may go through and nobody else can write to: it is a tmpfs that only the
user's mount namespace has, on a directory that is closed to the user anyway, so that it hides nothing. ``<runroot>/stages`` is a link to
it. It goes with its last stage.
"""

from __future__ import annotations

import os

from podling.engine.idmaps import outside, spans_of
from podling.errors import PodlingError
from podling.linux import mounts
from podling.linux.files import remove_tree, unique_name
from podling.values import idmaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.linux.locks import Held
    from podling.model import ContainerConfig

_CLOSED = ("/lost+found", "/var/lib/private", "/var/lib/machines", "/root")     # root's alone on most hosts
_TEMPORARY = "/tmp/"


def stage(engine: Engine, config: ContainerConfig, rootfs: str) -> str:
    """Mount the root file system where the container's root reaches it; where, "" if it reaches it anyhow."""
    if _reaches_all(config):
        return ""
    unstage(engine, config)
    directory = keep(engine, config)
    try:
        mounts.bind(rootfs, directory, recursive=False)
        os.chown(os.path.dirname(directory), *outside(config, 0, 0))
    except OSError as error:
        raise PodlingError(f"mounting {rootfs} for the container's root") from error
    return directory


def keep(engine: Engine, config: ContainerConfig) -> str:
    """Make that directory, also where somebody has tidied it away; where. It is not needed where the container's root reaches all."""
    if _reaches_all(config):
        return ""
    with _lock(engine):
        directory = f"{_make_place(engine)}/podling-{config.id}/root"
        os.makedirs(directory, 0o700, exist_ok=True)
    return directory


def unstage(engine: Engine, config: ContainerConfig) -> None:
    """Take all of that away again; idempotent."""
    if _reaches_all(config):
        return
    with _lock(engine):
        place = _place(engine)
        directory = f"{place}/podling-{config.id}"
        if place and os.path.isdir(directory):
            mounts.unmount_all(directory)
            remove_tree(directory)
        if place and engine.rootless and not os.listdir(place):
            mounts.unmount(place, lazy=True)
            _forget(engine)


def _reaches_all(config: ContainerConfig) -> bool:
    """Whether the engine's own ids are the container's too: then its root may override the modes of the engine's directories."""
    return all(idmaps.to_inside(spans, 0) is not None for spans in spans_of(config))


# --- the place --------------------------------------------------------------------------------------------------------


def _lock(engine: Engine) -> Held:
    return engine.lock("user", "stages").exclusive()


def _link(engine: Engine) -> str:
    return f"{engine.paths.runroot}/stages"


def _place(engine: Engine) -> str:
    """The directory of the stages; "" where a user has none now, or had it in a mount namespace that is gone."""
    if not engine.rootless:
        return "/run"
    try:
        place = os.readlink(_link(engine))
    except FileNotFoundError:
        return ""
    return place if mounts.is_mounted(place) and not _is_closed(place) else ""


def _make_place(engine: Engine) -> str:
    place = _place(engine)
    if place:
        return place
    _forget(engine)
    # The name in /tmp is a new one each time, which nobody can foresee.
    place = next((path for path in _CLOSED if _is_closed(path)), f"{_TEMPORARY}podling-{unique_name()}")
    os.symlink(place, _link(engine))
    if place.startswith(_TEMPORARY):
        os.mkdir(place, 0o700)
    mounts.tmpfs(place, size=1 << 20, mode=0o711, options=("nosuid", "nodev"))
    return place


def _is_closed(path: str) -> bool:
    """Whether it is a directory that this process can neither list nor go through, so that nothing is missed that is covered."""
    return os.path.isdir(path) and not os.path.islink(path) and not os.access(path, os.R_OK) and not os.access(path, os.X_OK)


def _forget(engine: Engine) -> None:
    """Take the link away, and what it names in /tmp."""
    try:
        place = os.readlink(_link(engine))
    except FileNotFoundError:
        return
    if place.startswith(_TEMPORARY):
        remove_tree(place)
    os.unlink(_link(engine))

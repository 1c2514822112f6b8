"""Whether a container is up, and the mount of its root file system: what a start shares with whoever looks inside from outside."""

from __future__ import annotations

import os

from podling.engine.engine import Engine
from podling.model import ContainerConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.store.mapped import Maps


def is_up(engine: Engine, container_id: str) -> bool:
    """Whether anything of a start is left to take down."""
    return os.path.exists(engine.paths.run(container_id))


def mount_root(engine: Engine, config: ContainerConfig, user_namespace: str = "") -> str:
    """Mount the container's root file system, where it is not; where. ``user_namespace``: the path of the container's, if it is up."""
    if config.rootfs and not config.rootfs.endswith(":O"):
        return config.rootfs
    lowers = [config.rootfs[:-2]] if config.rootfs else engine.images.layer_directories(config.image_id, config.image_store)
    return engine.filesystems.mount(config.id, lowers, maps=layer_maps(config, user_namespace))


def layer_maps(config: ContainerConfig, user_namespace: str) -> Maps | None:
    """What gives an image's files the container's owners; None for a container without ids of its own."""
    if not config.uid_map:
        return None
    from podling.engine import idmaps

    return idmaps.layer_maps(config, user_namespace)

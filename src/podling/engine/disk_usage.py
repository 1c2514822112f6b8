"""``system df``: what images, containers and volumes take on the disk, and what of it nothing needs.

Layers are counted once, however many images share them; their sizes were written when they were made, so that nothing is walked
but the containers' own directories and the volumes.
"""

from __future__ import annotations

from podling.engine import volumes
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.model import Container, Image, Volume

_RUNNING = ("running", "paused", "stopping")


class Usage(Record):
    """One kind of thing; sizes in bytes."""

    kind: str
    total: int
    active: int
    size: int
    reclaimable: int


class ImageUsage(Record):
    """An image: its size, what of it other images have too, what it has alone, and how many containers use it."""

    image: Image
    size: int
    shared: int
    unique: int
    containers: int


class ContainerUsage(Record):
    """A container: the bytes that it has written, and its volumes."""

    container: Container
    status: str
    size: int
    volumes: int


class VolumeUsage(Record):
    """A volume: its bytes, and how many containers have it."""

    volume: Volume
    size: int
    links: int


def summary(engine: Engine) -> list[Usage]:
    """Images, containers, volumes."""
    containers, found_volumes = of_containers(engine), of_volumes(engine)
    running = [one for one in containers if one.status in _RUNNING]
    linked = [one for one in found_volumes if one.links]
    container_size, volume_size = sum(one.size for one in containers), sum(one.size for one in found_volumes)
    return [_images(engine),
            Usage(kind="Containers", total=len(containers), active=len(running), size=container_size,
                  reclaimable=container_size - sum(one.size for one in running)),
            Usage(kind="Local Volumes", total=len(found_volumes), active=len(linked), size=volume_size,
                  reclaimable=volume_size - sum(one.size for one in linked))]


_USED = "SELECT local_image FROM containers WHERE local_image IS NOT NULL UNION SELECT image_id FROM container_images"


def _images(engine: Engine) -> Usage:
    database = engine.database
    layers = _number(engine, "SELECT sum(size) FROM layers")
    kept = _number(engine, f"SELECT sum(size) FROM layers WHERE id IN (SELECT layer_id FROM image_layers WHERE image_id IN ({_USED}))")  # noqa: S608
    words = _number(engine, "SELECT sum(length(config)) FROM images") + _number(engine, "SELECT sum(length(content)) FROM image_manifests")
    used = _number(engine, f"SELECT sum(length(config)) FROM images WHERE id IN ({_USED})")  # noqa: S608
    used += _number(engine, f"SELECT sum(length(content)) FROM image_manifests WHERE image_id IN ({_USED})")  # noqa: S608
    total = len(database.rows("SELECT 1 FROM images"))
    active = len(database.rows(f"SELECT 1 FROM images WHERE id IN ({_USED})"))  # noqa: S608
    return Usage(kind="Images", total=total, active=active, size=layers + words, reclaimable=layers - kept + words - used)


def _number(engine: Engine, query: str, *values: str) -> int:
    row = engine.database.row(query, *values)
    return int(row[0] or 0) if row else 0


def of_images(engine: Engine) -> list[ImageUsage]:
    """Each image of our own store."""
    found = []
    for image in engine.images.list():
        if image.store:
            continue
        size = _number(engine, "SELECT sum(size) FROM layers WHERE id IN (SELECT layer_id FROM image_layers WHERE image_id = ?)", image.id)
        shared = _number(engine, "SELECT sum(size) FROM layers WHERE id IN (SELECT layer_id FROM image_layers WHERE image_id = ?1 "
                         "INTERSECT SELECT layer_id FROM image_layers WHERE image_id <> ?1)", image.id)
        words = len(engine.images.config_bytes(image)) + sum(len(one.content) for one in engine.images.manifests(image))
        found.append(ImageUsage(image=image, size=size + words, shared=shared, unique=size + words - shared,
                                containers=len(engine.images.containers_using(image.id))))
    return found


def of_containers(engine: Engine) -> list[ContainerUsage]:
    """Each container."""
    return [ContainerUsage(container=container, status=state.status, size=engine.filesystems.size(container.id),
                           volumes=_number(engine, "SELECT count(*) FROM container_volumes WHERE container_id = ?", container.id))
            for container, state in engine.containers.list_with_states()]


def of_volumes(engine: Engine) -> list[VolumeUsage]:
    """Each volume."""
    return [VolumeUsage(volume=volume, size=volumes.disk_usage(volume), links=len(engine.containers.using_volume(volume.name)))
            for volume in volumes.all_volumes(engine)]

"""``system prune``: everything goes that nothing uses."""

from __future__ import annotations

import time

from podling.engine import disk_usage, images, volumes
from podling.engine.networks import definitions
from podling.engine.options import RemoveOptions
from podling.engine.remove import remove
from podling.engine.select import label_matches
from podling.errors import InvalidArgument, NoSuchContainer, PodlingError
from podling.record import Record
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.engine.engine import Engine
    from podling.model import Container

FILTERS = ("label", "label!", "until")
_ENDED = ("created", "exited")


class Pruned(Record):
    """What went, and the bytes that it took."""

    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    reclaimed: int = 0


def check(filters: dict[str, tuple[str, ...]]) -> None:
    """InvalidArgument for a filter that not everything has."""
    for name in filters:
        if name not in FILTERS:
            raise InvalidArgument(f"{name} is an invalid filter", hint=f"the filters are: {', '.join(FILTERS)}")


def prune(engine: Engine, filters: dict[str, tuple[str, ...]], *, every: bool = False, with_volumes: bool = False) -> Pruned:
    """Delete stopped containers, unused networks, images without a name (``every``: without a container), and volumes."""
    check(filters)
    containers, freed = prune_containers(engine, filters)
    gone = definitions.prune(engine, filters)
    before = disk_usage.summary(engine)[0].size
    deleted = images.prune(engine, filters, every=every)
    freed += max(0, before - disk_usage.summary(engine)[0].size)
    removed = volumes.prune(engine, {name: values for name, values in filters.items() if name != "until"}) if with_volumes else []
    return Pruned(containers=tuple(containers), networks=tuple(gone), images=tuple(deleted),
                  volumes=tuple(name for name, _ in removed), reclaimed=freed + sum(size for _, size in removed))


def prune_containers(engine: Engine, filters: dict[str, tuple[str, ...]]) -> tuple[list[str], int]:
    """Delete the containers that do not run; (their ids, the bytes that they had written)."""
    matches = _matcher(filters)
    removed, freed = [], 0
    for container, state in engine.containers.list_with_states():
        if state.status not in _ENDED or not matches(container):
            continue
        size = engine.filesystems.size(container.id)
        try:
            remove(engine, container, RemoveOptions())
        except (NoSuchContainer, PodlingError):
            continue                             # it was started, or another one needs it
        removed.append(container.id)
        freed += size
    return removed, freed


def _matcher(filters: dict[str, tuple[str, ...]]) -> Callable[[Container], bool]:
    limits = [units.parse_time(value, now=time.time_ns()) for value in filters.get("until", ())]
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())

    def matches(container: Container) -> bool:
        return (all(container.created < limit for limit in limits) and all(label_matches(container.labels, text) for text in wanted)
                and not any(label_matches(container.labels, text) for text in unwanted))

    return matches

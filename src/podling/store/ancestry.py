"""Which image was built on which, told as Podman tells it: by layers and history; and the history itself."""

from __future__ import annotations

from podling import jsontext
from podling.errors import InvalidArgument
from podling.record import Record
from podling.values.units import parse_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from podling.database import Database

    Chains = dict[str, tuple[int, ...]]


class HistoryEntry(Record):
    """One step of an image's making. ``size``: bytes of the tar of the layer that it made, 0 where it made none."""

    created: int = 0
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False
    size: int = 0


def chains(database: Database) -> Chains:
    """The layers (numbers, lowest first) of each image."""
    found: dict[str, list[int]] = {image_id: [] for (image_id,) in database.rows("SELECT id FROM images")}
    for image_id, layer in database.rows("SELECT image_id, layer_id FROM image_layers ORDER BY image_id, position"):
        if image_id in found:
            found[image_id].append(layer)
    return {image_id: tuple(layers) for image_id, layers in found.items()}


class _Histories:
    """The history lists of images, read when they are needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, list[Any]] = {}

    def of(self, image_id: str) -> list[Any]:
        """The history as it stands in the configuration."""
        if image_id not in self._known:
            row = self._database.row("SELECT config FROM images WHERE id = ?", image_id)
            self._known[image_id] = _history(load(bytes(row[0]))) if row else []
        return self._known[image_id]

    def is_child(self, parent: str, child: str) -> bool:
        """Whether the child's history is the parent's and one step more; an image without history has no children."""
        theirs, ours = self.of(child), self.of(parent)
        return len(ours) > 0 and theirs[:-1] == ours


def parent(database: Database, image_id: str) -> str:
    """The id of the image that this one was built on in one step, "" for none."""
    known = chains(database)
    histories = _Histories(database)
    mine = known.get(image_id, ())
    for other, layers in known.items():
        if other != image_id and (layers == mine or (mine and layers == mine[:-1])) and histories.is_child(other, image_id):
            return other
    return ""


def nameless_parent(database: Database, image_id: str) -> str:
    """As :func:`parent`, among the images without a name only, which are few: it does not look at the whole store."""
    nameless = database.rows("SELECT id FROM images WHERE id NOT IN (SELECT image_id FROM image_names) AND id <> ?", image_id)
    if not nameless:
        return ""
    histories, mine = _Histories(database), _chain(database, image_id)
    for (other,) in nameless:
        layers = _chain(database, other)
        if (layers == mine or (mine and layers == mine[:-1])) and histories.is_child(other, image_id):
            return str(other)
    return ""


def _chain(database: Database, image_id: str) -> tuple[int, ...]:
    return tuple([layer for (layer,) in database.rows("SELECT layer_id FROM image_layers WHERE image_id = ? ORDER BY position", image_id)])


def children(database: Database, image_id: str) -> list[str]:
    """Ids of the images that were built on this one in one step."""
    known = chains(database)
    histories = _Histories(database)
    mine = known.get(image_id, ())
    return [other for other, layers in known.items()
            if other != image_id and mine in (layers, layers[:-1]) and histories.is_child(image_id, other)]


def parents(database: Database) -> set[str]:
    """Ids of all images that some other was built on in one step."""
    known = chains(database)
    histories = _Histories(database)
    by_layers: dict[tuple[int, ...], list[str]] = {}
    for image_id, layers in known.items():
        by_layers.setdefault(layers, []).append(image_id)
    found = set()
    for child, layers in known.items():
        for other in {*by_layers.get(layers, ()), *by_layers.get(layers[:-1], ())}:
            if other != child and other not in found and histories.is_child(other, child):
                found.add(other)
    return found


def descendants(database: Database, image_id: str) -> list[str]:
    """Ids of the images whose layers are those of this one and more, or the same with a longer history."""
    known = chains(database)
    histories = _Histories(database)
    mine = known.get(image_id, ())
    found = []
    for other, layers in known.items():
        if other == image_id or layers[:len(mine)] != mine:
            continue
        if mine and len(layers) > len(mine):
            found.append(other)
            continue
        theirs, ours = histories.of(other), histories.of(image_id)
        if ours and len(theirs) > len(ours) and theirs[:len(ours)] == ours:
            found.append(other)
    return found


def history(config: bytes, sizes: Sequence[int]) -> list[HistoryEntry]:
    """The steps of an image's making, the newest first; ``sizes`` are its layers', lowest first."""
    remaining = list(sizes)[::-1]
    entries = []
    for step in _history(load(config)):
        if not isinstance(step, dict):
            continue
        empty = step.get("empty_layer") is True
        entries.append(HistoryEntry(
            created=time_of(step.get("created")), created_by=_text(step.get("created_by")), comment=_text(step.get("comment")),
            author=_text(step.get("author")), empty_layer=empty, size=remaining.pop() if not empty and remaining else 0))
    entries += [HistoryEntry(size=size) for size in remaining[::-1]]
    return entries[::-1]


def _history(config: dict[str, Any]) -> list[Any]:
    steps = config.get("history")
    return steps if isinstance(steps, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def time_of(value: object) -> int:
    """A time of a configuration in nanoseconds; 0 where it says nothing sensible."""
    try:
        return parse_rfc3339(value) if isinstance(value, str) and value else 0
    except InvalidArgument:
        return 0


def load(config: bytes) -> dict[str, Any]:
    """A configuration as JSON; {} where it is none."""
    try:
        value = jsontext.loads(config)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

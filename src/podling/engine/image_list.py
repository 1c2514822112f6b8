"""``images``: the images of the stores, selected and sorted."""

from __future__ import annotations

import time

from podling import jsontext
from podling.engine.select import label_matches
from podling.errors import InvalidArgument, NoSuchImage
from podling.store import ancestry
from podling.store.images import LIST_TYPES
from podling.values import globs, units
from podling.values.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.engine.engine import Engine
    from podling.model import Image

FILTERS = ("after", "before", "containers", "dangling", "digest", "id", "intermediate", "label", "label!", "manifest", "readonly",
           "reference", "since", "until")


class ListedImage:
    """An image of a list. What takes a query of its own is asked for when it is read."""

    def __init__(self, engine: Engine, image: Image) -> None:
        self.engine = engine
        self.image = image

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the configuration."""
        return labels_of(self.engine, self.image)

    @property
    def containers(self) -> int:
        """How many containers use it."""
        return len(self.engine.images.containers_using(self.image.id))


def labels_of(engine: Engine, image: Image) -> dict[str, str]:
    """The labels of an image's configuration."""
    document: dict[str, Any] = jsontext.loads(engine.images.config_bytes(image))
    return (document.get("config") or {}).get("Labels") or {}


def list_images(engine: Engine, filters: dict[str, tuple[str, ...]], *, name: str = "",
                every: bool = False) -> list[ListedImage]:
    """The images that match every filter, the newest first; with ``name`` those that it names, as a pattern or otherwise.

    Images without a name that others were built on are left out, unless ``every``, or filters ask for them.
    """
    images = engine.images.list()
    if not every and "intermediate" not in filters and not all(image.all_names for image in images):
        hidden = intermediates(engine)
        images = [image for image in images if image.id not in hidden]
    wanted = {**filters, "reference": (*filters.get("reference", ()), name)} if name else filters
    for key, values in wanted.items():
        matches = _matcher(engine, key, values)
        images = [image for image in images if matches(image)]
    return [ListedImage(engine, image) for image in images]


def intermediates(engine: Engine) -> set[str]:
    """Ids of the images without a name that others were built on."""
    named = {image_id for (image_id,) in engine.database.rows("SELECT image_id FROM image_names")}
    return ancestry.parents(engine.database) - named


def sort_images(listed: list[ListedImage], key: str) -> list[tuple[ListedImage, str]]:
    """(image, one of its names) for each with a tag, else each by digest, "" for an image without; sorted as ``images --sort`` says."""
    pairs = [(item, name) for item in listed for name in item.image.names or item.image.digest_names or ("",)]
    keys: dict[str, Callable[[tuple[ListedImage, str]], Any]] = {
        "created": lambda pair: -pair[0].image.created,
        "id": lambda pair: pair[0].image.id,
        "repository": lambda pair: split_name(pair[1])[0],
        "size": lambda pair: pair[0].image.size,
        "tag": lambda pair: split_name(pair[1])[1],
    }
    if key not in keys:
        raise InvalidArgument(f'"{key}" is not a valid field for sorting. Choose from: created, id, repository, size, tag')
    return sorted(pairs, key=keys[key])


def split_name(name: str) -> tuple[str, str]:
    """(repository, tag) of a full name, ``<none>`` where there is none."""
    if not name:
        return "<none>", "<none>"
    name, at, _ = name.partition("@")
    colon = name.rfind(":") if not at else -1
    return (name[:colon], name[colon + 1:]) if colon > name.rfind("/") else (name, "<none>")


# --- filters ----------------------------------------------------------------------------------------------------------


def _matcher(engine: Engine, name: str, values: tuple[str, ...]) -> Callable[[Image], bool]:
    """The test of one filter; of its values one must match, of labels all."""
    match name:
        case "dangling":
            dangling = truth(name, values)
            return lambda image: (not image.all_names) in dangling
        case "manifest":
            listed = truth(name, values)
            return lambda image: (image.media_type in LIST_TYPES) in listed
        case "readonly":
            read_only = truth(name, values)
            return lambda image: image.read_only in read_only
        case "intermediate":
            intermediate, ids = truth(name, values), intermediates(engine)
            return lambda image: (image.id in ids) in intermediate
        case "id":
            return lambda image: any(image.id.startswith(value.removeprefix("sha256:")) for value in values)
        case "digest":
            return lambda image: any(digest.startswith(value) for value in values
                                     for digest in (image.digest, *(d.partition("@")[2] for d in image.repo_digests)))
        case "label":
            return lambda image: all(label_matches(labels_of(engine, image), value) for value in values)
        case "label!":
            return lambda image: not any(label_matches(labels_of(engine, image), value) for value in values)
        case "reference":
            return _by_reference(engine, values)
        case "containers":
            return _by_containers(engine, values)
        case "before" | "since" | "after" | "until":
            return _by_time(engine, name, values)
    raise InvalidArgument(f'unsupported image filter "{name}"',
                          hint=f"the filters are: {', '.join(FILTERS)}")


def truth(name: str, values: tuple[str, ...]) -> set[bool]:
    """The values of a filter that takes true or false."""
    known = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    for value in values:
        if value.lower() not in known:
            raise InvalidArgument(f"non-boolean value \"{value}\" for {name} filter")
    return {known[value.lower()] for value in values}


def _by_time(engine: Engine, name: str, values: tuple[str, ...]) -> Callable[[Image], bool]:
    if name == "until":
        limits = [_moment(value) for value in values]
        return lambda image: any(image.created < limit for limit in limits)
    others = [_named(engine, name, value).created for value in values]
    if name == "before":
        return lambda image: any(image.created < created for created in others)
    return lambda image: any(image.created > created for created in others)


def _moment(text: str) -> int:
    try:
        return units.parse_time(text, now=time.time_ns())
    except InvalidArgument as error:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"', hint=error.hint) from None


def _named(engine: Engine, name: str, value: str) -> Image:
    try:
        return engine.images.resolve(value)
    except NoSuchImage as error:
        raise NoSuchImage(f'could not find local image for filter "{name}"="{value}"') from error


def _by_containers(engine: Engine, values: tuple[str, ...]) -> Callable[[Image], bool]:
    for value in values:
        if value not in ("true", "false", "external"):
            raise InvalidArgument(f'unsupported value "{value}" for containers filter')
    used = {image_id for (image_id,) in engine.database.rows(
        "SELECT local_image FROM containers WHERE local_image IS NOT NULL UNION SELECT image_id FROM container_images")}
    return lambda image: ("true" if image.id in used else "false") in values


def _by_reference(engine: Engine, values: tuple[str, ...]) -> Callable[[Image], bool]:
    found = set()
    for value in values:
        try:
            meant = engine.images.lookup(value)
        except (InvalidArgument, NoSuchImage):   # a pattern, or no name at all
            meant = None
        if meant is not None:
            found.add(meant.id)
    return lambda image: image.id in found or any(name_matches(name, value) for name in (*image.names, *image.repo_digests)
                                                  for value in values)


def name_matches(name: str, pattern: str) -> bool:
    """Whether a pattern fits a name, whole or without registry, path, tag or digest."""
    reference = parse(name)
    bare = reference.name
    suffix = name[len(bare):]
    path = bare.partition("/")[2] or bare
    last = bare.rpartition("/")[2]
    return any(globs.matches(pattern, candidate) for candidate in (name, bare, path, path + suffix, last, last + suffix))

"""``inspect`` without saying what: the object of a name, whatever it is."""

from __future__ import annotations

from podling.engine.inspect import inspect_container
from podling.errors import InvalidArgument, NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.engine.engine import Engine

KINDS = ("container", "image", "volume", "network")    # in the order in which a name is looked for


def inspect(engine: Engine, name: str, kind: str = "all", *, size: bool = False) -> tuple[str, Any]:
    """(kind, shape) of the object of this kind, or of the first kind that has one of this name; NotFound otherwise."""
    if not name:
        raise InvalidArgument("name or ID cannot be empty")
    if kind != "all":
        return kind, _inspect(engine, name, kind, size)
    for candidate in KINDS:
        try:
            return candidate, _inspect(engine, name, candidate, size)
        except NotFound:
            continue
    raise NotFound(f'no such object: "{name}"')


def _inspect(engine: Engine, name: str, kind: str, size: bool) -> Any:
    match kind:
        case "container":
            try:
                container = engine.containers.find(name)
            except NoSuchContainer:
                raise NoSuchContainer(f"no such container {name}") from None
            return inspect_container(engine, container, size=size)
        case "image":
            return _image(engine, name)
        case "volume":
            return _volume(engine, name)
        case "network":
            return _network(engine, name)
    raise InvalidArgument(f'invalid type "{kind}": must be "image", "container", "pod", "network", "volume", or "all"')


def _image(engine: Engine, name: str) -> Any:
    from podling.engine.image_inspect import inspect_image

    image = engine.images.lookup(name)
    if image is None:
        raise NoSuchImage(f"{name}: image not known")
    return inspect_image(engine, image)


def _volume(engine: Engine, name: str) -> Any:
    from podling.engine import volumes

    try:
        volume = volumes.get(engine, name)
    except NoSuchVolume:
        raise NoSuchVolume(f"no such volume {name}") from None
    return volumes.inspect_volume(engine, volume)


def _network(engine: Engine, name: str) -> Any:
    from podling.engine.networks import inspect_network

    if not engine.networks.exists(name):
        raise NoSuchNetwork(f"network {name}: unable to find network with name or ID {name}: network not found")
    return inspect_network(engine, engine.networks.get(name))

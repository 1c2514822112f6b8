"""``podling container exists``, ``image exists``, ``volume exists``, ``network exists``: exit code 0 or 1."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.errors import NoSuchContainer, NoSuchVolume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def container_exists(context: Context, _said: dict[str, Any], args: list[str]) -> int:
    """Whether there is such a container."""
    try:
        context.engine.containers.find(args[0])
    except NoSuchContainer:
        return 1
    return 0


def image_exists(context: Context, _said: dict[str, Any], args: list[str]) -> int:
    """Whether there is such an image."""
    return 0 if context.engine.images.lookup(args[0]) is not None else 1


def volume_exists(context: Context, _said: dict[str, Any], args: list[str]) -> int:
    """Whether there is such a volume."""
    from podling.engine import volumes

    try:
        volumes.get(context.engine, args[0])
    except NoSuchVolume:
        return 1
    return 0


def network_exists(context: Context, _said: dict[str, Any], args: list[str]) -> int:
    """Whether there is such a network."""
    return 0 if context.engine.networks.exists(args[0]) else 1


CONTAINER_EXISTS = Command(
    "exists", "[options] CONTAINER", "Check if a container exists in local storage",
    "If the named container exists in local storage, podling container exists exits with 0, otherwise the exit code will be 1.",
    (Flag("--external", kind="bool", help="Check external storage containers as well as Podman containers", noop=True),),
    container_exists, args=(1, 1, ""), complete="containers",
    examples=("{} --external containerID", "{} myctr || podling run --name myctr [etc...]"),
)
IMAGE_EXISTS = Command(
    "exists", "IMAGE", "Check if an image exists in local storage",
    "If the named image exists in local storage, podling image exists exits with 0, otherwise the exit code will be 1.",
    (), image_exists, args=(1, 1, ""), complete="images", examples=("{} ID", "{} IMAGE && podling pull IMAGE"),
)
VOLUME_EXISTS = Command(
    "exists", "VOLUME", "Check if volume exists",
    "If the given volume exists, podling volume exists exits with 0, otherwise the exit code will be 1.",
    (), volume_exists, args=(1, 1, ""), complete="volumes", examples=("{} myvol",),
)
NETWORK_EXISTS = Command(
    "exists", "NETWORK", "Check if network exists",
    "If the named network exists, podling network exists exits with 0, otherwise the exit code will be 1.",
    (), network_exists, args=(1, 1, ""), complete="networks", examples=("{} net1",),
)

"""``podling mount``, ``unmount``, ``image mount`` and ``image unmount``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.commands.selecting import LATEST, all_flag, selected, selection
from podling.cli.flags import Command, Flag
from podling.cli.several import each
from podling.engine import rootfs
from podling.errors import InvalidArgument, NotFound, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Image

_SHORT_ID = 12


def _is_json(said: dict[str, Any]) -> bool:
    form = said.get("format")
    if form and form != "json":
        raise InvalidArgument(f'unknown --format argument: "{form}"')
    return bool(form)


def _check_inside(context: Context) -> None:
    """A mount in the user's namespace is not seen by the shell that asks for it, unless that is in there too."""
    if context.engine.joined:
        raise WrongState(f'cannot run command "{context.program} {context.path}" in rootless mode, must execute '
                         f"`{context.program} unshare` first")


# --- containers -------------------------------------------------------------------------------------------------------


def mount(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Mount containers' root file systems, or list the mounted ones."""
    as_json = _is_json(said)
    _check_inside(context)
    if args or said.get("all") or said.get("latest"):
        found = [(container, rootfs.mount(context.engine, container)) for container in selected(context, said, args)]
        if len(found) == 1 and not as_json:
            context.out.line(found[0][1])
            return
    else:
        found = rootfs.mounted(context.engine)
    if as_json:
        shapes = [{"id": container.id, "Names": [container.name], "mountpoint": place} for container, place in found]
        output.print_json(context.out, shapes, indent=1)
        return
    shown = None if said.get("no_trunc") else _SHORT_ID
    context.out.write(output.tabulate([[container.id[:shown], place] for container, place in found]))


def unmount(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Unmount what was mounted; a running container keeps its own."""
    selection(said, args)
    if said.get("all"):
        for container, _ in rootfs.mounted(context.engine):
            if rootfs.is_kept(context.engine, container.id):
                rootfs.unmount(context.engine, container)
                context.out.line(container.id)
        return 0
    words = {container.id: word for word, container in zip(args, selected(context, said, args), strict=False)}

    def take_down(container_id: str) -> None:
        rootfs.unmount(context.engine, context.engine.containers.get(container_id), force=said.get("force", False))
        context.out.line(words.get(container_id, container_id))

    return each(context, [container.id for container in selected(context, said, args)], take_down)


# --- images -----------------------------------------------------------------------------------------------------------


def image_mount(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Mount images, or list the mounted ones."""
    as_json = _is_json(said)
    if args and said.get("all"):
        raise InvalidArgument("when using the --all switch, you may not pass any image names or IDs")
    _check_inside(context)
    images, mounts = context.engine.images, rootfs.ImageMounts(context.engine)
    if args or said.get("all"):
        wanted = images.list() if said.get("all") else [images.resolve(name) for name in args]
        found = [(image, mounts.mount(image.id, image.store)) for image in wanted]
        if len(found) == 1 and not as_json:
            context.out.line(found[0][1])
            return
    else:
        known = {image.id: image for image in images.list()}
        found = [(known[image_id], place) for image_id, place in mounts.mounted() if image_id in known]
    if as_json:
        output.print_json(context.out, [_image_shape(image, place) for image, place in found], indent=1)
        return
    rows = [[name, place] for image, place in found for name in image.names or (image.id,)]
    context.out.write(output.tabulate(rows))


def _image_shape(image: Image, place: str) -> dict[str, Any]:
    return {"id": image.id, "Names": [image.digest], "Repositories": list(image.names), "mountpoint": place}


def image_unmount(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Unmount images."""
    if args and said.get("all"):
        raise InvalidArgument("when using the --all switch, you may not pass any image names or IDs")
    if not args and not said.get("all"):
        raise InvalidArgument("image name or ID must be specified")
    mounts = rootfs.ImageMounts(context.engine)
    wanted = [image_id for image_id, _ in mounts.mounted()] if said.get("all") else args

    def take_down(name: str) -> None:
        image_id = name if said.get("all") else context.engine.images.resolve(name).id
        try:
            mounts.unmount(image_id, force=said.get("force", False))
        except NotFound:
            if said.get("all"):
                raise
            return                               # as Podman: nothing to do is no failure
        context.out.line(image_id)

    return each(context, wanted, take_down)


_FORMAT = Flag("--format", help="Print the mounted containers in specified format (json)")

MOUNT = Command(
    "mount", "[options] [CONTAINER...]", "Mount a working container's root filesystem",
    "podling mount\n    Lists all mounted containers mount points if no container is specified\n\n"
    "  podling mount CONTAINER-NAME-OR-ID\n    Mounts the specified container and outputs the mountpoint\n",
    (all_flag("Mount all containers"), _FORMAT, LATEST, Flag("--no-trunc", help="Do not truncate output", kind="bool")),
    mount, complete="containers",
)
UNMOUNT = Command(
    "unmount", "[options] CONTAINER [CONTAINER...]", "Unmounts working container's root filesystem",
    "Container storage increments a mount counter each time a container is mounted.\n\n  When a container is unmounted, the mount "
    "counter is decremented. The container's root filesystem is physically unmounted only when the mount counter reaches zero "
    "indicating no other processes are using the mount.\n\n  An unmount can be forced with the --force flag.\n",
    (all_flag("Unmount all of the currently mounted containers"),
     Flag("--force", "-f", "Force the complete unmount of the specified mounted containers", kind="bool"), LATEST),
    unmount, aliases=("umount",), complete="containers", examples=("{} ctrID", "{} ctrID1 ctrID2 ctrID3", "{} --all"),
)
IMAGE_MOUNT = Command(
    "mount", "[options] [IMAGE...]", "Mount an image's root filesystem",
    "podling image mount\n    Lists all mounted images mount points if no images is specified\n\n"
    "  podling image mount IMAGE-NAME-OR-ID\n    Mounts the specified image and prints the mountpoint\n",
    (all_flag("Mount all images"), Flag("--format", help="Print the mounted images in specified format (json)")),
    image_mount, complete="images", examples=("{} imgID", "{} imgID1 imgID2 imgID3", "{}", "{} --all"),
)
IMAGE_UNMOUNT = Command(
    "unmount", "[options] IMAGE [IMAGE...]", "Unmount an image's root filesystem",
    "Image storage increments a mount counter each time an image is mounted.\n\n  When an image is unmounted, the mount counter is "
    "decremented. The image's root filesystem is physically unmounted only when the mount counter reaches zero indicating no "
    "other processes are using the mount.\n\n  An unmount can be forced with the --force flag.\n",
    (all_flag("Unmount all of the currently mounted images"),
     Flag("--force", "-f", "Force the complete unmount of the specified mounted images", kind="bool")),
    image_unmount, aliases=("umount",), complete="images", examples=("{} imgID", "{} imgID1 imgID2 imgID3", "{} --all"),
)

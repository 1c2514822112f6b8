"""What is done to images by name: tags, removal; pulling is in :mod:`podling.engine.transfers`."""

from __future__ import annotations

from podling.engine.image_list import list_images
from podling.engine.options import PullOptions, RemoveImageOptions, RemoveOptions
from podling.errors import InUse, InvalidArgument, NoSuchContainer, NoSuchImage, NotFound, PodlingError, WrongState
from podling.record import Record
from podling.store import ancestry
from podling.values.reference import DOCKER_HUB, is_id_prefix, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.model import Image
    from podling.store.images import RemovingSeveral

LOCALHOST = "localhost"


def pull(engine: Engine, name: str, options: PullOptions) -> Image:
    """The image of this name, pulled as the policy says; see :func:`podling.engine.transfers.pull`."""
    from podling.engine import transfers  # loads an HTTP client

    return transfers.pull(engine, name, options)


# --- names ------------------------------------------------------------------------------------------------------------


def full_name(text: str) -> str:
    """The name with registry and tag that a new name stands for: a short one is ``localhost/...``."""
    try:
        reference = parse(text)
    except InvalidArgument as error:
        raise InvalidArgument(f'normalizing name "{text}"') from error
    if reference.is_short:
        reference = reference.qualified(LOCALHOST)
    return str(reference.with_tag())


def tag(engine: Engine, name: str, new_names: tuple[str, ...]) -> None:
    """Give the image further names; whoever had one of them loses it."""
    image = engine.images.resolve(name)
    wanted = [full_name(text) for text in new_names]
    for text in new_names:
        if "@" in text or text.startswith("sha256:"):    # which would be read as an id from then on
            raise InvalidArgument(f"{text}: tag by digest not supported")
    for full in wanted:
        engine.images.tag(image, full)


def untag(engine: Engine, name: str, names: tuple[str, ...] = ()) -> None:
    """Take names from the image, without any all of them; the image stays. NotFound where it has one not."""
    image = engine.images.resolve(name)
    if not names:
        engine.images.untag(image, image.all_names)
        return
    wanted = []
    for text in names:
        reference = parse(text)
        candidates = [str(reference.with_tag())]
        if reference.is_short:
            candidates = [str(reference.qualified(registry).with_tag()) for registry in (LOCALHOST, DOCKER_HUB)]
        found = next((candidate for candidate in candidates if candidate in (*image.names, *image.repo_digests)), None)
        if found is None:
            raise NotFound(f"{candidates[0]}: tag not known")
        wanted.append(found)
    engine.images.untag(image, wanted)


# --- removal ----------------------------------------------------------------------------------------------------------


class RemovedImages(Record):
    """What ``rmi`` did, in its order: names taken and ids of images deleted."""

    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


def remove(engine: Engine, name: str, options: RemoveImageOptions) -> RemovedImages:
    """Take this name from its image; with the last one the image goes. By id it goes if it has one name, or by ``force``.

    InUse where a container needs it, unless ``force``: then the container goes as well. NoSuchImage, unless ``ignore`` or ``force``.
    """
    try:
        image = engine.images.resolve(name)
    except NoSuchImage:
        if options.ignore or options.force:
            return RemovedImages()
        raise
    if len(image.all_names) > 1:
        by_id, by_digest = is_id_prefix(name) and image.id.startswith(name), name.startswith("sha256:")
        if not (by_id or by_digest):
            used = _name_meant(engine, image, name)
            engine.images.untag(image, [used])
            return RemovedImages(untagged=(used,))
        if not options.force:
            how = "ID" if by_id else "digest"
            raise WrongState(f'unable to delete image "{image.id}" by {how} with more than one tag '
                             f"([{' '.join(image.all_names)}]): please force removal",
                             hint="remove its names one by one, or use --force")
    return remove_image(engine, image, force=options.force, prune_parents=options.prune)


def _name_meant(engine: Engine, image: Image, text: str) -> str:
    """Which of the image's names a text means."""
    meant = engine.images.name_for(image, text)
    if meant in image.all_names:
        return meant
    if parse(text).digest:                       # no name of its own: which of the names would go is not said
        raise NotFound(f"{meant}: tag not known", hint=f"remove its names one by one: {' '.join(image.all_names)}")
    return image.all_names[0]


def remove_image(engine: Engine, image: Image, *, force: bool, prune_parents: bool = True) -> RemovedImages:
    """Delete an image with all its names; with ``force`` the containers that use it go first.

    ``prune_parents``: also the images without a name that it alone was built on.
    """
    if force:
        for container_id in engine.images.containers_using(image.id):
            _remove_container(engine, container_id)
    parent = ancestry.nameless_parent(engine.database, image.id) if prune_parents and not image.store else ""
    _release_mount(engine, image, force=force)
    engine.images.remove(image)
    deleted = [image.id]
    while parent:
        orphan, parent = engine.images.get(parent), ancestry.nameless_parent(engine.database, parent)
        if orphan.all_names or engine.images.containers_using(orphan.id) or ancestry.children(engine.database, orphan.id):
            break
        try:
            engine.images.remove(orphan)
        except (InUse, NoSuchImage):
            break
        deleted.append(orphan.id)
    return RemovedImages(untagged=image.all_names, deleted=tuple(deleted))


def _release_mount(engine: Engine, image: Image, *, force: bool) -> None:
    """InUse where a user has the image mounted; with ``force`` that ends."""
    from podling.engine.rootfs import ImageMounts

    mounts = ImageMounts(engine)
    if force:
        mounts.filesystems.remove(image.id)
    else:
        mounts.check_unused(image.id)


def _remove_container(engine: Engine, container_id: str) -> None:
    from podling.engine.remove import remove as remove_container

    try:
        remove_container(engine, engine.containers.get(container_id), RemoveOptions(force=True, depend=True, timeout=0))
    except NoSuchContainer:
        return                                   # another command was quicker


def prune(engine: Engine, filters: dict[str, tuple[str, ...]], *, every: bool = False) -> list[str]:
    """Delete the images without a name, or with ``every`` all that no container uses; their ids."""
    wanted = dict(filters) if every else {**filters, "dangling": ("true",)}
    removed: list[str] = []
    with engine.images.removing_several():
        for listed in list_images(engine, {**wanted, "readonly": ("false",)}):
            if listed.containers:
                continue
            try:
                _release_mount(engine, listed.image, force=False)
                engine.images.remove(listed.image)
            except (InUse, NoSuchImage):
                continue                         # another command took or removed it meanwhile
            removed.append(listed.image.id)
    return removed


def removing_several(engine: Engine) -> RemovingSeveral:
    """``with removing_several(engine):`` around the removal of many images."""
    return engine.images.removing_several()


def exit_code(errors: list[PodlingError]) -> int:
    """What ``rmi`` ends with: 1 where only images are missing, 2 where one is in use, 125 for anything else."""
    if not errors:
        return 0
    if any(not isinstance(error, (NoSuchImage, InUse)) for error in errors):
        return 125
    return 2 if any(isinstance(error, InUse) for error in errors) else 1

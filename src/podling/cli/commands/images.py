"""``podling images``, ``history``, ``tag``, ``untag``, ``rmi`` and ``image prune``."""

from __future__ import annotations

import time

from podling import jsontext
from podling.cli import output
from podling.cli.filters import parse_filters
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.engine import image_list, images
from podling.engine.options import RemoveImageOptions
from podling.engine.shapes import Struct
from podling.errors import InvalidArgument, PodlingError, advice, explain
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.engine.image_list import ListedImage
    from podling.store.ancestry import HistoryEntry

_SHORT_ID = 12
_SECOND = 1_000_000_000
_COLUMNS = Columns(name="images", shown=("Repository", "Tag", "ID", "Created", "Size"),
                   headings={"ID": "IMAGE ID", "ReadOnly": "R/O", "ParentId": "PARENT ID"})
_HISTORY_COLUMNS = Columns(name="history", shown=("ID", "Created", "CreatedBy", "Size", "Comment"),
                           headings={"CreatedBy": "CREATED BY"})
_LONGEST_STEP = 45
_FILTER_FORM = 'invalid image filter "{}": must be in the format "filter=value or filter!=value"'


# --- images -----------------------------------------------------------------------------------------------------------


def list_(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """List images."""
    filters = parse_filters(said.get("filter", ()), _FILTER_FORM)
    if args and filters:
        raise InvalidArgument("cannot specify an image and a filter(s)")
    template = said.get("format")
    listed = image_list.list_images(context.engine, filters, name=args[0] if args else "", every=said.get("all", False))
    pairs = image_list.sort_images(listed, said.get("sort", "created"))
    now, shorten = time.time_ns(), not said.get("no_trunc", False)
    if output.is_json(template):
        output.print_json(context.out, [_json(item) for item, _ in pairs])
    elif said.get("quiet"):
        for image_id in dict.fromkeys(item.image.id for item, _ in pairs):
            context.out.line(image_id[:_SHORT_ID] if shorten else f"sha256:{image_id}")
    else:
        rows = [_row(item, name, now, shorten) for item, name in pairs]
        read_only = any(item.image.read_only for item, _ in pairs)
        output.report(context.out, rows, _columns(said, read_only), template=template,
                      headings=not said.get("noheading", False))


def _columns(said: dict[str, Any], read_only: bool) -> Columns:
    shown = ["Repository", "Tag", "ID", "Created", "Size"]
    if said.get("digests"):
        shown.insert(2, "Digest")
    if said.get("history"):
        shown.append("History")
    if read_only:
        shown.append("ReadOnly")
    return _COLUMNS.replace(shown=tuple(shown))


def _row(item: ListedImage, name: str, now: int, shorten: bool) -> Row:
    image = item.image
    repository, tag = image_list.split_name(name)
    age = units.human_duration(now - image.created) + " ago"
    fields: dict[str, Any] = {
        "Repository": repository, "Tag": tag, "ID": image.id[:_SHORT_ID] if shorten else f"sha256:{image.id}",
        "Id": image.id, "Digest": image.digest, "Created": age, "CreatedSince": age,
        "CreatedTime": lambda: _created(image.created), "CreatedAt": lambda: _created(image.created),
        "Size": units.format_size(image.size), "SharedSize": 0,
        "VirtualSize": image.size, "Names": list(image.all_names), "RepoTags": list(image.all_names),
        "RepoDigests": list(image.repo_digests), "Labels": lambda: item.labels, "Containers": lambda: item.containers,
        "ReadOnly": image.read_only, "Dangling": not image.all_names, "ParentId": "",
        "History": ", ".join(image.all_names) or "<none>",
    }
    return Row(fields, json=_Later(item, repository, tag), go_type="images.imageReporter")


class _Later:
    """A row's JSON, made where a template asks for it."""

    def __init__(self, item: ListedImage, repository: str, tag: str) -> None:
        self.item = item
        self.name = {"repository": repository, "tag": tag}

    def to_json(self) -> Struct:
        """What ``{{json .}}`` prints."""
        found = _json(self.item)
        del found["CreatedAt"]
        return Struct({**self.name, **found})


def _created(nanoseconds: int) -> str:
    return units.go_time(nanoseconds // _SECOND * _SECOND)


def _json(item: ListedImage) -> dict[str, Any]:
    """One element of ``images --format json``."""
    image = item.image
    seconds = image.created // _SECOND
    names = list(image.all_names)
    return {
        "Id": image.id, "ParentId": "", "RepoTags": list(image.names) or None, "RepoDigests": list(image.repo_digests), "Size": image.size,
        "SharedSize": 0, "VirtualSize": image.size, "Labels": dict(sorted(item.labels.items())) or None,
        "Containers": item.containers, **({"ReadOnly": True} if image.read_only else {}),
        **({} if names else {"Dangling": True}), "Digest": image.digest, "History": names,
        **({"Names": names} if names else {}), "Created": seconds, "CreatedAt": units.format_rfc3339(seconds * _SECOND),
    }


# --- history ----------------------------------------------------------------------------------------------------------


def history(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show how an image was made."""
    from podling.engine import image_inspect

    image = context.engine.images.resolve(args[0])
    found = image_inspect.history(context.engine, image)
    shapes: list[dict[str, Any]] = [
        {"ID": image.id if number == 0 else "<missing>", "Tags": list(image.names) if number == 0 else [], "entry": entry}
        for number, entry in enumerate(found)]
    template = said.get("format")
    shorten = not said.get("no_trunc", False)
    if output.is_json(template):
        context.out.line(jsontext.dumps([{**_history_json(shape), "Created": _moment(shape["entry"])} for shape in shapes]))
    elif said.get("quiet") and not template:
        for shape in shapes:
            context.out.line(_history_id(shape["ID"], shorten))
    else:
        rows = [_history_row(shape, shorten, human=said.get("human", True)) for shape in shapes]
        output.report(context.out, rows, _HISTORY_COLUMNS, template=template)


def _history_id(image_id: str, shorten: bool) -> str:
    return image_id[:_SHORT_ID] if shorten else image_id


def _history_row(shape: dict[str, Any], shorten: bool, *, human: bool) -> Row:
    entry = shape["entry"]
    moment = _moment(entry)
    age = units.human_duration(time.time_ns() - entry.created) + " ago"
    by = entry.created_by
    if shorten and len(by) > _LONGEST_STEP:
        by = by[:_LONGEST_STEP - 3] + "..."
    fields = {
        "ID": _history_id(shape["ID"], shorten), "Created": age if human else moment, "CreatedAt": moment, "CreatedSince": age,
        "CreatedBy": by, "Size": units.format_size(entry.size, digits=3, separator="") if human else str(entry.size),
        "Comment": entry.comment, "Tags": shape["Tags"],
    }
    return Row(fields, json=_history_json(shape), go_type="images.historyReporter")


def _moment(entry: HistoryEntry) -> str:
    return units.format_rfc3339(entry.created // _SECOND * _SECOND)


def _history_json(shape: dict[str, Any]) -> Struct:
    entry = shape["entry"]
    return Struct({"id": shape["ID"], "created": units.format_rfc3339(entry.created), "CreatedBy": entry.created_by,
                   **({"tags": shape["Tags"]} if shape["Tags"] else {}), "size": entry.size,
                   **({"comment": entry.comment} if entry.comment else {})})


# --- names and removal ------------------------------------------------------------------------------------------------


def tag(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Give an image further names."""
    images.tag(context.engine, args[0], tuple(args[1:]))


def untag(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Take names from an image."""
    images.untag(context.engine, args[0], tuple(args[1:]))


def rmi(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Remove images or names of them."""
    every = said.get("all", False)
    if not args and not every:
        raise InvalidArgument("image name or ID must be specified")
    if args and every:
        raise InvalidArgument("when using the --all switch, you may not pass any images names or IDs")
    engine = context.engine
    options = RemoveImageOptions(force=said.get("force", False), ignore=said.get("ignore", False),
                                 prune=not said.get("no_prune", False))
    errors: list[PodlingError] = []
    work: list[Any] = list(args)
    if every:
        work = [listed.image for listed in image_list.list_images(engine, {"readonly": ("false",)}, every=True)]
    with images.removing_several(engine):
        for item in work:
            try:
                removed = (images.remove(engine, item, options) if isinstance(item, str)
                           else images.remove_image(engine, item, force=options.force, prune_parents=False))
            except PodlingError as error:
                errors.append(error)
                continue
            for name in removed.untagged:
                context.out.line(f"Untagged: {name}")
            for image_id in removed.deleted:
                context.out.line(f"Deleted: {image_id}")
    for failure in errors:
        context.note(f"Error: {explain(failure)}")
        for line in advice(failure):
            context.note(line)
    return images.exit_code(errors)


def prune(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Remove images that nothing uses, after a question."""
    every = said.get("all", False)
    if not said.get("force"):
        from podling.cli import terminal

        what = "images without at least one container associated with them" if every else "dangling images"
        context.out.line(f"WARNING! This command removes all {what}.")
        if not terminal.confirm(context.out, "Are you sure you want to continue? [y/N] "):
            return
    for image_id in images.prune(context.engine, parse_filters(said.get("filter", ()), _FILTER_FORM), every=every):
        context.out.line(image_id)


_FILTERS = tuple(f"{name}=" for name in image_list.FILTERS)

# --- tables -----------------------------------------------------------------------------------------------------------

IMAGES = Command(
    "images", "[options] [IMAGE]", "List images in local storage",
    "Lists images previously pulled to the system or created on the system.",
    (
        Flag("--all", "-a", "Show all images (default hides intermediate images)", kind="bool"),
        Flag("--digests", kind="bool", help="Show digests"),
        Flag("--filter", "-f", "Filter output based on conditions provided", kind="array", default_text="[]", choices=_FILTERS),
        Flag("--format", help="Change the output format to JSON or a Go template"),
        Flag("--history", kind="bool", help="Display the image name history"),
        Flag("--no-trunc", kind="bool", help="Do not truncate output"),
        Flag("--noheading", "-n", "Do not print column headings", kind="bool"),
        Flag("--quiet", "-q", "Display only image IDs", kind="bool"),
        Flag("--sort", help="Sort by created, id, repository, size, tag", default_text="created",
             choices=("created", "id", "repository", "size", "tag")),
    ),
    list_, args=(0, 1, ""), complete="images",
    examples=("{} --format json", '{} --sort repository --format "table {{.ID}} {{.Repository}} {{.Tag}}"',
              "{} --filter dangling=true"),
)
IMAGE_LIST = IMAGES.replace(name="list", aliases=("ls",))

HISTORY = Command(
    "history", "[options] IMAGE", "Show history of a specified image",
    "Displays the history of an image.\n\n"
    "  The information can be printed out in an easy to read, or user specified format, and can be truncated.",
    (
        Flag("--format", help="Change the output to JSON or a Go template"),
        Flag("--human", "-H", "Display sizes and dates in human readable format", kind="bool", default_text="true"),
        Flag("--no-trunc", kind="bool", help="Do not truncate the output"),
        Flag("--quiet", "-q", "Display the numeric IDs only", kind="bool"),
    ),
    history, args=(1, 1, ""), complete="images", examples=("{} quay.io/fedora/fedora",),
)
TAG = Command(
    "tag", "IMAGE TARGET_NAME [TARGET_NAME...]", "Add an additional name to a local image",
    "Adds one or more additional names to locally-stored image.", (), tag, args=(2, None, ""), complete="images",
    examples=("{} 0e3bbc2 fedora:latest", "{} imageID:latest myNewImage:newTag",
              "{} httpd myregistryhost:5000/fedora/httpd:v2"),
)
UNTAG = Command(
    "untag", "IMAGE [IMAGE...]", "Remove a name from a local image",
    "Removes one or more names from a locally-stored image.", (), untag, args=(1, None, ""), complete="images",
    examples=("{} 0e3bbc2", "{} imageID:latest otherImageName:latest", "{} httpd myregistryhost:5000/fedora/httpd:v2"),
)
RMI = Command(
    "rmi", "[options] IMAGE [IMAGE...]", "Remove one or more images from local storage",
    "Removes one or more previously pulled or locally created images.",
    (
        Flag("--all", "-a", "Remove all images", kind="bool"),
        Flag("--force", "-f", "Force Removal of the image", kind="bool"),
        Flag("--ignore", "-i", "Ignore errors if a specified image does not exist", kind="bool"),
        Flag("--no-prune", kind="bool", help="Do not remove dangling images"),
    ),
    rmi, complete="images", examples=("{} imageID", "{} --force alpine", "{} c4dfb1609ee2 93fd78260bd1 c0ed59d05ff7"),
)
IMAGE_RM = RMI.replace(name="rm")
IMAGE_PRUNE = Command(
    "prune", "[options]", "Remove unused images", "Removes dangling or unused images from local storage.",
    (
        Flag("--all", "-a", "Remove all images not in use by containers, not just dangling ones", kind="bool"),
        Flag("--build-cache", kind="bool", refused="builds"),
        Flag("--external", kind="bool", noop=True,
             help="Remove images even when they are used by external containers (e.g., by build containers)"),
        Flag("--filter", kind="array", help="Provide filter values (e.g. 'label=<key>=<value>')", choices=_FILTERS),
        Flag("--force", "-f", "Do not prompt for confirmation", kind="bool"),
    ),
    prune, args=(0, 0, ""), examples=("{}",),
)

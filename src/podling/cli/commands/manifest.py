"""``podling manifest``: lists of images for several platforms."""

from __future__ import annotations

from podling.cli import output, signing
from podling.cli.flags import Command, Flag
from podling.cli.progress import registry_options, reporter
from podling.cli.several import each
from podling.errors import ExitStatus, InvalidArgument, NoSuchImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.engine.image_lists import Changes


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument(f"no value given for annotation {name!r}")
    return name, value


def _changes(said: dict[str, Any]) -> Changes:
    from podling.engine.image_lists import Changes

    names = {"os": "os", "arch": "architecture", "variant": "variant", "os_version": "os_version", "features": "features",
             "os_features": "os_features"}
    return Changes(annotations=dict(said.get("annotation", ())), **{field: said[name] for name, field in names.items() if name in said})


def create(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Make a list; its id."""
    from podling.engine import image_lists

    options = image_lists.AddOptions(all=said.get("all", False), registry=registry_options(dict(said)))
    image = image_lists.create(context.engine, args[0], args[1:], options, amend=said.get("amend", False),
                               annotations=dict(said.get("annotation", ())))
    context.out.line(image.id)


def add(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Put images into a list; its id."""
    from podling.engine import image_lists

    options = image_lists.AddOptions(all=said.get("all", False), changes=_changes(said), registry=registry_options(dict(said)))
    context.out.line(image_lists.add(context.engine, args[0], args[1:], options).id)


def annotate(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Change what a list says of an image, or of itself."""
    from podling.engine import image_lists

    if said.get("index"):
        if len(args) > 1 or set(said) - {"index", "annotation"}:
            raise InvalidArgument("--index is about the list itself, which has annotations alone",
                                  hint=f"podling manifest annotate --index --annotation NAME=VALUE {args[0]}")
        image = image_lists.find(context.engine, args[0])
        context.out.line(image_lists.annotate_list(context.engine, image, dict(said.get("annotation", ()))).id)
        return
    if len(args) < 2:
        raise InvalidArgument(f'"podling manifest annotate" requires an image of the list {args[0]}',
                              hint="name one by its digest, or say --index for the list itself")
    context.out.line(image_lists.annotate(context.engine, args[0], args[1], _changes(said)).id)


def inspect(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show a list."""
    from podling.engine import image_lists

    output.print_json(context.out, image_lists.inspect(context.engine, args[0], registry_options(dict(said))), indent=4)


def exists(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Exit code 0 where there is a list of this name, 1 where there is none."""
    from podling.engine import image_lists

    if not image_lists.exists(context.engine, args[0]):
        raise ExitStatus(1)


def push(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Send a list with its images to a registry."""
    from podling.engine import image_lists

    form = said.get("format", "")
    if form not in ("", "oci", "v2s2"):
        raise InvalidArgument(f'unknown format "{form}". Choose on of the supported formats: "oci", "v2s2"')
    options = image_lists.PushListOptions(
        all=said.get("all", True), format=form, compression_format=said.get("compression_format", ""),
        compression_level=said.get("compression_level"), force_compression=said.get("force_compression", False),
        add_compression=tuple(said.get("add_compression", ())),
        digest_file=said.get("digestfile", ""), remove=said.get("rm", False), registry=registry_options(dict(said)),
        signing=signing.signing_options(context, dict(said)),
        progress=reporter(context, quiet=said.get("quiet", False)))
    destination = args[1] if len(args) > 1 else args[0]
    image_lists.push(context.engine, args[0], destination, options)


def remove(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Take an image out of a list."""
    from podling.engine import image_lists

    context.out.line(image_lists.remove(context.engine, args[0], args[1]).id)


def rm(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Delete lists."""
    from podling.engine import image_lists

    def delete(name: str) -> None:
        try:
            image = image_lists.find(context.engine, name)
        except NoSuchImage:
            if said.get("ignore"):
                return
            raise
        context.engine.images.remove(image)
        for known in image.names:
            context.out.line(f"Untagged: {known}")
        context.out.line(f"Deleted: {image.id}")

    return each(context, args, delete, exit_codes={NoSuchImage: 1})


_ALL = Flag("--all", help="add all of the list's images if the image is a list", kind="bool")
_REGISTRY = (
    Flag("--authfile", help="path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override", complete="files"),
    Flag("--cert-dir", help="use certificates at the specified path to access the registry", complete="files"),
    Flag("--creds", help="use `[username[:password]]` for accessing the registry"),
)
_TLS = Flag("--tls-verify", help="require HTTPS and verify certificates when accessing the registry", kind="bool", default_text="true")
_CHANGES = (
    Flag("--annotation", help="set an `annotation` for the specified image", kind="array", parse=_annotation),
    Flag("--arch", help="override the `architecture` of the specified image"),
    Flag("--features", help="override the `features` of the specified image", kind="slice"),
    Flag("--os", help="override the `OS` of the specified image"),
    Flag("--os-version", help="override the OS `version` of the specified image"),
    Flag("--variant", help="override the `Variant` of the specified image"),
)

CREATE = Command(
    "create", "[options] LIST [IMAGE...]", "Create manifest list or image index", "Creates manifest lists or image indexes.",
    (_ALL, Flag("--amend", "-a", "modify an existing list if one with the desired name already exists", kind="bool"),
     Flag("--annotation", help="set annotations on the new list", kind="array", parse=_annotation), _TLS),
    create, args=(1, None, ""), complete="images",
    examples=("{} mylist:v1.11", "{} mylist:v1.11 arch-specific-image-to-add", "{} --all mylist:v1.11 transport:tagged-image-to-add"),
)
ADD = Command(
    "add", "[options] LIST IMAGE [IMAGE...]", "Add images to a manifest list or image index",
    "Adds an image to a manifest list or image index.",
    (_ALL, *_CHANGES, *_REGISTRY, _TLS), add, args=(2, None, ""), complete="images",
    examples=("{} mylist:v1.11 image:v1.11-amd64", "{} mylist:v1.11 transport:imageName"),
)
ANNOTATE = Command(
    "annotate", "[options] LIST [IMAGE]", "Add or update information about an entry in a manifest list or image index",
    "Adds or updates information about an entry in a manifest list or image index.",
    (*_CHANGES, Flag("--index", help="apply annotations to the list itself instead of to an image in it", kind="bool"),
     Flag("--os-features", help="override the OS `features` of the specified image", kind="slice")),
    annotate, args=(1, 2, ""), complete="images", examples=("{} --annotation left=right mylist:v1.11 image:v1.11-amd64",),
)
INSPECT = Command(
    "inspect", "[options] IMAGE", "Display the contents of a manifest list or image index",
    "Display the contents of a manifest list or image index.",
    (_REGISTRY[0], _TLS), inspect, args=(1, 1, ""), complete="images", examples=("{} localhost/list",),
)
EXISTS = Command(
    "exists", "MANIFEST", "Check if a manifest list exists in local storage",
    "If the manifest list exists in local storage, podling manifest exists exits with 0, otherwise the exit code will be 1.",
    (), exists, args=(1, 1, ""), complete="images", examples=("{} mylist",),
)
PUSH = Command(
    "push", "[options] LIST DESTINATION", "Push a manifest list or image index to a registry",
    "Pushes manifest lists and image indexes to registries.",
    (
        Flag("--add-compression", help="add instances with selected compression while pushing", kind="slice",
             choices=("gzip", "zstd", "zstd:chunked")),
        Flag("--all", help="also push the images in the list", kind="bool", default_text="true"), *_REGISTRY,
        Flag("--compression-format", help="compression format to use", choices=("gzip", "zstd", "zstd:chunked")),
        Flag("--compression-level", help="compression level to use", kind="int"),
        Flag("--force-compression", kind="bool",
             help="Use the specified compression algorithm even if the destination contains a differently-compressed variant already"),
        Flag("--digestfile", help="after copying the image, write the digest of the resulting digest to the file", complete="files"),
        Flag("--format", "-f", "manifest type (oci or v2s2) to attempt to use when pushing the manifest list (default is manifest "
             "type of source)"),
        Flag("--quiet", "-q", "don't output progress information when pushing lists", kind="bool"),
        Flag("--remove-signatures", help="don't copy signatures when pushing images", kind="bool", noop=True),
        Flag("--rm", help="remove the manifest list if push succeeds", kind="bool"),
        Flag("--purge", "-p", kind="bool", into="rm", hidden=True),
        *signing.FLAGS,
        _TLS,
    ),
    push, args=(1, 2, ""), complete="images", examples=("{} mylist:v1.11 docker://quay.io/myuser/image:v1.11",),
)
REMOVE = Command(
    "remove", "LIST IMAGE", "Remove an entry from a manifest list or image index",
    "Removes an image from a manifest list or image index.", (), remove, args=(2, 2, ""), complete="images",
    examples=("{} mylist:v1.11 sha256:15352d97781ffdf357bf3459c037be3efac4133dc9070c2dce7eca7c05c3e736",),
)
RM = Command(
    "rm", "LIST [LIST...]", "Remove manifest list or image index from local storage",
    "Remove manifest list or image index from local storage.",
    (Flag("--ignore", "-i", "Ignore errors when a specified manifest list is missing", kind="bool"),),
    rm, args=(1, None, ""), complete="images", examples=("{} mylist:v1.11",),
)

"""``podling save``, ``load`` and ``import``."""

from __future__ import annotations

import os

from podling.cli.commands.container_options import take_platform
from podling.cli.flags import Command, Flag
from podling.cli.progress import reporter
from podling.engine.options import ImportOptions, SaveOptions
from podling.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_FORMATS = ("oci-dir", "oci-archive", "docker-dir", "docker-archive")


def save(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Write images to an archive, a directory or standard output."""
    form = said.get("format", "docker-archive")
    if form not in _FORMATS:
        raise InvalidArgument(f"format value must be one of {' '.join(_FORMATS)}")
    if not args:
        raise InvalidArgument("need at least 1 argument")
    if said.get("compress") and form != "docker-dir":
        raise InvalidArgument("--compress can only be set when --format is 'docker-dir'")
    output = said.get("output", "")
    if not output:
        if form in ("oci-dir", "docker-dir"):
            raise InvalidArgument(f"option --output is required with --format {form}")
        if os.isatty(1):
            raise InvalidArgument("refusing to save to terminal. Use -o flag or redirect")
        context.out.flush()
    from podling.engine import transfers

    options = SaveOptions(progress=reporter(context, quiet=said.get("quiet", False)),
                          **context.options(said, "format", "compress", "uncompressed", "multi"))
    transfers.save(context.engine, tuple(args), output or "-", options)


def load(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Bring the images of an archive into the store."""
    path = said.get("input") or "-"
    if args:
        raise InvalidArgument("`podling load` takes no arguments")
    if path == "-":
        if os.isatty(0):
            raise InvalidArgument("cannot read from terminal, use command-line redirection or the --input flag")
    elif not os.path.exists(path):
        raise NotFound(f"stat {path}: no such file or directory")
    from podling.engine import transfers

    for image in transfers.load_file(context.engine, path, reporter(context, quiet=said.get("quiet", False)),
                                     said.get("signature_policy")):
        for name in image.names or (f"sha256:{image.id}",):
            context.out.line(f"Loaded image: {name}")


def import_(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Make an image of a root file system's tar; its id."""
    from podling.engine import transfers

    rest = dict(said)
    source = args[0]
    if source != "-" and "://" not in source and not os.path.exists(source):
        raise NotFound(f'error opening "{source}": open {source}: no such file or directory')
    options = ImportOptions(changes=rest.get("change", ()), message=rest.get("message", ""), platform=take_platform(rest),
                            signature_policy=rest.get("signature_policy"))
    image = transfers.import_image(context.engine, source, args[1] if len(args) > 1 else None, options)
    context.out.line(f"sha256:{image.id}")


SAVE = Command(
    "save", "[options] IMAGE [IMAGE...]", "Save image(s) to an archive",
    "Save an image to docker-archive or oci-archive on the local machine. Default is docker-archive.",
    (
        Flag("--compress", kind="bool", help="Compress tarball image layers when saving to a directory using the 'dir' "
             "transport. (default is same compression type as source)"),
        Flag("--format", help="Save image to oci-archive, oci-dir (directory with oci manifest type), docker-archive, "
             "docker-dir (directory with v2s2 manifest type)", default_text="docker-archive", choices=_FORMATS),
        Flag("--multi-image-archive", "-m",
             "Interpret additional arguments as images not tags and create a multi-image-archive (only for docker-archive)",
             kind="bool", into="multi"),
        Flag("--output", "-o", "Write to a specified file (default: stdout, which must be redirected)", complete="files"),
        Flag("--quiet", "-q", "Suppress the output", kind="bool"),
        Flag("--uncompressed", kind="bool", help="Accept uncompressed layers when copying OCI images"),
    ),
    save, complete="images",
    examples=("{} --quiet -o myimage.tar imageID", "{} --format docker-dir -o ubuntu-dir ubuntu",
              "{} > alpine-all.tar alpine:latest"),
)
LOAD = Command(
    "load", "[options]", "Load image(s) from a tar archive",
    "Loads an image from a locally stored archive (tar file) into container storage.",
    (
        Flag("--input", "-i", "Read from specified archive file (default: stdin)", complete="files"),
        Flag("--quiet", "-q", "Suppress the output", kind="bool"),
        Flag("--signature-policy", hidden=True, complete="files"),
    ),
    load,
)
IMPORT = Command(
    "import", "[options] PATH [REFERENCE]", "Import a tarball to create a filesystem image",
    "Create a container image from the contents of the specified tarball (.tar, .tar.gz, .tgz, .bzip, .tar.xz, .txz).\n\n"
    "  Note remote tar balls can be specified, via web address.\n"
    "  Optionally tag the image. You can specify the instructions using the --change option.",
    (
        Flag("--arch", help="Set the architecture of the imported image"),
        Flag("--change", "-c", "Apply the following possible instructions to the created image (default []): CMD | "
             "ENTRYPOINT | ENV | EXPOSE | LABEL | ONBUILD | STOPSIGNAL | USER | VOLUME | WORKDIR", kind="array"),
        Flag("--message", "-m", "Set commit message for imported image"),
        Flag("--os", help="Set the OS of the imported image"),
        Flag("--quiet", "-q", "Suppress output", kind="bool", noop=True),
        Flag("--signature-policy", hidden=True, complete="files"),
        Flag("--variant", help="Set the variant of the imported image"),
    ),
    import_, args=(1, 2, ""), complete="files none",
    examples=("{} https://example.com/ctr.tar url-image",
              'cat ctr.tar | podling -q import --message "importing the ctr.tar tarball" - image-imported',
              "cat ctr.tar | {} -"),
)

"""``podling artifact``: files in registries that are no images."""

from __future__ import annotations

from podling.cli import output, signing
from podling.cli.commands.container_values import seconds
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.cli.progress import registry_options, reporter
from podling.errors import InvalidArgument
from podling.values.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.engine.artifacts import ArtifactTransfer

_COLUMNS = Columns(name="ls", shown=("Repository", "Tag", "Digest", "Size"))
_SHORT = 12


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument(f"no value given for annotation {name!r}")
    return name, value


def add(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Make an artifact of files; its digest."""
    from podling.engine import artifacts

    options = artifacts.AddArtifactOptions(annotations=dict(said.get("annotation", ())),
                                           **context.options(said, "type", "file_type", "append", "overwrite"))
    context.out.line(artifacts.add(context.engine, args[0], args[1:], options).digest.removeprefix("sha256:"))


def extract(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Write an artifact's files to the host."""
    from podling.engine import artifacts

    artifacts.extract(context.engine, args[0], args[1], **context.options(said, "digest", "title"))


def inspect(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Show an artifact's manifest."""
    from podling.engine import artifacts

    artifact = artifacts.store(context.engine).find(args[0])
    output.print_json(context.out, {"Manifest": artifact.document, "Name": artifact.name, "Digest": artifact.digest}, indent=5)


def ls(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """List artifacts."""
    from podling.engine import artifacts

    shown = None if said.get("no_trunc") else _SHORT
    rows = []
    for artifact in artifacts.store(context.engine).all():
        colon = artifact.name.rfind(":")
        tagged = colon > artifact.name.rfind("/")
        fields = {"Repository": artifact.name[:colon] if tagged else artifact.name, "Tag": artifact.name[colon + 1:] if tagged else "",
                  "Digest": artifact.digest.removeprefix("sha256:")[:shown], "Size": format_size(artifact.size, digits=4, separator="")}
        rows.append(Row(fields, json=fields, go_type="artifact.artifactListOutput"))
    template = said.get("format")
    if output.is_json(template):
        output.print_json(context.out, [row.json for row in rows], indent=4)
    else:
        output.report(context.out, rows, _COLUMNS, template=template, headings=not said.get("noheading", False))


def _transfer(context: Context, said: dict[str, Any]) -> ArtifactTransfer:
    from podling.engine.artifacts import ArtifactTransfer

    rest = dict(said)
    return ArtifactTransfer(progress=reporter(context, quiet=rest.pop("quiet", False)), registry=registry_options(rest),
                            digest_file=rest.get("digestfile", ""), decryption_keys=tuple(rest.pop("decryption_key", ())),
                            signing=signing.signing_options(context, rest))


def pull(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Bring an artifact from a registry; its digest."""
    from podling.engine import artifacts

    context.out.line(artifacts.pull(context.engine, args[0], _transfer(context, said)).digest.removeprefix("sha256:"))


def push(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Send an artifact to its registry."""
    from podling.engine import artifacts

    artifacts.push(context.engine, args[0], _transfer(context, said))


def rm(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Delete artifacts; their digests."""
    from podling.engine import artifacts

    if bool(args) == bool(said.get("all")):
        raise InvalidArgument("a single artifact name must be specified" if not args else
                              "when using the --all switch, you may not pass any artifact names or digests")
    names = [artifact.name for artifact in artifacts.store(context.engine).all()] if said.get("all") else args
    for name in names:
        context.out.line(artifacts.remove(context.engine, name).removeprefix("sha256:"))


_REACH = (
    Flag("--authfile", help="Path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override", complete="files"),
    Flag("--cert-dir", help="`Pathname` of a directory containing TLS certificates and keys", complete="files"),
    Flag("--creds", help="`Credentials` (USERNAME:PASSWORD) to use for authenticating to a registry"),
    Flag("--quiet", "-q", "Suppress output information when transferring artifacts", kind="bool"),
    Flag("--retry", help="number of times to retry in case of failure", kind="uint", default_text="3"),
    Flag("--retry-delay", help="delay between retries in case of failures", parse=seconds),
    Flag("--tls-verify", help="Require HTTPS and verify certificates when contacting registries", kind="bool", default_text="true"),
)
_DECRYPTION = Flag("--decryption-key", help="Key needed to decrypt the image (e.g. /path/to/key.pem)", kind="array", complete="files")
ADD = Command(
    "add", "[options] ARTIFACT PATH [...PATH]", "Add an OCI artifact to the local store",
    "Add an OCI artifact to the local store from the local filesystem",
    (Flag("--annotation", help="set an `annotation` for the specified artifact", kind="array", parse=_annotation),
     Flag("--append", "-a", "Append files to an existing artifact", kind="bool"),
     Flag("--file-type", help="Set file type to use for the artifact (layer)"),
     Flag("--replace", help="Replace an existing artifact", kind="bool", into="overwrite"),
     Flag("--type", help="Use type to describe an artifact")),
    add, args=(2, None, ""), complete="files", examples=("{} quay.io/myimage/myartifact:latest /tmp/foobar.txt",),
)
EXTRACT = Command(
    "extract", "[options] ARTIFACT PATH", "Extract an OCI artifact to a local path",
    "Extract the blobs of an OCI artifact to a local file or directory",
    (Flag("--digest", help="Only extract blob with the given digest"), Flag("--title", help="Only extract blob with the given title")),
    extract, args=(2, 2, ""), complete="files", examples=("{} quay.io/myimage/myartifact:latest /tmp/foobar.txt",),
)
INSPECT = Command("inspect", "[ARTIFACT...]", "Inspect an OCI artifact", "Provide details on an OCI artifact", (), inspect,
                  args=(1, 1, ""), examples=("{} quay.io/myimage/myartifact:latest",))
LS = Command(
    "ls", "[options]", "List OCI artifacts", "List OCI artifacts in local store",
    (Flag("--format", help="Format volume output using JSON or a Go template"),
     Flag("--no-trunc", help="Do not truncate output", kind="bool"),
     Flag("--noheading", "-n", "Do not print column headings", kind="bool")),
    ls, args=(0, 0, ""), aliases=("list",), examples=("{}",),
)
PULL = Command(
    "pull", "[options] ARTIFACT", "Pull an OCI artifact", "Pulls an artifact from a registry and stores it locally.",
    (*_REACH, _DECRYPTION), pull, args=(1, 1, ""),
    examples=("{} quay.io/myimage/myartifact:latest",),
)
PUSH = Command(
    "push", "[options] ARTIFACT.", "Push an OCI artifact", "Push an OCI artifact from local storage to an image registry",
    (*_REACH, Flag("--digestfile", help="Write the digest of the pushed image to the specified file", complete="files"),
     *signing.FLAGS),
    push, args=(1, 1, ""), examples=("{} quay.io/myimage/myartifact:latest",),
)
RM = Command(
    "rm", "[options] ARTIFACT", "Remove an OCI artifact", "Remove an OCI artifact from local storage",
    (Flag("--all", "-a", "Remove all artifacts", kind="bool"),), rm, aliases=("remove",),
    examples=("{} quay.io/myimage/myartifact:latest", "{} -a"),
)

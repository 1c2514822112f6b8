"""``podling pull`` and ``podling push``."""

from __future__ import annotations

from podling.cli import signing
from podling.cli.commands.container_options import take_platform
from podling.cli.commands.container_values import platform, seconds
from podling.cli.flags import Command, Flag
from podling.cli.progress import chooser, registry_options, reporter
from podling.cli.several import each
from podling.cli.signing import signing_options
from podling.engine.options import PullOptions, PushOptions
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def pull(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Bring images into the store; their ids."""
    from podling.engine import transfers  # loads an HTTP client

    rest = dict(said)
    quiet, every = rest.pop("quiet", False), rest.pop("all_tags", False)
    options = PullOptions(policy=rest.pop("policy", None) or "always", platform=take_platform(rest), all_tags=every,
                          decryption_keys=tuple(rest.pop("decryption_key", ())),
                          signature_policy=rest.pop("signature_policy", None),
                          registry=registry_options(rest), progress=reporter(context, quiet=quiet), choose=chooser(context))

    def bring(name: str) -> None:
        engine = context.engine
        for image in transfers.pull_all_tags(engine, name, options) if every else [transfers.pull(engine, name, options)]:
            context.out.line(image.id)
        context.out.flush()

    return each(context, args, bring)


def push(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Send an image to a registry, an archive or a directory."""
    from podling.engine import transfers

    rest = dict(said)
    form = rest.pop("format", None)
    if form not in (None, "oci", "v2s2"):
        raise InvalidArgument(f'unknown format "{form}". Choose on of the supported formats: "oci", "v2s2"')
    options = PushOptions(
        compression_format=rest.pop("compression_format", None), compression_level=rest.pop("compression_level", None),
        force_compression=rest.pop("force_compression", None), format=form, digest_file=rest.pop("digestfile", None),
        encryption_keys=tuple(rest.pop("encryption_key", ())), encrypt_layers=tuple(rest.pop("encrypt_layer", ())),
        remove_signatures=rest.pop("remove_signatures", False), progress=reporter(context, quiet=rest.pop("quiet", False)),
        registry=registry_options(rest), signing=signing_options(context, rest))
    transfers.push(context.engine, args[0], args[1] if len(args) > 1 else None, options)


def _layer_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f'"{text}" is no number of a layer') from None


_TLS = Flag("--tls-verify", kind="bool", default_text="true",
            help="Require HTTPS and verify certificates when contacting registries")
_CREDS = Flag("--creds", help="`Credentials` (USERNAME:PASSWORD) to use for authenticating to a registry")
_AUTHFILE = Flag("--authfile", help="Path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override",
                 complete="files")
_TRUST = Flag("--disable-content-trust", kind="bool", noop=True, help="This is a Docker specific option and is a NOOP")

_POLICY = Flag("--signature-policy", help="Pathname of signature policy file (not usually used)", hidden=True, complete="files")

PULL = Command(
    "pull", "[options] IMAGE [IMAGE...]", "Pull an image from a registry",
    "Pulls an image from a registry and stores it locally.\n\n  An image can be pulled by tag or digest. If a tag is not "
    "specified, the image with the 'latest' tag is pulled.",
    (
        Flag("--all-tags", "-a", "All tagged images in the repository will be pulled", kind="bool"),
        Flag("--arch", help="Use `ARCH` instead of the architecture of the machine for choosing images",
             aliases=("--override-arch",)),
        _AUTHFILE,
        Flag("--cert-dir", help="`Pathname` of a directory containing TLS certificates and keys", complete="files"),
        _CREDS,
        Flag("--decryption-key", help="Key needed to decrypt the image (e.g. /path/to/key.pem)", kind="array", complete="files"),
        _TRUST,
        Flag("--os", help="Use `OS` instead of the running OS for choosing images", aliases=("--override-os",)),
        Flag("--platform", help="Specify the platform for selecting the image.  (Conflicts with arch and os)", parse=platform),
        Flag("--policy", help="Pull image policy", default_text="always", choices=("always", "missing", "never", "newer")),
        Flag("--quiet", "-q", "Suppress output information when pulling images", kind="bool"),
        Flag("--retry", help="number of times to retry in case of failure when performing pull", kind="uint", default_text="3"),
        Flag("--retry-delay", help="delay between retries in case of pull failures", parse=seconds),
        _POLICY,
        _TLS,
        Flag("--variant", help="Use VARIANT instead of the running architecture variant for choosing images",
             aliases=("--override-variant",)),
    ),
    pull, args=(1, None, ""), examples=("{} imageName", "{} fedora:latest"), complete="images",
)
PUSH = Command(
    "push", "[options] IMAGE [DESTINATION]", "Push an image to a specified destination",
    'Pushes a source image to a specified destination.\n\n\tThe Image "DESTINATION" uses a "transport":"details" format. '
    'See podman-push(1) section "DESTINATION" for the expected format.',
    (
        _AUTHFILE,
        Flag("--cert-dir", help="Path to a directory containing TLS certificates and keys", complete="files"),
        Flag("--compress", kind="bool", noop=True,
             help="Compress tarball image layers when pushing to a directory using the 'dir' transport. (default is same "
                  "compression type as source)"),
        Flag("--compression-format", help="compression format to use", default_text="gzip", choices=("gzip", "zstd", "zstd:chunked")),
        Flag("--compression-level", help="compression level to use", kind="int"),
        _CREDS,
        Flag("--digestfile", help="Write the digest of the pushed image to the specified file", complete="files"),
        _TRUST,
        Flag("--encrypt-layer", kind="slice", parse=_layer_number,
             help="Layers to encrypt, 0-indexed layer indices with support for negative indexing (e.g. 0 is the first layer, -1 is the "
                  "last layer). If not defined, will encrypt all layers if encryption-key flag is specified"),
        Flag("--encryption-key", help="Key with the encryption protocol to use to encrypt the image (e.g. jwe:/path/to/key.pem)",
             kind="array"),
        Flag("--force-compression", kind="bool",
             help="Use the specified compression algorithm even if the destination contains a differently-compressed variant "
                  "already"),
        Flag("--format", "-f", "Manifest type (oci, v2s2, or v2s1) to use in the destination (default is manifest type of "
             "source, with fallbacks)", choices=("oci", "v2s2")),
        Flag("--quiet", "-q", "Suppress output information when pushing images", kind="bool"),
        Flag("--remove-signatures", kind="bool", help="Discard any pre-existing signatures in the image"),
        Flag("--retry", help="number of times to retry in case of failure when performing push", kind="uint", default_text="3"),
        Flag("--retry-delay", help="delay between retries in case of push failures", parse=seconds),
        *signing.FLAGS,
        Flag("--signature-policy", hidden=True, noop=True),   # it is about what comes in
        _TLS,
    ),
    push, args=(1, 2, ""), complete="images none",
    examples=("{} imageID docker://registry.example.com/repository:tag", "{} imageID oci-archive:/path/to/layout:image:tag"),
)

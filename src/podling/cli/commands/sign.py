"""``podling image sign``."""

from __future__ import annotations

import os

from podling.cli.flags import Command, Flag
from podling.cli.progress import registry_options
from podling.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def sign(_context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Sign images that are in a registry."""
    directory = said.get("directory")
    if not said.get("sign_by"):
        raise InvalidArgument("no identity provided", hint="name a key of gpg with --sign-by")
    if directory and not os.path.isdir(directory):
        raise NotFound(f"stat {directory}: no such file or directory")
    from podling.engine.sign import SignOptions, sign  # loads an HTTP client

    options = SignOptions(sign_by=said["sign_by"], directory=os.path.abspath(directory) if directory else None,
                          all=said.get("all", False), registry=registry_options(dict(said)))
    for name in args:
        sign(name, options)


SIGN = Command(
    "sign", "[options] IMAGE [IMAGE...]", "Sign an image", "Create a signature file that can be used later to verify the image.",
    (
        Flag("--all", "-a", "Sign all the manifests of the multi-architecture image", kind="bool"),
        Flag("--authfile", help="Path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override",
             complete="files"),
        Flag("--cert-dir", help="`Pathname` of a directory containing TLS certificates and keys", complete="files"),
        Flag("--directory", "-d", "Define an alternate directory to store signatures", complete="files"),
        Flag("--sign-by", help="Name of the signing key"),
    ),
    sign, args=(1, None, ""), complete="images",
    examples=("{} --sign-by mykey docker://registry.example.com/image",
              "{} --sign-by mykey --directory ./mykeydir docker://registry.example.com/image"),
)

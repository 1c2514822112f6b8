"""The flags by which ``push`` and ``manifest push`` sign."""

from __future__ import annotations

import os

from podling.cli.flags import Flag
from podling.engine.options import SigningOptions
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

FLAGS = (
    Flag("--sign-by", help="Add a signature at the destination using the specified key"),
    Flag("--sign-by-sigstore", help="Sign the image using a sigstore parameter file at `PATH`", complete="files"),
    Flag("--sign-by-sigstore-private-key", help="Sign the image using a sigstore private key at `PATH`", complete="files"),
    Flag("--sign-passphrase-file", help="Read a passphrase for signing an image from `PATH`", complete="files"),
)
_NAMES = tuple(flag.into for flag in FLAGS)


def signing_options(context: Context, said: dict[str, Any]) -> SigningOptions:
    """Who signs; the options are taken out of what was said. A sigstore key's passphrase is asked for where no file has it."""
    given = {name: value for name in _NAMES if (value := said.pop(name, None))}
    if {"sign_by", "sign_by_sigstore_private_key", "sign_passphrase_file"} <= set(given):
        raise InvalidArgument("only one of --sign-by and sign-by-sigstore-private-key can be used with --sign-passphrase-file")
    if "sign_by_sigstore_private_key" in given and "sign_passphrase_file" not in given and os.isatty(0):
        from podling.cli.terminal import ask_password

        given["sign_passphrase"] = ask_password(context.err, "Enter passphrase: ")
    return SigningOptions(**given)

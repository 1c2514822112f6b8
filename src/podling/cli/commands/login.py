"""``podling login`` and ``podling logout``."""

from __future__ import annotations

import os

from podling.cli import terminal
from podling.cli.flags import Command, Flag
from podling.engine import registries
from podling.engine.registries import LoginOptions
from podling.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context

_PASSWORD_LIMIT = 1 << 20


def login(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Log in to a registry, asking for what was not given."""
    options = LoginOptions(registry=args[0] if args else "", **context.options(
        said, "username", "password", "authfile", "compat_authfile", "cert_dir", "tls_verify"))
    _check(said)
    key = registries.key_of(options.registry)
    if said.get("get_login"):
        found = registries.stored(options)
        if found is None or not (found.username or found.identity_token):
            raise NotFound(f"not logged into {key}")
        context.out.line(found.username or "<token>")
        return
    if said.get("password_stdin"):
        options = options.replace(password=_read_password())
    elif not options.username and not options.password and registries.stored(options) is not None:
        context.out.line(f"Authenticating with existing credentials for {key}")
        context.out.flush()
        if registries.still_valid(options):
            context.out.line(f"Existing credentials are valid. Already logged in to {key}")
            return
        context.out.line("Existing credentials are invalid, please enter valid username and password")
    options = _ask(context, options)
    place = registries.login(options)
    if said.get("verbose"):
        context.out.line(f"Used:  {place}")
    context.out.line("Login Succeeded!")


def _check(said: dict[str, Any]) -> None:
    if said.get("authfile") and said.get("compat_authfile"):
        raise InvalidArgument("options for paths to the credential file and to the Docker-compatible credential file can not "
                              "be set simultaneously")
    if said.get("password_stdin"):
        if said.get("password"):
            raise InvalidArgument("can't specify both --password-stdin and --password")
        if not said.get("username"):
            raise InvalidArgument("must provide --username with --password-stdin")


def _read_password() -> str:
    data = b""
    while len(data) <= _PASSWORD_LIMIT and (part := os.read(0, 1 << 16)):
        data += part
    return data.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _ask(context: Context, options: LoginOptions) -> LoginOptions:
    """The options with user and password, asked for where they are missing."""
    if not options.username:
        known = registries.stored(options)
        before = f" ({known.username})" if known is not None and known.username else ""
        answer = terminal.ask(context.out, f"Username{before}: ").strip()
        options = options.replace(username=answer or (known.username if known is not None else ""))
    if not options.username:
        raise InvalidArgument("username is empty", hint="give it with --username")
    if not options.password:
        options = options.replace(password=terminal.ask_password(context.out, "Password: "))
    return options


def logout(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Forget the login for one registry, or all."""
    files = {"authfile": said.get("authfile", ""), "compat_authfile": said.get("compat_authfile", "")}
    if said.get("all"):
        if args:
            raise InvalidArgument("--all takes no arguments")
        registries.logout_everywhere(**files)
        context.out.line("Removed login credentials for all registries")
        return
    key = registries.logout(args[0] if args else "", **files)
    context.out.line(f"Removed login credentials for {key}")


_AUTHFILE = Flag("--authfile", complete="files",
                 help="path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override")
_COMPAT = Flag("--compat-auth-file", into="compat_authfile", help="path of a Docker-compatible config file to update instead",
               complete="files")

LOGIN = Command(
    "login", "[options] [REGISTRY]", "Log in to a container registry", "Log in to a container registry on a specified server.",
    (
        _AUTHFILE,
        Flag("--cert-dir", help="use certificates at the specified path to access the registry", complete="files"),
        _COMPAT,
        Flag("--get-login", kind="bool", help="Return the current login user for the registry"),
        Flag("--password", "-p", "Password for registry"),
        Flag("--password-stdin", kind="bool", help="Take the password from stdin"),
        Flag("--secret", refused="secrets"),
        Flag("--tls-verify", kind="bool", help="Require HTTPS and verify certificates when contacting registries"),
        Flag("--username", "-u", "Username for registry"),
        Flag("--verbose", "-v", "Write more detailed information to stdout", kind="bool"),
    ),
    login, args=(0, 1, ""),
    examples=("{} quay.io", "{} --username ... --password ... quay.io", "{} --authfile dir/auth.json quay.io"),
)
LOGOUT = Command(
    "logout", "[options] [REGISTRY]", "Log out of a container registry",
    "Remove the cached username and password for the registry.",
    (Flag("--all", "-a", "Remove the cached credentials for all registries in the auth file", kind="bool"), _AUTHFILE, _COMPAT),
    logout, args=(0, 1, ""), examples=("{} quay.io", "{} --authfile dir/auth.json quay.io", "{} --all"),
)

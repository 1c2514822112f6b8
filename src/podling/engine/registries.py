"""Registries as they are configured, and logins to them."""

from __future__ import annotations

import os

from podling import log
from podling.config import auth, registries
from podling.engine.engine import cache_directory
from podling.errors import InvalidArgument, NotFound, Unauthorized
from podling.linux import rootless
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.config.auth import AuthFiles, Credentials
    from podling.config.registries import RegistriesConf
    from podling.engine.options import RegistryOptions
    from podling.image.registry.client import Registry

_SCHEMES = ("https://", "http://")


class LoginOptions(Record):
    """``login``: what is not given is asked for by the face."""

    registry: str = ""                       # "": the first that short names are searched in
    username: str = ""
    password: str = ""
    authfile: str = ""
    compat_authfile: str = ""
    cert_dir: str = ""
    tls_verify: bool | None = None


def configured() -> RegistriesConf:
    """registries.conf of this host and user."""
    who = rootless.owner()
    return registries.load(os.environ, rootless=who is not None, home=_home(), cache=cache_directory(who))


def remember(short: str, full: str) -> None:
    """Keep what a short name stands for, both without tag; where that cannot be written it is asked again the next time."""
    path = registries.alias_file(rootless=rootless.owner() is not None, home=_home(), env=os.environ)
    try:
        registries.record_alias(path, short, full)
    except OSError as error:
        log.debug(f"recording what {short} stands for in {path}: {error}")


def described() -> dict[str, Any]:
    """registries.conf in the shape of ``podman info``."""
    conf = configured()
    found: dict[str, Any] = {}
    for registry in conf.registries:
        mirrors = [{"Location": mirror.location, "Insecure": mirror.insecure, "PullFromMirror": mirror.pull}
                   for mirror in registry.mirrors]
        found[registry.prefix] = {
            "Blocked": registry.blocked, "Insecure": registry.insecure, "Location": registry.location or registry.prefix,
            "MirrorByDigestOnly": registry.mirror_by_digest_only, "Mirrors": mirrors or None, "Prefix": registry.prefix,
            "PullFromMirror": ""}
    if conf.search:
        found["search"] = list(conf.search)
    return found


def _home() -> str:
    return os.environ.get("HOME", "/")


# --- logins -----------------------------------------------------------------------------------------------------------


def auth_files(authfile: str = "") -> AuthFiles:
    """Where logins are; ``authfile`` as ``--authfile`` names it."""
    return auth.locate(os.environ, home=_home(), authfile=authfile, helpers=configured().credential_helpers)


def credentials(name: str, options: RegistryOptions) -> Credentials | None:
    """The login for an image's repository: ``--creds``, else what is stored; None where there is none."""
    if options.creds:
        username, colon, password = options.creds.partition(":")
        if not colon:
            raise InvalidArgument("credentials must be given as USERNAME:PASSWORD")
        return auth.Credentials(username=username, password=password, source="--creds")
    check_authfile(options.authfile or "")
    return auth.find(auth_files(options.authfile or ""), name)


def check_authfile(path: str) -> None:
    """InvalidArgument where the file that ``--authfile`` names ("": none is named) is not there: nobody means no login by that."""
    if path and not os.path.exists(path):
        raise InvalidArgument(f"credential file is not accessible: stat {path}: no such file or directory",
                              hint=f"podling login --authfile {path} makes it")


def key_of(registry: str) -> str:
    """What a login is stored under for what the user wrote: a registry or a part of one, without scheme.

    "" stands for the first registry that short names are searched in.
    """
    if not registry:
        search = configured().search
        if not search:
            raise InvalidArgument("no registries found in registries.conf, a registry must be provided")
        return search[0]
    for scheme in _SCHEMES:
        if registry.startswith(scheme):
            return registry.removeprefix(scheme).partition("/")[0]
    return registry


def stored(options: LoginOptions) -> Credentials | None:
    """The login that is stored for exactly this registry or part of one."""
    return auth.find(_files(options), key_of(options.registry))


def _files(options: LoginOptions) -> AuthFiles:
    return auth_files(options.compat_authfile or options.authfile)


def check_login(options: LoginOptions, login: Credentials) -> None:
    """Unauthorized where the registry does not take the login; RegistryError where it does not answer."""
    client = _client(options, login)
    try:
        client.check_login()
    except Unauthorized as error:
        raise Unauthorized(error.message) from None      # the registry's own words come with the advice to log in
    finally:
        client.close()


def _client(options: LoginOptions, login: Credentials) -> Registry:
    from podling import libraries

    libraries.add_site_packages()
    from podling.image.registry.client import Registry
    from podling.image.registry.connection import Patience

    host = key_of(options.registry).partition("/")[0]
    registry = configured().registry_for(host)
    insecure = not options.tls_verify if options.tls_verify is not None else registry is not None and registry.insecure
    return Registry(host, insecure=insecure, cert_dir=options.cert_dir, credentials=login,
                    patience=Patience(retries=0))


def login(options: LoginOptions) -> str:
    """Check the login with the registry and store it; where it went."""
    key = key_of(options.registry)
    auth.check_key(key)
    check_login(options, auth.Credentials(username=options.username, password=options.password))
    return auth.store(_files(options), key, options.username, options.password)


def still_valid(options: LoginOptions) -> bool:
    """Whether the stored login, if there is one, is taken by the registry."""
    found = stored(options)
    if found is None:
        return False
    try:
        check_login(options, found)
    except Unauthorized as error:
        log.debug(f"the stored login for {key_of(options.registry)} is refused: {error.message}")
        return False
    return True


def logout(registry: str, *, authfile: str = "", compat_authfile: str = "") -> str:
    """Forget the login for a registry; the key it was stored under. NotFound where there is none."""
    key = key_of(registry)
    check_authfile(compat_authfile or authfile)
    files = auth_files(compat_authfile or authfile)
    try:
        auth.remove(files, key)
    except NotFound:
        elsewhere = auth.find(files, key)
        if elsewhere is None:
            raise
        raise NotFound(f"not logged into {key} with current tool. Existing credentials were established via {elsewhere.source}",
                       hint="use the tool that made it to log out, or name its file with --authfile") from None
    return key


def logout_everywhere(*, authfile: str = "", compat_authfile: str = "") -> None:
    """Forget every login."""
    check_authfile(compat_authfile or authfile)
    auth.remove_all(auth_files(compat_authfile or authfile))

"""containers-auth.json(5): logins to registries, in files and in credential helpers.

The file that is written is auth.json in the runtime directory, so that logins end with the session; the user's permanent
auth.json and Docker's config.json are read after it. Keys are registries, or parts of them (``quay.io/user/image``): the
longest that fits wins. A credential helper is the program ``docker-credential-NAME``, speaking JSON on its standard streams.
"""

from __future__ import annotations

import binascii
import os

from podling import jsontext
from podling.config import layers
from podling.config.registries import AUTH_FILES
from podling.errors import Corrupt, InvalidArgument, NotFound, PodlingError, ProgramFailed, Unsupported
from podling.linux import files, process
from podling.linux.locks import Lock
from podling.linux.rootless import owner
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

VARIABLE = "REGISTRY_AUTH_FILE"
_TOKEN_USER = "<token>"                      # noqa: S105 -- helpers' name for an identity token
_LIMIT = 16 << 20
_MOST_LINKS = 8
_HELPER_SECONDS = 120.0                      # it may ask for a passphrase
_NOT_FOUND = "credentials not found"         # what helpers print; their protocol has nothing better
_DOCKER_HUB_KEYS = ("docker.io", "index.docker.io", "registry-1.docker.io")


class Credentials(Record):
    """A login; an ``identity_token`` stands for user and password. ``source``: the file or helper that it came from."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, source={self.source!r})"


class AuthFiles(Record):
    """Where logins are: ``main`` is read first and written, ``others`` are only read."""

    main: str
    others: tuple[str, ...] = ()
    helpers: tuple[str, ...] = (AUTH_FILES,)     # in their order; AUTH_FILES stands for the files


def locate(env: Mapping[str, str], *, home: str, authfile: str = "",
           helpers: tuple[str, ...] = (AUTH_FILES,)) -> AuthFiles:
    """The files that count. A file named by ``authfile`` (``--authfile``) or REGISTRY_AUTH_FILE counts alone."""
    named = authfile or env.get(VARIABLE, "")
    if named:
        return AuthFiles(main=named, helpers=helpers)
    if env.get("XDG_RUNTIME_DIR"):
        main = os.path.join(env["XDG_RUNTIME_DIR"], "containers/auth.json")
    else:
        who = owner()
        main = f"/run/containers/{who.uid if who else os.geteuid()}/auth.json"
    docker = env.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    others = (os.path.join(layers.user_directory(env, home), "auth.json"), os.path.join(docker, "config.json"),
              os.path.join(home, ".dockercfg"))
    return AuthFiles(main=main, others=others, helpers=helpers)


# --- finding ----------------------------------------------------------------------------------------------------------


def find(where: AuthFiles, name: str) -> Credentials | None:
    """The login for a registry or for something in it (``quay.io/user/image``), without tag; None where there is none."""
    registry = name.partition("/")[0]
    for helper in where.helpers:
        found = _find_in_files(where, name) if helper == AUTH_FILES else ask_helper(helper, registry)
        if found is not None:
            return found
    return None


def _find_in_files(where: AuthFiles, name: str) -> Credentials | None:
    registry = name.partition("/")[0]
    for path in (where.main, *where.others):
        content = read(path)
        helper = _helper_for(content, registry)
        if helper:
            found = ask_helper(helper, registry)
        else:
            found = _find_entry(content, name, path)
            store = content.get("credsStore")
            if found is None and isinstance(store, str) and store:
                found = ask_helper(store, _server_address(registry))
        if found is not None:
            return found
    return None


def lookup_keys(name: str) -> list[str]:
    """The keys to look for, the most specific first: ``a.io/b/c``, ``a.io/b``, ``a.io``."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _find_entry(content: dict[str, Any], name: str, path: str) -> Credentials | None:
    auths = content.get("auths") or {}
    for key in lookup_keys(name):
        if auths.get(key):
            return _credentials(auths[key], key, path)
    registry = _canonical(name.partition("/")[0])
    for key, entry in auths.items():         # keys of Docker: https://index.docker.io/v1/
        if entry and "/" not in _without_scheme(key).rstrip("/").removesuffix("/v1").removesuffix("/v2") and (
                _canonical(_without_scheme(key).partition("/")[0]) == registry):
            return _credentials(entry, key, path)
    return None


def _without_scheme(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://")


def _canonical(registry: str) -> str:
    return _DOCKER_HUB_KEYS[0] if registry in _DOCKER_HUB_KEYS else registry


def _server_address(registry: str) -> str:
    """The name under which Docker keeps a registry's login in a credential store."""
    return "https://index.docker.io/v1/" if _canonical(registry) == _DOCKER_HUB_KEYS[0] else registry


def _credentials(entry: Any, key: str, path: str) -> Credentials | None:
    """A file's entry; None for an empty one, which Docker leaves where a helper holds the login."""
    if not isinstance(entry, dict):
        raise Corrupt(f"reading {path}: entry {key} is not a JSON object")
    token = entry.get("identitytoken") or ""
    if not entry.get("auth"):
        user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        if not (token or user):
            return None
        return Credentials(username=user, password=password, identity_token=token, source=path)
    try:
        text = binascii.a2b_base64(entry["auth"]).decode()
    except (ValueError, TypeError, AttributeError) as error:
        raise Corrupt(f"reading {path}: entry {key} is not base64 of user and password",
                      hint=f"Log in again: podling login {key}") from error
    user, colon, password = text.partition(":")
    if not colon:
        raise Corrupt(f"reading {path}: entry {key} has no password", hint=f"Log in again: podling login {key}")
    return Credentials(username=user, password=password.strip("\0"), identity_token=token, source=path)


def read(path: str) -> dict[str, Any]:
    """A file of logins as ``{"auths": {...}, "credHelpers": {...}}``; empty where it does not exist."""
    try:
        text = files.read_bytes(path, _LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as error:
        raise PodlingError("reading registry credentials") from error
    if not text.strip():
        return {}
    try:
        content = jsontext.loads(text)
    except ValueError as error:
        raise Corrupt(f"reading {path}: {error}", hint=f"Correct or remove {path}, then log in again") from None
    if not isinstance(content, dict):
        raise Corrupt(f"reading {path}: it is not a JSON object", hint=f"Correct or remove {path}, then log in again")
    if os.path.basename(path) == ".dockercfg":
        content = {"auths": content}
    for key in ("auths", "credHelpers"):
        if content.get(key) is not None and not isinstance(content[key], dict):
            raise Corrupt(f"reading {path}: {key} is not a JSON object", hint=f"Correct or remove {path}, then log in again")
    return content


def _helper_for(content: dict[str, Any], registry: str) -> str:
    helper = (content.get("credHelpers") or {}).get(registry) or ""
    return helper if isinstance(helper, str) else ""


def logins(where: AuthFiles) -> dict[str, str]:
    """Registry or part of one -> user name, of all logins in the files, and of the helpers that they name."""
    found: dict[str, str] = {}
    for path in (where.main, *where.others):
        content = read(path)
        for key, entry in (content.get("auths") or {}).items():
            credentials = _credentials(entry, key, path) if entry else None
            if credentials is not None:
                found.setdefault(key, credentials.username)
        for registry in content.get("credHelpers") or {}:
            credentials = ask_helper(_helper_for(content, registry), registry)
            if credentials is not None:
                found.setdefault(registry, credentials.username)
    return found


# --- changing ---------------------------------------------------------------------------------------------------------


def store(where: AuthFiles, key: str, username: str, password: str) -> str:
    """Keep a login for a registry or a part of one; where it went (a file or a helper). The file is the user's alone."""
    check_key(key)
    helper = next((name for name in where.helpers if name != AUTH_FILES), "") or _helper_for(read(where.main), key)
    if helper:
        text = jsontext.dumps({"ServerURL": key, "Username": username, "Secret": password})
        _run_helper(helper, "store", text.encode(), secret=password)
        return f"docker-credential-{helper}"
    entry = {"auth": binascii.b2a_base64(f"{username}:{password}".encode(), newline=False).decode("ascii")}

    def add(content: dict[str, Any]) -> None:
        content["auths"] = {**(content.get("auths") or {}), key: entry}

    _change(where.main, add)
    return where.main


def check_key(key: str) -> None:
    """InvalidArgument for what is no registry nor a part of one: with a scheme, a tag or a digest."""
    if not key or "://" in key or key.startswith("/"):
        raise InvalidArgument(f"invalid registry {key!r}: name it as host[:port][/namespace]")
    if "@" in key or ":" in key.partition("/")[2]:
        raise InvalidArgument(f"credentials key {key!r} must not have a tag or digest")


def remove(where: AuthFiles, key: str) -> None:
    """Forget the login for exactly this key; NotFound where the written file and the helpers have none."""
    content = read(where.main)
    removed = False
    for helper in {*(name for name in where.helpers if name != AUTH_FILES), _helper_for(content, key)} - {""}:
        if ask_helper(helper, key) is not None:
            _run_helper(helper, "erase", key.encode())
            removed = True
    keys = [key] if key in (content.get("auths") or {}) else []
    if keys:
        _change(where.main, lambda fresh: _drop(fresh, keys))
        removed = True
    if not removed:
        raise NotFound(f"not logged into {key}")


def remove_all(where: AuthFiles) -> None:
    """Forget every login in the written file, in the helpers that it names for registries, and in those of registries.conf."""
    content = read(where.main)
    for helper in where.helpers:
        if helper != AUTH_FILES:
            for server in _listed(helper):
                _run_helper(helper, "erase", server.encode())
    for registry in content.get("credHelpers") or {}:
        if ask_helper(_helper_for(content, registry), registry) is not None:
            _run_helper(_helper_for(content, registry), "erase", registry.encode())
    if content.get("auths"):
        _change(where.main, lambda fresh: _drop(fresh, list(fresh.get("auths") or {})))


def _drop(content: dict[str, Any], keys: Iterable[str]) -> None:
    dropped = set(keys)
    content["auths"] = {key: entry for key, entry in (content.get("auths") or {}).items() if key not in dropped}


def _change(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Read, change and write the file while no other podling does; what podling does not know in it is kept."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        files.make_directories(directory, 0o700)
    target = path
    for _ in range(_MOST_LINKS):             # a link to the real file stays a link
        if os.path.islink(target):
            target = os.path.join(os.path.dirname(target), os.readlink(target))
    with Lock(f"{target}.lock").exclusive(timeout=30) as lock:
        content = read(path)
        change(content)
        files.write_atomic(target, jsontext.pretty(content, "\t").encode(), 0o600)
        lock.remove()


# --- credential helpers -----------------------------------------------------------------------------------------------


def ask_helper(helper: str, server: str) -> Credentials | None:
    """The login that a credential helper has for a server; None where it has none."""
    completed = _run_helper(helper, "get", server.encode(), check=False)
    output = completed.stdout.decode(errors="replace").strip()
    if completed.status:
        if _NOT_FOUND in output or _NOT_FOUND in completed.stderr.decode(errors="replace"):
            return None
        raise ProgramFailed(f"docker-credential-{helper}: {output[-1000:] or process.describe_status(completed.status)}",
                            argv=(f"docker-credential-{helper}", "get"), status=completed.status, output=output[-1000:])
    try:
        answer = jsontext.loads(output)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"docker-credential-{helper} gave something else than a login") from error
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret, source=f"docker-credential-{helper}")
    return Credentials(username=user, password=secret, source=f"docker-credential-{helper}") if user or secret else None


def _listed(helper: str) -> list[str]:
    """The servers that a helper has logins for."""
    try:
        answer = jsontext.loads(_run_helper(helper, "list", b"").stdout)
    except ValueError as error:
        raise Corrupt(f"docker-credential-{helper} gave something else than a list of logins") from error
    if not isinstance(answer, dict):
        raise Corrupt(f"docker-credential-{helper} gave something else than a list of logins")
    return list(answer)


def _run_helper(helper: str, action: str, text: bytes, *, check: bool = True, secret: str = "") -> process.Completed:
    if not helper or "/" in helper:
        raise InvalidArgument(f"invalid credential helper {helper!r}")
    try:
        return process.run([f"docker-credential-{helper}", action], input=text, check=check, timeout=_HELPER_SECONDS,
                           stdout_limit=1 << 20, secrets=(secret,))
    except Unsupported as error:
        raise Unsupported(f"credential helper docker-credential-{helper} is not installed",
                          hint=f"Install it, or remove {helper} from the configuration of credentials") from error

"""containers-policy.json(5): which images may be taken in.

The requirements for an image are those of the most specific scope that the policy names for its transport; without one the
transport's own ("") and then the default. They are evaluated in ``image.policy``.

There is no policy but one in a file: where none can be read, no image comes in.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.config import layers, requirements
from podling.config.requirements import Requirement, WrongPolicy
from podling.errors import Corrupt, PolicyMissing
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAME = "policy.json"
_LIMIT = 4 << 20
_PATHS = ("dir", "oci", "oci-archive")       # transports whose scopes are paths


class Policy(Record):
    """A policy. ``transports``: transport -> scope -> requirements, all must hold; ``path``: the file it was read from."""

    default: tuple[Requirement, ...]
    transports: dict[str, dict[str, tuple[Requirement, ...]]] = {}
    path: str = ""

    def requirements(self, transport: str, identity: str) -> tuple[Requirement, ...]:
        """What an image must meet. ``identity`` as for :func:`scopes_of`."""
        scopes = self.transports.get(transport) or {}
        for scope in (*scopes_of(transport, identity), ""):
            if scope in scopes:
                return scopes[scope]
        return self.default


def scopes_of(transport: str, identity: str) -> list[str]:
    """The scopes that hold an image, the most specific first.

    ``identity``: ``docker.io/library/nginx:latest`` for docker and docker-daemon (there "" for an id), an absolute path
    without links for dir, oci and oci-archive, ``[driver@root]name:tag`` for containers-storage, else "".
    """
    if transport in ("docker", "docker-daemon"):
        return _docker_scopes(identity) if identity else []
    if transport == "containers-storage":
        return _storage_scopes(identity)
    parts = identity.rstrip("/").split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 1, -1)] if identity.startswith("/") else []


def _docker_scopes(identity: str) -> list[str]:
    """``a.b.io/c/d:tag``: itself, ``a.b.io/c/d``, ``a.b.io/c``, ``a.b.io``, ``*.b.io``, ``*.io``."""
    name = identity.partition("@")[0]
    slash = name.rfind("/")
    name = name[:slash + 1] + name[slash + 1:].partition(":")[0] if slash >= 0 else name
    parts = name.split("/")
    scopes = [identity, *("/".join(parts[:count]) for count in range(len(parts), 0, -1))]
    host = parts[0].rpartition(":")[0] if ":" in parts[0] and not parts[0].endswith("]") else parts[0]
    labels = host.split(".")
    scopes += ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
    return list(dict.fromkeys(scopes))


def _storage_scopes(identity: str) -> list[str]:
    """``[overlay@/root]docker.io/c/d:tag``: itself, its name and what holds it, the store, the store of any driver."""
    store, bracket, name = identity.partition("]")
    if not bracket or not store.startswith("["):
        return []
    named = [f"{store}]{scope}" for scope in _docker_scopes(name) if not scope.startswith("*.")] if name[:1] not in ("", "@") else []
    root = store[1:].partition("@")[2]
    return list(dict.fromkeys([identity, *named, f"{store}]", *([f"[{root}]"] if root else [])]))


# --- reading ----------------------------------------------------------------------------------------------------------


def find(env: Mapping[str, str], *, home: str, named: str = "", administrator: str = layers.ADMINISTRATOR) -> str:
    """The policy's file: the one named by ``--signature-policy``, the user's where there is one, the administrator's."""
    if named:
        return named
    own = os.path.join(layers.user_directory(env, home), NAME)
    try:
        os.lstat(own)
    except (FileNotFoundError, NotADirectoryError):
        return os.path.join(administrator, NAME)
    except OSError as error:                     # whether it is stricter than the administrator's cannot be known
        raise Corrupt("reading the signature policy", hint=_hint(own)) from error
    return own


def load(env: Mapping[str, str], *, home: str, named: str = "", administrator: str = layers.ADMINISTRATOR) -> Policy:
    """The policy of this host and user; PolicyMissing where there is no file, Corrupt for one that cannot be read."""
    path = find(env, home=home, named=named, administrator=administrator)
    try:
        content = files.read_bytes(path, _LIMIT)
    except FileNotFoundError:
        raise PolicyMissing(f"open {path}: no such file or directory: without a signature policy no image is taken in",
                            hint=_hint(path)) from None
    except (OSError, Corrupt) as error:
        raise Corrupt(f"reading the signature policy {path}", hint=_hint(path)) from error
    try:
        return parse(jsontext.loads_strict(content), path)
    except (WrongPolicy, ValueError, RecursionError) as error:
        words = error.message if isinstance(error, WrongPolicy) else str(error) or "nested too deeply"
        raise Corrupt(f'invalid policy in "{path}": {words}', hint=_hint(path)) from None


def _hint(path: str) -> str:
    return (f"Correct {path} (man 5 containers-policy.json); a policy that accepts every image is "
            '{"default": [{"type": "insecureAcceptAnything"}]}')


def parse(content: Any, path: str) -> Policy:
    """A policy's record; WrongPolicy. Unknown members are errors: a misspelt requirement must not be taken for none."""
    members = requirements.Members(content, "the policy")
    default, transports = members.take("default"), members.take("transports")
    members.end()
    if default is None:
        raise WrongPolicy("default policy is missing")
    found: dict[str, dict[str, tuple[Requirement, ...]]] = {}
    for transport, scopes in requirements.Members({} if transports is None else transports, "transports").rest.items():
        found[transport] = {}
        for scope, value in requirements.Members(scopes, f"transport {transport}").rest.items():
            check_scope(transport, scope)
            found[transport][scope] = _requirements(value, f'transport {transport}, scope "{scope}"')
    return Policy(default=_requirements(default, "default"), transports=found, path=path)


def _requirements(value: Any, where: str) -> tuple[Requirement, ...]:
    if not isinstance(value, list) or not value:
        raise WrongPolicy(f"{where}: the requirements are not a list with at least one member")
    return tuple([requirements.parse(item, f"{where}, requirement {number}") for number, item in enumerate(value, 1)])


def check_scope(transport: str, scope: str) -> None:
    """WrongPolicy for a scope that could never match an image of this transport."""
    if not scope:
        return
    if transport == "docker-archive":
        raise WrongPolicy(f'transport docker-archive: invalid scope "{scope}": it has no scopes but ""')
    if transport in _PATHS:
        _check_path_scope(transport, scope)
    elif transport == "containers-storage" and not scope.startswith("["):
        raise WrongPolicy(f'transport containers-storage: invalid scope "{scope}": it must begin with [DRIVER@ROOT] or [ROOT]')
    elif transport == "docker-daemon" and scope.startswith("sha256:"):
        raise WrongPolicy(f'transport docker-daemon: can not use algo:digest value "{scope}" as a namespace')


def _check_path_scope(transport: str, scope: str) -> None:
    where = f'transport {transport}: invalid scope "{scope}": '
    if not scope.startswith("/"):
        raise WrongPolicy(where + "must be an absolute path")
    if scope == "/":
        raise WrongPolicy(where + 'use the generic default scope ""')
    clean = "/" + os.path.normpath(scope).lstrip("/")
    if clean != scope:
        raise WrongPolicy(where + f"uses non-canonical path format, perhaps try with path {clean}")

"""containers-policy.json(5): which images may be taken in.

The requirements for an image are those of the most specific scope that the policy names for its transport. This version knows
``insecureAcceptAnything`` and ``reject``; a requirement that asks for signatures is refused, never ignored.
"""

from __future__ import annotations

import os

from podling import jsontext, log
from podling.config import layers
from podling.errors import Corrupt, PolicyForbids, Unsupported
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAME = "policy.json"
ACCEPT = "insecureAcceptAnything"
REJECT = "reject"
SIGNED = ("signedBy", "signedBaseLayer", "sigstoreSigned")
_LIMIT = 4 << 20


class Requirement(Record):
    """One requirement; ``details`` are its other members, for example keyPath."""

    kind: str
    details: dict[str, object] = {}


class Policy(Record):
    """A policy. ``transports``: transport -> scope -> requirements, all must hold; ``path``: "" for the built-in one."""

    default: tuple[Requirement, ...] = (Requirement(kind=ACCEPT),)
    transports: dict[str, dict[str, tuple[Requirement, ...]]] = {}
    path: str = ""

    def requirements(self, transport: str, identity: str) -> tuple[Requirement, ...]:
        """What an image must meet. ``identity``: ``docker.io/library/nginx:latest`` for docker, else an absolute path."""
        scopes = self.transports.get(transport) or {}
        for scope in (*scopes_of(transport, identity), ""):
            if scope in scopes:
                return scopes[scope]
        return self.default

    def check(self, transport: str, identity: str) -> None:
        """PolicyForbids where the policy rejects the image, Unsupported where it asks for what this version cannot verify."""
        shown = f"docker://{identity}" if transport == "docker" else f"{transport}:{identity}"
        for requirement in self.requirements(transport, identity):
            if requirement.kind == REJECT:
                raise PolicyForbids(f"Source image rejected: Running image {shown} is rejected by policy.",
                                    hint=f"Allow it in {self.path or NAME}")
            if requirement.kind != ACCEPT:
                raise Unsupported(f"{self.path} requires {requirement.kind} for {shown}, and this version of podling cannot "
                                  "verify signatures: the image is refused")


def scopes_of(transport: str, identity: str) -> list[str]:
    """The scopes that hold an image, the most specific first."""
    if transport == "docker":
        return _docker_scopes(identity)
    parts = identity.rstrip("/").split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 1, -1)] + ["/"] if identity.startswith("/") else [identity]


def _docker_scopes(identity: str) -> list[str]:
    """``a.b.io/c/d:tag``: itself, ``a.b.io/c/d``, ``a.b.io/c``, ``a.b.io``, ``*.b.io``, ``*.io``."""
    name = identity.partition("@")[0]
    slash = name.rfind("/")
    name = name[:slash] + name[slash:].partition(":")[0]
    parts = name.split("/")
    scopes = [identity, *("/".join(parts[:count]) for count in range(len(parts), 0, -1))]
    host = parts[0].rpartition(":")[0] if ":" in parts[0] and not parts[0].endswith("]") else parts[0]
    labels = host.split(".")
    scopes += ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
    return list(dict.fromkeys(scopes))


# --- reading ----------------------------------------------------------------------------------------------------------


def find(env: Mapping[str, str], *, home: str, named: str = "", administrator: str = layers.ADMINISTRATOR) -> str:
    """The policy's file: the one named by ``--signature-policy``, the user's, the administrator's; "" where there is none."""
    if named:
        return named
    candidates = (os.path.join(layers.user_directory(env, home), NAME), os.path.join(administrator, NAME))
    return next((path for path in candidates if os.path.exists(path)), "")


def load(env: Mapping[str, str], *, home: str, named: str = "", administrator: str = layers.ADMINISTRATOR) -> Policy:
    """The policy of this host and user. Where no file exists every image is accepted; Corrupt for one that cannot be read."""
    path = find(env, home=home, named=named, administrator=administrator)
    if not path:
        log.debug(f"no {NAME} in {administrator} or the user's configuration: images of any origin are accepted")
        return Policy()
    try:
        content = jsontext.loads(files.read_bytes(path, _LIMIT))
    except OSError as error:
        raise Corrupt("reading the signature policy") from error
    except ValueError as error:
        raise _wrong(path, str(error)) from None
    return parse(content, path)


def parse(content: Any, path: str) -> Policy:
    """A policy's record. Unknown members are errors: a misspelt requirement must not be taken for none."""
    if not isinstance(content, dict):
        raise _wrong(path, "it is not a JSON object")
    for key in content:
        if key not in ("default", "transports"):
            raise _wrong(path, f"unknown key {key!r}")
    if "default" not in content:
        raise _wrong(path, "the default requirements are missing")
    transports = content.get("transports", {})
    if not isinstance(transports, dict) or not all(isinstance(scopes, dict) for scopes in transports.values()):
        raise _wrong(path, "transports is not a JSON object of objects")
    return Policy(
        default=_requirements(content["default"], path, "default"), path=path,
        transports={transport: {scope: _requirements(value, path, f"{transport} {scope!r}") for scope, value in scopes.items()}
                    for transport, scopes in transports.items()})


def _requirements(value: Any, path: str, where: str) -> tuple[Requirement, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(path, f"the requirements of {where} are not a list with at least one member")
    found = []
    for item in value:
        if not isinstance(item, dict) or item.get("type") not in (ACCEPT, REJECT, *SIGNED):
            raise _wrong(path, f"unknown requirement in {where}: {jsontext.dumps(item)[:200]}")
        details = {key: detail for key, detail in item.items() if key != "type"}
        if details and item["type"] in (ACCEPT, REJECT):
            raise _wrong(path, f"unknown key {next(iter(details))!r} in {where}")
        found.append(Requirement(kind=item["type"], details=details))
    return tuple(found)


def _wrong(path: str, why: str) -> Corrupt:
    return Corrupt(f"invalid policy in {path}: {why}", hint=f"Correct {path}; see 'man 5 containers-policy.json'")

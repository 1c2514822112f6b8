"""containers-registries.d(5): where signatures of images in registries are kept.

    default-docker:
      lookaside: https://sigs.example.com          # read; and written where no staging place is named
      lookaside-staging: file:///srv/sigs          # written
    docker:
      quay.io/team:
        use-sigstore-attachments: true             # also beside the image, in the registry

The user's directory, where it exists, takes the place of the administrator's. The older names ``sigstore`` and
``sigstore-staging`` mean the same. Each value is taken from the most specific namespace that has it.
"""

from __future__ import annotations

import os

from podling.config import layers
from podling.config.policy import scopes_of
from podling.errors import Corrupt
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAME = "registries.d"
_LIMIT = 4 << 20
_TEXTS = {"lookaside": "lookaside", "lookaside-staging": "staging", "sigstore": "lookaside", "sigstore-staging": "staging"}
_ATTACHMENTS = "use-sigstore-attachments"


class NamespacePlaces(Record):
    """What one namespace says; "" and None: nothing."""

    lookaside: str = ""
    staging: str = ""
    attachments: bool | None = None


class SignaturePlaces(Record):
    """What the files say together. ``builtin``: where signatures are without any configuration."""

    default: NamespacePlaces = NamespacePlaces()
    docker: dict[str, NamespacePlaces] = {}
    builtin: str = ""

    def lookaside(self, identity: str, *, write: bool = False) -> str:
        """The base URL for an image (``localhost:5000/a/b:tag``), its repository's path not included."""
        for namespace in self._namespaces(identity):
            found = (namespace.staging if write else "") or namespace.lookaside
            if found:
                return found
        return self.builtin

    def attachments(self, identity: str) -> bool:
        """Whether signatures in the manner of cosign are read from the registry, and written to it."""
        said = [namespace.attachments for namespace in self._namespaces(identity) if namespace.attachments is not None]
        return bool(said and said[0])

    def shown(self, scope: str) -> str:
        """The place to read that ``image trust show`` names for a scope of the policy, "" for the default."""
        parts = scope.split("/") if scope else []
        named = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        return next((self.docker[name] for name in named if name in self.docker), self.default).lookaside

    def _namespaces(self, identity: str) -> list[NamespacePlaces]:
        return [*[self.docker[scope] for scope in scopes_of("docker", identity) if scope in self.docker], self.default]


def directory(env: Mapping[str, str], *, home: str, administrator: str = layers.ADMINISTRATOR) -> str:
    """The directory that counts."""
    own = os.path.join(layers.user_directory(env, home), NAME)
    return own if os.path.exists(own) else os.path.join(administrator, NAME)


def builtin_place(*, rootless: bool, home: str) -> str:
    """Where Podman looks for signatures, and puts them, when nothing is configured."""
    return f"file://{home}/.local/share/containers/sigstore" if rootless else "file:///var/lib/containers/sigstore"


def load(path: str, *, builtin: str = "") -> SignaturePlaces:
    """What the ``*.yaml`` files in a directory say; Corrupt for what cannot be read, or is said twice."""
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(".yaml"))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    default: NamespacePlaces | None = None
    docker: dict[str, NamespacePlaces] = {}
    origin: dict[str, str] = {}
    for name in names:
        file = os.path.join(path, name)
        own, namespaces = _read(file)
        if own is not None:
            if default is not None:
                raise _twice('"default-docker"', origin[""], file)
            default, origin[""] = own, file
        for key, namespace in namespaces.items():
            if key in docker:
                raise _twice(f'"docker" namespace "{key}"', origin[key], file)
            docker[key], origin[key] = namespace, file
    return SignaturePlaces(default=default or NamespacePlaces(), docker=docker, builtin=builtin)


def _twice(what: str, one: str, other: str) -> Corrupt:
    return Corrupt(f'parsing signature storage configuration: {what} defined both in "{one}" and "{other}"')


def _read(path: str) -> tuple[NamespacePlaces | None, dict[str, NamespacePlaces]]:
    """(default-docker, the namespaces of docker) of one file."""
    try:
        content = files.read_bytes(path, _LIMIT)
    except OSError as error:
        raise Corrupt(f"reading signature storage configuration {path}") from error
    return parse(content, path)


def parse(content: bytes, path: str) -> tuple[NamespacePlaces | None, dict[str, NamespacePlaces]]:
    """As :func:`_read`, from the file's text; Corrupt."""
    from podling.config import yaml

    try:
        document = yaml.load(content)
    except ValueError as error:
        raise _wrong(path, str(error)) from None
    if document is None:
        return None, {}
    if not isinstance(document, dict):
        raise _wrong(path, "it is not a mapping")
    for key in document:
        if key not in ("default-docker", "docker"):
            raise _wrong(path, f"unknown key {key!r}")
    default, docker = document.get("default-docker"), document.get("docker")
    if not isinstance(docker, (dict, type(None))):
        raise _wrong(path, "docker is not a mapping")
    namespaces = {}
    for key, value in (docker or {}).items():
        if not isinstance(key, str) or not key:
            raise _wrong(path, f"docker: {key!r} is not a namespace")
        namespaces[key] = _namespace(value, path, f"docker: {key}")
    return None if default is None else _namespace(default, path, "default-docker"), namespaces


def _namespace(value: Any, path: str, where: str) -> NamespacePlaces:
    if not isinstance(value, (dict, type(None))):
        raise _wrong(path, f"{where} is not a mapping")
    found: dict[str, Any] = {}
    for key, said in (value or {}).items():
        if key == _ATTACHMENTS:
            if not isinstance(said, bool):
                raise _wrong(path, f"{where}: {key} is neither true nor false")
            found["attachments"] = said
        elif key in _TEXTS:
            if not isinstance(said, (str, type(None))):
                raise _wrong(path, f"{where}: {key} is not a URL")
            field = _TEXTS[key]
            if said and (key.startswith("lookaside") or field not in found):   # the newer name wins
                found[field] = said
        else:
            raise _wrong(path, f"{where}: unknown key {key!r}")
    return NamespacePlaces(**found)


def _wrong(path: str, why: str) -> Corrupt:
    return Corrupt(f"parsing signature storage configuration {path}: {why}", hint=f"Correct {path}; see man 5 containers-registries.d")

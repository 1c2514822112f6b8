"""Image references: ``docker.io/library/nginx:1.25@sha256:...`` <-> :class:`Reference`.

The grammar is that of github.com/distribution/reference. What it does not decide is left open: a name without a registry
("nginx", "me/app") stays short until :meth:`Reference.qualified` names one.
"""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.record import Record

DOCKER_HUB = "docker.io"
_LEGACY_DOCKER_HUB = "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_NAME = 255
_LONGEST_TAG = 128
_HEX = "0123456789abcdef"
_DIGITS = "0123456789"
_LOWER = _DIGITS + "abcdefghijklmnopqrstuvwxyz"
_ALNUM = _LOWER + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORD = _ALNUM + "_"
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Reference(Record):
    """A name for an image. ``registry`` is "" for a short name; ``digest`` carries its algorithm (``sha256:...``)."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and repository without tag and digest: ``docker.io/library/nginx``."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def is_short(self) -> bool:
        """Whether no registry is named."""
        return not self.registry

    def qualified(self, registry: str) -> Reference:
        """The reference in this registry; on Docker Hub a single name gets its ``library/``."""
        return self.replace(registry=registry, repository=_in_registry(registry, self.repository))

    def with_tag(self, tag: str = "latest") -> Reference:
        """The reference with this tag where it has neither tag nor digest, otherwise itself."""
        return self if self.tag or self.digest else self.replace(tag=tag)

    def without_tag(self) -> Reference:
        """The reference by digest alone, if it has one: what is pulled for ``name:tag@digest``."""
        return self.replace(tag="") if self.digest else self

    def familiar(self) -> str:
        """The shortest form that Docker's users write: ``nginx:latest`` for ``docker.io/library/nginx:latest``."""
        if self.registry != DOCKER_HUB or _begins_with_registry(self.repository):
            return str(self)
        repository = self.repository
        if repository.startswith(_OFFICIAL) and "/" not in repository[len(_OFFICIAL) :]:
            repository = repository[len(_OFFICIAL) :]
        return repository + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that a text names; InvalidArgument ("invalid reference format") where it is none.

    ``str(parse(text))`` is the text again, except that ``docker.io/nginx`` gains its ``library/`` and ``index.docker.io``
    becomes ``docker.io``.
    """
    if not text:
        raise InvalidArgument("repository name must have at least one component")
    if len(text) == 64 and all(character in _HEX for character in text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(digest)
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    tag = ""
    if colon >= 0:
        rest, tag = rest[:colon], rest[colon + 1 :]
        check_tag(tag)
    registry, repository = _split_registry(rest)
    _check_repository(repository)
    if registry == _LEGACY_DOCKER_HUB:
        registry = DOCKER_HUB
    return Reference(registry=registry, repository=_in_registry(registry, repository), tag=tag, digest=digest)


def _in_registry(registry: str, repository: str) -> str:
    return _OFFICIAL + repository if registry == DOCKER_HUB and "/" not in repository else repository


def _split_registry(name: str) -> tuple[str, str]:
    """(registry or "", repository): the first part is a registry if it has a dot or a colon, or is ``localhost``."""
    if not _begins_with_registry(name):
        return "", name
    first, _, rest = name.partition("/")
    if not _is_registry(first):
        raise InvalidArgument("invalid reference format")
    return first, rest


def _begins_with_registry(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def _is_registry(text: str) -> bool:
    """Whether a text is a host name or address (IPv6 in brackets), perhaps with a port."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        valid = bool(bracket) and bool(host) and all(character in "0123456789abcdefABCDEF:" for character in host)
        return valid and (not port or (port[0] == ":" and _is_number(port[1:])))
    host, colon, port = text.partition(":")
    return (not colon or _is_number(port)) and all(_is_domain_component(part) for part in host.split("."))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_domain_component(text: str) -> bool:
    inner = all(character in _ALNUM or character == "-" for character in text)
    return bool(text) and inner and text[0] != "-" and text[-1] != "-"


def _check_repository(repository: str) -> None:
    if repository.lower() != repository:
        raise InvalidArgument(f"invalid reference format: repository name ({repository}) must be lowercase")
    if len(repository) > _LONGEST_NAME:
        raise InvalidArgument(f"repository name must not be more than {_LONGEST_NAME} characters")
    if not all(_is_component(part) for part in repository.split("/")):
        raise InvalidArgument("invalid reference format")


def _is_component(text: str) -> bool:
    """Whether a text is lower-case letters and digits, separated by one of ``.``, ``_``, ``__`` or any number of ``-``."""
    separator = ""
    for position, character in enumerate(text):
        if character in _LOWER:
            separator = ""
            continue
        separator += character
        allowed = separator in (".", "_", "__") or separator.strip("-") == ""
        if position == 0 or not allowed or len(separator) > _LONGEST_NAME:
            return False
    return bool(text) and not separator


def check_tag(tag: str) -> None:
    """InvalidArgument unless the text is a tag: at most 128 of ``A-Za-z0-9_.-``, beginning with neither dot nor dash."""
    if not tag or len(tag) > _LONGEST_TAG or tag[0] not in _WORD or any(c not in _WORD and c not in ".-" for c in tag):
        raise InvalidArgument("invalid reference format")


def _check_digest(digest: str) -> None:
    """InvalidArgument unless the text is a digest with an algorithm that we can verify."""
    algorithm, colon, encoded = digest.partition(":")
    if not colon or len(encoded) < 32 or not algorithm or any(character not in _ALNUM for character in encoded):
        raise InvalidArgument("invalid reference format")
    parse_digest(digest)


def parse_digest(digest: str) -> tuple[str, str]:
    """(algorithm, lower-case hex) of ``sha256:...``; InvalidArgument for another algorithm, length or alphabet."""
    algorithm, colon, encoded = digest.partition(":")
    if not colon:
        raise InvalidArgument("invalid checksum digest format")
    if algorithm not in _DIGEST_LENGTHS:
        raise InvalidArgument("unsupported digest algorithm")
    if len(encoded) != _DIGEST_LENGTHS[algorithm]:
        raise InvalidArgument("invalid checksum digest length")
    if any(character not in _HEX for character in encoded):
        raise InvalidArgument("invalid checksum digest format")
    return algorithm, encoded


def is_id_prefix(text: str) -> bool:
    """Whether a text could be an image's or a container's id, or the beginning of one (up to 64 hex digits)."""
    return 0 < len(text) <= 64 and all(character in _HEX for character in text)

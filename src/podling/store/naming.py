"""What a user's text may mean among the names of images; pure."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.values.reference import DOCKER_HUB, Reference, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_HEX = "0123456789abcdef"
LOCALHOST = "localhost"


def is_id(text: str) -> bool:
    """Whether it is a whole id."""
    return len(text) == 64 and not text.strip(_HEX)


def is_prefix(text: str) -> bool:
    """Whether it can be the beginning of an id."""
    return 0 < len(text) < 64 and not text.strip(_HEX)


def parse_or_none(text: str) -> Reference | None:
    """The reference, None where the text is none."""
    try:
        return parse(text)
    except InvalidArgument:
        return None


def candidates(reference: Reference, short_names: Callable[[str], Sequence[str]] | None) -> list[str]:
    """The full names that it may stand for here, best first: localhost, then what registries.conf says, then Docker Hub.

    Each has a tag ("latest" by default), or a digest, or both.
    """
    if not reference.is_short:
        return [str(reference.with_tag())]
    short = reference.replace(tag="", digest="")
    names = [str(short.qualified(LOCALHOST))]
    names += short_names(str(short)) if short_names is not None else ()
    names.append(str(short.qualified(DOCKER_HUB)))
    suffix = str(reference.with_tag())[len(str(short)):]
    found = [name + suffix for name in names]
    return list(dict.fromkeys(found))


def repository(name: str) -> str:
    """A full name without its tag or digest."""
    name = name.partition("@")[0]
    colon = name.rfind(":")
    return name[:colon] if colon > name.rfind("/") else name


def repo_digests(names: Iterable[str], digests: Sequence[str], pulled: Iterable[str]) -> tuple[str, ...]:
    """``repository@digest`` for each repository that an image has a name in, and each digest; with those it was pulled by."""
    found = {f"{repository(name)}@{digest}" for name in names for digest in digests}
    found.update(pulled)
    return tuple(sorted(found))

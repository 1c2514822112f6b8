"""``--filter KEY=VALUE``: the texts of the command line as the engine takes them."""

from __future__ import annotations

from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def parse_filters(texts: Iterable[str], refusal: str = 'invalid filter "{}"') -> dict[str, tuple[str, ...]]:
    """Filter -> its values, in the order given; ``label!=x`` is the filter ``label!``.

    ``refusal``: what is said, with the text in place of ``{}``, where one has no equals sign.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidArgument(refusal.replace("{}", text))
        found[name] = (*found.get(name, ()), value)
    return found

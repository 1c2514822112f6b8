"""The firewall driver ``none``: rules are somebody else's business."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.network.firewall import Forward, NetworkRules


def add(network: NetworkRules, forwards: Iterable[Forward]) -> None:
    """Nothing."""


def close(forwards: Iterable[Forward]) -> None:
    """Nothing."""


def remove_network(network: NetworkRules) -> None:
    """Nothing."""


def remove_all() -> None:
    """Nothing."""


def held() -> tuple[int, ...]:
    """Nothing."""
    return ()

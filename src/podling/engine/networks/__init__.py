"""Networks as operations: listed (``listing``), defined, changed and removed (``definitions``), joined and left (``attaching``)."""

from __future__ import annotations

from podling.engine.networks.listing import FILTERS, created, inspect_network, list_networks, shape

__all__ = ["FILTERS", "created", "inspect_network", "list_networks", "shape"]

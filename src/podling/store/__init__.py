"""The store: layers, images, and the root file systems of containers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podling.database import Database
    from podling.store.images import Images
    from podling.store.layers import UnpackRules


def open_images(database: Database, graphroot: str, _runroot: str, additional_stores: Sequence[str] = (), *,
                short_names: Callable[[str], Sequence[str]] | None = None, rules: UnpackRules | None = None) -> Images:
    """The images of a graph root, and of additional read-only stores (paths of other engines' graph roots).

    ``short_names``: see :class:`podling.store.images.Images`. ``rules``: how layers are unpacked, None as by root. The
    run root is not needed: all of a store outlives a reboot.
    """
    from podling.store.images import Images
    from podling.store.layers import Layers

    stores = []
    if additional_stores:
        from podling.store.additional import AdditionalStore

        stores = [AdditionalStore(path) for path in additional_stores]
    return Images(database, Layers(database, graphroot, rules), stores, short_names=short_names)

"""The fields of a row that are computed when a column or a template uses them: a list of a thousand shows seven of forty."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
    from typing import Any

    _Mapping = Mapping[str, Any]
else:
    _Mapping = object                            # collections.abc takes a millisecond


class LazyFields(_Mapping):
    """Name -> value, by one table of functions for all rows; what :class:`podling.cli.output.Row` needs of a mapping."""

    __slots__ = ("_row", "_table")

    def __init__(self, table: Mapping[str, Callable[[Any], Any]], row: Any) -> None:
        self._table = table
        self._row = row

    def __getitem__(self, name: str) -> Any:
        return self._table[name](self._row)

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._table.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or the default where there is none."""
        return self[name] if name in self._table else default

    def items(self) -> ItemsView[str, Any]:
        """All names with their values."""
        return {name: self[name] for name in self._table}.items()

    def values(self) -> ValuesView[Any]:
        """All values."""
        return {name: self[name] for name in self._table}.values()

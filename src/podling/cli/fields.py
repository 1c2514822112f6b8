"""The fields of a row: those that are computed when a column or a template uses them (a list of a thousand shows seven of forty), and
what Go has in those that are null in JSON."""

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


# Of what is null in JSON, the nil maps and the nil pointers with their types; the rest are nil lists.
_NIL_MAPS = ("Annotations", "CgroupConf", "Config", "Data", "DriverOpts", "ExposedPorts", "IPAMConfig", "Labels", "Status", "Volumes")
_NIL_POINTERS = {
    "Health": "*define.HealthCheckResults", "Healthcheck": "*manifest.Schema2HealthConfig",
    "HealthCheck": "*manifest.Schema2HealthConfig", "StartupHealthCheck": "*define.StartupHealthCheck",
    "IDMappings": "*define.InspectIDMappings", "OnBuild": "*string", "SizeRw": "*int64", "LeaseRange": "*types.LeaseRange",
    "Metric": "*uint32",
}


def nothing(name: str) -> Any:
    """What Go has in a field of this name that is null in JSON."""
    from podling.cli.gotemplate.values import NilList, NilMap, NilPointer

    if name in _NIL_POINTERS:
        return NilPointer(_NIL_POINTERS[name])
    return NilMap() if name in _NIL_MAPS else NilList()

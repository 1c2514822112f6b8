"""One action on several objects: all are tried, every failure is shown; what takes its time is done side by side."""

from __future__ import annotations

from podling.errors import PodlingError, advice, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    from podling.cli.context import Context

    T = TypeVar("T")

_AT_ONCE = 100                               # each may hold descriptors open


def side_by_side(context: Context, items: Sequence[T], begin: Callable[[T], Callable[[], None]], *,
                 exit_codes: dict[type[PodlingError], int] | None = None) -> int:
    """Begin with each of some items, then call what that returned, in order, and so on; the exit code. As :func:`each`."""
    ends: list[Callable[[], None]] = []
    status = 0
    for start in range(0, len(items), _AT_ONCE):
        status = max(status, each(context, items[start:start + _AT_ONCE], lambda item: ends.append(begin(item)), exit_codes=exit_codes))
        status = max(status, each(context, ends, lambda end: end(), exit_codes=exit_codes))
        ends.clear()
    return status


def each(context: Context, items: Iterable[T], action: Callable[[T], None], *,
         exit_codes: dict[type[PodlingError], int] | None = None) -> int:
    """Call the action with each; the exit code. Errors are shown at once, and the work goes on.

    ``exit_codes``: kinds of errors -> exit code, where a command has codes of its own; the highest counts.
    """
    status = 0
    for item in items:
        try:
            action(item)
        except PodlingError as error:
            context.note(f"Error: {explain(error)}")
            for line in advice(error):
                context.note(line)
            code = next((code for kind, code in (exit_codes or {}).items() if isinstance(error, kind)), error.exit_code)
            status = max(status, code)
    return status

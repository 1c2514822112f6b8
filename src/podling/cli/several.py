"""One action on several objects: all are tried, every failure is shown."""

from __future__ import annotations

from podling.errors import PodlingError, explain, hints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from podling.cli.context import Context

    T = TypeVar("T")


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
            for hint in hints(error):
                context.note(hint[:1].upper() + hint[1:])
            code = next((code for kind, code in (exit_codes or {}).items() if isinstance(error, kind)), error.exit_code)
            status = max(status, code)
    return status

"""Undo beside the do: ``undo.callback(...)`` on the line after each effect; on failure they run, newest first."""

from __future__ import annotations

from podling import log
from podling.errors import PodlingError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Undo:
    """``with Undo() as undo:`` -- if the block fails, the callbacks run in reverse order; if it succeeds, none does.

    An undo that fails itself is logged and does not hide the first error.
    """

    def __init__(self) -> None:
        self._callbacks: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def callback(self, function: Callable[..., object], *arguments: object) -> None:
        """Remember what takes the last effect back."""
        self._callbacks.append((function, arguments))

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.run()

    def run(self) -> None:
        """Take everything back now."""
        while self._callbacks:
            function, arguments = self._callbacks.pop()
            try:
                function(*arguments)
            except (PodlingError, OSError) as error:
                log.error(f"undoing after a failure: {explain(error)}")

"""How pulling and pushing show themselves, and how they reach a registry: what several commands share."""

from __future__ import annotations

import os

from podling.engine.options import RegistryOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context
    from podling.cli.terminal import Progress

_REGISTRY = ("authfile", "cert_dir", "creds", "tls_verify", "retry", "retry_delay")


def registry_options(said: dict[str, Any]) -> RegistryOptions:
    """How to reach a registry; the options are taken out of what was said."""
    return RegistryOptions(**{name: said.pop(name) for name in _REGISTRY if name in said})


def reporter(context: Context, *, quiet: bool) -> Callable[..., None] | None:
    """A function that shows the events of a transfer on standard error; None for quiet."""
    return None if quiet else _Reporter(context)


def chooser(context: Context) -> Callable[[str, list[str]], str] | None:
    """A function that asks the user which of several images a short name means; None where nobody is there to answer."""
    return _Chooser(context) if os.isatty(0) and context.err.is_tty else None


class _Chooser:
    """The question, asked until it is answered."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, name: str, candidates: list[str]) -> str:
        """One of the candidates."""
        from podling.cli.terminal import ask

        err = self._context.err
        err.line(f'"{name}" is a short name. Please select an image:')
        for number, candidate in enumerate(candidates, 1):
            err.line(f"  {number}) {candidate}")
        while True:
            answer = ask(err, f"1-{len(candidates)} [1]: ").strip() or "1"
            if answer.isdecimal() and 1 <= int(answer) <= len(candidates):
                return candidates[int(answer) - 1]


class _Reporter:
    """Hands the events of a transfer to the terminal; what draws is loaded with the first of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._progress: Progress | None = None

    def __call__(self, kind: str, **fields: Any) -> None:
        """One event: message (text), begin (key, label, total), advance (key, done), end (key, result)."""
        if self._progress is None:
            from podling.cli.terminal import Progress

            self._context.out.flush()
            self._progress = Progress(self._context.err)
        shown: dict[str, Callable[..., None]] = {"message": self._progress.message, "begin": self._progress.begin,
                                                 "advance": self._progress.advance, "end": self._progress.end}
        shown[kind](**fields)

"""How pulling and pushing show themselves, and how they reach a registry: what several commands share."""

from __future__ import annotations

from podling.engine.options import RegistryOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context

_REGISTRY = ("authfile", "cert_dir", "creds", "tls_verify", "retry", "retry_delay")


def registry_options(said: dict[str, Any]) -> RegistryOptions:
    """How to reach a registry; the options are taken out of what was said."""
    return RegistryOptions(**{name: said.pop(name) for name in _REGISTRY if name in said})


def reporter(context: Context, *, quiet: bool) -> Callable[..., None] | None:
    """A function that shows the events of a transfer on standard error; None for quiet."""
    if quiet:
        return None
    from podling.cli.terminal import Progress

    return _Reporter(Progress(context.err))


class _Reporter:
    """Turns the events of a transfer into Podman's words."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress

    def __call__(self, *event: Any, **more: Any) -> None:
        """One event."""
        raise NotImplementedError(event, more)

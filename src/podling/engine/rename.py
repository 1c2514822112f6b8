"""``rename``: a container gets another name."""

from __future__ import annotations

from podling.engine import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.model import Container


def rename(engine: Engine, container: Container, name: str) -> Container:
    """Give the container this name, in whatever state it is; AlreadyExists where another has it."""
    wanted = names.check_name(name)
    with engine.lock("container", container.id).exclusive():
        current = engine.containers.get(container.id)
        return engine.containers.rename(current, engine.containers.config(container.id), wanted)

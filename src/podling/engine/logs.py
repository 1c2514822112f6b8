"""``logs``: what containers wrote, and what they go on to write."""

from __future__ import annotations

import time

from podling.engine.engine import Engine
from podling.engine.options import LogsOptions
from podling.errors import NoSuchContainer, NotFound
from podling.model import Container, ContainerConfig
from podling.runtime import logs as reading
from podling.runtime.logs import Line, LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Write = Callable[[Container, Line], None]

_PAUSE = 0.1                                 # seconds between two looks at a followed log


def logs(engine: Engine, containers: Sequence[Container], options: LogsOptions, write: Write) -> None:
    """Hand every line that the options let through to ``write``; with ``follow`` until the last of the containers ends."""
    configs = [engine.containers.config(container.id) for container in containers]
    for config in configs:
        reading.check_readable(config)
    followed = []
    for container, config in zip(containers, configs, strict=True):
        source = _Followed(container, config, options)
        for line in source.lines():
            write(container, line)
        followed.append(source)
    if options.follow:
        _follow(engine, followed, write)


def _follow(engine: Engine, followed: list[_Followed], write: Write) -> None:
    while followed:
        for source in list(followed):
            ended = _has_ended(engine, source.container)       # asked first: what comes until then is still read
            for line in source.lines():
                write(source.container, line)
            if ended or source.is_past:
                followed.remove(source)
        if followed:
            time.sleep(_PAUSE)


def _has_ended(engine: Engine, container: Container) -> bool:
    try:
        return engine.containers.state(container.id).status not in ("running", "paused", "stopping", "created")
    except NoSuchContainer:
        return True


class _Followed:
    """One container's log."""

    def __init__(self, container: Container, config: ContainerConfig, options: LogsOptions) -> None:
        self.container = container
        self.config = config
        self.options = options
        self.is_past = False                   # --until is over
        self._file: LogFile | None = None
        self._journal_read = False

    def lines(self) -> Iterator[Line]:
        """The lines that are new since the last call and that the options let through."""
        for line in self._all():
            if self.options.since is not None and line.time <= self.options.since:
                continue
            if self.options.until is not None and line.time >= self.options.until:
                self.is_past = True
                return
            yield line
        if self.options.until is not None and time.time_ns() > self.options.until:
            self.is_past = True

    def _all(self) -> Iterator[Line]:
        if self.config.log.driver == "journald":
            if not self._journal_read:
                self._journal_read = True
                yield from reading.journal_lines(self.config, tail=self.options.tail)
            return
        if self._file is None:
            try:
                self._file = LogFile(self.config.log.path, tail=self.options.tail)
            except NotFound:
                return                         # never started: there is nothing
        yield from self._file.lines()
        while self._file.was_replaced():
            yield from self._file.lines()

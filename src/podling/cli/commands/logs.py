"""``podling logs``."""

from __future__ import annotations

import time

from podling.cli.commands.selecting import LATEST
from podling.cli.flags import Command, Flag
from podling.engine.logs import logs
from podling.engine.options import LogsOptions, SelectOptions
from podling.engine.select import select
from podling.errors import InvalidArgument
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context, Writer
    from podling.model import Container
    from podling.runtime.logs import Line

_SHORT_ID = 12
_COLORS = (37, 31, 32, 33, 34, 35, 36)           # of the terminal, one container after the other


def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show what containers wrote, standard error on standard error."""
    latest = said.get("latest", False)
    if latest and args:
        raise InvalidArgument("--latest and containers cannot be used together")
    if not args and not latest:
        raise InvalidArgument("specify at least one container name or ID to log")
    now = time.time_ns()
    containers = select(context.engine, SelectOptions(names=tuple(args), latest=latest))
    options = LogsOptions(
        since=_time("since", said, now), until=_time("until", said, now),
        **context.options(said, "follow", "tail", "timestamps", "names", "color"))
    logs(context.engine, containers, options, _Printer(context, containers, options))


def _time(name: str, said: dict[str, Any], now: int) -> int | None:
    if name not in said:
        return None
    try:
        return units.parse_time(said[name], now=now, backwards=name == "since")
    except InvalidArgument as error:
        raise InvalidArgument(f'parsing --{name} "{said[name]}"') from error


class _Printer:
    """Writes the lines to both outputs; those of several containers each with its container's name or id."""

    def __init__(self, context: Context, containers: list[Container], options: LogsOptions) -> None:
        self._out, self._err = context.out, context.err
        self._last: Writer = context.out
        self._timestamps, self._color, self._follow = options.timestamps, options.color, options.follow
        self._prefixes: dict[str, bytes] = {}
        self._colors: dict[str, bytes] = {}
        for index, container in enumerate(containers):
            name = container.name if options.names else container.id[:_SHORT_ID]
            self._prefixes[container.id] = name.encode() + b" " if len(containers) > 1 else b""
            self._colors[container.id] = f"\x1b[{_COLORS[index % len(_COLORS)]}m".encode()
        self._unfinished: dict[tuple[str, bool], bool] = {}

    def __call__(self, container: Container, line: Line) -> None:
        """One line, or part of one that goes on."""
        key = (container.id, line.is_error)
        goes_on = self._unfinished.get(key, False)
        self._unfinished[key] = not line.whole
        head = b"" if goes_on else self._prefixes[container.id]
        if self._timestamps and not goes_on:
            head += line.stamp.replace("+00:00", "Z").encode() + b" "
        data = head + line.text
        if self._color:
            data = self._colors[container.id] + data + b"\x1b[0m"
        self._write(self._err if line.is_error else self._out, data + b"\n" if line.whole else data)

    def _write(self, writer: Writer, data: bytes) -> None:
        if writer is not self._last:             # both may be one terminal or file: keep the order
            self._last.flush()
            self._last = writer
        writer.write_bytes(data)
        if self._follow:
            writer.flush()


LOGS = Command(
    "logs", "[options] CONTAINER [CONTAINER...]", "Fetch the logs of one or more containers",
    "Retrieves logs for one or more containers.\n\n"
    "  This does not guarantee execution order when combined with podling run (i.e., your run may not have generated any logs "
    "at the time you execute podling logs).\n",
    (
        Flag("--color", kind="bool", help="Output the containers with different colors in the log."),
        Flag("--follow", "-f", "Follow log output.  The default is false", kind="bool"),
        LATEST,
        Flag("--names", "-n", "Output the container name in the log", kind="bool"),
        Flag("--since", help="Show logs since TIMESTAMP"),
        Flag("--tail", kind="int", help="Output the specified number of LINES at the end of the logs.  Defaults to -1, which "
             "prints all lines", default_text="-1"),
        Flag("--timestamps", "-t", "Output the timestamps in the log", kind="bool"),
        Flag("--until", help="Show logs until TIMESTAMP"),
    ),
    run, complete="containers",
    examples=("{} ctrID", "{} --names ctrID1 ctrID2", "{} --tail 2 mywebserver", "{} --follow=true --since 10m ctrID",
              "{} mywebserver mydbserver"),
)

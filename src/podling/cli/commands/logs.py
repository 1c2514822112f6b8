"""``podling logs``."""

from __future__ import annotations

import time

from podling.cli.commands.selecting import LATEST, selected
from podling.cli.flags import Command, Flag
from podling.engine.logs import logs
from podling.engine.options import LogsOptions
from podling.errors import InvalidArgument
from podling.values import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context, Writer
    from podling.model import Container
    from podling.runtime.logs import Line

_COLORS = ("\033[37m", "\033[31m", "\033[33m", "\033[34m", "\033[35m", "\033[36m", "\033[32m")
_RESET = "\033[0m"


class _Printer:
    """Writes lines of containers as the options want them."""

    def __init__(self, context: Context, options: LogsOptions, order: list[str]) -> None:
        self.context = context
        self.options = options
        self.order = order
        self.open: dict[tuple[str, bool], bool] = {}      # a part of a line was written, the rest follows

    def __call__(self, container: Container, line: Line) -> None:
        key = (container.id, line.is_error)
        out = self.context.err if line.is_error else self.context.out
        if not self.open.get(key):
            out.write(self._prefix(container, line))
        out.write_bytes(line.text)
        self.open[key] = not line.whole
        if line.whole:
            self._end(out)
        if self.options.follow:
            out.flush()

    def _prefix(self, container: Container, line: Line) -> str:
        words = []
        if self.options.color:
            words.append(_COLORS[self.order.index(container.id) % len(_COLORS)])
        if self.options.names or len(self.order) > 1:
            words.append((container.name if self.options.names else container.id[:12]) + " ")
        if self.options.timestamps:
            words.append(units.format_rfc3339(line.time, local=True) + " ")
        return "".join(words)

    def _end(self, out: Writer) -> None:
        out.write((_RESET if self.options.color else "") + "\n")


def run(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show what containers wrote."""
    if not args and not said.get("latest"):
        raise InvalidArgument("no containers specified, specify one or more containers or use --latest")
    containers = selected(context, said, args)
    options = LogsOptions(**context.options(said, "follow", "since", "until", "tail", "timestamps", "names", "color"))
    if options.since is not None and options.until is not None and options.since > options.until:
        raise InvalidArgument("since value must be earlier than until value")
    logs(context.engine, containers, options, _Printer(context, options, [container.id for container in containers]))


def _time(text: str) -> int:
    return units.parse_time(text, now=time.time_ns())


LOGS = Command(
    "logs", "[options] CONTAINER [CONTAINER...]", "Fetch the logs of one or more containers",
    "Retrieves logs for one or more containers.\n\n"
    "  This does not guarantee execution order when combined with podling run (i.e., your run may not have generated any logs at "
    "the time you execute podling logs).",
    (Flag("--color", help="Output the containers with different colors in the log.", kind="bool"),
     Flag("--follow", "-f", "Follow log output.", kind="bool"), LATEST,
     Flag("--names", "-n", "Output the container name in the log", kind="bool"),
     Flag("--since", help="Show logs since TIMESTAMP", parse=_time),
     Flag("--tail", help="Output the specified number of LINES at the end of the logs.  Defaults to -1, which prints all lines",
          kind="int", default_text="-1"),
     Flag("--timestamps", "-t", "Output the timestamps in the log", kind="bool"),
     Flag("--until", help="Show logs until TIMESTAMP", parse=_time)),
    run, complete="containers",
    examples=("{} ctrID", "{} --names ctrID1 ctrID2", "{} --tail 2 mywebserver", "{} --follow=true --since 10m ctrID",
              "{} mywebserver mydbserver"),
)

"""``start``, ``stop``, ``restart``, ``kill``, ``rm``, ``pause``, ``unpause``, ``wait`` and ``rename``."""

from __future__ import annotations

from podling.cli.commands.selecting import CIDFILE, DETACH_KEYS_HELP, FILTER, IGNORE, LATEST, all_flag, selected
from podling.cli.flags import Command, Flag
from podling.cli.several import each
from podling.engine import names
from podling.engine import stop as stopping
from podling.engine.options import RemoveOptions, RunOptions, StopOptions, WaitOptions
from podling.engine.remove import remove
from podling.engine.start import start as start_container
from podling.errors import InvalidArgument, NoSuchContainer, WrongState
from podling.values import signals, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Container, ContainerState

_TIME = Flag("--time", "-t", "Seconds to wait for stop before killing the container", kind="int", metavar="uint", into="timeout",
             default_text="10", aliases=("timeout",))


def _is_running(state: ContainerState) -> bool:
    return state.status == "running"


def _names(context: Context, containers: list[Container], args: list[str]) -> dict[str, str]:
    """Container id -> what the command prints of it: the word that named it, else its id."""
    printed = {container.id: container.id for container in containers}
    for word in args:
        for container in containers:
            if word == container.name or container.id.startswith(word):
                printed[container.id] = word
    return printed


def _act(context: Context, said: dict[str, Any], args: list[str], action: Callable[[Container], object], *,
         keep: Callable[[ContainerState], bool] | None = None) -> int:
    """Act on each of the containers that are meant, and print their names as they are done; names are looked up one by one,
    so that one that is wrong does not keep the others from their turn."""
    status = 0
    names: list[list[str]] = [[word] for word in args] or [[]]

    def on_words(words: list[str]) -> None:
        nonlocal status
        containers = selected(context, said, words, keep=keep)
        printed = _names(context, containers, words)

        def do(container: Container) -> None:
            action(container)
            context.out.line(printed[container.id])

        status = each(context, containers, do) or status

    if args and said.get("cidfile"):
        names.append([])
    return each(context, names, on_words) or status


# --- start ------------------------------------------------------------------------------------------------------------


def start(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Start containers; with ``--attach`` the exit code is the container's."""
    attach = said.get("attach", False) or said.get("stdin", False)
    if attach:
        return _start_attached(context, said, args)

    def action(container: Container) -> None:
        start_container(context.engine, container)

    return _act(context, said, args, action, keep=lambda state: state.status not in ("running", "paused"))


def _start_attached(context: Context, said: dict[str, Any], args: list[str]) -> int:
    from podling.engine.attach import attach, run
    from podling.engine.options import AttachOptions

    containers = selected(context, said, args)
    if len(containers) != 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once")
    container = containers[0]
    stdin = said.get("stdin", False)
    if context.engine.containers.state(container.id).status == "running":
        options = AttachOptions(detach_keys=said.get("detach_keys"), no_stdin=not stdin, sig_proxy=said.get("sig_proxy", True))
        return attach(context.engine, container, options)
    return run(context.engine, container, RunOptions(detach_keys=said.get("detach_keys"), sig_proxy=said.get("sig_proxy")), stdin=stdin)


START = Command(
    "start", "[options] CONTAINER [CONTAINER...]", "Start one or more containers",
    "Starts one or more containers.  The container name or ID can be used.",
    (Flag("--all", help="Start all containers regardless of their state or configuration", kind="bool"),
     Flag("--attach", "-a", "Attach container's STDOUT and STDERR", kind="bool"),
     Flag("--detach-keys", help=DETACH_KEYS_HELP, default_text='"ctrl-p,ctrl-q"', metavar="[a-Z]"),
     FILTER,
     Flag("--interactive", "-i", "Keep STDIN open even if not attached", kind="bool", into="stdin"),
     LATEST,
     Flag("--sig-proxy", help="Proxy received signals to the process (default true if attaching, false otherwise)", kind="bool")),
    start, complete="containers",
    examples=("{} --latest", "{} 860a4b231279 5421ab43b45", "{} --interactive --attach imageID"),
)


# --- stop, restart, kill ----------------------------------------------------------------------------------------------


def stop(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Stop containers."""
    options = StopOptions(**context.options(said, "timeout"))
    return _act(context, said, args, lambda container: stopping.stop(context.engine, container, options), keep=_is_running)


STOP = Command(
    "stop", "[options] CONTAINER [CONTAINER...]", "Stop one or more containers",
    "Stops one or more running containers.  The container name or ID can be used.\n\n"
    "  A timeout to forcibly stop the container can also be set but defaults to 10 seconds otherwise.",
    (all_flag("Stop all running containers"), CIDFILE, FILTER, IGNORE, LATEST, _TIME), stop, complete="containers",
    examples=("{} ctrID", "{} --latest", "{} --time 2 mywebserver 6e534f14da9d"),
)


def restart(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Restart containers."""
    options = StopOptions(**context.options(said, "timeout"))
    running = said.get("running", False)
    if running and not args:
        said = {**said, "all": True}
    return _act(context, said, args, lambda container: stopping.restart(context.engine, container, options),
                keep=_is_running if running else None)


RESTART = Command(
    "restart", "[options] CONTAINER [CONTAINER...]", "Restart one or more containers",
    "Restarts one or more running containers. The container ID or name can be used.\n\n"
    "  A timeout before forcibly stopping can be set, but defaults to 10 seconds.",
    (all_flag("Restart all non-running containers"), CIDFILE, FILTER, LATEST,
     Flag("--running", help="Restart only running containers", kind="bool"), _TIME), restart, complete="containers",
    examples=("{} ctrID", "{} --latest", "{} ctrID1 ctrID2"),
)


def kill(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Send a signal to containers."""
    signal = signals.parse(said.get("signal", "KILL"))
    return _act(context, said, args, lambda container: stopping.kill(context.engine, container, signal), keep=_is_running)


KILL = Command(
    "kill", "[options] CONTAINER [CONTAINER...]", "Kill one or more running containers with a specific signal",
    "The main process inside each container specified will be sent SIGKILL, or any signal specified with option --signal.",
    (all_flag("Signal all running containers"), CIDFILE, LATEST,
     Flag("--signal", "-s", "Signal to send to the container", default_text='"KILL"')), kill, complete="containers",
    examples=("{} mywebserver", "{} 860a4b23", "{} --signal TERM ctrID"),
)


# --- pause and unpause ------------------------------------------------------------------------------------------------


def pause(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Freeze containers."""
    return _act(context, said, args, lambda container: stopping.pause(context.engine, container), keep=_is_running)


def unpause(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Let frozen containers go on."""
    return _act(context, said, args, lambda container: stopping.unpause(context.engine, container),
                keep=lambda state: state.status == "paused")


PAUSE = Command(
    "pause", "[options] CONTAINER [CONTAINER...]", "Pause all the processes in one or more containers",
    "Pauses one or more running containers.  The container name or ID can be used.",
    (all_flag("Pause all running containers"), CIDFILE, FILTER, LATEST), pause, complete="containers",
    examples=("{} mywebserver", "{} 860a4b23", "{} --all"),
)
UNPAUSE = Command(
    "unpause", "[options] CONTAINER [CONTAINER...]", "Unpause the processes in one or more containers",
    "Unpauses one or more previously paused containers.  The container name or ID can be used.",
    (all_flag("Unpause all paused containers"), CIDFILE, FILTER, LATEST), unpause, complete="containers",
    examples=("{} ctrID", "{} --all"),
)


# --- rm ---------------------------------------------------------------------------------------------------------------


def rm(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Remove containers; exit code 1 where one does not exist, 2 where one runs or is needed. Collects garbage at the end."""
    options = RemoveOptions(**context.options(said, "force", "volumes", "depend", "timeout"))
    if options.timeout is not None and not options.force:
        raise InvalidArgument("--force option must be specified to use the --time option")
    if options.force:
        said = {**said, "ignore": True}
    done: set[str] = set()
    status = 0

    def on_words(words: list[str]) -> None:
        nonlocal status
        for container in selected(context, said, words):
            if container.id in done:
                continue
            status = each(context, [container], lambda c: remove_one(c, words), exit_codes={NoSuchContainer: 1, WrongState: 2}) or status

    def remove_one(container: Container, words: list[str]) -> None:
        removed = remove(context.engine, container, options)
        done.update(removed)
        for container_id in removed:
            word = words[0] if words and container_id == container.id else container_id
            context.out.line(word)

    everything: list[list[str]] = [[word] for word in args] or [[]]
    if args and said.get("cidfile"):
        everything.append([])
    status = each(context, everything, on_words, exit_codes={NoSuchContainer: 1}) or status
    context.out.flush()
    if done and not context.engine.containers.all():
        from podling.engine.garbage import collect

        collect(context.engine)
    return status


RM = Command(
    "rm", "[options] CONTAINER [CONTAINER...]", "Remove one or more containers",
    "Removes one or more containers from the host. The container name or ID can be used.\n\n"
    "  Command does not remove images. Running or unusable containers will not be removed without the -f option.",
    (all_flag("Remove all containers"), CIDFILE,
     Flag("--depend", help="Remove container and all containers that depend on the selected container", kind="bool"),
     Flag("--filter", help="Filter output based on conditions given", kind="slice"),
     Flag("--force", "-f", "Force removal of a running or unusable container", kind="bool"), IGNORE, LATEST, _TIME,
     Flag("--volumes", "-v", "Remove anonymous volumes associated with the container", kind="bool")), rm, complete="containers",
    examples=("{} ctrID", "{} mywebserver myflaskserver 860a4b23", "{} --force --all", "{} -f c684f0d469f2"),
)


# --- wait and rename --------------------------------------------------------------------------------------------------


def _interval(text: str) -> float:
    """Seconds; a bare number is milliseconds, as Podman has it."""
    try:
        return int(text) / 1000
    except ValueError:
        return units.parse_duration(text) / 1e9


def wait(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Wait for containers and print their exit codes."""
    options = WaitOptions(conditions=tuple(said.get("condition", ())), **context.options(said, "interval", "ignore"))

    def on_word(word: str | None) -> None:
        try:
            container = context.engine.containers.find(word) if word is not None else context.engine.containers.latest()
        except NoSuchContainer:
            if not options.ignore:
                raise
            context.out.line("-1")
            return
        context.out.line(str(stopping.wait(context.engine, container.id, options)))

    if not args and not said.get("latest"):
        raise InvalidArgument("you must provide at least one name or id")
    return each(context, list(args) or [None], on_word)


WAIT = Command(
    "wait", "[options] CONTAINER [CONTAINER...]", "Block on one or more containers",
    "Block until one or more containers stop and then print their exit codes.",
    (Flag("--condition", help="Condition to wait on", kind="slice"),
     Flag("--ignore", help="Ignore if a container does not exist", kind="bool"),
     Flag("--interval", "-i", "Time Interval to wait before polling for completion", parse=_interval, default_text='"250ms"'), LATEST),
    wait, complete="containers", examples=("{} --interval 5s ctrID", "{} ctrID1 ctrID2"),
)


def rename(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Give a container another name."""
    container = context.engine.containers.find(args[0])
    name = names.check_name(args[1])
    with context.engine.lock("container", container.id).exclusive():
        context.engine.containers.rename(container, context.engine.containers.config(container.id), name)


RENAME = Command(
    "rename", "CONTAINER NAME", "Rename an existing container", "The podling rename command allows you to rename an existing container",
    (), rename, args=(2, 2, ""), complete="containers", examples=("{} containerA newName",),
)

"""``podling start``, ``stop``, ``restart``, ``kill``, ``pause``, ``unpause``, ``rm``, ``rename`` and ``wait``."""

from __future__ import annotations

from podling.cli.commands.selecting import (
    CIDFILE,
    DETACH_KEYS_HELP,
    FILTER,
    IGNORE,
    LATEST,
    all_flag,
    printed_names,
    selected,
    selection,
)
from podling.cli.flags import Command, Flag
from podling.cli.several import side_by_side
from podling.engine import stop as stopping
from podling.engine.options import AttachOptions, RemoveOptions, RunOptions, StopOptions, WaitOptions
from podling.engine.select import select
from podling.errors import ExitStatus, InvalidArgument, NoSuchContainer, PodlingError, WrongState
from podling.values import signals, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.context import Context
    from podling.model import Container, ContainerState

_SEVERAL = "[options] CONTAINER [CONTAINER...]"


def _act(context: Context, said: dict[str, Any], args: list[str], action: Callable[[Container], object], *,
         keep: Callable[[ContainerState], bool] | None = None) -> int:
    """Do something with each selected container and print its name; one that ``--all`` found may be gone meanwhile."""
    return _begin_and_end(context, said, args, lambda container: lambda: action(container), keep=keep)


def _begin_and_end(context: Context, said: dict[str, Any], args: list[str], begin: Callable[[Container], Callable[[], object]], *,
                   keep: Callable[[ContainerState], bool] | None = None) -> int:
    """As :func:`_act`, where ``begin`` is called with several containers before what it returned is called for each."""
    containers = selected(context, said, args, keep=keep)
    printed = printed_names(containers, args)

    def one(container: Container) -> Callable[[], None]:
        try:
            end = begin(container)
        except NoSuchContainer:
            if not said.get("all"):
                raise
            return _nothing

        def finish() -> None:
            try:
                end()
            except NoSuchContainer:
                if not said.get("all"):
                    raise
                return
            context.out.line(printed[container.id])

        return finish

    return side_by_side(context, containers, one)


def _nothing() -> None:
    """Of a container that is gone nothing is left to do."""


def _is(*statuses: str) -> Callable[[ContainerState], bool]:
    return lambda state: state.status in statuses


# --- start ------------------------------------------------------------------------------------------------------------


def start(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Start containers, with ``--attach`` one of them in the foreground."""
    attached = said.get("attach", False) or said.get("stdin", False)
    if not args and not (said.get("latest") or said.get("all") or said.get("filter")):
        raise InvalidArgument("start requires at least one argument")
    if args and said.get("all"):
        raise InvalidArgument("either start all containers or the container(s) provided in the arguments")
    if attached and len(args) > 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once")
    if said.get("sig_proxy") and not attached:
        raise InvalidArgument("you cannot use sig-proxy without --attach: invalid argument")
    if attached:
        return _start_attached(context, said, selected(context, said, args))
    from podling.engine.start import start as start_container

    engine = context.engine

    def begin(container: Container) -> None:
        try:
            start_container(engine, container)
        except NoSuchContainer:
            raise
        except PodlingError as error:
            raise PodlingError(f'unable to start container "{container.id}"') from error

    return _act(context, said, args, begin,
                keep=lambda state: state.status not in ("running", "paused"))


def _start_attached(context: Context, said: dict[str, Any], containers: list[Container]) -> int:
    from podling.engine import attach

    if len(containers) != 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once")
    engine, container = context.engine, containers[0]
    stdin = said.get("stdin", False)
    if engine.containers.state(container.id).status == "running":
        return attach.attach(engine, container, AttachOptions(
            detach_keys=said.get("detach_keys"), no_stdin=not stdin, sig_proxy=said.get("sig_proxy", True)))
    try:
        return attach.run(engine, container, RunOptions(**context.options(said, "detach_keys", "sig_proxy")), stdin=stdin)
    except ExitStatus:
        raise
    except PodlingError as error:
        raise PodlingError(f"unable to start container {container.id}") from error


# --- stop, restart, kill, pause ---------------------------------------------------------------------------------------


def _stop_options(said: dict[str, Any]) -> StopOptions:
    return StopOptions(**({"timeout": said["timeout"]} if "timeout" in said else {}))


def stop(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Stop containers."""
    options, engine = _stop_options(said), context.engine
    return _begin_and_end(context, said, args, lambda container: stopping.Stopping(engine, container, options).finish,
                          keep=_is("running", "paused", "stopping"))


def restart(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Restart containers."""
    options, engine = _stop_options(said), context.engine
    keep = None
    if said.get("running"):
        if args:
            raise InvalidArgument("no arguments are needed with --running")
        said, keep = {**said, "all": True}, _is("running")
    return _act(context, said, args, lambda container: stopping.restart(engine, container, options), keep=keep)


def kill(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Send a signal to containers."""
    signal, engine = said.get("signal", 9), context.engine
    return _act(context, said, args, lambda container: stopping.kill(engine, container, signal), keep=_is("running"))


def _signal(text: str) -> int:
    """A signal that can be sent; 0 is none."""
    number = signals.parse(text)
    if not 1 <= number <= 64:
        raise InvalidArgument(f"invalid signal: {text}")
    return number


def pause(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Freeze containers."""
    engine = context.engine
    return _act(context, said, args, lambda container: stopping.pause(engine, container), keep=_is("running"))


def unpause(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Let frozen containers go on."""
    engine = context.engine
    return _act(context, said, args, lambda container: stopping.unpause(engine, container), keep=_is("paused"))


# --- rm, rename, wait -------------------------------------------------------------------------------------------------


def remove(context: Context, said: dict[str, Any], args: list[str]) -> int:
    """Remove containers; exit code 1 where one does not exist, 2 where one runs. After the last one garbage is collected."""
    from podling.engine.remove import remove as remove_container
    from podling.engine.remove import tell

    engine, force = context.engine, said.get("force", False)
    if force:
        said = {**said, "ignore": True}
    options = RemoveOptions(**context.options(said, "force", "volumes", "depend", "timeout"))
    if "timeout" in said and not force:
        raise InvalidArgument("--force option must be specified to use the --time option")
    wanted = selection(said, args)
    try:
        containers = select(engine, wanted)
    except NoSuchContainer as error:
        error.exit_code = 1
        raise
    printed = printed_names(containers, args)

    def one(container: Container) -> Callable[[], None]:
        told = tell(engine, container, options)

        def finish() -> None:
            try:
                removed = remove_container(engine, container, options, told)
            except NoSuchContainer:
                if not (wanted.all or wanted.ignore):
                    raise
                return
            for container_id in removed:
                context.out.line(printed.get(container_id, container_id))

        return finish

    status = side_by_side(context, containers, one, exit_codes={NoSuchContainer: 1, WrongState: 2})
    context.out.flush()
    if (containers or wanted.all) and not engine.containers.all():
        from podling.engine.garbage import collect

        collect(engine)
    return status


def rename(context: Context, _said: dict[str, Any], args: list[str]) -> None:
    """Give a container another name."""
    from podling.engine.rename import rename as rename_container

    rename_container(context.engine, context.engine.containers.find(args[0]), args[1])


def wait(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Print the exit codes of containers as they end."""
    if not args and not said.get("latest"):
        raise InvalidArgument('"podling wait" requires a name, id, or the "--latest" flag')
    if args and said.get("latest"):
        raise InvalidArgument("--latest and containers cannot be used together")
    engine = context.engine
    options = WaitOptions(**context.options(said, "conditions", "interval", "ignore"))
    found: list[str | None] = []
    for name in args or [engine.containers.latest().id]:
        try:
            found.append(engine.containers.find(name).id)
        except NoSuchContainer:
            if not options.ignore:
                raise
            found.append(None)
    for container_id in found:
        context.out.line(str(-1 if container_id is None else stopping.wait(engine, container_id, options)))
        context.out.flush()


def _interval(text: str) -> float:
    """Seconds of a duration, or of a number of milliseconds."""
    if text.isascii() and text.isdigit():
        return int(text) / 1000
    return units.parse_duration(text) / units.SECOND


# --- the table --------------------------------------------------------------------------------------------------------

_TIME = Flag("--time", "-t", "Seconds to wait for stop before killing the container", kind="int", into="timeout",
             default_text="10", aliases=("--timeout",))

START = Command(
    "start", _SEVERAL, "Start one or more containers",
    "Starts one or more containers.  The container name or ID can be used.",
    (
        Flag("--all", kind="bool", help="Start all containers regardless of their state or configuration"),
        Flag("--attach", "-a", "Attach container's STDOUT and STDERR", kind="bool"),
        Flag("--detach-keys", help=DETACH_KEYS_HELP, default_text="ctrl-p,ctrl-q"),
        FILTER, LATEST,
        Flag("--interactive", "-i", "Make STDIN available to the contained process", kind="bool", into="stdin"),
        Flag("--sig-proxy", kind="bool",
             help="Proxy received signals to the process (default true if attaching, false otherwise)"),
    ),
    start, examples=("{} 860a4b231279 5421ab43b45", "{} --interactive --attach imageID"), complete="stopped",
)
STOP = Command(
    "stop", _SEVERAL, "Stop one or more containers",
    "Stops one or more running containers.  The container name or ID can be used.\n\n"
    "  A timeout to forcibly stop the container can also be set but defaults to 10 seconds otherwise.",
    (all_flag("Stop all running containers"), CIDFILE, FILTER, IGNORE, LATEST, _TIME),
    stop, examples=("{} ctrID", "{} --time 2 mywebserver 6e534f14da9d"), complete="running",
)
RESTART = Command(
    "restart", _SEVERAL, "Restart one or more containers",
    "Restarts one or more running containers. The container ID or name can be used.\n\n"
    "  A timeout before forcibly stopping can be set, but defaults to 10 seconds.",
    (all_flag("Restart all non-running containers"), CIDFILE, FILTER, LATEST,
     Flag("--running", kind="bool", help="Restart only running containers"), _TIME),
    restart, examples=("{} ctrID", "{} ctrID1 ctrID2"), complete="containers",
)
KILL = Command(
    "kill", _SEVERAL, "Kill one or more running containers with a specific signal",
    "The main process inside each container specified will be sent SIGKILL, or any signal specified with option --signal.",
    (all_flag("Signal all running containers"), CIDFILE, LATEST,
     Flag("--signal", "-s", "Signal to send to the container", default_text="KILL", parse=_signal)),
    kill, examples=("{} mywebserver", "{} 860a4b23", "{} --signal TERM ctrID"), complete="running",
)
PAUSE = Command(
    "pause", _SEVERAL, "Pause all the processes in one or more containers",
    "Pauses one or more running containers.  The container name or ID can be used.",
    (all_flag("Pause all running containers"), CIDFILE, FILTER, LATEST),
    pause, examples=("{} mywebserver", "{} 860a4b23", "{} --all"), complete="running",
)
UNPAUSE = Command(
    "unpause", _SEVERAL, "Unpause the processes in one or more containers",
    "Unpauses one or more previously paused containers.  The container name or ID can be used.",
    (all_flag("Unpause all paused containers"), CIDFILE, FILTER, LATEST),
    unpause, examples=("{} ctrID", "{} --all"), complete="paused",
)
RM = Command(
    "rm", _SEVERAL, "Remove one or more containers",
    "Removes one or more containers from the host. The container name or ID can be used.\n\n"
    "  Command does not remove images. Running or unusable containers will not be removed without the -f option.",
    (
        all_flag("Remove all containers"), CIDFILE,
        Flag("--depend", kind="bool", help="Remove container and all containers that depend on the selected container"),
        Flag("--filter", kind="array", help=FILTER.help, choices=FILTER.choices),
        Flag("--force", "-f", "Force removal of a running or unusable container", kind="bool"), IGNORE, LATEST, _TIME,
        Flag("--volumes", "-v", "Remove anonymous volumes associated with the container", kind="bool"),
    ),
    remove, examples=("{} imageID", "{} mywebserver myflaskserver 860a4b23", "{} --force --all", "{} -f c684f0d469f2"),
    complete="containers",
)
RENAME = Command(
    "rename", "CONTAINER NAME", "Rename an existing container",
    "The podling rename command allows you to rename an existing container", (), rename, args=(2, 2, ""),
    examples=("{} containerA newName",), complete="containers none",
)
WAIT = Command(
    "wait", _SEVERAL, "Block on one or more containers",
    "Block until one or more containers stop and then print their exit codes.\n",
    (
        Flag("--condition", kind="slice", into="conditions", help="Condition to wait on", choices=stopping.CONDITIONS),
        Flag("--ignore", kind="bool", help="Ignore if a container does not exist"),
        Flag("--interval", "-i", "Time Interval to wait before polling for completion", default_text="250ms", parse=_interval),
        LATEST,
    ),
    wait, examples=("{} --interval 5s ctrID", "{} ctrID1 ctrID2"), complete="running",
)

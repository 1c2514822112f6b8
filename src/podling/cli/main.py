"""The command line: finds the command, imports its module alone, runs it, and turns errors into words and exit codes."""

from __future__ import annotations

import os
import sys

from podling import __version__, log
from podling.cli.context import Context, Writer
from podling.cli.flags import HelpRequested, check_args, scan
from podling.cli.program import INHERITED_FLAGS, LOG_LEVELS, OWN_FLAGS
from podling.engine.globals import GlobalOptions
from podling.errors import ExitStatus, InvalidArgument, PodlingError, Unsupported, advice, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from podling.cli.flags import Command

PROGRAM = "podling"
LONG = "Manage containers and images"

# Path of a command -> module in podling.cli.commands and name in it.
COMMANDS = {
    "attach": "attach:ATTACH",
    "commit": "commit:COMMIT",
    "cp": "cp:CP",
    "create": "run:CREATE",
    "diff": "diff:DIFF",
    "exec": "exec:EXEC",
    "export": "commit:EXPORT",
    "kill": "lifecycle:KILL",
    "logs": "logs:LOGS",
    "mount": "mount:MOUNT",
    "pause": "lifecycle:PAUSE",
    "port": "port:PORT",
    "ps": "ps:PS",
    "rename": "lifecycle:RENAME",
    "restart": "lifecycle:RESTART",
    "rm": "lifecycle:RM",
    "run": "run:RUN",
    "start": "lifecycle:START",
    "stop": "lifecycle:STOP",
    "top": "top:TOP",
    "umount": "mount:UNMOUNT",
    "unmount": "mount:UNMOUNT",
    "unpause": "lifecycle:UNPAUSE",
    "wait": "lifecycle:WAIT",

    "history": "images:HISTORY",
    "import": "archives:IMPORT",
    "load": "archives:LOAD",
    "pull": "transfer:PULL",
    "push": "transfer:PUSH",
    "save": "archives:SAVE",
    "search": "search:SEARCH",
    "tag": "images:TAG",
    "untag": "images:UNTAG",
    "images": "images:IMAGES",
    "rmi": "images:RMI",

    "completion": "completion:COMPLETION",
    "info": "system:INFO",
    "inspect": "inspect:INSPECT",
    "login": "login:LOGIN",
    "logout": "login:LOGOUT",
    "unshare": "unshare:UNSHARE",
    "version": "system:VERSION",

    "artifact add": "artifact:ADD",
    "artifact extract": "artifact:EXTRACT",
    "artifact inspect": "artifact:INSPECT",
    "artifact list": "artifact:LS",
    "artifact ls": "artifact:LS",
    "artifact pull": "artifact:PULL",
    "artifact push": "artifact:PUSH",
    "artifact remove": "artifact:RM",
    "artifact rm": "artifact:RM",
    "container diff": "diff:CONTAINER_DIFF",
    "container cleanup": "cleanup:CLEANUP",
    "container exists": "exists:CONTAINER_EXISTS",
    "container inspect": "inspect:CONTAINER_INSPECT",
    "container list": "ps:LIST",
    "container ls": "ps:LIST",
    "image diff": "diff:IMAGE_DIFF",
    "image exists": "exists:IMAGE_EXISTS",
    "image inspect": "inspect:IMAGE_INSPECT",
    "image list": "images:IMAGE_LIST",
    "image ls": "images:IMAGE_LIST",
    "image mount": "mount:IMAGE_MOUNT",
    "image prune": "images:IMAGE_PRUNE",
    "image rm": "images:IMAGE_RM",
    "image scp": "scp:SCP",
    "image tree": "image_tree:TREE",
    "image umount": "mount:IMAGE_UNMOUNT",
    "image unmount": "mount:IMAGE_UNMOUNT",
    "image sign": "sign:SIGN",
    "image trust set": "trust:SET",
    "image trust show": "trust:SHOW",
    "manifest add": "manifest:ADD",
    "manifest annotate": "manifest:ANNOTATE",
    "manifest create": "manifest:CREATE",
    "manifest exists": "manifest:EXISTS",
    "manifest inspect": "manifest:INSPECT",
    "manifest push": "manifest:PUSH",
    "manifest remove": "manifest:REMOVE",
    "manifest rm": "manifest:RM",
    "network connect": "network.attaching:CONNECT",
    "network create": "network.defining:CREATE",
    "network disconnect": "network.attaching:DISCONNECT",
    "network exists": "exists:NETWORK_EXISTS",
    "network inspect": "inspect:NETWORK_INSPECT",
    "network list": "network.listing:LS",
    "network ls": "network.listing:LS",
    "network prune": "network.listing:PRUNE",
    "network reload": "network.attaching:RELOAD",
    "network remove": "network.defining:RM",
    "network rm": "network.defining:RM",
    "network update": "network.defining:UPDATE",
    "system check": "check:CHECK",
    "system df": "df:DF",
    "system prune": "df:PRUNE",
    "system info": "system:INFO",
    "system migrate": "system_upkeep:MIGRATE",
    "system reset": "system_upkeep:RESET",
    "volume create": "volume:CREATE",
    "volume exists": "exists:VOLUME_EXISTS",
    "volume inspect": "inspect:VOLUME_INSPECT",
    "volume list": "volume:LS",
    "volume ls": "volume:LS",
    "volume prune": "volume:PRUNE",
    "volume remove": "volume:RM",
    "volume rm": "volume:RM",
}
# Commands that have a second spelling in a group.
for _group, _names in (
    ("container", ("attach commit cp create exec export kill logs mount pause port ps rename restart rm run start stop top "
                   "umount unmount unpause wait")),
    ("image", "history import load pull push save search tag untag"),
):
    for _name in _names.split():
        COMMANDS[f"{_group} {_name}"] = COMMANDS[_name]

STARTING = ("run", "container run", "start", "container start")     # what these do begins before their modules are loaded

GROUPS = {
    "artifact": ("Manage OCI artifacts", "Manage OCI artifacts"),
    "container": ("Manage containers", "Manage containers"),
    "image": ("Manage images", "Manage images"),
    "manifest": ("Manipulate manifest lists and image indexes",
                 "Creates, modifies, and pushes manifest lists and image indexes."),
    "image trust": ("Manage container image trust policy", """\
Manages which registries you trust as a source of container images based on their location.
  The location is determined by the transport and the registry host of the image.  Using this container image \
docker://quay.io/podman/stable as an example, docker is the transport and quay.io is the registry host."""),
    "network": ("Manage networks", "Manage networks"),
    "system": ("Manage podling", "Manage podling"),
    "volume": ("Manage volumes", "Volumes are created in and can be shared between containers"),
}
HIDDEN = ("completion", "container cleanup")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name); the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    out, err = Writer(1), Writer(2)
    try:
        status = _run(words, out, err)
        out.flush()
        err.flush()
        return status
    except ExitStatus as error:
        return _finish(out, error.exit_code)
    except BrokenPipeError:
        return 141                               # as a program that SIGPIPE ended
    except KeyboardInterrupt:
        return _finish(out, 130)
    except PodlingError as error:
        return _report(error, error.exit_code, out, err)
    except OSError as error:
        return _report(error, 125, out, err)
    except Exception as error:  # noqa: BLE001  the one place where a fault of our own becomes words
        return _report_fault(error, out, err)


def load(path: str) -> Command:
    """The command of this path; KeyError if there is none."""
    module, _, attribute = COMMANDS[path].partition(":")
    name = "podling.cli.commands." + module
    __import__(name)
    command: Command = getattr(sys.modules[name], attribute)
    return command


def names_in(group: str) -> list[str]:
    """The words that may follow the group ("" for the program), without aliases and hidden ones."""
    prefix = group + " " if group else ""
    names = {path[len(prefix):]: path for path in COMMANDS if path.startswith(prefix) and " " not in path[len(prefix):]}
    listed = [name for name, path in names.items()
              if path not in HIDDEN and not (" " in path and load(path).name != name)]
    groups = [path[len(prefix):] for path in GROUPS if path.startswith(prefix) and " " not in path[len(prefix):]]
    return sorted(listed + groups)


def descriptions(group: str) -> list[tuple[str, str]]:
    """The names in the group, each with its short description."""
    prefix = group + " " if group else ""
    found = [(name, GROUPS[prefix + name][0] if prefix + name in GROUPS else load(prefix + name).short)
             for name in names_in(group)]
    return sorted([*found, ("help", "Help about any command")]) if not group else found


def find(words: Sequence[str]) -> tuple[str, list[str]]:
    """The path of the command that the words begin with, "" or a group if they name none, and what follows it."""
    group = ""
    for count in range(1, len(words) + 1):
        path = " ".join(words[:count])
        if path in COMMANDS:
            return path, list(words[count:])
        if path not in GROUPS:
            break
        group = path
    return group, list(words[len(group.split()):])


def _run(words: list[str], out: Writer, err: Writer) -> int:
    argv = (PROGRAM, *words)
    said: dict[str, Any] = {}
    if words and words[0].startswith("-"):
        try:
            parsed = scan((*OWN_FLAGS, *INHERITED_FLAGS), words, path=PROGRAM, interspersed=False)
        except HelpRequested:
            return _show_help([], out)
        if parsed.options.pop("version", False):
            out.line(f"{PROGRAM} version {__version__}")
            return 0
        said, words = parsed.options, parsed.args
    if words and words[0] in ("help", "__complete", "__completeNoDesc"):
        return _special(words, said, out, err)
    path, rest = find(words)
    if path in GROUPS and rest and rest[0].startswith("-"):
        path, rest = _group_flags(path, rest, said)
    if path not in COMMANDS:
        return _no_command(path, rest, out)
    if path in STARTING:
        from podling.engine import ahead

        ahead.container_starts()
    command = load(path)
    spelled = f"{PROGRAM} {_canonical(path, command)}"
    try:
        parsed = scan(command.flags, rest, path=spelled, interspersed=command.interspersed, inherited=INHERITED_FLAGS)
    except HelpRequested:
        return _show_help(path.split(), out)
    for note in parsed.notes:
        err.line(note)
    err.flush()
    check_args(command, parsed.args, spelled)
    said.update(parsed.inherited)
    context = Context(_globals(said), program=PROGRAM, path=path, out=out, err=err, argv=argv)
    # The engine is not closed: the process ends now, and the last to close the database pays for a checkpoint.
    return command.run(context, parsed.options, parsed.args) or 0


def _special(words: list[str], said: dict[str, Any], out: Writer, err: Writer) -> int:
    if words[0] == "help":
        return _show_help([word for word in words[1:] if not word.startswith("-")], out)
    from podling.cli.completion import complete

    context = Context(_globals({**said, **_typed(words[1:-1])}), program=PROGRAM, out=out, err=err)
    try:
        out.write(complete(context, words[1:], describe=words[0] == "__complete"))
    finally:
        context.close()
    return 0


def _typed(words: list[str]) -> dict[str, Any]:
    """The program's options on a command line that is being typed: whose containers and images are offered."""
    try:
        said = scan((*OWN_FLAGS, *INHERITED_FLAGS), words, path=PROGRAM, interspersed=False).options
    except (HelpRequested, InvalidArgument):     # not yet whole
        return {}
    return {name: value for name, value in said.items() if name not in ("version", "out", "noout", "log_level", "debug")}


def _group_flags(group: str, rest: list[str], said: dict[str, Any]) -> tuple[str, list[str]]:
    """Flags of the program between a group and its command."""
    try:
        parsed = scan((), rest, path=f"{PROGRAM} {group}", interspersed=False, inherited=INHERITED_FLAGS)
    except HelpRequested:
        return group, ["--help"]
    said.update(parsed.inherited)
    return find([*group.split(), *parsed.args])


def _canonical(path: str, command: Command) -> str:
    group, space, _ = path.rpartition(" ")
    return f"{group}{space}{command.name}"


def _globals(said: dict[str, Any]) -> GlobalOptions:
    """The program's options as a record; those that concern the command line alone take effect here."""
    level = said.get("log_level")
    if said.pop("debug", False):
        if level is not None:
            raise InvalidArgument("setting --log-level and --debug is not allowed")
        level = said["log_level"] = "debug"
    if level is not None:
        level = level.lower()
        if level not in LOG_LEVELS:
            os.write(2, f'Log Level "{level}" is not supported, choose from: {", ".join(LOG_LEVELS)}\n'.encode())
            raise ExitStatus(1)
        log.set_level("warn" if level == "warning" else level)
    if (config := said.pop("config", None)) is not None:
        if os.path.exists(config) and not os.path.isdir(config):
            raise InvalidArgument(f"supplied --config file ({config}) is not a directory")
        os.environ["DOCKER_CONFIG"] = config     # where the reader of credentials looks for it, as in Podman
    if said.get("syslog"):
        log.use_syslog()
    target = said.pop("out", None)
    if said.pop("noout", False):
        target = os.devnull
    if target:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o777)
        os.dup2(fd, 1)
        os.close(fd)
    return GlobalOptions(**said)


def _show_help(words: list[str], out: Writer) -> int:
    from podling.cli import help as texts

    path, rest = find(words)
    if not words:
        out.write(texts.root_help(LONG, PROGRAM, descriptions(""), (*OWN_FLAGS, *INHERITED_FLAGS)))
    elif path in COMMANDS:
        command = load(path)
        out.write(texts.command_help(command, PROGRAM, _canonical(path, command)))
    elif path and not rest:
        out.write(texts.group_help(*GROUPS[path], PROGRAM, path, descriptions(path)))
    else:
        raise _unknown(path, rest)
    return 0


def _no_command(path: str, rest: list[str], out: Writer) -> int:
    """The program or a group without a command of it: its help and an error, or an unknown word."""
    spelled = f"{PROGRAM} {path}" if path else PROGRAM
    if path and rest == ["--help"]:
        return _show_help(path.split(), out)
    if rest:
        raise _unknown(path, rest)
    _show_help(path.split(), out)
    raise InvalidArgument(f"missing command '{spelled} COMMAND'")


def _unknown(path: str, rest: list[str]) -> PodlingError:
    from podling.cli.missing import missing
    from podling.cli.suggest import suggestions

    absent = missing([path, *rest] if path else rest)
    if absent:
        return Unsupported(f"{PROGRAM} {absent} is not available yet")
    spelled = f"{PROGRAM} {path}" if path else PROGRAM
    near = suggestions(rest[0], names_in(path))
    mean = "\n\nDid you mean this?\n\t{}\n".format("\n\t".join(near)) if near else ""
    return InvalidArgument(f"unrecognized command `{spelled} {rest[0]}`{mean}\nTry '{spelled} --help' for more information")


def _finish(out: Writer, status: int) -> int:
    """Flush what there is and end with the status, whoever may no longer be reading."""
    try:
        out.flush()
    except OSError as error:
        log.debug(f"flushing the output: {error}")
    return status


def _report(error: BaseException, status: int, out: Writer, err: Writer) -> int:
    _finish(out, status)
    text = explain(error)
    err.line(f"Error: {text}")
    for line in advice(error):
        err.line(line)
    return _finish(err, status)


def _report_fault(error: Exception, out: Writer, err: Writer) -> int:
    """A fault of podling itself: no traceback unless asked for, but how to get one."""
    import traceback

    _finish(out, 125)
    err.line(f"Error: internal fault: {type(error).__name__}: {error}")
    if log.enabled("debug"):
        err.line("".join(traceback.format_exception(error)))
    else:
        err.line(f"Run `{PROGRAM} --log-level=debug ...` to see where it happened")
    return _finish(err, 125)


if __name__ == "__main__":
    sys.exit(main())

"""Help texts, in the layout of Podman's."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.cli.flags import Command, Flag


def command_help(command: Command, program: str, path: str) -> str:
    """The help text of one command, reached under ``path`` (its words without the program's)."""
    spelled = f"{program} {path}"
    parts = [f"{command.short}\n\nDescription:\n  {command.long}\n\nUsage:\n  {spelled} {command.usage}".rstrip()]
    if command.aliases:
        parts.append(f"\n\nAliases:\n  {', '.join((command.name, *command.aliases))}")
    if command.examples:
        parts.append("\n\nExamples:\n" + "\n".join(f"  {line.replace('{}', spelled)}" for line in command.examples))
    options = flag_usages(command.flags)
    if options:
        parts.append("\n\nOptions:\n" + options)
    return "".join(parts) + "\n\n"


def group_help(short: str, long: str, program: str, path: str, commands: Iterable[tuple[str, str]]) -> str:
    """The help text of a group of commands, given as (name, short description)."""
    return (f"{short}\n\nDescription:\n  {long}\n\nUsage:\n  {program} {path} [command]\n\n"
            f"Available Commands:\n{_commands(commands)}\n\n")


def root_help(long: str, program: str, commands: Iterable[tuple[str, str]], flags: Iterable[Flag]) -> str:
    """The help text of the program itself."""
    return (f"{long}\n\nUsage:\n  {program} [options] [command]\n\nAvailable Commands:\n{_commands(commands)}\n\n"
            f"Options:\n{flag_usages(flags)}\n")


def _commands(commands: Iterable[tuple[str, str]]) -> str:
    listed = sorted(commands)
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"  {name:<{max(width, 11)}} {short}" for name, short in listed)


def flag_usages(flags: Iterable[Flag]) -> str:
    """The flags' lines, aligned as pflag aligns them, without trailing white space."""
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    lines = [(_left(flag), _right(flag)) for flag in shown]
    width = max((len(left) for left, _ in lines), default=0) + 3
    indent = "\n" + " " * width
    return "\n".join(f"{left:<{width}}{right}".replace("\n", indent) for left, right in lines).rstrip()


def _left(flag: Flag) -> str:
    """``  -n, --last int``; a flag that needs no value shows in brackets what it then means."""
    text = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
    variable = _variable(flag)
    if variable:
        text += " " + variable
    if flag.no_value is not None and not (flag.kind == "bool" or flag.kind == "count"):
        text += f'[="{flag.no_value}"]' if flag.kind == "value" else f"[={flag.no_value}]"
    return text


def _variable(flag: Flag) -> str:
    """The name of the flag's value: a word in back quotes in its help, otherwise its type."""
    _, quote, rest = flag.help.partition("`")
    if quote and "`" in rest:
        return rest.partition("`")[0]
    return flag.metavar


def _right(flag: Flag) -> str:
    before, quote, rest = flag.help.partition("`")
    word, end, after = rest.partition("`")
    text = before + word + after if quote and end else flag.help
    if flag.default_text:
        text += f' (default "{flag.default_text}")' if flag.kind == "value" else f" (default {flag.default_text})"
    return text

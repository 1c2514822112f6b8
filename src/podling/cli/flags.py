"""Command-line flags: tables of them, and pflag's grammar, the one that Podman's users type.

A command is described by a :class:`Command` with a tuple of :class:`Flag`; :func:`parse` reads arguments by that table
and answers only what was said: ``({"all": True}, ["web"])``. The grammar, and the words of its errors, are those of Go's
pflag: ``--name=value``, ``--name value``, ``-n value``, ``-nvalue``, ``-n=value``, ``-it``, ``--flag=false``, ``--``.
"""

from __future__ import annotations

from podling.errors import InvalidArgument, Unsupported
from podling.values import gotext
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from podling.cli.context import Context

    Run = Callable[[Context, dict[str, Any], list[str]], int | None]

# pflag's names of a flag's type, as help shows them after the flag's name.
_METAVARS = {
    "value": "string", "int": "int", "uint": "uint", "float": "float", "array": "stringArray", "slice": "strings",
    "uints": "uints", "choice": "choice", "bool": "", "count": "count",
}
LIST_KINDS = ("array", "slice", "uints")


class Flag:
    """One flag of a command.

    ``kind``: value (text), int, uint, float, bool, count, choice (one of ``choices``), array (may be repeated), slice (may
    be repeated, each a comma separated list in CSV form), uints (such a list of numbers).
    ``into``: the key in the parsed options; the flag's name in snake case where it is not given.
    ``parse``: from the text (or number) to the value; for list kinds it is given each item. Its errors are shown as they are.
    ``no_value``: what the flag means without a value (pflag's NoOptDefVal); then a value must follow an equals sign.
    ``default_text``: the default that help shows; flags have no defaults of their own.
    ``aliases``: other names, shown nowhere. ``noop``: accepted for compatibility, without effect.
    ``refused``: why podling does not have it yet; such a flag is in no help text and an error when it is used.
    ``complete``: what shell completion offers as values: files, containers, images, volumes, networks, or nothing ("").
    """

    __slots__ = ("aliases", "choices", "complete", "default_text", "deprecated", "help", "hidden", "into", "kind", "metavar",
                 "name", "no_value", "noop", "parse", "refused", "short")

    def __init__(self, name: str, short: str = "", help: str = "", *, into: str = "", kind: str = "value",  # noqa: A002
                 parse: Callable[[Any], Any] | None = None, metavar: str | None = None, default_text: str = "",
                 hidden: bool = False, deprecated: str = "", choices: tuple[str, ...] = (), no_value: str | None = None,
                 refused: str = "", aliases: tuple[str, ...] = (), noop: bool = False, complete: str = "") -> None:
        self.name = name[2:]
        self.short = short[1:]
        self.into = into or name[2:].replace("-", "_")
        self.parse = parse
        self.kind = kind
        self.metavar = _METAVARS[kind] if metavar is None else metavar
        self.help = help
        self.default_text = default_text
        self.hidden = hidden or bool(deprecated) or bool(refused)
        self.deprecated = deprecated
        self.choices = choices
        if no_value is None and kind in ("bool", "count"):
            no_value = "true" if kind == "bool" else "+1"
        self.no_value = no_value
        self.refused = refused
        self.aliases = aliases
        self.noop = noop
        self.complete = complete

    def shown_name(self) -> str:
        """The flag as error messages name it: ``-n, --last``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


_HELP = Flag("--help", kind="bool")


class Command:
    """One command: its words for help, its flags, and the function behind it.

    ``usage`` is what follows the command's path in the usage line. ``args``: least and greatest number of arguments (None:
    any) and the message for another number ("": pflag's own). ``interspersed``: whether flags may follow arguments.
    ``examples``: lines in which ``{}`` stands for the program and the command's path. ``aliases``: other last words of
    the path, for help; ``complete``: what shell completion offers as arguments (see :class:`Flag`).
    """

    __slots__ = ("aliases", "args", "complete", "examples", "flags", "hidden", "interspersed", "long", "name", "run", "short",
                 "usage")

    def __init__(self, name: str, usage: str, short: str, long: str, flags: tuple[Flag, ...], run: Run, *,
                 interspersed: bool = True, args: tuple[int, int | None, str] = (0, None, ""),
                 aliases: tuple[str, ...] = (), examples: tuple[str, ...] = (), hidden: bool = False,
                 complete: str = "") -> None:
        self.name = name
        self.usage = usage
        self.short = short
        self.long = long
        self.flags = flags
        self.run = run
        self.interspersed = interspersed
        self.args = args
        self.aliases = aliases
        self.examples = examples
        self.hidden = hidden
        self.complete = complete

    def replace(self, **values: Any) -> Command:
        """A copy of the command with these fields changed, for its spelling under another path."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        fields.update(values)
        return Command(**fields)


class HelpRequested(Exception):
    """``--help`` or ``-h`` was given; nothing else is wrong."""


class Parsed:
    """What was said: ``options`` of the command, ``inherited`` ones of the program, ``args``, and deprecation notes."""

    __slots__ = ("args", "inherited", "notes", "options")

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.inherited: dict[str, Any] = {}
        self.args: list[str] = []
        self.notes: list[str] = []


def parse(command: Command, argv: Sequence[str], path: str = "") -> tuple[dict[str, Any], list[str]]:
    """The options that were said and the arguments; InvalidArgument in pflag's words, HelpRequested for ``--help``."""
    parsed = scan(command.flags, argv, path=path or f"podling {command.name}", interspersed=command.interspersed)
    check_args(command, parsed.args, path or f"podling {command.name}")
    return parsed.options, parsed.args


def scan(flags: Iterable[Flag], argv: Sequence[str], *, path: str, interspersed: bool = True,
         inherited: Iterable[Flag] = ()) -> Parsed:
    """Read arguments by the flags of a command and those that it inherits (its own win); see :func:`parse`."""
    scanner = _Scanner(flags, inherited)
    try:
        scanner.read(argv, interspersed)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message}\nSee '{path} --help'") from error.__cause__
    if scanner.help:
        raise HelpRequested
    return scanner.finish()


def check_args(command: Command, args: Sequence[str], path: str) -> None:
    """Whether the command takes so many arguments; InvalidArgument in cobra's words."""
    least, most, message = command.args
    count = len(args)
    if count >= least and (most is None or count <= most):
        return
    if not message:
        if most == 0:
            message = f"`{path}` takes no arguments"
        elif most is None:
            message = f"requires at least {least} arg(s), only received {count}"
        elif least == most:
            message = f"accepts {least} arg(s), received {count}"
        elif least == 0:
            message = f"accepts at most {most} arg(s), received {count}"
        else:
            message = f"accepts between {least} and {most} arg(s), received {count}"
    raise InvalidArgument(message)


class _Scanner:
    """pflag's FlagSet.Parse."""

    def __init__(self, flags: Iterable[Flag], inherited: Iterable[Flag]) -> None:
        self.long: dict[str, Flag] = {}
        self.shorts: dict[str, Flag] = {}
        self.own: set[str] = set()
        for flag in flags:
            self._add(flag)
        self.own.update(self.long)
        for flag in inherited:
            if flag.name not in self.long:
                self._add(flag)
        self.said: dict[str, Any] = {}           # flag's name -> value, before Flag.parse
        self.args: list[str] = []
        self.help = False
        self.notes: list[str] = []

    def _add(self, flag: Flag) -> None:
        self.long[flag.name] = flag
        for alias in flag.aliases:
            self.long[alias[2:]] = flag
        if flag.short:
            self.shorts.setdefault(flag.short, flag)

    def read(self, argv: Sequence[str], interspersed: bool) -> None:
        position = 0
        while position < len(argv):
            word = argv[position]
            position += 1
            if len(word) < 2 or word[0] != "-":
                self.args.append(word)
                if interspersed:
                    continue
                self.args.extend(argv[position:])
                return
            if word == "--":
                self.args.extend(argv[position:])
                return
            following = argv[position] if position < len(argv) else None
            took = self._long(word, following) if word[1] == "-" else self._shorts(word, following)
            position += took

    def _long(self, word: str, following: str | None) -> bool:
        """Read ``--name`` or ``--name=value``; True if the following word was its value."""
        name, equals, value = word[2:].partition("=")
        if not name or name[0] == "-":
            raise InvalidArgument(f"bad flag syntax: {word}")
        flag = self.long.get(name)
        if flag is None:
            if name == "help":
                self._set(_HELP, value if equals else "true")
                return False
            raise InvalidArgument(f"unknown flag: --{name}")
        if equals:
            self._set(flag, value)
        elif flag.no_value is not None:
            self._set(flag, flag.no_value)
        elif following is not None:
            self._set(flag, following)
            return True
        else:
            raise InvalidArgument(f"flag needs an argument: {word}")
        return False

    def _shorts(self, word: str, following: str | None) -> bool:
        """Read ``-x``, ``-xyz``, ``-xvalue`` or ``-x=value``; True if the following word was a value."""
        letters = word[1:]
        while letters:
            letter, rest = letters[0], letters[1:]
            flag = self.shorts.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpRequested
                raise InvalidArgument(f"unknown shorthand flag: '{letter}' in -{letters}")
            if len(rest) > 1 and rest[0] == "=":
                self._set(flag, rest[1:])
                return False
            if flag.no_value is not None:
                self._set(flag, flag.no_value)
                letters = rest
                continue
            if rest:
                self._set(flag, rest)
                return False
            if following is None:
                raise InvalidArgument(f"flag needs an argument: '{letter}' in -{letters}")
            self._set(flag, following)
            return True
        return False

    def _set(self, flag: Flag, text: str) -> None:
        value = _read(flag, text)
        if flag.name == "help" and flag.kind == "bool":
            self.help = value
            return
        if flag.deprecated and flag.name not in self.said:
            self.notes.append(f"Flag --{flag.name} has been deprecated, {flag.deprecated}")
        if flag.kind in LIST_KINDS:
            value = self.said.get(flag.name, ()) + value
        elif flag.kind == "count" and text == "+1":
            value = self.said.get(flag.name, 0) + 1
        self.said[flag.name] = value

    def finish(self) -> Parsed:
        """Refuse what is refused, and turn texts into values."""
        parsed = Parsed()
        parsed.args = self.args
        parsed.notes = self.notes
        for name, value in self.said.items():
            flag = self.long[name]
            if flag.refused:
                if value is False and not flag.default_text:
                    continue                     # "--x=false" is what happens anyway
                raise Unsupported(f"--{name} is not available in podling yet"
                                  + (f": {flag.refused}" if flag.refused != "yet" else ""))
            if flag.noop:
                continue
            if flag.parse is not None:
                value = tuple(map(flag.parse, value)) if flag.kind in LIST_KINDS else flag.parse(value)
            (parsed.options if name in self.own else parsed.inherited)[flag.into] = value
        return parsed


# --- values: each reader takes the text and the choices, InvalidArgument with Go's words --------------------------------


def _read_text(text: str, _choices: tuple[str, ...]) -> str:
    return text


def _read_bool(text: str, _choices: tuple[str, ...]) -> bool:
    return gotext.parse_bool(text)


def _read_int(text: str, _choices: tuple[str, ...]) -> int:
    return gotext.parse_int(text, base=0)


def _read_uint(text: str, _choices: tuple[str, ...]) -> int:
    return gotext.parse_uint(text, base=0)


def _read_float(text: str, _choices: tuple[str, ...]) -> float:
    return gotext.parse_float(text)


def _read_choice(text: str, choices: tuple[str, ...]) -> str:
    if text in choices:
        return text
    raise InvalidArgument(f"{quote(text)} is not a valid value.  Choose from: {quote(', '.join(choices))}")


def _read_array(text: str, _choices: tuple[str, ...]) -> tuple[str, ...]:
    return (text,)


def _read_slice(text: str, _choices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(gotext.split_csv(text)) if text else ()


def _read_uints(text: str, _choices: tuple[str, ...]) -> tuple[int, ...]:
    return tuple([gotext.parse_uint(part, base=10) for part in text.split(",")])


def _read_count(text: str, _choices: tuple[str, ...]) -> int:
    return 0 if text == "+1" else gotext.parse_int(text, base=0)


_READERS: dict[str, Callable[[str, tuple[str, ...]], Any]] = {
    "value": _read_text, "bool": _read_bool, "int": _read_int, "uint": _read_uint, "float": _read_float,
    "choice": _read_choice, "array": _read_array, "slice": _read_slice, "uints": _read_uints, "count": _read_count,
}


def _read(flag: Flag, text: str) -> Any:
    try:
        return _READERS[flag.kind](text, flag.choices)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid argument {quote(text)} for \"{flag.shown_name()}\" flag: {error.message}") from None

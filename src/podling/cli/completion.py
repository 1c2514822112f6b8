"""Shell completion: what may follow, in the protocol of cobra's ``__complete``, computed from the same tables.

The answer is one candidate a line, with its description after a tab, and a last line ``:N`` of directives for the shell.
"""

from __future__ import annotations

from podling import log
from podling.cli import main
from podling.cli.program import INHERITED_FLAGS, OWN_FLAGS
from podling.errors import PodlingError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podling.cli.context import Context
    from podling.cli.flags import Command, Flag

DEFAULT = 0       # directives: let the shell complete file names
NO_SPACE = 2
NO_FILES = 4

# How a command's candidate is looked up: kind of argument -> function.
Candidates = list[tuple[str, str]]


def complete(context: Context, words: Sequence[str], *, describe: bool = True) -> str:
    """What may stand for the last of the words, which follow the program's name; always an answer, at worst an empty one."""
    candidates, directive = _candidates(context, list(words) or [""])
    lines = [f"{word}\t{note}" if describe and note else word for word, note in candidates]
    return "".join(line + "\n" for line in (*lines, f":{directive}"))


def _candidates(context: Context, words: list[str]) -> tuple[Candidates, int]:
    before, last = words[:-1], words[-1]
    place = _Place(before)
    if place.pending is not None:
        return _values(context, place.pending, last)
    if place.flags_allowed and last.startswith("-"):
        name, equals, value = last.partition("=")
        if equals:
            flag = place.by_name(name)
            return _values(context, flag, value) if flag is not None else ([], NO_FILES)
        return [found for found in place.flag_names() if found[0].startswith(last)], NO_FILES
    if place.command is None:
        return [(name, note) for name, note in main.descriptions(place.path) if name.startswith(last)], NO_FILES
    kinds = place.command.complete.split() or ["none"]
    return _of_kind(context, kinds[min(len(place.args), len(kinds) - 1)], last, place.args)


class _Place:
    """Where on the command line the cursor stands: command, flags that may follow, the flag that waits for its value."""

    def __init__(self, words: Sequence[str]) -> None:
        self.path = ""
        self.command: Command | None = None
        self.args: list[str] = []
        self.pending: Flag | None = None
        self.flags_allowed = True
        self.said: set[str] = set()
        self._flags: list[Flag] = [*OWN_FLAGS, *INHERITED_FLAGS]
        for word in words:
            self._step(word)

    def _step(self, word: str) -> None:
        if self.pending is not None:
            self.pending = None
        elif self.flags_allowed and word == "--":
            self.flags_allowed = False
        elif self.flags_allowed and len(word) > 1 and word[0] == "-":
            self._flag(word)
        elif self.command is not None:
            self.args.append(word)
            if not self.command.interspersed:
                self.flags_allowed = False
        else:
            self._enter(word)

    def _enter(self, word: str) -> None:
        path = f"{self.path} {word}".strip()
        if path in main.COMMANDS:
            self.command = main.load(path)
            self._flags = [*self.command.flags, *INHERITED_FLAGS]
        elif path not in main.GROUPS and path != "help":
            self.path = "?"                      # an unknown word: nothing can follow
            return
        else:
            self._flags = list(INHERITED_FLAGS)
        self.path = "" if path == "help" else path

    def _flag(self, word: str) -> None:
        if "=" in word:
            flag = self.by_name(word.partition("=")[0])
        elif word.startswith("--"):
            flag = self.by_name(word)
            self._wait(flag)
        else:
            flag = None
            for position, letter in enumerate(word[1:], 2):
                flag = self.by_name("-" + letter)
                if flag is None or flag.no_value is None:
                    if position == len(word):
                        self._wait(flag)
                    break
        if flag is not None:
            self.said.add(flag.name)

    def _wait(self, flag: Flag | None) -> None:
        if flag is not None and flag.no_value is None:
            self.pending = flag

    def by_name(self, name: str) -> Flag | None:
        """The flag written so (``--all``, ``-a``)."""
        if name.startswith("--"):
            return next((flag for flag in self._flags if flag.name == name[2:] or name in flag.aliases), None)
        return next((flag for flag in self._flags if flag.short and flag.short == name[1:2]), None)

    def flag_names(self) -> Candidates:
        """The flags that may be written here, each with its description; the program's own only before the command."""
        known = self._flags if self.command is None and not self.path else (self.command.flags if self.command else ())
        found: Candidates = []
        for flag in sorted(known, key=lambda flag: flag.name):
            if flag.hidden or (flag.name in self.said and flag.kind not in ("array", "slice", "uints", "count")):
                continue
            note = flag.help.replace("`", "").partition("\n")[0]
            found.append((f"--{flag.name}", note))
            if flag.short:
                found.append((f"-{flag.short}", note))
        return found


def _values(context: Context, flag: Flag, word: str) -> tuple[Candidates, int]:
    """What may be a flag's value."""
    if flag.choices:
        found = [choice for choice in flag.choices if choice.startswith(word)]
        space = NO_SPACE if found and all(choice.endswith(("=", ":")) for choice in found) else 0
        return [(choice, "") for choice in found], NO_FILES | space
    if flag.kind == "bool":
        return [(text, "") for text in ("true", "false") if text.startswith(word)], NO_FILES
    return _of_kind(context, flag.complete or "none", word, ())


def _of_kind(context: Context, kind: str, word: str, taken: Sequence[str]) -> tuple[Candidates, int]:
    if kind == "files":
        return [], DEFAULT
    names: list[str] = []
    for part in kind.split("+"):
        lookup = _LOOKUPS.get(part)
        if lookup is not None:
            names += _found(context, lookup, word)
    found = dict.fromkeys(name for name in names if name.startswith(word) and name not in taken)
    return [(name, "") for name in found], NO_FILES


def _found(context: Context, lookup: Callable[[Context, str], Iterable[str]], word: str) -> list[str]:
    """The names that a lookup finds; none where the engine cannot be opened: completion is no place for error messages."""
    try:
        return list(lookup(context, word))
    except (PodlingError, OSError) as error:
        log.debug(f"completion: {explain(error)}")
        return []


def _containers(context: Context, word: str, states: tuple[str, ...] = ()) -> Iterable[str]:
    for container, state in context.engine.containers.list_with_states():
        if not states or state.status in states:
            yield container.name
            if word:
                yield container.id


def _running(context: Context, word: str) -> Iterable[str]:
    return _containers(context, word, ("running",))


def _stopped(context: Context, word: str) -> Iterable[str]:
    return _containers(context, word, ("created", "exited", "stopped"))


def _paused(context: Context, word: str) -> Iterable[str]:
    return _containers(context, word, ("paused",))


def _images(context: Context, word: str) -> Iterable[str]:
    """Names of images; where something was typed also without their registry and path, and ids."""
    for image in context.engine.images.list():
        for name in image.names:
            yield name
            parts = name.split("/")
            for start in range(1, len(parts) if word else 1):
                yield "/".join(parts[start:])
        if word or not image.names:
            yield image.id


def _volumes(context: Context, _word: str) -> Iterable[str]:
    from podling.engine import volumes

    return [volume.name for volume in volumes.list_volumes(context.engine, {})]


def _networks(context: Context, _word: str) -> Iterable[str]:
    return [network.name for network in context.engine.networks.list()]


def _shells(_context: Context, _word: str) -> Iterable[str]:
    from podling.cli.shells import SCRIPTS

    return SCRIPTS


_LOOKUPS: dict[str, Callable[[Context, str], Iterable[str]]] = {
    "containers": _containers, "running": _running, "stopped": _stopped, "paused": _paused,
    "images": _images, "volumes": _volumes, "networks": _networks, "shells": _shells,
}

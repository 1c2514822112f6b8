"""Help in the layout of Podman's."""

from __future__ import annotations

import pytest

from podling.cli import main
from podling.cli.flags import Command, Flag
from podling.cli.help import command_help, flag_usages, group_help, root_help
from podling.cli.program import INHERITED_FLAGS


def test_flags_are_aligned_and_sorted() -> None:
    assert flag_usages((
        Flag("--time", "-t", "Seconds to wait", kind="int", default_text="10"),
        Flag("--all", "-a", "All of them", kind="bool"),
        Flag("--detach-keys", help="One of `[a-Z]` or more", default_text="ctrl-p"),
        Flag("--color", help="When", no_value="auto"),
        Flag("--secret", help="Nothing to see", refused="yet"),
    )) == """\
  -a, --all                     All of them
      --color string[="auto"]   When
      --detach-keys [a-Z]       One of [a-Z] or more (default "ctrl-p")
  -t, --time int                Seconds to wait (default 10)"""


def test_lines_of_a_flag_stand_below_each_other() -> None:
    assert flag_usages((Flag("--latest", "-l", "The latest\nNot always", kind="bool"),)) == (
        "  -l, --latest   The latest\n"
        "                 Not always")


COMMAND = Command("ls", "[options]", "List things", "Lists all things.", (Flag("--quiet", "-q", "Names only", kind="bool"),),
                  lambda context, options, args: None, aliases=("list",), examples=("{} -q", "cat x | {} -"))


def test_a_command() -> None:
    assert command_help(COMMAND, "podling", "volume ls") == """\
List things

Description:
  Lists all things.

Usage:
  podling volume ls [options]

Aliases:
  ls, list

Examples:
  podling volume ls -q
  cat x | podling volume ls -

Options:
  -q, --quiet   Names only

"""


def test_a_group() -> None:
    assert group_help("Manage volumes", "Volumes last", "podling", "volume", [("rm", "Remove"), ("create", "Make")]) == """\
Manage volumes

Description:
  Volumes last

Usage:
  podling volume [command]

Available Commands:
  create      Make
  rm          Remove

"""


def test_the_program() -> None:
    text = root_help("Manage containers", "podling", [("ps", "List")], (Flag("--root", help="Where"),))
    assert text == """\
Manage containers

Usage:
  podling [options] [command]

Available Commands:
  ps          List

Options:
      --root string   Where
"""


@pytest.mark.parametrize("path", sorted(main.COMMANDS))
def test_every_command_has_help(path: str) -> None:
    command = main.load(path)
    text = command_help(command, "podling", path)
    assert command.short in text
    assert path.rpartition(" ")[2] in (command.name, *command.aliases)
    assert "Usage:\n  podling " in text
    names = [flag.name for flag in command.flags]
    assert len(names) == len(set(names))
    shorts = [flag.short for flag in command.flags if flag.short]
    assert len(shorts) == len(set(shorts))
    assert not {flag.short for flag in INHERITED_FLAGS if flag.short}
    for flag in command.flags:
        assert all(alias.startswith("--") for alias in flag.aliases), flag.name
        assert not flag.default_text.startswith('"'), flag.name


def test_descriptions_of_groups() -> None:
    for group in ("", *main.GROUPS):
        listed = main.descriptions(group)
        assert [name for name, _ in listed] == sorted(name for name, _ in listed)
        assert all(note for _, note in listed)
    assert "cleanup" not in [name for name, _ in main.descriptions("container")]
    assert "ls" not in [name for name, _ in main.descriptions("image")]

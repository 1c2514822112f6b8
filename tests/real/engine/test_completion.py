"""Completion looks where the command that is being typed would look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.sandbox import World


def test_names_come_from_the_store_that_the_command_line_names(world: World) -> None:
    other = ("--root", "/var/lib/containers/other", "--runroot=/run/other")
    world.run("podling", *other, "volume", "create", "there")
    world.run("podling", "volume", "create", "here")

    assert world.run("podling", "__complete", *other, "volume", "rm", "").stdout == "there\n:4\n"
    assert world.run("podling", "__complete", "volume", "rm", "").stdout == "here\n:4\n"
    assert world.run("podling", "__complete", "--log-level", "nonsense", *other, "volume", "rm", "th").stdout == "there\n:4\n"

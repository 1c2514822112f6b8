"""What ``create`` and ``exec`` take from files and the environment, and options that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podling.engine.create import read_lines
from podling.engine.options import CreateOptions
from podling.engine.resolve import check, set_variable
from podling.errors import InvalidArgument
from podling.values.isolation import Namespace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("line", "expected"), [
    ("A=1", {"A": "1"}), ("A=b=c", {"A": "b=c"}), ("HOST", {"HOST": "h"}), ("HO*", {"HOST": "h", "HOME": "/root"}), ("GONE", {}),
])
def test_a_variable_is_given_or_taken_from_the_environment(line: str, expected: dict[str, str]) -> None:
    env: dict[str, str] = {}
    set_variable(env, line, {"HOST": "h", "HOME": "/root"})
    assert env == expected


def test_a_variable_needs_a_name() -> None:
    with pytest.raises(InvalidArgument, match='invalid variable: "=1"'):
        set_variable({}, "=1", {})


def test_an_env_file_has_comments_and_bare_names(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=1\n# no\n\n  B\nC = 3\n")
    assert read_lines(str(tmp_path / "env"), "reading") == ("A=1", "B", "C = 3")
    with pytest.raises(InvalidArgument, match=r'^parsing file "x": open .*/none: no such file or directory$'):
        read_lines(str(tmp_path / "none"), 'parsing file "x"')


@pytest.mark.parametrize(("options", "words"), [
    ({"no_hosts": True, "add_host": ("a:1.2.3.4",)}, "--no-hosts and --add-host cannot be set together"),
    ({"net_ns": Namespace(mode="none"), "dns_servers": ("1.1.1.1",)}, "conflicting options: dns and the network mode: none"),
    ({"net_ns": Namespace(mode="container", value="x"), "dns_search": ("a",)}, "conflicting options: dns and the network mode: container"),
])
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check(CreateOptions(image="bb", **options))

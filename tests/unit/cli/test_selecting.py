"""How commands name the containers they were given."""

from __future__ import annotations

from podling.cli.commands.selecting import printed_names
from podling.model import Container

FIRST, SECOND = "ab" + "1" * 62, "cd" + "2" * 62


def test_the_word_that_named_a_container_is_printed() -> None:
    containers = [Container(id=FIRST, name="web"), Container(id=SECOND, name="other")]
    assert printed_names(containers, ["web", "cd22"]) == {FIRST: "web", SECOND: "cd22"}
    assert printed_names(containers, []) == {FIRST: FIRST, SECOND: SECOND}


def test_a_name_that_begins_anothers_id_names_but_its_own() -> None:
    containers = [Container(id=FIRST, name="cd"), Container(id=SECOND, name="other")]
    assert printed_names(containers, ["cd", "other"]) == {FIRST: "cd", SECOND: "other"}

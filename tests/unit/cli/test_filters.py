"""--filter."""

from __future__ import annotations

import pytest

from podling.cli.filters import parse_filters
from podling.errors import InvalidArgument


def test_values_of_one_filter_are_collected_in_order() -> None:
    assert parse_filters(["label=a=b", "name=x", "label=c"]) == {"label": ("a=b", "c"), "name": ("x",)}


def test_a_negated_filter_keeps_its_mark() -> None:
    assert parse_filters(["label!=a"]) == {"label!": ("a",)}


@pytest.mark.parametrize("text", ["foo", "", "=x"])
def test_a_filter_without_value_is_refused_in_the_commands_words(text: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^bad {text} bad$"):
        parse_filters([text], "bad {} bad")

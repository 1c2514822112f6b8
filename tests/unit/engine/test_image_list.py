"""Names and patterns of images."""

from __future__ import annotations

import pytest

from podling.engine.image_list import name_matches, split_name, truth
from podling.errors import InvalidArgument


@pytest.mark.parametrize(("name", "expected"), [
    ("docker.io/library/nginx:latest", ("docker.io/library/nginx", "latest")),
    ("localhost:5000/a/b:1", ("localhost:5000/a/b", "1")),
    ("localhost:5000/a", ("localhost:5000/a", "<none>")),
    ("", ("<none>", "<none>")),
])
def test_a_name_is_repository_and_tag(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


@pytest.mark.parametrize("pattern", [
    "quay.io/x/y:latest", "quay.io/x/y", "x/y:latest", "x/y", "y:latest", "y", "y*", "*y*", "x/*", "quay.io/*/y", "?", "[xy]",
])
def test_a_pattern_fits_the_whole_name_or_its_end(pattern: str) -> None:
    assert name_matches("quay.io/x/y:latest", pattern)


@pytest.mark.parametrize("pattern", ["x", "quay.io", "quay.io/*", "*:v1", "", "Y"])
def test_a_pattern_does_not_fit_a_part(pattern: str) -> None:
    assert not name_matches("quay.io/x/y:latest", pattern)


def test_a_filter_of_true_or_false_refuses_other_words() -> None:
    assert truth("dangling", ("true", "0")) == {True, False}
    with pytest.raises(InvalidArgument, match='non-boolean value "maybe" for dangling filter'):
        truth("dangling", ("maybe",))

"""Fields that are computed when they are used."""

from __future__ import annotations

from podling.cli.fields import LazyFields


def test_a_field_is_computed_when_it_is_asked_for() -> None:
    asked: list[str] = []

    def note(row: str) -> str:
        asked.append(row)
        return row.upper()

    fields = LazyFields({"A": note, "B": len}, "row")
    assert set(fields) == {"A", "B"} == set(fields.keys())
    assert asked == []
    assert fields["A"] == "ROW"
    assert asked == ["row"]


def test_an_unknown_field_is_a_key_error() -> None:
    fields = LazyFields({}, "row")
    assert "A" not in fields
    assert fields.get("A", 3) == 3
    assert dict(LazyFields({"B": len}, "row").items()) == {"B": 3}

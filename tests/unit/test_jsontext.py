"""JSON that is read strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling import jsontext

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(VALUES)
def test_what_json_writes_is_read(value: object) -> None:
    assert jsontext.loads_strict(json.dumps(value)) == value
    assert jsontext.loads_strict(jsontext.dumps(value).encode()) == value


@pytest.mark.parametrize("text", [
    '{"a": 1, "a": 2}', '{"x": {"a": 1, "b": 2, "a": 1}}', "NaN", "[Infinity]", "-Infinity", '"\x01"', '"\\ud800"', '{"\\udc00": 1}', "",
    "{} {}", "[1,]", "{'a': 1}", b"\xff", b'"\xed\xa0\x80"', "[" * 100_000,
])
def test_what_is_refused(text: str | bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        jsontext.loads_strict(text)


def test_the_repeated_key_is_named() -> None:
    with pytest.raises(ValueError, match='Duplicate key "b"'):
        jsontext.loads_strict('{"a": 1, "b": 2, "b": 3}')

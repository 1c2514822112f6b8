"""Values in the shapes of Go."""

from __future__ import annotations

import time

import pytest

from podling import jsontext
from podling.engine.shapes import Time


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()


def test_a_time_is_rfc_3339_in_json_and_gos_text_where_it_is_printed(berlin: None) -> None:
    moment = Time(1795553825_427382142)
    assert jsontext.dumps(moment) == '"2026-11-24T21:57:05.427382142+01:00"'
    assert f"{moment}" == "2026-11-24 21:57:05.427382142 +0100 CET"


def test_a_time_can_be_in_utc(berlin: None) -> None:
    assert jsontext.dumps(Time(1795553825_000000000, local=False)) == '"2026-11-24T20:57:05Z"'


def test_no_time_is_gos_zero_time() -> None:
    assert jsontext.dumps(Time(0)) == '"0001-01-01T00:00:00Z"'
    assert str(Time(0)) == "0001-01-01 00:00:00 +0000 UTC"

"""Values in the shapes of Go."""

from __future__ import annotations

import time

import pytest

from podling import jsontext
from podling.cli import gotemplate
from podling.cli.gotemplate import TemplateError
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


@pytest.mark.parametrize(("layout", "expected"), [
    ("2006-01-02T15:04:05Z07:00", "2026-11-24T21:57:05+01:00"),
    ("Mon Jan _2 15:04:05 2006", "Tue Nov 24 21:57:05 2026"),
    ("Monday, 02-Jan-06 03:04:05.000 PM MST", "Tuesday, 24-Nov-26 09:57:05.427 PM CET"),
    ("1/2/06 3:4:5pm -0700 .999999999 ,000", "11/24/26 9:57:5pm +0100 .427382142 ,427"),
    ("002 __2 Janet 15h04 x.0y", "328 328 Janet 21h57 x.4y"),
    ("-07 Z07 -07:00:00 January", "+01 +01 +01:00:00 November"),
])
def test_a_template_formats_a_time_by_gos_layouts(berlin: None, layout: str, expected: str) -> None:
    assert gotemplate.compile(f'{{{{.T.Format "{layout}"}}}}').execute({"T": Time(1795553825_427382142)}) == expected


def test_a_template_reads_a_time(berlin: None) -> None:
    template = gotemplate.compile("{{.T.Year}} {{.T.Month}} {{.T.Weekday}} {{.T.Unix}} {{.T.UnixMilli}} {{.T.UTC.Hour}} {{.T.IsZero}}")
    assert template.execute({"T": Time(1795553825_427382142)}) == "2026 November Tuesday 1795553825 1795553825427 20 false"
    assert template.execute({"T": Time(0)}) == "1 January Monday -62135596800 -62135596800000 0 true"
    assert gotemplate.compile("{{if .T}}set {{.T}}{{end}}").execute({"T": Time(0)}) == "set 0001-01-01 00:00:00 +0000 UTC"
    with pytest.raises(TemplateError, match=r"len of type time\.Time"):
        gotemplate.compile("{{len .T}}").execute({"T": Time(0)})

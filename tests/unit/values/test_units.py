"""Sizes, durations and times."""

from __future__ import annotations

import time

import pytest

from podling.errors import InvalidArgument
from podling.values import units
from podling.values.units import HOUR, MINUTE, SECOND


@pytest.mark.parametrize(("text", "size"), [
    ("512m", 512 << 20), ("1.5g", 3 << 29), ("1.5GiB", 3 << 29), ("64kb", 65536), ("5 k", 5120), ("0", 0), ("1e3", 1000),
    (".5m", 1 << 19), ("5.", 5), ("7b", 7), ("2T", 2 << 40), ("1PiB", 1 << 50),
])
def test_sizes_are_binary(text, size):
    assert units.parse_size(text) == size


def test_sizes_of_logs_are_decimal():
    assert units.parse_size_decimal("10mb") == 10_000_000


@pytest.mark.parametrize(("text", "message"), [
    ("² ", 'strconv.ParseFloat: parsing "²": invalid syntax'), ("", "invalid size: ''"), ("b", "invalid size: 'b'"),
    ("-5", "invalid size: '-5'"), ("x", "invalid size: 'x'"),
    ("5x", "invalid suffix: 'x'"), ("5kbb", "invalid suffix: 'kbb'"), ("5ib", "invalid suffix: 'ib'"),
    ("1.2.3", 'strconv.ParseFloat: parsing "1.2.3": invalid syntax'), ("9999999p", "invalid size: '9999999p' is too large"),
])
def test_malformed_sizes_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        units.parse_size(text)
    assert failure.value.message == message


@pytest.mark.parametrize(("size", "decimal", "binary"), [
    (0, "0 B", "0B"), (999, "999 B", "999B"), (4263424, "4.26 MB", "4.066MiB"), (187_000_000, "187 MB", "178.3MiB"),
    (999_600, "1e+03 kB", "976.2KiB"), (1_500_000_000_000, "1.5 TB", "1.364TiB"),
])
def test_sizes_are_shown_as_podman_shows_them(size, decimal, binary):
    assert units.format_size(size) == decimal
    assert units.format_size(size, separator="") == decimal.replace(" ", "")
    assert units.format_size_binary(size) == binary


@pytest.mark.parametrize(("text", "duration", "shown"), [
    ("1h2m3s", HOUR + 2 * MINUTE + 3 * SECOND, "1h2m3s"), ("1.5h", 90 * MINUTE, "1h30m0s"), ("0", 0, "0s"),
    ("-10ms", -10_000_000, "-10ms"),
    (".5s", SECOND // 2, "500ms"), ("1500us", 1_500_000, "1.5ms"), ("1µs", 1000, "1µs"), ("1ns", 1, "1ns"),
    ("+90s", 90 * SECOND, "1m30s"),
    ("2562047h47m16.854775807s", (1 << 63) - 1, "2562047h47m16.854775807s"),
])
def test_durations_are_gos(text, duration, shown):
    assert units.parse_duration(text) == duration
    assert units.format_duration(duration) == shown
    assert units.parse_duration(shown) == duration


@pytest.mark.parametrize(("text", "message"), [
    ("", 'time: invalid duration ""'), ("5", 'time: missing unit in duration "5"'),
    ("5x", 'time: unknown unit "x" in duration "5x"'),
    (".", 'time: invalid duration "."'), ("3000000h", 'time: invalid duration "3000000h"'), ("-", 'time: invalid duration "-"'),
    ("1h-2m", 'time: unknown unit "h-" in duration "1h-2m"'), ("1..5s", 'time: invalid duration "1..5s"'),
])
def test_malformed_durations_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        units.parse_duration(text)
    assert failure.value.message == message


def test_seconds_may_be_plain():
    assert units.parse_seconds("30") == 30 * SECOND
    assert units.parse_seconds("1m30s") == 90 * SECOND


@pytest.mark.parametrize(("seconds", "shown"), [
    (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
    (120, "2 minutes"),
    (3599, "59 minutes"), (3600, "About an hour"), (5399, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"),
    (48 * 3600, "2 days"),
    (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
    (729 * 86400, "24 months"),
    (730 * 86400, "2 years"), (-5, "Less than a second"),
])
def test_ages_are_shown_as_podman_shows_them(seconds, shown):
    assert units.human_duration(int(seconds * SECOND)) == shown


NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(("text", "shown"), [
    ("2024-02-29T10:00:00Z", "2024-02-29T10:00:00Z"), ("2024-01-02", "2024-01-02T00:00:00Z"),
    ("2024-01-02+01:00", "2024-01-01T23:00:00Z"),
    ("2024-01-02T03:04:05.123456789123-07:30", "2024-01-02T10:34:05.123456789Z"),
    ("2024-01-02T03:04:05", "2024-01-02T03:04:05Z"),
    ("1700000000", "2023-11-14T22:13:20Z"), ("1700000000.25", "2023-11-14T22:13:20.25Z"), ("10m", "2023-11-14T22:03:20Z"),
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"), ("-1", "1969-12-31T23:59:59Z"),
])
def test_times_are_read(text, shown):
    assert units.format_rfc3339(units.parse_time(text, now=NOW)) == shown


def test_durations_may_count_forwards():
    assert units.parse_time("10m", now=NOW, backwards=False) == NOW + 10 * MINUTE


@pytest.mark.parametrize("text", [
    "", "x", "2023-02-29", "2024-13-01", "2024-01-02T24:00:00Z", "2024-01-02T03:04Z", "2024-01-02T03:04:05+1:00", "1e300",
])
def test_malformed_times_are_refused(text):
    with pytest.raises(InvalidArgument, match=r"^unable to interpret time value$"):
        units.parse_time(text, now=NOW)


def test_times_of_images_are_rfc3339():
    assert units.parse_rfc3339("2024-01-02T03:04:05.5+02:00") == units.parse_time("2024-01-02T01:04:05.5Z", now=0)
    with pytest.raises(InvalidArgument, match="RFC 3339"):
        units.parse_rfc3339("1700000000")


def test_times_are_shown_as_go_shows_them():
    assert units.go_time(1_500_000_000) == "1970-01-01 00:00:01.5 +0000 UTC"
    assert units.go_time(units.ZERO_TIME) == "0001-01-01 00:00:00 +0000 UTC"
    assert units.format_rfc3339(units.ZERO_TIME) == "0001-01-01T00:00:00Z"


def test_times_follow_the_local_zone(monkeypatch):
    monkeypatch.setenv("TZ", "XST-05:30")
    time.tzset()
    try:
        assert units.format_rfc3339(0, local=True) == "1970-01-01T05:30:00+05:30"
        assert units.go_time(0, local=True) == "1970-01-01 05:30:00 +0530 XST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_days_are_those_of_the_calendar():
    for days in range(-800_000, 800_000, 997):
        assert units.days_since_1970(*units._date(days)) == days
        if days >= 0:
            assert units._date(days)[:3] == time.gmtime(days * 86400)[:3]

"""Numbers, booleans, quoting and comma-separated values as Go has them."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument
from podling.values import gotext


@pytest.mark.parametrize(("text", "quoted"), [
    ("plain", '"plain"'), ('a"b', '"a\\"b"'), ("a\nb\t", '"a\\nb\\t"'), ("\x01\x7f", '"\\x01\\x7f"'), ("é日", '"é日"'),
    ("\u200b", '"\\u200b"'), ("\udcff", '"\\xff"'), ("\U000e0001", '"\\U000e0001"'), ("back\\slash", '"back\\\\slash"'),
])
def test_quote_is_gos(text, quoted):
    assert gotext.quote(text) == quoted


@pytest.mark.parametrize(("text", "base", "value"), [
    ("15", 10, 15), ("-15", 10, -15), ("+15", 10, 15), ("0x1F", 0, 31), ("0o17", 0, 15), ("017", 0, 15), ("0b11", 0, 3),
    ("1_000", 0, 1000), ("0x_f", 0, 15), ("9223372036854775807", 10, 2**63 - 1), ("-9223372036854775808", 10, -(2**63)),
])
def test_integers_are_read(text, base, value):
    assert gotext.parse_int(text, base=base) == value


@pytest.mark.parametrize("text", ["", "x", "1x", " 1", "1 ", "1_000", "0x1f", "--1", "+", "\u0663", "1" * 5000])
def test_malformed_integers_are_refused(text):
    with pytest.raises(InvalidArgument, match=r"^strconv.ParseInt: parsing .*: invalid syntax$"):
        gotext.parse_int(text)


def test_integers_out_of_range_are_refused():
    with pytest.raises(InvalidArgument, match=r'^strconv.Atoi: parsing "9223372036854775808": value out of range$'):
        gotext.parse_int("9223372036854775808", function="Atoi")
    with pytest.raises(InvalidArgument, match=r'^strconv.ParseUint: parsing "65536": value out of range$'):
        gotext.parse_uint("65536", bits=16)
    with pytest.raises(InvalidArgument, match="invalid syntax"):
        gotext.parse_uint("-1")


@pytest.mark.parametrize("text", ["0_8", "_1", "1_", "1__0", "09", "0x", "0b2"])
def test_prefixed_integers_follow_gos_source_form(text):
    with pytest.raises(InvalidArgument, match="invalid syntax"):
        gotext.parse_int(text, base=0)


@pytest.mark.parametrize(("text", "value"), [
    ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-1e3", -1000.0), ("1E-2", 0.01), ("+2", 2.0),
])
def test_decimal_numbers_are_read(text, value):
    assert gotext.parse_float(text) == value


@pytest.mark.parametrize("text", ["", ".", "1.2.3", "1e", "e5", "inf", "NaN", "1_0", "0x1p3", " 1", "1e5.5", "--1"])
def test_malformed_decimal_numbers_are_refused(text):
    with pytest.raises(InvalidArgument, match=r"^strconv.ParseFloat: parsing .*: invalid syntax$"):
        gotext.parse_float(text)


def test_booleans_are_gos():
    assert [gotext.parse_bool(text) for text in ("1", "t", "TRUE", "True", "0", "F", "false")] == [True] * 4 + [False] * 3
    with pytest.raises(InvalidArgument, match=r'^strconv.ParseBool: parsing "yes": invalid syntax$'):
        gotext.parse_bool("yes")


@pytest.mark.parametrize(("text", "fields"), [
    ("a,b", ["a", "b"]), ("", [""]), ("a,", ["a", ""]), ('"a,b",c', ["a,b", "c"]), ('"a""b"', ['a"b']), ('x,""', ["x", ""]),
])
def test_comma_separated_values_are_split(text, fields):
    assert gotext.split_csv(text) == fields


@pytest.mark.parametrize(("text", "message"), [
    ('a,b"c', 'parse error on line 1, column 4: bare " in non-quoted-field'),
    ('"a"b', 'parse error on line 1, column 3: extraneous or missing " in quoted-field'),
    ('a,"b', 'parse error on line 1, column 5: extraneous or missing " in quoted-field'),
])
def test_malformed_quotes_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        gotext.split_csv(text)
    assert failure.value.message == message

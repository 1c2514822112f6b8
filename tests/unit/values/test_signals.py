"""Signals by name and number."""

from __future__ import annotations

import signal

import pytest

from podling.errors import InvalidArgument
from podling.values import signals


@pytest.mark.parametrize(("text", "number"), [
    ("SIGTERM", 15), ("term", 15), ("15", 15), ("SIGRTMIN", 34), ("rtmin+3", 37), ("SIGRTMAX-2", 62), ("64", 64),
    ("IOT", 6), ("sigcld", 17),
])
def test_signals_are_read(text, number):
    assert signals.parse(text) == number


@pytest.mark.parametrize(("text", "message"), [
    ("", "invalid signal: "), ("foo", "invalid signal: foo"), ("0", "invalid signal: 0"), ("-1", "invalid signal: -1"),
    ("65", "valid signals are 1 through 64"), ("SIGSIGTERM", "invalid signal: SIGSIGTERM"),
    ("RTMIN+31", "invalid signal: RTMIN+31"),
    ("RTMIN+-1", "invalid signal: RTMIN+-1"), ("٣", "invalid signal: ٣"), ("9" * 5000, "valid signals are 1 through 64"),
])
def test_what_is_no_signal_is_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        signals.parse(text)
    assert failure.value.message == message


def test_names_lead_back_to_their_numbers():
    for number in [*range(1, 32), *range(34, 65)]:
        assert signals.parse(signals.name(number)) == number
    assert set(signals.names()) == {signals.name(number) for number in [*range(1, 32), *range(34, 65)]}


def test_numbers_are_this_systems():
    for number in signal.valid_signals():
        if number < 32:
            assert signals.parse(signal.Signals(number).name) == number


def test_numbers_without_a_name_stay_numbers():
    assert signals.name(32) == "32"
    assert signals.name(99) == "99"

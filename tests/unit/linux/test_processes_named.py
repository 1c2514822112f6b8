"""What is said of ended programs, without running any."""

from __future__ import annotations

from podling.linux import process


def test_last_words_are_the_message():
    error = process.failure(("/usr/bin/crun", "start", "x"), 1, b"boom: no such file\n")
    assert str(error) == "crun: boom: no such file"
    assert (error.argv, error.status, error.output) == (("/usr/bin/crun", "start", "x"), 1, "boom: no such file")


def test_silent_programs_are_described_by_their_status():
    assert str(process.failure(("crun",), 3, b"")) == "crun: exit status 3"
    assert str(process.failure(("crun",), -9, b" \n")) == "crun: signal: 9"


def test_only_the_last_4_kib_are_kept():
    assert process.failure(("x",), 1, b"a" * 10_000 + b"end").output == "a" * 4093 + "end"


def test_secrets_are_masked_everywhere():
    error = process.failure(("login", "--password=hunter2"), 1, b"bad password hunter2", secrets=("hunter2", ""))
    assert "hunter2" not in str(error) + error.output + " ".join(error.argv)
    assert error.argv == ("login", "--password=***")


def test_a_reason_of_ours_goes_before_last_words():
    assert str(process.failure(("x",), -9, b"working...", problem="timed out")) == "x: timed out"


def test_output_that_is_no_text_is_shown_somehow():
    assert process.failure(("x",), 1, b"\xff\xfe").output == "\ufffd\ufffd"

"""Reading the log files of conmon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import NotFound
from podling.model import ContainerConfig
from podling.runtime import logs
from podling.values import units

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 10**9
BEGIN = 1_750_000_000 * SECOND


def line(text: str, *, number: int = 0, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"{units.format_rfc3339(BEGIN + number * SECOND)} {stream} {tag} {text}\n".encode()


def texts(file: logs.LogFile) -> list[str]:
    return [found.text.decode() for found in file.lines()]


def written(tmp_path: Path, *lines: bytes) -> str:
    path = tmp_path / "ctr.log"
    path.write_bytes(b"".join(lines))
    return str(path)


def test_line_is_taken_apart() -> None:
    found = logs.parse(b"2026-01-02T03:04:05.000000006+01:00 stderr P  two  spaces ")
    assert found is not None
    assert (found.text, found.is_error, found.whole) == (b" two  spaces ", True, False)
    assert units.format_rfc3339(found.time) == "2026-01-02T02:04:05.000000006Z"


@pytest.mark.parametrize("broken", [b"", b"x", b"2026-01-02T03:04:05Z stdout", b"yesterday stdout F x", b"2026-01-02T03:04:05Z stdin F x"])
def test_broken_lines_are_left_out(broken: bytes) -> None:
    assert logs.parse(broken) is None


def test_empty_line_is_a_line(tmp_path: Path) -> None:
    assert texts(logs.LogFile(written(tmp_path, line(""), line("x")))) == ["", "x"]


def test_missing_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        logs.LogFile(str(tmp_path / "none"))


@given(st.lists(st.tuples(st.sampled_from(["F", "F", "P"]), st.sampled_from(["", "a F b", "x" * 200, "y" * 70000])), max_size=30),
       st.integers(0, 35))
def test_tail_gives_the_last_whole_lines(tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[str, str]], count: int) -> None:
    lines = [line(f"{number} {text}", number=number, tag=tag) for number, (tag, text) in enumerate(wanted)]
    path = written(tmp_path_factory.mktemp("log"), *lines)
    ends = [number for number, (tag, _) in enumerate(wanted) if tag == "F"]
    first = ends[-count - 1] + 1 if count < len(ends) else 0
    expected = lines[first:] if count else []
    file = logs.LogFile(path, tail=count)
    assert [found.text for found in file.lines()] == [text.rstrip(b"\n").split(b" ", 3)[3] for text in expected]
    file.close()


@pytest.mark.parametrize("since", [-5, 0, 1, 4999, 9998, 9999, 20000])
def test_since_is_found_without_reading_all(tmp_path: Path, since: int) -> None:
    path = written(tmp_path, *(line("x" * 50, number=number) for number in range(10000)))
    file = logs.LogFile(path, since=BEGIN + since * SECOND)
    got = list(file.lines())
    expected = [number for number in range(10000) if number >= since]
    times = [(found.time - BEGIN) // SECOND for found in got]
    assert times[len(times) - len(expected):] == expected
    assert len(times) - len(expected) < 2000
    file.close()


def test_following_reads_the_old_file_to_its_end_when_it_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, line("one"))
    file = logs.LogFile(path)
    assert texts(file) == ["one"]
    with open(path, "ab") as old:
        old.write(line("two") + line("three"))
    (tmp_path / "new").write_bytes(line("four"))
    os.rename(tmp_path / "new", path)
    assert file.was_replaced()
    assert texts(file) == ["two", "three", "four"]
    assert not file.was_replaced()
    file.close()


def test_line_that_comes_in_pieces_is_one(tmp_path: Path) -> None:
    whole = line("a long line")
    path = written(tmp_path, whole[:30])
    file = logs.LogFile(path)
    assert texts(file) == []
    with open(path, "ab") as end:
        end.write(whole[30:])
    assert texts(file) == ["a long line"]
    file.close()


def test_entries_of_the_journal_are_lines_whichever_conmon_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """conmon 2.1.12 leaves the end of the line in the entry, 2.1.6 does not."""
    entries = r'''{"MESSAGE":"one\n","PRIORITY":"6","__REALTIME_TIMESTAMP":"1750000000000001"}
{"MESSAGE":"two","PRIORITY":"3","__REALTIME_TIMESTAMP":"1750000000000002"}
{"MESSAGE":[116,195,40,10],"CONTAINER_PARTIAL_MESSAGE":"true","__REALTIME_TIMESTAMP":"1750000000000003"}
'''
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\ncat <<'END'\n{entries}END\n", encoding="ascii")
    (tmp_path / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = list(logs.journal_lines(ContainerConfig(id="c0ffee", name="c", created=0, command=())))
    assert [(each.text, each.is_error, each.whole) for each in found] == [
        (b"one", False, True), (b"two", True, True), (b"t\xc3(", False, False)]

"""Tables in the layout of Podman's, and the ways of --format."""

from __future__ import annotations

import os

import pytest

from podling.cli.context import Writer
from podling.cli.output import Columns, Row, has_table, is_json, normalized, print_json, report, split_words, tabulate

COLUMNS = Columns(name="ps", shown=("ID", "Names"), headings={"ID": "CONTAINER ID"})
ROWS = [
    Row({"ID": "4c01c28ee76e", "Names": "web", "Labels": {"a": "b"}, "Late": lambda: "x"},
        json={"Id": "4c01", "Names": ["web"]}),
    Row({"ID": "d2d86eb0", "Names": "a-longer-name", "Labels": {}, "Late": lambda: "y"}, json={"Id": "d2d8", "Names": []}),
]


def printed(template: str | None = None, *, headings: bool = True, rows: list[Row] = ROWS) -> str:
    read, write = os.pipe()
    out = Writer(write)
    report(out, rows, COLUMNS, template=template, headings=headings)
    out.flush()
    os.close(write)
    with open(read, encoding="utf-8") as file:
        return file.read()


def test_columns_are_twelve_wide_at_least_and_two_apart() -> None:
    assert tabulate([["CONTAINER ID", "TAG", "NAMES"], ["4c01c28ee76e", "x", "web"]]) == (
        "CONTAINER ID  TAG         NAMES\n"
        "4c01c28ee76e  x           web\n")


def test_the_last_cell_is_not_padded_and_empty_cells_are() -> None:
    assert tabulate([["A", "B", "C"], ["1", "", ""]]) == "A           B           C\n1                       \n"


def test_a_column_ends_where_rows_do_not_have_it() -> None:
    assert tabulate([["a-very-long-cell", "x"], ["alone"], ["b", "y"]]) == "a-very-long-cell  x\nalone\nb           y\n"


def test_a_newline_in_a_cell_begins_a_row() -> None:
    assert tabulate([["a", "b\nc", "d"]]) == "a           b\nc           d\n"


def test_default_table() -> None:
    assert printed() == "CONTAINER ID  NAMES\n4c01c28ee76e  web\nd2d86eb0      a-longer-name\n"
    assert printed(headings=False) == "4c01c28ee76e  web\nd2d86eb0      a-longer-name\n"
    assert printed(rows=[]) == "CONTAINER ID  NAMES\n"


@pytest.mark.parametrize(("template", "text"), [
    ("{{.ID}}\t{{.Names}}", "4c01c28ee76e\tweb\nd2d86eb0\ta-longer-name\n"),
    (r"{{.ID}}\t{{.Names}}x\n", "4c01c28ee76e\twebx\nd2d86eb0\ta-longer-namex\n"),
    ("table {{.Names}} {{.ID}}", "NAMES          CONTAINER ID\nweb            4c01c28ee76e\na-longer-name  d2d86eb0\n"),
    (r"table {{.Names}}\t{{.ID}}", "NAMES          CONTAINER ID\nweb            4c01c28ee76e\na-longer-name  d2d86eb0\n"),
    ("table{{.ID}}", "table4c01c28ee76e\ntabled2d86eb0\n"),
    ("{{json .}}", '{"Id":"4c01","Names":["web"]}\n{"Id":"d2d8","Names":[]}\n'),
    ("{{json .Names}}", '"web"\n"a-longer-name"\n'),
    ("{{range .}}{{.ID}} {{end}}", "4c01c28ee76e d2d86eb0 \n"),
    ("{{range .}}{{.ID}}{{end -}}", "4c01c28ee76ed2d86eb0"),
    ("{{.Late}}", "x\ny\n"),
    ('{{join (split .Names "-") "+"}}', "web\na+longer+name\n"),
])
def test_templates(template: str, text: str) -> None:
    assert printed(template) == text


def test_a_table_without_headings() -> None:
    assert printed("table {{.Names}} {{.ID}}", headings=False) == "web            4c01c28ee76e\na-longer-name  d2d86eb0\n"


def test_headings_of_an_empty_table() -> None:
    assert printed("table {{.ID}} {{.Names}}", rows=[]) == "CONTAINER ID  NAMES\n"


def test_words_of_a_template_keep_their_blanks() -> None:
    assert normalized('table {{join .Names " "}} {{.ID}}') == '{{join .Names " "}}\t{{.ID}}\n'


@pytest.mark.parametrize(("name", "words"), [
    ("ImageID", ["Image", "ID"]), ("CreatedAt", ["Created", "At"]), ("IPv6Enabled", ["I", "Pv", "6", "Enabled"]),
    ("DNSEnabled", ["DNS", "Enabled"]), ("ID", ["ID"]), ("Pid", ["Pid"]), ("", []),
])
def test_fields_as_words(name: str, words: list[str]) -> None:
    assert split_words(name) == words


def test_kinds_of_format() -> None:
    assert is_json("json")
    assert is_json(" json ")
    assert not is_json("{{json .}}")
    assert not is_json(None)
    assert has_table("table {{.ID}}")
    assert not has_table("{{.ID}}")


def test_json_over_lines() -> None:
    read, write = os.pipe()
    out = Writer(write)
    print_json(out, [{"a": 1}], indent=2)
    out.flush()
    os.close(write)
    with open(read, encoding="utf-8") as file:
        assert file.read() == '[\n  {\n    "a": 1\n  }\n]\n'


def test_the_writer_passes_undecodable_names_through() -> None:
    read, write = os.pipe()
    out = Writer(write)
    out.line(os.fsdecode(b"\xff"))
    out.flush()
    os.close(write)
    with open(read, "rb") as file:
        assert file.read() == b"\xff\n"

"""What commands print: tables as Podman aligns them, Go templates, JSON.

A list command makes one :class:`Row` an object and hands them to :func:`report` with its columns. All values shown in a
row are ready for reading (sizes, times); the object's JSON form is kept beside.
"""

from __future__ import annotations

from podling import jsontext
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from podling.cli.context import Writer

MIN_WIDTH = 12    # of a column, with its padding
PADDING = 2       # blanks between columns


class Row:
    """One object as templates see it: ``{{.ID}}`` is a field, ``{{json .}}`` its JSON form.

    ``fields``: name -> value, or a function without arguments that gives it, called when the field is used.
    ``go_type``: the name that errors give to its type, ``containers.psReporter``.
    """

    __slots__ = ("fields", "go_type", "json")

    def __init__(self, fields: Mapping[str, Any], *, json: Any = None, go_type: str = "map[string]interface {}") -> None:
        self.fields = fields
        self.json = json
        self.go_type = go_type

    def get(self, name: str) -> Any:
        """The value of a field; KeyError if the row has none of this name."""
        value = self.fields[name]
        return value() if callable(value) else value

    def __getattr__(self, name: str) -> Any:
        try:
            return self.get(name)
        except KeyError:
            raise AttributeError(name) from None

    def to_json(self) -> Any:
        """The object's JSON form."""
        return self.json


class Columns(Record):
    """The columns of a list: those shown without a template, and the headings that are not just the field's words."""

    name: str                                # the command's, for the errors of its templates
    shown: tuple[str, ...]
    headings: dict[str, str] = {}

    def heading(self, field: str) -> str:
        """The heading of a field: ``ImageID`` gives ``IMAGE ID``."""
        return self.headings.get(field) or " ".join(split_words(field)).upper()


def report(out: Writer, rows: Sequence[Row], columns: Columns, *, template: str | None = None, headings: bool = True) -> None:
    """Print rows: as a table of the columns, or by a Go template (``table`` in front makes it a table with headings)."""
    if template is None:
        lines = [[columns.heading(name) for name in columns.shown]] if headings else []
        lines.extend([_text(row.get(name)) for name in columns.shown] for row in rows)
        out.write(tabulate(lines))
        return
    from podling.cli import gotemplate

    is_table = has_table(template)
    compiled = gotemplate.compile(ranged(normalized(template)), columns.name)
    text = compiled.execute(list(rows))
    if is_table and headings:
        fields = set(columns.headings).union(columns.shown, *(row.fields for row in rows[:1]))
        text = compiled.execute([{field: columns.heading(field) for field in fields}]) + text
    out.write(tabulate_text(text) if is_table else text)


def print_json(out: Writer, value: Any, *, indent: int = 4) -> None:
    """Print JSON over several lines, as Podman's ``--format json``."""
    out.line(jsontext.pretty(value, " " * indent))


def print_template(out: Writer, template: str, values: Iterable[Any], name: str = "") -> None:
    """Print each value by a Go template, one line each."""
    from podling.cli import gotemplate

    compiled = gotemplate.compile(normalized(template), name)
    for value in values:
        out.write(compiled.execute(value))


def is_json(template: str | None) -> bool:
    """Whether ``--format`` asks for the JSON of the whole list."""
    return template is not None and template.strip() == "json"


def has_table(template: str) -> bool:
    """Whether the template asks for a table."""
    return template.startswith("table ")


def normalized(template: str) -> str:
    """The template with ``\\t`` and ``\\n`` as what they mean, blanks as columns in a table, and a newline at its end."""
    if has_table(template):
        template = template.removeprefix("table ").replace("\\t", "\t").replace(" ", "\t")
        template = _blanks_in_actions(template)
    template = template.replace("\\t", "\t").replace("\\n", "\n")
    return template if template.endswith("\n") else template + "\n"


def _blanks_in_actions(template: str) -> str:
    """Blanks inside ``{{...}}`` separate words there, not columns (Podman turns them into tabs too, which Go reads alike)."""
    parts = template.split("{{")
    for index in range(1, len(parts)):
        action, end, rest = parts[index].partition("}}")
        parts[index] = action.replace("\t", " ") + end + rest
    return "{{".join(parts)


def ranged(template: str) -> str:
    """The template for a list: repeated for each row, unless it has a ``{{range .}}`` of its own."""
    head = template.replace(" ", "").replace("-", "")
    if "{{range.}}" in head and "{{end" in head:
        return template
    return "{{range .}}" + template + "{{end -}}"      # as Podman writes it: errors name columns of the whole


def split_words(name: str) -> list[str]:
    """A field's name as words: ``ImageID`` gives ``Image`` and ``ID``, ``CreatedAt`` ``Created`` and ``At``."""
    words: list[str] = []
    for index, letter in enumerate(name):
        before = name[index - 1:index]
        after = name[index + 1:index + 2]
        begins = letter.isupper() and (before.islower() or before.isdigit() or (before.isupper() and after.islower()))
        digit = letter.isdigit() != before.isdigit() and before != ""
        if words and not begins and not digit:
            words[-1] += letter
        else:
            words.append(letter)
    return words


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def tabulate_text(text: str) -> str:
    """Text whose cells are separated by tabs, aligned; see :func:`tabulate`."""
    lines = text.split("\n")
    end = "\n" if lines[-1] == "" else ""
    if end:
        lines.pop()
    aligned = tabulate([line.split("\t") for line in lines])
    return aligned if end else aligned.removesuffix("\n")


def tabulate(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells aligned as Go's text/tabwriter does with Podman's settings: columns of 12 at least, two blanks between.

    The last cell of a row belongs to no column. A column lasts as long as successive rows have it; where a cell holds
    newlines, the text goes on in a row of its own.
    """
    split = _split_lines(lines)
    parts: list[str] = []
    _format(split, 0, len(split), [], parts)
    return "".join(parts)


def _split_lines(lines: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for line in lines:
        if not any("\n" in cell or "\t" in cell for cell in line):
            rows.append(line)
        else:
            rows.extend(part.split("\t") for part in "\t".join(line).split("\n"))
    return rows


def _format(rows: Sequence[Sequence[str]], first: int, last: int, widths: list[int], parts: list[str]) -> None:
    """Write the rows from ``first`` up to ``last``, whose first columns have these widths."""
    column = len(widths)
    index = first
    while index < last:
        if column >= len(rows[index]) - 1:       # this row ends before the column
            index += 1
            continue
        _write_rows(rows[first:index], widths, parts)
        start, width = index, MIN_WIDTH
        while index < last and column < len(rows[index]) - 1:
            width = max(width, len(rows[index][column]) + PADDING)
            index += 1
        _format(rows, start, index, [*widths, width], parts)
        first = index
    _write_rows(rows[first:last], widths, parts)


def _write_rows(rows: Sequence[Sequence[str]], widths: list[int], parts: list[str]) -> None:
    for row in rows:
        parts.extend(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        parts.extend(row[len(widths):])
        parts.append("\n")

"""Go's text/template language, as ``--format`` takes it, with the functions that Podman adds.

    template = compile("{{.ID}} {{join .Names \\",\\"}}", "ps")
    template.execute({"ID": "4c01", "Names": ["web"]}) == "4c01 web"

Values are what JSON has (dicts, lists, strings, numbers, bools, None) and objects. A dict whose keys are all exported Go
names (``State``, ``ID``) and whose values are not all strings stands for a Go struct: an unknown field is an error. Every
other dict is a map: an unknown key gives ``<no value>``. An object gives its public attributes; one with a mapping
``fields`` gives those, calling what is callable with the arguments of the template (``{{.Label "x"}}``), and ``go_type``
is the name that errors give to its type.

The language is complete except for complex numbers: pipelines, variables, ``if``, ``with``, ``range`` (with ``break`` and
``continue``), ``define``, ``template``, ``block``, comments, trimming of blanks; the words and positions of errors are
those of Go. ``re`` and other heavy modules are not imported.
"""

from __future__ import annotations

from podling.cli.gotemplate.errors import TemplateError
from podling.cli.gotemplate.execute import Execution
from podling.cli.gotemplate.parse import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.gotemplate.nodes import Tree

__all__ = ["Template", "TemplateError", "compile"]

STEPS = 10_000_000
"""How many nodes one execution may visit: seconds; a template that defines itself in terms of itself would take for ever."""


class Template:
    """A template that was read and can be executed any number of times."""

    __slots__ = ("_trees", "name")

    def __init__(self, name: str, trees: dict[str, Tree]) -> None:
        self.name = name
        self._trees = trees

    def execute(self, value: Any, *, go_type: str = "", steps: int = STEPS) -> str:
        """The text that the template makes of a value; TemplateError, in Go's words, where it cannot.

        ``go_type`` is the name that errors give to the value's type.
        """
        try:
            return Execution(self._trees, steps, (value, go_type)).run(self.name, value)
        except RecursionError:
            raise TemplateError(f"template: {self.name}: exceeded maximum template depth") from None


def compile(text: str, name: str = "") -> Template:  # noqa: A001 - as re.compile
    """Read a template; TemplateError in Go's words (``template: ps:1: unexpected "}" in operand``) where it is malformed."""
    try:
        return Template(name, parse(text, name))
    except RecursionError:
        raise TemplateError(f"template: {name}: nested too deeply") from None

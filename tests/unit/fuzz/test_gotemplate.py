"""Whatever the template, it gives text or a TemplateError, quickly."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.cli import gotemplate
from podling.cli.gotemplate import TemplateError
from podling.cli.gotemplate.functions import FUNCTIONS
from podling.cli.gotemplate.printf import sprintf

VALUE = {
    "ID": "4c01é", "Names": ["web", "x"], "N": 5, "F": 2.5, "OK": True, "Nil": None, "Empty": [], "Labels": {"a": "1"},
    "State": {"Pid": 7, "Sub": {"X": [1, {"Y": None}]}}, "M": {"x": None, "n": 3, "l": [1, "a", None]},
    "Call": lambda name: name,
}
WORDS = [
    "{{", "}}", "{{- ", " -}}", " ", "|", "(", ")", ".", "$", "$x", "$x := ", "$x = ", ", ", "{{/* c */}}", "\n", '"a"',
    "`r`", "'a'", "0", "1", "-1",
    "1.5", "0x1f", "true", "nil", ".ID", ".Names", ".N", ".F", ".Nil", ".Empty", ".Labels.a", ".State.Pid", ".M.x", ".M.l",
    ".Nope", ".Call",
    "{{if .N}}", "{{else}}", "{{else if .OK}}", "{{end}}", "{{range .Names}}", "{{range $i, $v := .M}}", "{{with .State}}",
    "{{break}}",
    "{{continue}}", '{{define "t"}}', '{{template "t" .}}', '{{block "b" .}}', '"%5.2v|%d|%*s|%x|%q"', "text", "é", "\0",
    "\udc80", *FUNCTIONS,
]
TEMPLATES = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join), st.lists(st.sampled_from(WORDS), max_size=25).map("".join),
    st.lists(st.sampled_from(WORDS), max_size=12).map(lambda words: "{{" + " ".join(words) + "}}"), st.text(max_size=40),
)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["A", "B", "a", "x/y"]), inner, max_size=3), max_leaves=8)


@given(TEMPLATES)
def test_templates_give_text_or_go_errors(template):
    try:
        assert isinstance(gotemplate.compile(template, "t").execute(VALUE, steps=10_000), str)
    except TemplateError as error:
        assert error.message.startswith("template: t")  # noqa: PT017 - any error of another class is the failure


@given(JSON, st.sampled_from([
    "{{.}}", "{{json .}}", "{{len .}}", "{{range .}}{{.}},{{end}}", "{{.A}}", "{{.a}}", "{{index . 0}}", '{{index . "A"}}',
                              "{{eq . 1}}", "{{if .}}y{{end}}", '{{printf "%v %+v %d %s %q %x %5.1f %T" . . . . . . . .}}',
                              "{{html .}}", "{{slice . 0}}",
]))
def test_any_value_is_taken(value, template):
    try:
        assert isinstance(gotemplate.compile(template).execute(value), str)
    except TemplateError as error:
        assert error.message.startswith("template: ")  # noqa: PT017


@given(st.text(alphabet="%+-# 0123456789.*[]vdsqxXtTeEfFgGcUbop!é", max_size=20), st.lists(JSON, max_size=4))
def test_any_layout_is_printed(layout, values):
    assert isinstance(sprintf(layout.replace("0000", "0"), values), str)


@pytest.mark.parametrize("unit", [
    "{{", "}}", "{{(", "{{.A}}", "{{if 1}}", "{{- /* */ -}} ", "{{end}}", '{{define "x"}}', '{{"a" | ', " ", "{{. | ",
    "{{.A.B.C",
                                  "{{$x := 1}}", '{{template "x"}}', "{{range 1}}", "\n", ".a",
])
def test_long_templates_take_little_time(unit):
    started = time.monotonic()
    for text in (unit * (30_000 // len(unit)), "{{" + unit * (15_000 // len(unit)), unit * 500 + "{{end}}" * 500):
        try:
            gotemplate.compile(text, "t").execute(VALUE, steps=100_000)
        except TemplateError:
            pass
    assert time.monotonic() - started < 2

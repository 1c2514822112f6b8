"""Go templates: the same text and the same errors as Go's, on values as commands have them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from podling.cli import gotemplate
from podling.cli.gotemplate import TemplateError
from podling.cli.gotemplate.values import text
from podling.values.ports import PortMapping

GOLDEN = json.loads((Path(__file__).parent / "golden" / "gotemplate.json").read_text())


class Struct:
    """A Go struct with methods: what has a mapping ``fields`` shows those."""

    def __init__(self, go_type, **fields):
        self.fields = fields
        self.go_type = go_type

    def __str__(self):
        return "{" + " ".join(text(value) for value in self.fields.values() if not callable(value)) + "}"

    def to_json(self):
        return {name: value for name, value in self.fields.items() if not callable(value)}


def _inner(status, pid, ok, tags, ints, f):
    return Struct("main.Inner", Status=status, Pid=pid, OK=ok, Ptr=None, Tags=tags, Ints=ints, F=f)


LABELS = {"a": "1", "B": "2"}
ROW = Struct(          # the value `row` of golden/gotemplate.go
    "main.Row", ID="4c01é", Names=["web", "x y"], N=5, Empty=[], State=_inner("running", 7, True, {"a": "1"}, [1, 2, 3], 2.5),
    Labels=LABELS, Rows=[_inner("s1", 1, False, {}, [4], 0.0), _inner("s2", 2, False, {}, [], 0.0)], Any=None,
    M={"s": "str", "n": 3, "b": True, "nil": None, "l": [1, "a", None], "m": {"z": 1, "a": "q"}, "f": 1.5},
    Label=lambda name: LABELS.get(name, ""),
)
CONTAINER = {
    "Id": "4c01e7", "Name": "web", "RestartCount": 0, "State": {"Status": "running", "Pid": 42, "Health": None},
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"VERSION": "1", "STAGE": "test"}, "Entrypoint": None, "Tty": False},
    "Mounts": [{"Type": "bind", "Source": "/a", "RW": True}], "NetworkSettings": {"Ports": {"80/tcp": [{"HostPort": "8080"}]}},
}


def run(template, value=CONTAINER, **options):
    return gotemplate.compile(template, "ps").execute(value, **options)


def fails(template, value=CONTAINER, **options):
    with pytest.raises(TemplateError) as failure:
        run(template, value, **options)
    return failure.value.message


@pytest.mark.parametrize(("template", "expected"), GOLDEN, ids=[template[:60] for template, _ in GOLDEN])
def test_template_gives_what_go_gives(template, expected):
    try:
        result = {"ok": run(template, ROW)}
    except TemplateError as error:
        result = {"err": error.message}
    assert result == expected


def test_structs_are_told_from_maps():
    assert run("{{.State.Status}} {{.Config.Labels.VERSION}} {{.Config.Labels.other}}") == "running 1 <no value>"
    assert run("{{.State}} {{.Config.Labels}}") == "{running 42 <nil>} map[STAGE:test VERSION:1]"
    assert run('{{index .Config.Labels "other"}}|') == "|"
    assert fails("{{.State.Nope}}").endswith("can't evaluate field Nope in type map[string]interface {}")


def test_type_of_the_value_can_be_named():
    message = fails("a {{.Nope}}", go_type="*define.InspectContainerData")
    assert message == ('template: ps:1:4: executing "ps" at <.Nope>: can\'t evaluate field Nope in type '
                       "*define.InspectContainerData")


def test_keys_that_are_no_identifiers_are_reached_by_index():
    assert run('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}') == "8080"
    assert run("{{range $port, $on := .NetworkSettings.Ports}}{{$port}}{{end}}") == "80/tcp"


def test_json_keeps_the_order_of_structs_and_sorts_maps():
    assert run("{{json .State}} {{json .Config.Labels}} {{json .Config.Entrypoint}}") == (
        '{"Status":"running","Pid":42,"Health":null} {"STAGE":"test","VERSION":"1"} null')
    assert run("{{json .}}", {"m": "<&>"}) == '{"m":"<&>"}'


def test_lists_that_are_null_count_as_empty():
    assert run("{{len .Config.Entrypoint}}{{range .Config.Entrypoint}}x{{else}}none{{end}}") == "0none"
    assert run('{{join .Config.Entrypoint " "}}|') == "|"


def test_objects_show_their_public_attributes():
    port = PortMapping(container_port=80, host_port=8080)
    assert run("{{.container_port}} {{.}}", port) == "80 8080:80/tcp"
    assert "can't evaluate field replace in type PortMapping" in fails("{{.replace}}", port)
    assert "can't evaluate field __class__" in fails("{{.__class__}}", port)


def test_methods_get_the_arguments_of_the_template():
    assert run('{{.Label "a"}}{{"B" | .Label}}', ROW) == "12"
    assert "wrong number of args for Label: want 1 got 0" in fails("{{.Label}}", ROW)


def test_newer_go_is_understood():
    assert run("{{range 3}}{{.}}{{end}}{{with .Nil}}a{{else with .Name}}{{.}}{{end}}", {"Nil": None, "Name": "web"}) == "012web"


def test_letters_change_case_one_by_one():
    assert run('{{upper "straße"}} {{lower "İI"}} {{title "ßa ÉCOLE élan x_y"}}') == "STRAßE ii ßa ÉCOLE Élan X_y"


def test_template_that_never_ends_is_stopped():
    twice = '{{define "t%d"}}{{template "t%d"}}{{template "t%d"}}{{end}}'
    doubling = "".join(twice % (n, n + 1, n + 1) for n in range(40))
    started = time.monotonic()
    assert "takes too long" in fails(doubling + '{{define "t40"}}{{end}}{{template "t0"}}', steps=20000)
    assert "exceeded maximum template depth" in fails('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}')
    assert "takes too long" in fails("{{range 1000000000000}}{{end}}", steps=20000)
    assert time.monotonic() - started < 2


def test_text_that_grows_without_bound_is_stopped():
    assert "result is too long" in fails('{{$x := "aaaaaaaaaa"}}' + "{{$x = print $x $x}}" * 40)
    assert "result is too long" in fails('{{pad "a" 1000000000 0}}')
    assert len(run('{{printf "%1000000000d" 1}}')) == 1000000


def test_deep_nesting_is_refused_without_harm():
    assert "nested too deeply" in fails("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}")
    assert "nested too deeply" in fails("{{if 1}}" * 5000 + "{{end}}" * 5000)
    value = None
    for _ in range(5000):
        value = [value]
    assert "exceeded maximum template depth" in fails("{{.}}", value)

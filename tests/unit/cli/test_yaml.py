"""YAML as Podman's encoder writes it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from podling.cli.yaml import dump


def test_keys_are_sorted_and_lists_not_indented() -> None:
    assert dump({"b": [1, "x"], "a": {"c": None, "b": True}}) == "a:\n  b: true\n  c: null\nb:\n- 1\n- x\n"


@pytest.mark.parametrize(("value", "text"), [
    ("", '""'), ("13", '"13"'), ("1.5", '"1.5"'), ("true", '"true"'), ("null", '"null"'), ("0x10", '"0x10"'),
    ("conmon version 2.1.12, commit: unknown", "'conmon version 2.1.12, commit: unknown'"), ("plain text", "plain text"),
    ("5.4.2", "5.4.2"), ("0h 38m 40.00s", "0h 38m 40.00s"), ("-dash", "'-dash'"), ("it's: so", "'it''s: so'"),
    ("a #b", "'a #b'"), ("ends:", "'ends:'"), ({}, "{}"), ([], "[]"), (None, "null"), (89.43, "89.43"),
    ("a\nb", "|-\n  a\n  b"), ("a\tb", '"a\\tb"'),
])
def test_scalars(value: Any, text: str) -> None:
    assert dump({"key": value}) == f"key: {text}\n"


@pytest.mark.parametrize("value", [
    "", " x", "x ", "- x", "a: b", "2026-01-01", "1_000", "yes", "No", "~", "%x", "@x", "`x", "x: |", "{a", "[a", "a\n\nb",
    "a\nb\n", "a\nb\n\n", "'quoted'", '"quoted"', "*a", "&a", "!a", "#a", "é", "\x01", "1e3", ".5", "0o7", "12:30",
])
def test_what_is_written_reads_back(value: str) -> None:
    document = {"k": value, "list": [value, {"x": value}], "map": {"deep": [[value], {}]}}
    assert yaml.safe_load(dump(document)) == document

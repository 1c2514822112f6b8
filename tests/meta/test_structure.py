"""The rules of the architecture: who imports whom, one door to each outside thing, sizes, and what a command may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "podling"
MODULES = sorted(SOURCE.rglob("*.py"))
# Lower rows have lower numbers; modules directly in the package are at the bottom, but for those that are rows of their own.
ROWS = {"values": 1, "linux": 2, "config": 3, "model": 4, "database": 5, "store": 6, "image": 7, "network": 7, "runtime": 7, "state": 7,
        "engine": 8, "cli": 9}
NOT_FOR_FACES = {"store", "image", "network", "runtime", "state", "linux"}
HOT = (["ps"], ["run", "--rm", "no-such-image-here"], ["start", "x"], ["stop", "x"], ["exec", "x", "true"], ["container", "cleanup", "x"])
FORBIDDEN = {"argparse", "asyncio", "dataclasses", "logging", "inspect", "importlib.metadata", "urllib", "urllib3", "http", "typing",
             "json", "re", "enum", "subprocess", "tomllib", "tarfile", "pathlib", "socket", "ssl", "tempfile", "shutil", "datetime"}


def row(module: str) -> int:
    """The row of ``podling.x.y``."""
    parts = module.split(".")
    return ROWS.get(parts[1], 0) if len(parts) > 1 else 0


def name_of(path: Path) -> str:
    """The module's name."""
    return ".".join(("podling", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def imports(path: Path, *, with_types: bool = True) -> set[str]:
    """Modules that a module imports; without those that only the type checker sees if ``with_types`` is false."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and isinstance(block.test, ast.Name)
             and block.test.id == "TYPE_CHECKING" for part in block.body for node in ast.walk(part)}
    found = set()
    for node in ast.walk(tree):
        if not with_types and id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards(path: Path) -> None:
    own = name_of(path)
    package = own.split(".")[1] if "." in own else ""
    if package in ("launch", "__main__", "library"):
        return
    for imported in imports(path):
        if not imported.startswith("podling.") or imported.split(".")[1] == package:
            continue
        assert row(imported) < row(own) or row(own) == 0 == row(imported), f"{own} imports {imported}, which is not below it"


@pytest.mark.parametrize("path", [path for path in MODULES if path.is_relative_to(SOURCE / "cli")], ids=name_of)
def test_faces_know_the_engine_alone(path: Path) -> None:
    rows = {imported.split(".")[1] for imported in imports(path, with_types=False) if imported.startswith("podling.")}
    assert not rows & NOT_FOR_FACES


@pytest.mark.parametrize(("module", "door"), [
    ("ctypes", "podling.linux.syscalls"), ("_ctypes", "podling.linux.syscalls"), ("subprocess", "nobody"),
    ("_posixsubprocess", "podling.linux.process"), ("_sqlite3", "podling.sqlite"), ("http", "nobody"),
    ("urllib", "nobody"), ("ssl", "podling.image.registry.tls"), ("tomllib", "podling.config"), ("yaml", "podling.config"),
    ("cryptography", ("podling.image.signatures", "podling.image.encryption")),
    ("nacl", "podling.image.signatures"),
])
def test_each_outside_thing_has_one_door(module: str, door: str | tuple[str, ...]) -> None:
    users = {name_of(path) for path in MODULES if {name.split(".")[0] for name in imports(path, with_types=False)} & {module}}
    assert not {user for user in users if not user.startswith(door)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 530, f"{name_of(path)} has {lines} lines: make it a package"


@pytest.mark.parametrize("argv", HOT, ids=" ".join)
def test_frequent_commands_load_little(argv: list[str], tmp_path: Path) -> None:
    roots = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run")]
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(SOURCE / "__main__.py"), *roots]
    policy = ["--pull", "never"] if argv[0] == "run" else []
    subprocess.run([*command, *argv[:1], *policy, *argv[1:]], capture_output=True)     # caches are written the first time
    done = subprocess.run([*command, *argv[:1], *policy, *argv[1:]], capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "podling.engine.engine" in loaded
    assert not loaded & FORBIDDEN


def test_nothing_is_left_to_be_done() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    for path in (*MODULES, *SOURCE.parents[1].glob("docs/**/*.md"), SOURCE.parents[1] / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path


def test_links_in_the_documents_lead_somewhere() -> None:
    top = SOURCE.parents[1]
    for path in (top / "README.md", *top.glob("docs/**/*.md")):
        for piece in path.read_text(encoding="utf-8").split("](")[1:]:
            target = piece.partition(")")[0]
            assert "://" in target or (path.parent / target).exists(), f"{path}: {target}"

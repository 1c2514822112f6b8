"""What may follow on a command line, in cobra's protocol."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podling.cli import main
from podling.cli.completion import complete
from podling.cli.context import Context
from podling.cli.shells import SCRIPTS, script
from podling.engine.globals import GlobalOptions
from podling.model import Container, ContainerState, Image

SOURCE = str(Path(main.__file__).parents[2])
ID = "4c01" + "0" * 60


class Engine:
    """As much of an engine as names need."""

    class containers:  # noqa: N801
        """Two containers, one of them running."""

        @staticmethod
        def list_with_states() -> list[tuple[Container, ContainerState]]:
            return [(Container(id=ID, name="web"), ContainerState(id=ID, status="running")),
                    (Container(id="d2" + ID[2:], name="other"), ContainerState(id="d2" + ID[2:], status="exited"))]

    class images:  # noqa: N801
        """One image."""

        @staticmethod
        def list() -> list[Image]:
            return [Image(id="ab" + ID[2:], digest="", names=("docker.io/library/nginx:latest",))]


def candidates(*words: str, describe: bool = False) -> tuple[list[str], int]:
    context = Context(GlobalOptions())
    context._engine = Engine()  # type: ignore[assignment]
    *lines, last = complete(context, words, describe=describe).splitlines()
    return lines, int(last.removeprefix(":"))


@pytest.mark.parametrize(("words", "found", "directive"), [
    (("image", "l"), ["list", "load"], 4),
    (("contai",), ["container"], 4),
    (("help", "im"), ["image", "images", "import"], 4),
    (("ps", "--fo"), ["--format"], 4),
    (("ps", "-q"), ["-q"], 4),
    (("ps", "-a", "--al"), [], 4),
    (("ps", "-qa", "--al"), [], 4),
    (("run", "-e", "A", "--env"), ["--env", "--env-file", "--env-host", "--env-merge"], 4),
    (("run", "--pull", ""), ["always", "missing", "never", "newer"], 4),
    (("run", "--pull=ne"), ["never", "newer"], 4),
    (("run", "--rm=t"), ["true"], 4),
    (("ps", "-f", "na"), ["name="], 6),
    (("--log-level", "w"), ["warn", "warning"], 4),
    (("--log-level=e",), ["error"], 4),
    (("--root", ""), [], 0),
    (("--roo",), ["--root"], 4),
    (("ps", "--roo"), [], 4),
    (("run", "image", ""), [], 0),
    (("run", "image", "--pu"), [], 0),
    (("run", "--env-file", ""), [], 0),
    (("run", "--name", ""), [], 4),
    (("stop", ""), ["web"], 4),
    (("start", ""), ["other"], 4),
    (("rm", ""), ["web", "other"], 4),
    (("rm", "web", ""), ["other"], 4),
    (("rm", "4c"), [ID], 4),
    (("rm", "--", "w"), ["web"], 4),
    (("rm", "--", "-"), [], 4),
    (("exec", "web", ""), [], 0),
    (("rename", "web", ""), [], 4),
    (("run", ""), ["docker.io/library/nginx:latest"], 4),
    (("run", "ng"), ["nginx:latest"], 4),
    (("run", "-it", "lib"), ["library/nginx:latest"], 4),
    (("rmi", "ab"), ["ab" + ID[2:]], 4),
    (("completion", ""), ["bash", "zsh", "fish"], 4),
    (("xyzzy", ""), [], 4),
    (("ps", ""), [], 4),
    (("pod", ""), [], 4),
])
def test_candidates(words: tuple[str, ...], found: list[str], directive: int) -> None:
    assert candidates(*words) == (found, directive)


def test_descriptions() -> None:
    assert candidates("image", "lo", describe=True) == (["load\tLoad image(s) from a tar archive"], 4)
    assert candidates("run", "--tmpf", describe=True) == (["--tmpfs\tMount a temporary filesystem (tmpfs) into a container"], 4)


def test_refused_and_hidden_flags_are_not_offered() -> None:
    names, _ = candidates("run", "--")
    assert "--secret" not in names
    assert "--kernel-memory" not in names
    assert "--rm" in names


def test_an_engine_that_cannot_be_opened_offers_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "missing.conf"))
    context = Context(GlobalOptions(root="/proc/nothing", runroot="/proc/nothing"))
    assert complete(context, ["stop", ""]) == ":4\n"


def _bash(words: list[str], line: str, program: Path, *, shown: int = 9) -> list[str]:
    """COMPREPLY as bash's own function makes it; ``words`` are split as readline does."""
    quoted = " ".join(f"'{word}'" for word in words)
    commands = (f"{script('bash')}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)} "
                f"COMP_TYPE={shown}\n__podling_complete\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, env={
        "PATH": f"{program.parent}:/usr/bin:/bin", "COLUMNS": "100"})
    return [reply for reply in done.stdout.splitlines() if reply]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "podling"
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {SOURCE!r})\n"
                    "from podling.cli.main import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("words", "line", "reply"), [
    (["podling", "image", "lo"], "podling image lo", ["load"]),
    (["podling", "completion", ""], "podling completion ", ["bash", "zsh", "fish"]),
    (["podling", "--log-level", "=", "de"], "podling --log-level=de", ["debug"]),
    (["podling", "--log-level", "="], "podling --log-level=", ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"]),
    (["podling", "ps", "--sort", "i"], "podling ps --sort i", ["id", "image"]),
    (["podling", "ps", "-f", "na"], "podling  ps   -f na", ["name="]),
    (["podling", "run", "--pid", "=", "cont"], "podling run --pid=cont", ["container:"]),
])
def test_bash_replies(words: list[str], line: str, reply: list[str], program: Path) -> None:
    assert _bash(words, line, program) == reply


def test_bash_shows_descriptions_beside_several_candidates(program: Path) -> None:
    replies = _bash(["podling", "ps", "--no"], "podling ps --no", program)
    assert replies == ["--no-trunc   (Display the extended information)", "--noheading  (Do not print headers)"]
    assert _bash(["podling", "ps", "--no"], "podling ps --no", program, shown=37) == ["--no-trunc", "--noheading"]


def test_scripts() -> None:
    for shell in SCRIPTS:
        assert "__complete " in script(shell)
        assert "__completeNoDesc " in script(shell, descriptions=False)
        assert " @ " not in script(shell)
    subprocess.run(["bash", "-n"], input=script("bash"), text=True, check=True)


def test_the_command_writes_to_a_file(tmp_path: Path, capfd: Any) -> None:
    target = tmp_path / "_podling"
    assert main.main(["completion", "zsh", "-f", str(target)]) == 0
    assert target.read_text() == script("zsh")
    assert main.main(["completion", "ksh"]) == 125
    assert capfd.readouterr().err == 'Error: invalid argument "ksh" for "podling completion"\n'

"""The command table: what is found, refused and suggested, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from podling import __version__
from podling.cli import main
from podling.cli.missing import MISSING, missing
from podling.cli.suggest import edit_distance, suggestions

SOURCE = str(Path(main.__file__).parents[2])


def run(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = main.main(argv)
    out, err = capfd.readouterr()
    return status, out, err


@pytest.mark.parametrize("argv", [["--version"], ["-v"]])
def test_version(capfd: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert run(capfd, *argv) == (0, f"podling version {__version__}\n", "")


@pytest.mark.parametrize(("argv", "first"), [
    (["--help"], "Manage containers and images"), (["-h"], "Manage containers and images"),
    (["help"], "Manage containers and images"), (["ps", "--help"], "List containers"), (["ps", "-h"], "List containers"),
    (["help", "image", "ls"], "List images in local storage"), (["image", "ls", "--help"], "List images in local storage"),
    (["image", "--help"], "Manage images"), (["help", "volume"], "Manage volumes"), (["image", "-h"], "Manage images"),
    (["run", "--name", "x", "--help"], "Run a command in a new container"), (["--log-level", "error", "ps", "--help"], "List containers"),
])
def test_help(capfd: pytest.CaptureFixture[str], argv: list[str], first: str) -> None:
    status, out, err = run(capfd, *argv)
    assert (status, out.partition("\n")[0], err) == (0, first, "")


def test_help_is_of_the_spelling_that_was_used(capfd: pytest.CaptureFixture[str]) -> None:
    assert "\n  podling container ps [options]\n" in run(capfd, "container", "ps", "--help")[1]
    assert "\n  podling image list [options] [IMAGE]\n" in run(capfd, "image", "ls", "--help")[1]


# Exit codes and words are those of Podman 5.4, its name apart.
@pytest.mark.parametrize(("argv", "error"), [
    (["foo"], "unrecognized command `podling foo`\n\nDid you mean this?\n\ttop\n\nTry 'podling --help' for more information"),
    (["xyzzy"], "unrecognized command `podling xyzzy`\nTry 'podling --help' for more information"),
    (["image", "xyzzy"], "unrecognized command `podling image xyzzy`\nTry 'podling image --help' for more information"),
    (["help", "xyzzy"], "unrecognized command `podling xyzzy`\nTry 'podling --help' for more information"),
    (["ps", "--foo"], "unknown flag: --foo\nSee 'podling ps --help'"),
    (["container", "ps", "--foo"], "unknown flag: --foo\nSee 'podling container ps --help'"),
    (["--foo", "ps"], "unknown flag: --foo\nSee 'podling --help'"),
    (["image", "--foo", "ls"], "unknown flag: --foo\nSee 'podling image --help'"),
    (["ps", "x"], "`podling ps` takes no arguments"),
    (["container", "ps", "x"], "`podling container ps` takes no arguments"),
    (["rename", "x"], "accepts 2 arg(s), received 1"),
    (["run"], "requires at least 1 arg(s), only received 0"),
    (["stop"], "you must provide at least one name or id"),
    (["stop", "-a", "x"], "no arguments are needed with --all"),
    (["rm", "-l", "x"], "--latest and containers cannot be used together"),
    (["kill", "-al"], "--all and --latest cannot be used together"),
    (["start"], "start requires at least one argument"),
    (["exec"], "exec requires the name or ID of a container or the --latest flag"),
    (["logs"], "specify at least one container name or ID to log"),
    (["top"], "you must provide the name or id of a running container"),
    (["port"], "you must supply a running container name or id"),
    (["port", "-a", "x"], "no arguments are needed with --all"),
    (["attach", "a", "b"], "`podling attach` accepts at most one argument"),
    (["wait"], '"podling wait" requires a name, id, or the "--latest" flag'),
    (["kill", "-s", "foo", "x"], "invalid signal: foo"),
    (["kill", "-s", "0", "x"], "invalid signal: 0"),
    (["start", "-a", "a", "b"], "you cannot start and attach multiple containers at once"),
    (["pod", "create", "--name", "x"], "podling pod create is not available yet"),
    (["pod"], "podling pod is not available yet"),
    (["build", "-t", "x", "."], "podling build is not available yet"),
    (["--remote", "ps"], "--remote is not available in podling yet: podling works without a service, on this machine alone"),
    (["run", "--pod", "x", "y"], "--pod is not available in podling yet"),
])
def test_errors(capfd: pytest.CaptureFixture[str], argv: list[str], error: str) -> None:
    assert run(capfd, *argv) == (125, "", f"Error: {error}\n")


@pytest.mark.parametrize(("argv", "first", "error"), [
    ([], "Manage containers and images", "missing command 'podling COMMAND'"),
    (["image"], "Manage images", "missing command 'podling image COMMAND'"),
])
def test_no_command(capfd: pytest.CaptureFixture[str], argv: list[str], first: str, error: str) -> None:
    status, out, err = run(capfd, *argv)
    assert (status, out.partition("\n")[0], err) == (125, first, f"Error: {error}\n")


def test_unknown_log_level(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, "--log-level", "foo", "completion", "bash")
    assert (status, out) == (1, "")
    assert err == 'Log Level "foo" is not supported, choose from: trace, debug, info, warn, warning, error, fatal, panic\n'


def test_nobody_reads() -> None:
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from podling.cli.main import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, env={"PYTHONPATH": SOURCE})
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_output_into_a_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    code = f"import sys; from podling.cli.main import main; sys.exit(main(['--out', {str(target)!r}, 'completion', 'bash']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={"PYTHONPATH": SOURCE})
    assert (done.returncode, done.stdout) == (0, b"")
    assert target.read_text().startswith("# bash completion for podling")


def test_every_command_is_there_or_known_to_be_missing() -> None:
    for path in main.COMMANDS:
        assert not missing(path.split()), path
        main.load(path)
    for group, names in MISSING.items():
        for name in names.split():
            path = f"{group} {name}".strip()
            assert path not in main.COMMANDS


def test_suggestions() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert suggestions("rn", ["cp", "ps", "rm", "run", "rmi", "stop"]) == ["cp", "ps", "rm", "run", "rmi"]
    assert suggestions("imag", ["image", "images", "tag", "ps"]) == ["image", "images", "tag"]
    assert suggestions("CON", ["container"]) == ["container"]


def test_help_and_errors_open_no_engine() -> None:
    code = ("import sys; from podling.cli.main import main\n"
            "for argv in (['run', '--help'], ['foo'], ['__complete', 'run', '--pu']): main(argv)\n"
            "import os; assert not any('podling.db' in os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')"
            " if os.path.exists(f'/proc/self/fd/{n}'))\n"
            "heavy = {'argparse', 'asyncio', 'dataclasses', 'logging', 'inspect', 're', 'json', 'subprocess', 'typing', 'enum',"
            " 'urllib3', 'ssl'} & set(sys.modules)\n"
            "assert not heavy, heavy")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {SOURCE!r}); {code}"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

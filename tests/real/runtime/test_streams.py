"""Standard streams: attaching, terminals, detaching, and commands beside the first one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.terminals import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]
PROMPT = "/ # "
DETACH = "\x10\x11"


@pytest.fixture
def loaded(world: World, busybox: Path) -> World:
    world.run("podling", "load", "-i", str(busybox))
    return world


def start(world: World, runtime: str, *words: str) -> None:
    world.run("podling", "--runtime", runtime, "run", "-d", "--name", "c", "--network", "none", *words)


# --- pipes ------------------------------------------------------------------------------------------------------------


def test_large_input_comes_back_whole(loaded: World, runtime: str) -> None:
    data = os.urandom(12 << 20)
    process = loaded.spawn("podling", "--runtime", runtime, "run", "-i", "--rm", "--network", "none", "bb", "cat",
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = process.communicate(data, 60)
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()
    loaded.assert_nothing_left()


def test_input_that_nobody_reads_does_not_stop_output(loaded: World) -> None:
    process = loaded.spawn("podling", "run", "-i", "--rm", "--network", "none", "bb", "sh", "-c", "head -c 3000000 /dev/zero",
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = process.communicate(os.urandom(4 << 20), 60)
    assert len(output) == 3000000


def test_slow_reader_gets_everything(loaded: World) -> None:
    done = loaded.run("sh", "-c", "podling run --rm --network none bb head -c 2000000 /dev/zero | (sleep 1; wc -c)")
    assert done.stdout.strip() == "2000000"


def test_container_without_i_has_no_input(loaded: World) -> None:
    assert loaded.run("podling", "run", "--rm", "--network", "none", "bb", "cat", stdin=b"never seen").stdout == ""


def test_reader_that_leaves_ends_the_command_and_the_rest_is_cleaned_up(loaded: World) -> None:
    loaded.run("sh", "-c", "podling run --rm --network none bb sh -c 'yes | head -c 5000000' | head -c 10 >/dev/null")
    loaded.wait_until(lambda: not loaded.run("podling", "ps", "-aq").stdout, "the container ends and is removed")
    loaded.assert_nothing_left()


def test_several_clients_see_the_same(loaded: World) -> None:
    start(loaded, "crun", "bb", "sh", "-c", "sleep 1.5; for i in 1 2 3; do echo line $i; echo error $i >&2; done")
    clients = [loaded.spawn("podling", "attach", "--no-stdin", "c", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for _ in range(3)]
    for client in clients:
        assert client.communicate(timeout=20) == (b"line 1\nline 2\nline 3\n", b"error 1\nerror 2\nerror 3\n")
        assert client.returncode == 0
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_streams_held_open_by_others_do_not_keep_the_foreground(loaded: World) -> None:
    begin = time.monotonic()
    done = loaded.run("podling", "run", "--rm", "--network", "none", "--pid", "host", "bb", "sh", "-c", "sleep 20 & echo done")
    assert done.stdout == "done\n"
    assert time.monotonic() - begin < 15


# --- terminals --------------------------------------------------------------------------------------------------------


def test_terminal_session(loaded: World, runtime: str) -> None:
    with Terminal(loaded, "podling", "--runtime", runtime, "run", "-it", "--rm", "--network", "none", "bb", rows=33,
                  columns=101) as terminal:
        terminal.expect(PROMPT)
        terminal.type("stty size; tty\n")
        assert "33 101" in terminal.expect("/dev/pts/0")
        terminal.size(40, 120)
        terminal.expect(PROMPT)
        terminal.type("sleep 0.3; stty size\n")
        terminal.expect("40 120")
        terminal.type("exit 9\n")
        assert terminal.wait() == 9
        assert terminal.is_cooked()
    loaded.assert_nothing_left()


def test_interrupt_goes_to_the_container(loaded: World) -> None:
    with Terminal(loaded, "podling", "run", "-it", "--rm", "--network", "none", "bb") as terminal:
        terminal.expect(PROMPT)
        terminal.type("sleep 100\n")
        terminal.expect("sleep 100")
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.expect(PROMPT)
        terminal.type("exit\n")
        terminal.wait()
    loaded.assert_nothing_left()


def test_detach_and_attach_again(loaded: World, runtime: str) -> None:
    with Terminal(loaded, "podling", "--runtime", runtime, "run", "-it", "--rm", "--name", "c", "--network", "none",
                  "bb") as terminal:
        terminal.expect(PROMPT)
        terminal.type("X=kept\n")
        terminal.expect(PROMPT)
        terminal.type(DETACH)
        assert terminal.wait() == 0
        assert terminal.is_cooked()
    assert loaded.run("podling", "ps", "--format", "{{.Names}}").stdout == "c\n"
    with Terminal(loaded, "podling", "attach", "--detach-keys", "ctrl-x,x", "c") as terminal:
        terminal.until_raw().type("echo $X\n")
        terminal.expect("kept")
        terminal.type(DETACH + "echo still here\n")          # other keys now: these go to the container
        terminal.type("\n")
        terminal.expect(PROMPT)
        terminal.type("\x18x")
        assert terminal.wait() == 0
    with Terminal(loaded, "podling", "attach", "c") as terminal:
        terminal.until_raw().type("\nexit 4\n")
        assert terminal.wait() == 4
    loaded.wait_until(lambda: not loaded.run("podling", "ps", "-aq").stdout, "conmon's exit command removes it")
    loaded.assert_nothing_left()


def test_detach_keys_can_be_switched_off(loaded: World) -> None:
    with Terminal(loaded, "podling", "run", "-it", "--rm", "--detach-keys", "", "--network", "none", "bb", "cat") as terminal:
        terminal.until_raw().type(DETACH + "\r")
        terminal.expect("\n")
        terminal.type("\x04")
        assert terminal.wait() == 0
    loaded.assert_nothing_left()


# --- exec -------------------------------------------------------------------------------------------------------------


def test_exec_with_a_terminal(loaded: World, runtime: str) -> None:
    start(loaded, runtime, "bb", "sleep", "1000")
    with Terminal(loaded, "podling", "exec", "-it", "c", "sh", rows=30, columns=90) as terminal:
        terminal.expect(PROMPT)
        terminal.type("stty size\n")
        terminal.expect("30 90")
        terminal.size(31, 91)
        terminal.expect(PROMPT)
        terminal.type("sleep 0.3; stty size\n")
        terminal.expect("31 91")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6
        assert terminal.is_cooked()
    with Terminal(loaded, "podling", "exec", "-it", "c", "nosuch") as terminal:
        assert terminal.wait() == 127
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_exec_that_fails_after_its_terminal_was_made_says_why(loaded: World, runtime: str) -> None:
    """crun's error then goes to the terminal and to the log alone, and conmon's exit command removes the log."""
    start(loaded, runtime, "bb", "sleep", "1000")
    conmon = loaded.path("/run/slow-conmon")         # its answer ends once the session's directory is gone
    conmon.write_text("""#!/bin/sh
        conmon "$@"
        while [ "$1" != --bundle ]; do shift; done
        while [ -e "$2" ]; do sleep 0.01; done
    """, encoding="ascii")
    conmon.chmod(0o755)
    with Terminal(loaded, "podling", "--conmon", "/run/slow-conmon", "exec", "-it", "c", "nosuch") as terminal:
        terminal.expect("OCI runtime attempted to invoke a command that was not found")
        assert terminal.wait() == 127
    done = loaded.run("podling", "--conmon", "/run/slow-conmon", "exec", "-d", "c", "nosuch", check=False)
    assert (done.returncode, done.stderr.count("nosuch")) == (127, 1)
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_exec_does_not_hand_over_a_terminal(loaded: World) -> None:
    start(loaded, "crun", "bb", "sleep", "1000")
    with Terminal(loaded, "podling", "exec", "-i", "c", "sh", "-c", "for fd in 0 1 2; do [ -t $fd ] || echo no-$fd; done") as terminal:
        terminal.expect("no-0")
        terminal.expect("no-1")
        terminal.expect("no-2")
        assert terminal.wait() == 0
    loaded.run("podling", "rm", "-f", "-t0", "c")


def test_exec_leaves_the_callers_files_to_the_caller(loaded: World, runtime: str) -> None:
    start(loaded, runtime, "bb", "sleep", "1000")
    loaded.run("sh", "-c", "echo input >/run/in; : >/run/out; chown 7:7 /run/in /run/out; "
                           "podling exec -i -u 1234 c sh -c 'cat; echo error >&2' </run/in >/run/out 2>/run/err")
    assert loaded.path("/run/out").read_text(encoding="ascii") == "input\n"
    assert loaded.path("/run/err").read_text(encoding="ascii") == "error\n"
    assert loaded.run("stat", "-c", "%u", "/run/in", "/run/out", "/run/err", "/dev/null").stdout.split() == ["7", "7", "0", "0"]
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


@pytest.mark.parametrize("through", ["pipe", "file"])
def test_exec_moves_large_data(loaded: World, through: str) -> None:
    start(loaded, "crun", "bb", "sleep", "1000")
    loaded.run("sh", "-c", "head -c 12000000 /dev/urandom >/run/data")
    if through == "pipe":
        loaded.run("sh", "-c", "cat /run/data | podling exec -i c cat | cat >/run/back")
    else:
        loaded.run("sh", "-c", "podling exec -i c cat </run/data >/run/back")
    loaded.run("cmp", "/run/data", "/run/back")
    loaded.run("podling", "rm", "-f", "-t0", "c")


def test_exec_detached(loaded: World, runtime: str) -> None:
    start(loaded, runtime, "bb", "sleep", "1000")
    session = loaded.run("podling", "exec", "-d", "c", "sh", "-c", "sleep 0.5; echo made >/made").stdout.strip()
    assert len(session) == 64
    loaded.wait_until(lambda: loaded.run("podling", "exec", "c", "cat", "/made", check=False).stdout == "made\n", "it ran")
    runs = loaded.path("/run/containers/podling/containers")
    loaded.wait_until(lambda: not list(runs.glob(f"*/exec/{session}")), "its directory is gone")
    done = loaded.run("podling", "exec", "-d", "c", "nosuch", check=False)
    assert done.returncode == 127
    loaded.run("podling", "rm", "-f", "-t0", "c")
    loaded.assert_nothing_left()


def test_exec_error_is_told_once(loaded: World, runtime: str) -> None:
    start(loaded, runtime, "bb", "sleep", "1000")
    for redirection in ("", "2>/run/err"):
        done = loaded.run("sh", "-c", f"podling exec c nosuch {redirection}; echo $?", check=False)
        text = done.stderr or loaded.path("/run/err").read_text(encoding="utf-8")
        assert done.stdout == "127\n"
        assert text.count("nosuch") == 1, text
        assert text.rstrip().endswith("OCI runtime attempted to invoke a command that was not found")
    loaded.run("podling", "rm", "-f", "-t0", "c")

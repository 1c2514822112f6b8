"""Programs really started."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time

import pytest

from podling.errors import ProgramFailed, Unsupported
from podling.linux import pids, process

PYTHON = sys.executable


def sh(script, **options):
    return process.run(["sh", "-c", script], **options)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_leaks():
    gc.collect()                             # what earlier tests left open in cycles
    before = open_descriptors()
    yield
    assert open_descriptors() <= before       # fewer: something of an earlier test was closed late
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_output_and_status():
    completed = sh("echo out; echo err >&2; exit 3", check=False)
    assert (completed.status, completed.stdout, completed.stderr) == (3, b"out\n", b"err\n")


def test_input_larger_than_any_pipe():
    data = bytes(range(256)) * 20_000
    assert process.run(["cat"], input=data).stdout == data


def test_a_program_that_does_not_read_its_input():
    assert sh("exit 0", input=b"x" * 1_000_000).status == 0


def test_without_input_standard_input_is_empty():
    assert process.run(["cat"]).stdout == b""
    assert sh("readlink /proc/self/fd/0").stdout == b"/dev/null\n"


def test_failure_has_argv_status_and_last_words():
    with pytest.raises(ProgramFailed, match="sh: boom") as caught:
        sh("echo boom >&2; exit 7")
    assert (caught.value.status, caught.value.output, caught.value.argv[:2]) == (7, "boom", ("sh", "-c"))
    with pytest.raises(ProgramFailed, match="sh: signal: 9"):
        sh("kill -9 $$")


def test_a_missing_program_is_named():
    with pytest.raises(Unsupported, match=r'executable file "no-such-program" not found in \$PATH'):
        process.run(["no-such-program"])
    with pytest.raises(Unsupported, match=r'executable file "/no/such" not found$'):
        process.run(["/no/such"])


def test_a_file_that_is_no_program(tmp_path):
    (tmp_path / "x").write_text("not a program")
    (tmp_path / "x").chmod(0o755)
    with pytest.raises(ProgramFailed, match="cannot execute"):
        process.run([f"{tmp_path}/x"])


def test_a_missing_directory_is_not_taken_for_a_missing_program(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        process.run(["true"], cwd=f"{tmp_path}/gone")
    assert process.run(["pwd"], cwd=str(tmp_path)).stdout.decode().strip() == str(tmp_path)


def test_the_path_of_the_given_environment_is_searched(tmp_path):
    (tmp_path / "mine").write_text("#!/bin/sh\necho $A")
    (tmp_path / "mine").chmod(0o755)
    assert process.run(["mine"], env={"PATH": str(tmp_path), "A": "b=c"}).stdout == b"b=c\n"


def test_a_timeout_kills():
    started = time.monotonic()
    with pytest.raises(ProgramFailed, match="timed out"):
        process.run(["sleep", "30"], timeout=0.1)
    assert time.monotonic() - started < 5


def test_a_timeout_holds_even_when_output_is_closed():
    with pytest.raises(ProgramFailed, match="timed out"):
        sh("exec >&- 2>&-; exec sleep 30", timeout=0.2)


def test_too_much_output_kills():
    with pytest.raises(ProgramFailed, match="wrote more than 100000 bytes"):
        process.run(["yes"], stdout_limit=100_000)


def test_the_end_of_long_errors_is_kept():
    completed = sh("head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2")
    assert completed.stderr.endswith(b"xend\n")
    assert len(completed.stderr) <= 3 << 20


def test_a_daemon_left_behind_is_not_waited_for(tmp_path):
    started = time.monotonic()
    completed = sh(f"(sleep 60; :) & echo $! > {tmp_path}/pid; echo ready")
    assert completed.stdout == b"ready\n"
    assert time.monotonic() - started < 10
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_chattering_daemon_is_not_waited_for(tmp_path):
    sh(f"yes & echo $! > {tmp_path}/pid", stdout_limit=1 << 30)
    # it dies of SIGPIPE as soon as it writes to the closed pipe
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while pids.is_alive(pid, pids.start_time(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_output_just_before_the_end_is_complete():
    for _ in range(100):
        assert sh("echo 1; sleep 0.001 & echo 2").stdout == b"1\n2\n"


def test_only_named_descriptors_are_passed():
    read, write = os.pipe()
    os.set_inheritable(write, True)
    extra = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(extra, True)
    listing = sh("ls /proc/self/fd", pass_fds=[write]).stdout.decode().split()
    assert str(write) in listing
    assert str(extra) not in listing
    process.run(["sh", "-c", f"echo hello > /proc/self/fd/{write}"], pass_fds=[write])
    assert os.read(read, 10) == b"hello\n"
    for fd in (read, write, extra):
        os.close(fd)


def test_ignored_signals_are_restored_in_programs():
    ignored = next(line for line in process.run(["cat", "/proc/self/status"]).stdout.decode().splitlines()
                   if line.startswith("SigIgn"))
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0


def test_it_works_with_standard_streams_closed():
    script = """if True:
        import os
        for fd in (0, 1, 2): os.close(fd)
        from podling.linux import process
        completed = process.run(["sh", "-c", "cat; echo err >&2"], input=b"x")
        assert (completed.stdout, completed.stderr) == (b"x", b"err\\n")
        pid = process.spawn(["sh", "-c", "ls -l /proc/self/fd"])
        os._exit(process.wait(pid))
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert process.run([PYTHON, "-c", script], env=env, check=False).status == 0


def test_threads_may_run_programs_at_once():
    outputs = []

    def work(number):
        outputs.extend((number, int(process.run(["echo", str(number)]).stdout)) for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 80
    assert all(sent == got for sent, got in outputs)


def test_an_interruption_kills_and_reaps(tmp_path):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            sh(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    finally:
        signal.signal(signal.SIGALRM, old)
    assert pids.start_time(int((tmp_path / "pid").read_text())) == 0


# --- children ---------------------------------------------------------------------------------------------------------


def test_a_child_s_streams():
    with process.Child(["cat"], stdin=process.PIPE, stdout=process.PIPE) as child:
        os.write(child.stdin, b"hello")
        assert os.read(child.stdout, 10) == b"hello"
        child.close_stdin()
        assert os.read(child.stdout, 10) == b""
        assert child.wait(timeout=5) == 0
        assert child.wait() == 0


def test_leaving_a_child_by_an_exception_kills_it():
    with pytest.raises(ZeroDivisionError), process.Child(["sleep", "60"]) as child:
        1 / 0  # noqa: B018
    assert child.status == -signal.SIGKILL


def test_spawn_in_a_session_of_its_own():
    pid = process.spawn(["sleep", "60"], new_session=True)
    assert os.getsid(pid) == pid
    start = pids.start_time(pid)
    assert pids.kill(pid, start, signal.SIGTERM)
    assert process.wait(pid, timeout=5) == -signal.SIGTERM


def test_wait_times_out():
    pid = process.spawn(["sleep", "60"])
    with pytest.raises(TimeoutError):
        process.wait(pid, timeout=0.05)
    os.kill(pid, signal.SIGKILL)
    process.wait(pid)


def test_replace_process(tmp_path):
    pid = os.fork()
    if pid == 0:
        try:
            out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1)
            env = {"A": "b", "PATH": os.environ["PATH"]}
            process.replace_process(["sh", "-c", "grep SigIgn /proc/self/status; echo $A"], env)
        finally:
            os._exit(99)
    assert process.wait(pid) == 0
    ignored, value = (tmp_path / "out").read_text().splitlines()
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0
    assert value == "b"
    with pytest.raises(Unsupported):
        process.replace_process(["no-such-program"])
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN     # a broken pipe is an error here, not the end of this process


# --- recognising ------------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_pid_and_start():
    pid = process.spawn(["sleep", "60"])
    start = pids.start_time(pid)
    assert start > 0
    assert pids.is_alive(pid, start)
    assert not pids.is_alive(pid, start - 1)
    assert pids.kill(pid, start - 1, signal.SIGKILL) is False
    assert pids.wait_gone(pid, start - 1, 0) is True
    assert pids.wait_gone(pid, start, 0.05) is False
    assert pids.kill(pid, start, signal.SIGKILL) is True
    assert pids.wait_gone(pid, start, 5) is True
    assert not pids.is_alive(pid, start)        # a zombie
    assert pids.start_time(pid) == start
    process.wait(pid)
    assert pids.start_time(pid) == 0
    assert pids.kill(pid, start, 0) is False
    assert pids.wait_gone(pid, start) is True


def test_no_process_has_pid_0_or_less():
    for pid in (0, -1):
        assert pids.start_time(pid) == 0
        assert pids.is_alive(pid, 0) is False
        assert pids.kill(pid, 0, 0) is False


def test_a_name_with_brackets_does_not_confuse(tmp_path):
    os.symlink("/bin/sleep", tmp_path / "a) R (b")
    pid = process.spawn([f"{tmp_path}/a) R (b", "60"])
    start = pids.start_time(pid)
    assert pids.is_alive(pid, start)
    assert abs(start - pids.start_time(os.getpid())) < 10_000_000
    os.kill(pid, signal.SIGKILL)
    process.wait(pid)


def test_a_process_whose_first_thread_has_ended_is_alive():
    script = """if True:
        import ctypes, threading, time
        threading.Thread(target=time.sleep, args=(60,)).start()
        ctypes.CDLL(None).pthread_exit(None)
    """
    pid = process.spawn([PYTHON, "-c", script])
    start = pids.start_time(pid)
    deadline = time.monotonic() + 10
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert pids.is_alive(pid, start)
    os.kill(pid, signal.SIGKILL)
    process.wait(pid)


def test_pidfd_names_the_missing_process():
    fd = pids.pidfd(os.getpid())
    os.close(fd)
    with pytest.raises(ProcessLookupError, match="process 4194304"):
        pids.pidfd(4194304)


def test_find_program(tmp_path):
    (tmp_path / "tool").write_text("")
    assert process.find_program("tool", [str(tmp_path)]) is None
    (tmp_path / "tool").chmod(0o755)
    assert process.find_program("tool", [str(tmp_path)]) == f"{tmp_path}/tool"
    assert process.find_program(f"{tmp_path}/tool") == f"{tmp_path}/tool"
    assert process.find_program(str(tmp_path)) is None
    assert (process.find_program("sh") or "").endswith("/sh")
    assert process.find_program("no-such-program") is None


def test_boot_id_is_one_word():
    assert len(pids.boot_id()) == 36
    assert pids.boot_id() == pids.boot_id()

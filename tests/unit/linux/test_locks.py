"""Locks between processes and threads."""

from __future__ import annotations

import os
import threading
import time

import pytest

from podling.errors import InUse, PodlingError
from podling.linux.locks import Lock, holding_pids


def in_child(action):
    """Fork, run, and keep the child until the returned function is called."""
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go_write)
            action(lambda: os.write(ready_write, b"x"), lambda: os.read(go_read, 1))
        finally:
            os._exit(0)
    os.close(ready_write)
    os.close(go_read)
    assert os.read(ready_read, 1) == b"x"
    os.close(ready_read)

    def finish(*, kill=False):
        if kill:
            os.kill(pid, 9)
        os.close(go_write)
        os.waitpid(pid, 0)

    return pid, finish


def hold(lock):
    def action(ready, wait):
        with lock.exclusive():
            ready()
            wait()
    return in_child(action)


def test_a_second_holder_waits(tmp_path):
    lock = Lock(f"{tmp_path}/l")
    _, finish = hold(lock)
    assert lock.try_exclusive() is False
    threading.Timer(0.1, finish).start()
    started = time.monotonic()
    with lock.exclusive():
        assert time.monotonic() - started > 0.05


def test_the_kernel_frees_the_lock_of_a_killed_holder(tmp_path):
    lock = Lock(f"{tmp_path}/l")
    _, finish = hold(lock)
    finish(kill=True)
    assert lock.try_exclusive() is True
    lock.release()


def test_a_timeout_names_the_holder(tmp_path):
    lock = Lock(f"{tmp_path}/l")
    pid, finish = hold(lock)
    try:
        with pytest.raises(InUse) as caught, lock.exclusive(timeout=0.05):
            pass
    finally:
        finish()
    assert f"process {pid}" in str(caught.value)
    assert str(pid) in (caught.value.hint or "")


def test_readers_share_and_exclude_writers(tmp_path):
    lock = Lock(f"{tmp_path}/l")
    with lock.shared():
        with lock.shared(timeout=0):
            assert lock.try_exclusive() is False
        with pytest.raises(InUse), lock.exclusive(timeout=0):
            pass
    assert lock.try_exclusive() is True
    with pytest.raises(InUse), lock.shared(timeout=0):
        pass
    lock.release()


def test_threads_exclude_each_other(tmp_path):
    lock = Lock(f"{tmp_path}/l")
    inside = []

    def work():
        for _ in range(50):
            with lock.exclusive():
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_removed_lock_file_never_lets_two_in(tmp_path):
    """Waiters on a file that its holder removed start again with the new file."""
    path = f"{tmp_path}/l"
    counter = tmp_path / "n"
    counter.write_text("0")

    def work():
        for _ in range(100):
            with Lock(path).exclusive() as held:
                value = int(counter.read_text())
                counter.write_text(str(value + 1))
                held.remove()

    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
    assert counter.read_text() == "400"
    assert not os.path.exists(path)


def test_an_exception_inside_frees_the_lock(tmp_path):
    lock = Lock(f"{tmp_path}/l")
    with pytest.raises(ZeroDivisionError), lock.exclusive():
        1 / 0  # noqa: B018
    assert lock.try_exclusive() is True
    lock.release()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(PodlingError, match=r"opening lock .*/no/l"), Lock(f"{tmp_path}/no/l").exclusive():
        pass


def test_a_link_in_the_lock_file_s_place_is_not_followed(tmp_path):
    (tmp_path / "l").symlink_to("elsewhere")
    with pytest.raises(PodlingError), Lock(f"{tmp_path}/l").exclusive():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_shared_lock_does_not_remove_the_file(tmp_path):
    with Lock(f"{tmp_path}/l").shared() as held, pytest.raises(ValueError, match="shared"):
        held.remove()


def test_proc_locks():
    text = ("1: FLOCK  ADVISORY  WRITE 12 fd:01:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 13 fd:01:77 0 EOF\n"
            "2: POSIX  ADVISORY  WRITE 14 fd:01:77 0 EOF\n3: FLOCK  ADVISORY  READ  15 00:2c:77 0 EOF\n"
            "4: FLOCK  ADVISORY  WRITE 0 fd:01:77 0 EOF\n5: FLOCK  ADVISORY  WRITE 16 fd:01:770 0 EOF\n")
    assert holding_pids(text, 77) == [12, 15]

"""Private worlds for tests with real programs: own mounts, processes, network, cgroups, and empty stores on tmpfs.

    def test_stop_kills_after_timeout(world):
        world.run("podling", "run", "-d", ...)
        world.assert_nothing_left()

A world is the namespaces of one first process (``sandbox.sh``). Commands run in it as direct children of the test, so
``Popen`` means what it always does: ``pid`` can be killed, ``wait`` waits. ``call`` runs a Python function there. When the
test process dies, the kernel ends every process of the world and with them its mounts, interfaces and firewall rules.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
PODLING = str(CHECKOUT / "bin" / "podling")
CGROUPS = "/sys/fs/cgroup"
KINDS = ("mnt", "net", "ipc", "uts", "cgroup")      # entered by the child; "pid" is entered by forking
PROGRAMS = ("unshare", "ip", "mount", "cat")

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class World:
    """One private world. ``layout``: "v1" hides cgroup v2 on a hybrid host, "host" shows what the host has."""

    def __init__(self, name: str, *, layout: str = "v1") -> None:
        self.name = name
        self.layout = layout
        self.env = {
            "PATH": f"{CHECKOUT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/run/home", "USER": "root", "LANG": "C.UTF-8", "TERM": "xterm",
        }
        self.holder = subprocess.Popen([str(CHECKOUT / "tests/support/sandbox.sh"), name, layout], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                                       env={**self.env, "PYTHON": sys.executable})
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            assert self.holder.stderr is not None
            words = self.holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise RuntimeError(f"a world cannot be made here: {words.splitlines()[-1] if words else 'no reason given'}")
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        self.init = int(children.read_text(encoding="ascii").split()[0])
        self.namespaces = {kind: os.open(f"/proc/{self.init}/ns/{kind}", os.O_RDONLY) for kind in (*KINDS, "pid")}
        self.own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self.cgroups = self._cgroups()
        self.before = self.observe()

    def _cgroups(self) -> list[str]:
        """The cgroups, as this process sees them, that the world's processes belong to."""
        found = []
        for line in Path(f"/proc/{self.init}/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                mount = CGROUPS if os.path.exists(f"{CGROUPS}/cgroup.controllers") else f"{CGROUPS}/unified"
            else:
                mount = f"{CGROUPS}/{controllers.removeprefix('name=')}"
            found.append(mount + path)
        return [path for path in found if os.path.isdir(path)]

    # --- acting in it -------------------------------------------------------------------------------------------------

    def _enter(self, directory: str) -> None:
        """In the child: become part of the world (its process namespace is entered already)."""
        for cgroup in self.cgroups:
            descriptor = os.open(f"{cgroup}/cgroup.procs", os.O_WRONLY)
            os.write(descriptor, b"0")
            os.close(descriptor)
        for kind in KINDS:
            _setns(self.namespaces[kind])
        os.chdir(directory)

    @contextlib.contextmanager
    def _forking(self) -> Iterator[None]:
        """Children forked inside belong to the world's process namespace."""
        _setns(self.namespaces["pid"])
        try:
            yield
        finally:
            _setns(self.own_pid_namespace)

    def spawn(self, *argv: str, cwd: str = "/", env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command in the world; the caller waits for it. ``env`` is added to the world's own environment."""
        if argv[0] == "podling":
            argv = (PODLING, *argv[1:])
        options.setdefault("stdin", subprocess.DEVNULL)
        with self._forking():
            return subprocess.Popen(argv, preexec_fn=functools.partial(self._enter, cwd),
                                    env={**self.env, **(env or {})}, **options)

    def run(self, *argv: str, check: bool = True, stdin: bytes = b"", timeout: float = 120, **options: Any,
            ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its text output. With ``check`` a failure fails the test and shows what was said."""
        process = self.spawn(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            output, errors = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, output.decode(errors="replace"),
                                           errors.decode(errors="replace"))
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
        return done

    def podman(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Debian's podman, the oracle, with limits that a process without CAP_SYS_RESOURCE can set."""
        conf = "/run/podman-oracle.conf"
        limits = [f"{name}={hard}:{hard}" for name, hard in (("nofile", 4096), ("nproc", 4096))]
        self.path(conf).write_text(f'[containers]\ndefault_ulimits = {limits!r}\n[engine]\ncgroup_manager = "cgroupfs"\n'
                                   'events_logger = "file"\n', encoding="ascii")
        return self.run("podman", *argv, env={"CONTAINERS_CONF": conf, **options.pop("env", {})}, **options)

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Run a Python function in a forked child in the world; its value, or its exception raised here.

        What it returns or raises must be picklable. Nothing it changes in memory is seen here.
        """
        reader, writer = os.pipe()
        with self._forking():
            child = os.fork()
            if child == 0:
                os.close(reader)
                os._exit(self._answer(writer, function, arguments, keywords))
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            answer = file.read()
        _, status = os.waitpid(child, 0)
        if not answer:
            pytest.fail(f"{function} ended with wait status {status}", pytrace=False)
        value, error = pickle.loads(answer)
        if error is not None:
            raise error
        return value

    def _answer(self, writer: int, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
        try:
            self._enter("/")
            os.environ.clear()
            os.environ.update(self.env)
            answer = pickle.dumps((function(*arguments, **keywords), None))
        except BaseException as error:  # noqa: BLE001  the parent raises it again
            cause = f"{traceback.format_exc()}"
            try:
                error.add_note(cause)
                answer = pickle.dumps((None, error))
                pickle.loads(answer)
            except Exception:  # noqa: BLE001  an exception of any shape
                answer = pickle.dumps((None, RuntimeError(cause)))
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
        return 0

    def path(self, path: str) -> Path:
        """A path of the world as this process reaches it."""
        return Path(f"/proc/{self.init}/root{path}")

    def reboot(self) -> None:
        """What a power cut does: no process gets a word, ``/run`` is empty, mounts, interfaces and rules are gone.

        The stores stay, and the kernel has another boot id.
        """
        self.wait_until(lambda: not self._killed(), "processes end", timeout=30)
        self.run("sh", "-ec", """
            for round in 1 2 3; do
                for mounted in $(awk '{print $5}' /proc/self/mountinfo | grep -E '^/(run|var/lib/containers)/.' | sort -ru); do
                    umount -l $mounted 2>/dev/null || true
                done
            done
            find /run -mindepth 1 -delete
            mkdir -m 755 /run/lock /run/user /run/home
            for link in $(ls /sys/class/net); do case $link in lo|uplink?) ;; *) ip link delete $link || true ;; esac; done
            nft flush ruleset 2>/dev/null || true
            cat /proc/sys/kernel/random/uuid >/run/.boot-id
            umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
            mount --bind /run/.boot-id /proc/sys/kernel/random/boot_id
        """)
        for cgroup in self.cgroups:
            _remove_cgroups(cgroup, keep_top=True)

    def _killed(self) -> list[int]:
        """The processes that had to be killed now; a monitor may have started one while it died."""
        found = self.processes()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    # --- looking at it ------------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Every process of the world but the first, as pids of this process' namespace."""
        found = []
        inside = os.fstat(self.namespaces["pid"])
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != self.init:
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.stat(f"/proc/{name}/ns/pid"), inside) and _state(name) != "Z":
                        found.append(int(name))
        return found

    def observe(self) -> dict[str, set[str]]:
        """What a container can leave behind, each thing as a line of text, by kind."""
        lines = Path(f"/proc/{self.init}/mountinfo").read_text(encoding="utf-8").splitlines()
        mounts = {line.split()[4] for line in lines} - {"/run/netns"}       # made once, as the ip program does
        seen = {"mount": mounts, "process": {_describe(pid) for pid in self.processes()}}
        seen["network namespace"] = _listing(self.path("/run/netns"))
        seen["interface"] = {line.split(": ")[1] for line in self.run("ip", "-o", "link").stdout.splitlines()}
        seen["address"] = {" ".join(line.split()[1:4]) for line in self.run("ip", "-o", "addr").stdout.splitlines()}
        seen["firewall rule"] = self._rules()
        seen["cgroup"] = {
            f"{directory}/{name}".removeprefix(cgroup) for cgroup in self.cgroups
            for directory, names, _ in os.walk(cgroup) for name in names if name.startswith("libpod-")
        }
        seen["directory"] = {
            f"{directory.removeprefix(str(self.path('')))}/{name}" for top in ("/run", "/var/lib/containers")
            for directory, names, files in os.walk(self.path(top))
            for name in (*names, *files) if _is_container_id(name) and not any(
                part in ("layers", "blobs", "mapped") or part.startswith(("overlay", "vfs")) for part in directory.split("/"))
        }
        return seen

    def _rules(self) -> set[str]:
        found = set()
        for table in ("filter", "nat", "mangle"):
            for line in self.run("iptables", "-t", table, "-S", check=False).stdout.splitlines():
                if not line.startswith("-P"):
                    found.add(f"{table} {line}")
        for line in self.run("nft", "list", "table", "inet", "netavark", check=False).stdout.splitlines():
            found.add(f"nft {line.strip()}")
        if self.run("nft", "list", "table", "inet", "podling", check=False).returncode == 0:
            found.add("table inet podling")                # it goes with the last container, whole
        return found

    def left(self, *, ignore: Callable[[str, str], bool] = lambda *_: False) -> list[str]:
        """What is there now and was not at the beginning; the firewall's empty frame, which netavark keeps, does not count."""
        now = self.observe()
        found = []
        for kind, things in now.items():
            found += [f"{kind} {thing}" for thing in sorted(things - self.before[kind])
                      if not (kind == "firewall rule" and _is_frame(thing)) and not ignore(kind, thing)]
        return found

    def assert_nothing_left(self, *, timeout: float = 20, ignore: Callable[[str, str], bool] = lambda *_: False) -> None:
        """Fail where a mount, namespace, rule, address, process, cgroup or directory of a container is still there.

        Clean-up that runs after the command (conmon's exit command) has ``timeout`` seconds to end.
        """
        deadline = time.monotonic() + timeout
        found = self.left(ignore=ignore)
        while found and time.monotonic() < deadline:
            time.sleep(0.05)
            found = self.left(ignore=ignore)
        if found:
            pytest.fail("left behind:\n  " + "\n  ".join(found), pytrace=False)

    def wait_until(self, condition: Callable[[], Any], what: str, timeout: float = 30) -> Any:
        """The condition's first true value; the test fails when it does not come in time."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout} s in vain: {what}", pytrace=False)
            time.sleep(0.01)
        return value

    def close(self) -> None:
        """End every process of the world, and with them the world."""
        assert self.holder.stdin is not None
        self.holder.kill()                                  # --kill-child: the first process goes too, and then the rest
        self.holder.wait()
        for stream in (self.holder.stdin, self.holder.stdout, self.holder.stderr):
            if stream is not None:
                stream.close()
        for descriptor in (*getattr(self, "namespaces", {}).values(), getattr(self, "own_pid_namespace", -1)):
            if descriptor >= 0:
                os.close(descriptor)
        remove_cgroups(self.name)


def _state(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]


def _describe(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
        return f"{pid} {words}"
    return str(pid)


def _listing(path: Path) -> set[str]:
    return set(os.listdir(path)) if path.is_dir() else set()


def _is_container_id(name: str) -> bool:
    return any(len(word) == 64 and not set(word) - set("0123456789abcdef") for word in name.replace(".", "-").split("-"))


def _is_frame(rule: str) -> bool:
    """Chains and jumps that netavark makes once for all containers and never removes."""
    words = rule.split()
    if words[0] == "nft":
        return not any(mark in rule for mark in (" dnat ", " saddr ", " daddr ", "nv_"))
    return not any(word.startswith(("NETAVARK-DN-", "10.")) or (word.startswith("NETAVARK-") and len(word) > 20
                                                                 and word not in FRAME_CHAINS) for word in words)


FRAME_CHAINS = ("NETAVARK-HOSTPORT-DNAT", "NETAVARK-HOSTPORT-SETMARK", "NETAVARK-HOSTPORT-MASQ", "NETAVARK_FORWARD",
                "NETAVARK_ISOLATION_1", "NETAVARK_ISOLATION_2", "NETAVARK_ISOLATION_3", "NETAVARK_INPUT")


def _remove_cgroups(top: str, *, keep_top: bool = False) -> None:
    for directory, names, _ in os.walk(top, topdown=False):
        for name in names:
            with contextlib.suppress(OSError):
                os.rmdir(f"{directory}/{name}")
    if not keep_top:
        with contextlib.suppress(OSError):
            os.rmdir(top)


def remove_cgroups(name: str) -> None:
    """Remove a dead world's cgroups; processes that are just ending hold them for some milliseconds."""
    tops = [f"{CGROUPS}/podling-tests", *(f"{CGROUPS}/{entry}/podling-tests" for entry in os.listdir(CGROUPS))]
    tops = [top for top in tops if os.path.isdir(top)]
    for _ in range(200):
        for top in tops:
            if os.path.isdir(f"{top}/{name}"):
                _remove_cgroups(f"{top}/{name}")
        if not any(os.path.isdir(f"{top}/{name}") for top in tops):
            break
        time.sleep(0.01)
    for top in tops:
        with contextlib.suppress(OSError):      # another world is there
            os.rmdir(top)


def _remove_stale() -> None:
    """Remove the cgroups of worlds whose test process was killed."""
    for top in (f"{CGROUPS}/podling-tests", f"{CGROUPS}/pids/podling-tests"):
        if os.path.isdir(top):
            for name in os.listdir(top):
                maker = name.split("-")[0]
                if maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
                    remove_cgroups(name)


@functools.cache
def why_not() -> str:
    """Why no world can be made on this host; "" where it can. It is found out by making one."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs the programs {', '.join(missing)} (`make setup` installs them)"
    _remove_stale()
    try:
        World(f"{os.getpid()}-probe").close()
    except (RuntimeError, OSError) as error:
        return str(error)
    return ""


_count = iter(range(1_000_000))


def new_world(layout: str = "v1") -> World:
    """A new world; the test is skipped, with the reason, where none can be made."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return World(f"{os.getpid()}-{next(_count)}", layout=layout)


@pytest.fixture
def world() -> Iterator[World]:
    """A world for one test, without cgroup v2 where the host is hybrid, so that every crun runs."""
    made = new_world()
    yield made
    made.close()


@pytest.fixture
def host_like_world() -> Iterator[World]:
    """A world for one test with the cgroup layout of this host."""
    made = new_world("host")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """A world for all tests of a module: for slow set-ups whose tests do not disturb each other."""
    made = new_world()
    yield made
    made.close()


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Each OCI runtime in turn."""
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"needs {name} (`make setup` installs it)")
    return name

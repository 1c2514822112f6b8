"""conmon, the monitor: one small process a container, which holds its streams, writes its log and tells how it ended."""

from __future__ import annotations

import os
import time

from podling import exitfile, jsontext
from podling.errors import PodlingError, ProgramFailed, Unsupported
from podling.linux import cgroups, pids, process, rootless
from podling.record import Record
from podling.runtime.monitor import notify, oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.model import ContainerConfig

_PARENT = "/libpod_parent"
_CGROUP = "/conmon"                          # below the containers' parent, as Podman has it
_SYNC_LIMIT = 1 << 20
_JOURNAL = "/run/systemd/journal/socket"
_EXIT_FILE_SECONDS = 10.0                    # how long conmon may take to write the exit file of a process that is gone
_LOST = 255


class Created(Record):
    """A container that exists in the runtime: its first process, which waits to be started, and its conmon."""

    pid: int
    conmon_pid: int


class Ended(Record):
    """How a container ended; ``finished`` in nanoseconds since 1970."""

    code: int
    finished: int


def find_conmon(requested: str, configured: Iterable[str]) -> str:
    """The path of conmon; Unsupported where it is not installed."""
    if requested:
        if not os.access(requested, os.X_OK):
            raise Unsupported(f"conmon {requested} cannot be executed: invalid argument")
        return requested
    for path in configured:
        if os.access(path, os.X_OK):
            return path
    found = process.find_program("conmon", ("/usr/libexec/podman", "/usr/lib/podman", "/usr/bin", "/usr/local/bin"))
    if found is None:
        raise Unsupported("could not find a working conmon binary", hint="install the package conmon")
    return found


def create(config: ContainerConfig, *, bundle: str, conf: ContainersConf, conmon: str, exits: str, exit_command: tuple[str, ...],
           keep_fds: Iterable[int] = (), preserve_fds: int = 0) -> Created:
    """Create the container in the runtime, watched by a conmon. Needs ``config.json`` in the bundle.

    ``keep_fds``: sockets that conmon keeps open for as long as it lives (reserved host ports). ``preserve_fds``: how many descriptors,
    from 3 on, the container's process gets. Raises CommandNotFound,
    NotExecutable or RuntimeFailed with the runtime's words; :func:`destroy` takes back what is half done.
    """
    os.makedirs(exits, 0o700, exist_ok=True)
    _unlink(f"{exits}/{config.id}")
    argv = [find_conmon(conmon, conf.conmon_path), *shared_arguments(config, bundle, config.id),
            "--exit-dir", exits, "--persist-dir", bundle, "--container-pidfile", f"{bundle}/pidfile",
            "--conmon-pidfile", f"{bundle}/conmon.pid", *log_arguments(config), *notify.arguments(config)]
    argv += input_arguments(terminal=config.terminal, stdin_open=config.stdin_open)
    if preserve_fds:
        argv += ["--runtime-opt", "--preserve-fds", "--runtime-opt", str(preserve_fds)]
    if config.timeout:
        argv += ["--timeout", str(config.timeout)]
    if conf.no_pivot_root:
        argv.append("--no-pivot")
    argv += exit_arguments(exit_command)
    inherit = process.INHERIT if config.log.driver == "passthrough" else None
    with Launch(argv, config, bundle=bundle, streams=inherit, keep_fds=(*range(3, 3 + preserve_fds), *keep_fds),
                variables=conf.conmon_env_vars) as launch:
        pid = launch.answer()
    return Created(pid=pid, conmon_pid=_read_pid(f"{bundle}/conmon.pid"))


def shared_arguments(config: ContainerConfig, bundle: str, unique: str) -> list[str]:
    """The arguments that containers and exec sessions have in common."""
    words = ["--api-version", "1", "--cid", config.id, "--cuuid", unique, "--name", config.name, "--runtime", config.runtime_path,
             "--bundle", bundle, "--full-attach", "--log-level", "error", "--no-sync-log"]
    if config.cgroup_manager == "systemd":
        words.append("--systemd-cgroup")
    runtime = [*config.runtime_flags, "--log-format=json", "--log", f"{bundle}/oci-log"]
    if config.cgroups == "disabled":
        if config.runtime != "crun":
            raise Unsupported(f"the OCI runtime {config.runtime} cannot run containers without cgroups",
                              hint="use --runtime crun, or leave out --cgroups=disabled")
        runtime.append("--cgroup-manager=disabled")
    for word in runtime:
        words += ["--runtime-arg", word]
    return words


def input_arguments(*, terminal: bool, stdin_open: bool) -> list[str]:
    """A terminal, or a pipe to write input to. Of a terminal with --stdin conmon would close its side when a client leaves."""
    if terminal:
        return ["--terminal"]
    return ["--stdin"] if stdin_open else []


def log_arguments(config: ContainerConfig) -> list[str]:
    """Where conmon writes the container's output."""
    log = config.log
    if log.driver == "journald":
        if not os.path.exists(_JOURNAL):
            raise Unsupported(f"failed to initialize journal: {_JOURNAL} does not exist",
                              hint="Use --log-driver k8s-file where systemd's journal does not run")
        return ["--log-path", "journald", *(("--log-tag", log.tag) if log.tag else ())]
    if log.tag:
        raise Unsupported(f"the log driver {log.driver} has no tags", hint="Use --log-driver journald with --log-opt tag")
    if log.driver not in ("k8s-file", "json-file", ""):
        return ["--log-path", log.driver]
    words = ["--log-path", f"k8s-file:{log.path}"]
    if log.max_size > 0:
        words += ["--log-size-max", str(log.max_size)]
    return words


def exit_arguments(command: tuple[str, ...]) -> list[str]:
    """What conmon does after the end."""
    words = ["--exit-command", command[0]]
    for word in command[1:]:
        words += ["--exit-command-arg", word]
    return words


class Launch:
    """A conmon being started: it reads one byte before it does anything, and answers with JSON lines on a pipe.

        with Launch(argv, config, bundle=...) as launch:
            pid = launch.answer()
    """

    def __init__(self, argv: list[str], config: ContainerConfig, *, bundle: str, streams: int | None = None,
                 keep_fds: Iterable[int] = (), attach: bool = False, variables: Iterable[str] = ()) -> None:
        self.config = config
        # Held open: the exit command of an exec session removes the bundle, perhaps before a failure is read.
        self.log = os.open(f"{bundle}/oci-log", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.sync, sync_write = os.pipe()
        start_read, self.start = os.pipe()
        self.attach, attach_write = os.pipe() if attach else (-1, -1)
        # What conmon has to say until it leaves us; from then on its standard error is /dev/null.
        self.words, words_write = os.pipe()
        env = {**dict(line.partition("=")[::2] for line in variables), **oci.environment(config.id),
               "_OCI_SYNCPIPE": str(sync_write), "_OCI_STARTPIPE": str(start_read)}
        passed = [sync_write, start_read, *keep_fds]
        if attach:
            env["_OCI_ATTACHPIPE"] = str(attach_write)
            passed.append(attach_write)
        self._rest = b""
        try:
            # A session of its own: a Ctrl-C at the terminal is not meant for it.
            self.pid = process.spawn(argv, stdin=streams, stdout=streams, stderr=words_write if streams is None else streams,
                                     env=env, cwd="/", pass_fds=passed, new_session=True)
        except BaseException:
            self.__exit__()
            raise
        finally:
            for fd in (sync_write, start_read, attach_write, words_write):
                if fd >= 0:
                    os.close(fd)
        self._place()
        self.go()

    def _place(self) -> None:
        """Move conmon out of this process' cgroup, which may end or be limited, before it forks."""
        config = self.config
        if config.cgroup_manager != "cgroupfs" or config.cgroups in ("disabled", "no-conmon", "split") or rootless.owner():
            return
        cgroup = (config.cgroup_parent or _PARENT) + _CGROUP
        try:
            try:
                cgroups.enter(cgroup, self.pid)
            except FileNotFoundError:
                cgroups.make(cgroup)
                cgroups.enter(cgroup, self.pid)
        except OSError:
            return                            # without the right to it conmon stays where it is, as Podman's does

    def answer(self) -> int:
        """The next number that conmon reports (a pid, an exit code); the runtime's error is raised."""
        reply = self._read(self.sync)
        if reply is None:
            raise self._failure("")
        number = reply.get("data")
        if not isinstance(number, int):
            raise self._failure(f"conmon reported {jsontext.dumps(reply)[:200]}")
        if number < 0 or (number == 0 and reply.get("message")):
            raise self._failure(str(reply.get("message", "")))
        return number

    def last_answer(self) -> int | None:
        """The exit code that conmon reports when an exec session ends, None where it died without one."""
        reply = self._read(self.sync)
        return reply.get("data") if reply is not None else None

    def wait_attachable(self) -> None:
        """Wait until the attach socket of an exec session listens."""
        if self._read(self.attach) is None:
            raise self._failure("")

    def go(self) -> None:
        """Let conmon go on: at its beginning, and with an exec session once that is attached to."""
        try:
            os.write(self.start, b"\0")
        except BrokenPipeError:
            return                            # it is gone, and :meth:`answer` says why

    def _read(self, fd: int) -> dict[str, Any] | None:
        data, self._rest = self._rest, b""
        while b"\n" not in data and len(data) < _SYNC_LIMIT:
            part = os.read(fd, 1 << 16)
            if not part:
                break
            data += part
        line, _, self._rest = data.partition(b"\n")
        if not line.strip():
            return None
        found = jsontext.loads(line)
        return found if isinstance(found, dict) else {}

    def _failure(self, message: str) -> ProgramFailed:
        """The runtime's own error if it wrote one, else what conmon said."""
        logged = oci.logged_error(f"/proc/self/fd/{self.log}")
        if not logged and not message:
            message = os.read(self.words, 1 << 14).decode(errors="replace").strip() or "conmon ended without a word"
            return ProgramFailed(f"container create failed: {message}")
        return oci.failure(self.config.runtime, logged or message, argv=(self.config.runtime_path,))

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (self.sync, self.start, self.attach, self.words, self.log):
            if fd >= 0:
                os.close(fd)
        pid = getattr(self, "pid", 0)
        if pid:
            process.wait(pid)
            oci.take_back_null()


def wait_exit(exits: str, container_id: str, pid: int, start: int) -> Ended:
    """Wait for the end of a container's first process and for conmon's word about it."""
    pids.wait_gone(pid, start)
    pause, deadline = 0.0003, time.monotonic() + _EXIT_FILE_SECONDS
    path = f"{exits}/{container_id}"
    while (ended := exitfile.read(path)) is None:
        if time.monotonic() > deadline:
            return Ended(code=_LOST, finished=time.time_ns())       # conmon was killed too
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    return Ended(code=ended[0], finished=ended[1])


def destroy(config: ContainerConfig, *, bundle: str, exits: str) -> None:
    """Everything of the container in the runtime is gone, and a conmon that still waits for its end with it; idempotent."""
    cut_off = not os.path.exists(f"{exits}/{config.id}") and _end_conmon(config, bundle)    # else its exit command finds that all is done
    oci.delete(config)
    oci.take_back_null()                      # from a start that was killed
    if cut_off and config.cgroup_manager == "cgroupfs" and not rootless.owner():
        cgroups.remove(f"{config.cgroup_parent.rstrip('/') or _PARENT}/libpod-{config.id}")


def _end_conmon(config: ContainerConfig, bundle: str) -> bool:
    """Kill the container's conmon; True if its runtime was still at making the container, and was killed with it.

    A runtime whose conmon alone is killed goes on, and what it makes then nobody finds.
    """
    pid = _read_pid(f"{bundle}/conmon.pid") or _find_conmon(config, bundle)
    start = pids.start_time(pid) if pid else 0
    if not start or config.id.encode() not in _command_line(pid):
        return False
    makers = [(child, its_start) for child, its_start in pids.descendants(pid) if b"\0create\0" in _command_line(child)]
    for each, its_start in ((pid, start), *makers):
        pids.kill(each, its_start, 9)
    for each, its_start in ((pid, start), *makers):
        if not pids.wait_gone(each, its_start, 10.0):
            raise PodlingError(f"conmon or its runtime, process {each}, of container {config.id} does not end")
    return bool(makers)


def _find_conmon(config: ContainerConfig, bundle: str) -> int:
    """The conmon of a start that was cut off before its pid was written; 0 where there is none."""
    if not os.path.exists(f"{bundle}/config.json"):
        return 0
    wanted = f"\0--cuuid\0{config.id}\0".encode()
    return next((int(name) for name in os.listdir("/proc") if name.isdigit() and wanted in _command_line(int(name))), 0)


def _command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(1 << 14)
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _read_pid(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return int(file.read(32) or b"0")
    except (FileNotFoundError, ValueError):
        return 0


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return

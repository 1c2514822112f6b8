"""The OCI runtime's own commands, for crun and runc alike, and their errors in Podman's words."""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import CommandNotFound, NotExecutable, ProgramFailed
from podling.linux import cgroups, files, pids, process, rootless, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from podling.model import ContainerConfig

_SECONDS = 240.0             # no command of a runtime takes that long, unless the host is in trouble
# Kept for the programs we start; what a user's shell has besides is no business of a container's.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
                "XDG_DATA_HOME", "XDG_CACHE_HOME")
_PREFIXES = ("CONTAINERS_", "_CONTAINERS_", "PODLING_")
RUN_DIRECTORIES = "PODLING_RUN_DIRECTORIES"   # where an engine has the directories of its running containers
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RuntimeFailed(ProgramFailed):
    """The OCI runtime could not do it, for another reason than the command to run."""

    exit_code = 126


def environment(container_id: str) -> dict[str, str]:
    """The environment for conmon, the runtime and the exit command of a container; without a locale, whose tables would cost
    each conmon two pages.

    Root's has no XDG_RUNTIME_DIR: the runtimes would keep their state there, and whoever comes later from another login
    would not find the container. Against a container that overwrites them (CVE-2019-5736) the runtimes execute a read-only
    bind mount of themselves, made in _LIBCONTAINER_STATEDIR for an instant: one that was killed in it leaves the mount behind,
    and there it is found again when the container is taken down.
    """
    kept = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith(_PREFIXES)}
    kept.setdefault("PATH", _PATH)
    if rootless.owner() is None:
        kept.pop("XDG_RUNTIME_DIR", None)
    if RUN_DIRECTORIES in os.environ:
        kept["_LIBCONTAINER_STATEDIR"] = f"{os.environ[RUN_DIRECTORIES]}/{container_id}"
    return kept


def take_back_null() -> None:
    """Give /dev/null back to the host's root; idempotent.

    Without ``-i`` conmon gives it to the runtime as standard input, and crun 1.8 gives that to the container's root and to the
    user of its process, who could then close the host's device to everybody.
    """
    if os.stat(os.devnull).st_uid != 0 and userns.is_initial(userns.uid_map()):
        os.chown(os.devnull, 0, 0)


def call(config: ContainerConfig, *words: str, check: bool = True) -> process.Completed:
    """Run a command of the container's runtime; its failure as :func:`failure` tells it."""
    argv = [config.runtime_path, *config.runtime_flags, *words]
    done = process.run(argv, env=environment(config.id), timeout=_SECONDS, check=False)
    if check and done.status != 0:
        raise failure(config.runtime, done.stderr.decode(errors="replace"), argv=tuple(argv), status=done.status)
    return done


# --- commands ---------------------------------------------------------------------------------------------------------


def start(config: ContainerConfig) -> None:
    """Let the created container's process go."""
    call(config, "start", config.id)


def kill(config: ContainerConfig, signal: int, *, every: bool = False, pid: int = 0, start: int = 0) -> bool:
    """Send a signal to the container's first process, or with ``every`` to all of them; False if it has ended.

    With ``pid`` and its start time the first process is signalled directly, which saves starting the runtime.
    """
    private = config.pid_ns.mode == "private"
    if pid and (private or not every):
        # Where the pid namespace is the container's own, the kernel kills all of it with its first process.
        return pids.kill(pid, start, signal)
    if pid and rootless.owner() and cgroups.layout() != "v2":
        # Without a cgroup the runtime does not find the container's processes among the host's.
        below = pids.descendants(pid)
        found = pids.kill(pid, start, signal)
        for other, its_start in below if found else ():
            pids.kill(other, its_start, signal)
        return found
    words = ["kill", "--all"] if every and not private else ["kill"]
    done = call(config, *words, config.id, str(int(signal)), check=False)
    if done.status == 0:
        return True
    known = state(config)
    if known is None or known.get("status") == "stopped":
        return False
    raise failure(config.runtime, done.stderr.decode(errors="replace"), argv=(config.runtime_path, *words), status=done.status)


def pause(config: ContainerConfig) -> None:
    """Freeze the container's processes."""
    call(config, "pause", config.id)


def resume(config: ContainerConfig) -> None:
    """Let frozen processes go on."""
    call(config, "resume", config.id)


def state(config: ContainerConfig) -> dict[str, Any] | None:
    """What the runtime knows: status (created, running, paused, stopped), pid, ...; None where it knows no such container."""
    done = call(config, "state", config.id, check=False)
    if done.status != 0:
        return None
    found = jsontext.loads(done.stdout)
    return found if isinstance(found, dict) else None


def update(config: ContainerConfig, resources: Mapping[str, Any], directory: str) -> None:
    """Change the limits of a running container; ``resources`` as ``linux.resources``, written to a file in ``directory``."""
    path = f"{directory}/resources.json"
    files.write_atomic(path, jsontext.dumps(dict(resources)).encode())
    try:
        call(config, "update", f"--resources={path}", config.id)
    finally:
        os.unlink(path)


def delete(config: ContainerConfig) -> None:
    """Kill what is left of the container in the runtime and remove it there; idempotent."""
    kept = os.environ.get("XDG_RUNTIME_DIR", "/run") if rootless.owner() else "/run"
    if config.runtime in ("crun", "runc") and not os.path.exists(f"{kept}/{config.runtime}/{config.id}"):
        return
    done = call(config, "delete", "--force", config.id, check=False)
    if done.status != 0 and state(config) is not None:
        raise failure(config.runtime, done.stderr.decode(errors="replace"),
                      argv=(config.runtime_path, "delete", "--force", config.id), status=done.status)


# --- errors -----------------------------------------------------------------------------------------------------------


def logged_error(path: str) -> str:
    """The last error in a runtime's JSON log, "" where there is none."""
    try:
        text = files.read_text(path, 1 << 20)
    except FileNotFoundError:
        return ""
    found = ""
    for line in text.splitlines():
        try:
            entry = jsontext.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
            found = str(entry.get("msg", "")) or found
    return found


def plain_message(text: str) -> str:
    """A runtime's message without the decoration of its log lines: crun writes JSON or plain text, runc logfmt."""
    lines = []
    for line in text.strip().splitlines():
        _, marker, quoted = line.partition(' msg="')
        if marker:
            lines.append(_unquote(quoted.rstrip().removesuffix('"')))
        else:
            lines.append(line)
    return "\n".join(lines)


def _unquote(text: str) -> str:
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


def failure(runtime: str, message: str, *, argv: tuple[str, ...] = (), status: int = 0) -> ProgramFailed:
    """A runtime's message as the error that Podman makes of it, with its exit code: 127, 126, ...

    The runtimes give no codes for their errors; as Podman does, they are told apart by the system's words in the message.
    """
    text = plain_message(message)
    kinds = (((CommandNotFound, "OCI runtime attempted to invoke a command that was not found"),
              ("executable file not found in", "no such file or directory")),
             ((NotExecutable, "OCI permission denied"), ("permission denied", "operation not permitted")))
    # Podman looks for permissions first
    for (kind, ending), words in reversed(kinds):
        line = next((line for line in text.splitlines() if any(word in line.lower() for word in words)), None)
        if line is not None:
            line = line.removeprefix(f"{runtime}: ")
            return kind(f"{runtime}: {line.strip()}: {ending}", argv=argv, status=status, output=text)
    if not text:
        text = f"exit status {status}" if status else "no message"
    return RuntimeFailed(f"{runtime}: {text.strip()}: OCI runtime error", argv=argv, status=status, output=text)

"""An ordinary user in a world, as ``useradd`` makes one: an account, subordinate ids, a home, a runtime directory.

The accounts' files are private copies. /dev/fuse and /dev/net/tun are nodes of our own, which everybody may use, as udev makes them
on distributions; the machine's may be root's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.sandbox import PODLING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox import World

UID = 4242
FIRST, SIZE = 100000, 65536
HOME = "/var/lib/containers/home/tester"         # outlives World.reboot
RUNTIME_DIRECTORY = f"/run/user/{UID}"
HOLDER = "sleep 2147483647"

_SETUP = f"""
for name in passwd group subuid subgid; do
    cp /etc/$name /run/.$name; chmod 644 /run/.$name; mount --bind /run/.$name /etc/$name
done
echo 'tester:x:{UID}:{UID}:Tester:{HOME}:/bin/sh' >>/etc/passwd
echo 'tester:x:{UID}:' >>/etc/group
: >/etc/subuid; : >/etc/subgid
mkdir -m 755 -p {HOME}; chown {UID}:{UID} {HOME}
for node in net/tun:10:200 fuse:10:229; do
    path=/dev/${{node%%:*}} numbers=${{node#*:}}
    [ -e $path ] || continue
    mknod -m 666 /run/.${{path##*/}} c ${{numbers%:*}} ${{numbers#*:}}
    mount --bind /run/.${{path##*/}} $path
done
"""


class User:
    """The user ``tester``. ``ranges``: with subordinate ids."""

    def __init__(self, world: World, *, ranges: bool = True) -> None:
        self.world = world
        self.env = {"HOME": HOME, "USER": "tester", "XDG_RUNTIME_DIR": RUNTIME_DIRECTORY}
        world.run("sh", "-ec", _SETUP)
        self.log_in()
        if ranges:
            self.give_ranges()

    def give_ranges(self) -> None:
        """What ``usermod --add-subuids --add-subgids`` does."""
        self.world.run("sh", "-c", f"for name in subuid subgid; do echo tester:{FIRST}:{SIZE} >>/etc/$name; done")

    def log_in(self) -> None:
        """The runtime directory of a session."""
        self.world.run("sh", "-ec", f"mkdir -m 700 -p {RUNTIME_DIRECTORY}; chown {UID}:{UID} {RUNTIME_DIRECTORY}")

    def command(self, *argv: str) -> tuple[str, ...]:
        """The command line as the user's."""
        if argv[0] == "podling":
            argv = (PODLING, *argv[1:])
        return ("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", *argv)

    def spawn(self, *argv: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """As :meth:`World.spawn`."""
        return self.world.spawn(*self.command(*argv), env={**self.env, **(env or {})}, cwd=options.pop("cwd", HOME), **options)

    def run(self, *argv: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        """As :meth:`World.run`."""
        return self.world.run(*self.command(*argv), env={**self.env, **(env or {})}, cwd=options.pop("cwd", HOME), **options)

    def podling(self, *argv: str, status: int = 0, **options: Any) -> str:
        """Run podling; its output, with its errors where a failure (``status``) is expected."""
        done = self.run("podling", *argv, check=False, **options)
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    def load(self, archive: Path, **options: Any) -> None:
        """Load an image that only root can read."""
        self.podling("load", "-q", stdin=archive.read_bytes(), **options)

    def holders(self) -> list[int]:
        """The processes that hold the user's namespaces."""
        return [pid for pid in self.world.processes() if _words(pid) == HOLDER]

    def mounts(self) -> list[str]:
        """What is mounted for containers in the user's namespace."""
        found = []
        for pid in self.holders():
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
                points = [line.split()[4] for line in file]
            found += [point for point in points if "/podling/" in point and not point.endswith("/podling/netns")]
        return found

    def assert_nothing_left(self, *, ignore: Callable[[str, str], bool] = lambda *_: False) -> None:
        """As :meth:`World.assert_nothing_left`; the holder stays, with an empty namespace. Ends with no mount of a container."""
        def kept(kind: str, thing: str) -> bool:
            holder = kind == "process" and thing.endswith(HOLDER + " ")
            return ignore(kind, thing) or holder or (kind == "mount" and not thing.startswith(("/run/user", HOME)))

        self.world.assert_nothing_left(ignore=kept)
        self.world.wait_until(lambda: not self.mounts(), f"no mounts: {self.mounts()}")
        assert not list(self.world.path(f"{RUNTIME_DIRECTORY}/containers").glob("podling*/containers/*"))

    def assert_no_network_left(self) -> None:
        """No container's network namespace, and nothing of what its networks needed."""
        place = self.world.path(f"{RUNTIME_DIRECTORY}/containers/podling")
        self.world.wait_until(lambda: not list(place.glob("netns/*")), "no namespace left")
        kept = ("aardvark-dns", "pasta.json")
        assert not [path for path in place.glob("networks/*") if not path.name.endswith("lock") and path.name not in kept]


def _words(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""

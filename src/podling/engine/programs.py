"""The versions and packages of the programs that podling calls, for ``info``.

Asking a program costs milliseconds, asking the package manager ten times more. What was found is kept for as long as the
program's file stays the same; Debian's package lists are read directly, other package managers are not asked.
"""

from __future__ import annotations

import os

from podling import jsontext, log
from podling.errors import PodlingError, explain
from podling.linux import files, process
from podling.record import Record

_KEPT_LIMIT = 1 << 20
_DPKG = "/var/lib/dpkg"
_VERSION_SECONDS = 10.0


class Program(Record):
    """An installed program: path, what ``--version`` says, and the package it is from ("Unknown" where that is not known)."""

    path: str = ""
    version: str = ""
    package: str = ""


class Programs:
    """A lookup that keeps what it finds in one file of the cache directory."""

    def __init__(self, cache: str) -> None:
        self._file = cache + "/programs.json"
        self._kept = self._read()
        self._changed = False

    def _read(self) -> dict[str, list[str]]:
        try:
            kept = jsontext.loads(files.read_text(self._file, _KEPT_LIMIT))
        except (FileNotFoundError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def get(self, path: str | None) -> Program:
        """The program at this path; an empty one where there is none."""
        if not path:
            return Program()
        try:
            state = os.stat(path)
        except OSError:
            return Program()
        key = f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}"
        kept = self._kept.get(path)
        if kept is None or kept[0] != key:
            kept = self._kept[path] = [key, _version(path), package_of(path)]
            self._changed = True
        return Program(path=path, version=kept[1], package=kept[2])

    def keep(self) -> None:
        """Write down what was found anew."""
        if self._changed:
            os.makedirs(os.path.dirname(self._file), 0o700, exist_ok=True)
            files.write_atomic(self._file, jsontext.dumps(self._kept).encode())


def _version(path: str) -> str:
    try:
        return process.run([path, "--version"], timeout=_VERSION_SECONDS).stdout.decode(errors="replace").strip()
    except PodlingError as error:
        log.debug(f"asking {path} for its version: {explain(error)}")
        return ""


def package_of(path: str, *, dpkg: str = _DPKG) -> str:
    """``conmon_2.1.6-1_amd64`` of a program from a Debian package, "Unknown" otherwise."""
    candidates = (path, path.removeprefix("/usr")) if path.startswith("/usr/") else (path,)   # merged /usr: lists have either
    owner = _owner(candidates, os.path.basename(path), dpkg + "/info")
    if not owner:
        return "Unknown"
    version, architecture = _installed(owner, dpkg + "/status")
    return f"{owner}_{version}_{architecture}" if version else "Unknown"


def _owner(paths: tuple[str, ...], name: str, directory: str) -> str:
    """The package whose list has one of the paths; the one called like the program is looked at first."""
    try:
        lists = [entry for entry in os.listdir(directory) if entry.endswith(".list")]
    except OSError:
        return ""
    lists.sort(key=lambda entry: not entry.startswith(name))
    wanted = [f"\n{path}\n".encode() for path in paths]
    for entry in lists:
        with open(f"{directory}/{entry}", "rb") as file:
            content = b"\n" + file.read()
        if any(line in content for line in wanted):
            return entry.removesuffix(".list").partition(":")[0]
    return ""


def _installed(package: str, status: str) -> tuple[str, str]:
    """(version, architecture) of an installed package."""
    try:
        with open(status, "rb") as file:
            content = b"\n" + file.read()
    except OSError:
        return "", ""
    start = content.find(f"\nPackage: {package}\n".encode())
    if start < 0:
        return "", ""
    end = content.find(b"\n\n", start)
    fields = dict(line.partition(": ")[::2] for line in content[start:end].decode(errors="replace").splitlines())
    return fields.get("Version", ""), fields.get("Architecture", "")

"""How podling is started, and how it starts itself again."""

from __future__ import annotations

import gc
import os
import sys
from errno import EPIPE
from os import _exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_ADDED = ("LC_CTYPE", "PODLING_RUN_DIRECTORIES", "XDG_RUNTIME_DIR", "DOCKER_CONFIG")


def run() -> NoReturn:
    """Run the command line of this process and end it with the command's exit code.

    The process ends by ``_exit``: taking the interpreter down in order costs a millisecond and frees what the kernel frees.
    """
    _open_standard_descriptors()
    gc.set_threshold(50_000)       # a command's modules are 30,000 objects: searching them for garbage again and again takes 2 ms
    from podling.cli.main import main

    _exit(_flush(main(sys.argv[1:])))


def _open_standard_descriptors() -> None:
    """/dev/null where the caller closed 0, 1 or 2: else the next file that is opened becomes the standard output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)      # the lowest free number is this one


def _flush(code: int) -> int:
    """Write out what is buffered; where that fails a success becomes a failure, without words where the reader just left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # None: the descriptor was closed from the start
                stream.flush()
        except OSError as error:
            code = code or 125
            if stream is sys.stdout and error.errno != EPIPE:
                os.write(2, f"Error: writing output: {os.strerror(error.errno or 0).lower()}\n".encode())
    return code


def caller_environment() -> dict[str, str]:
    """The environment that the caller gave, as containers may get it: without what the interpreter and podling itself added.

    Python sets LC_CTYPE where the caller's locale is C (PEP 538), and podling notes a few things for the programs it starts.
    """
    try:
        with open("/proc/self/environ", "rb") as file:     # what this process began with
            given = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    except OSError:
        given = set()
    return {name: value for name, value in os.environ.items()
            if os.fsencode(name) in given or not (name in _ADDED or name.startswith("_CONTAINERS_"))}


def own_command() -> list[str]:
    """The command line that starts this very podling, arguments to be added: for conmon's exit command and health checks."""
    package = os.path.realpath(os.path.dirname(__file__))
    return [sys.executable or "/usr/bin/python3", "-I", "-S", f"{package}/__main__.py"]

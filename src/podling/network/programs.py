"""Where the helper programs of networks are: netavark, aardvark-dns, slirp4netns, pasta."""

from __future__ import annotations

import os

from podling.errors import Unsupported
from podling.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf


# An ordinary user's $PATH has them on few distributions only.
_ADMINISTRATORS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """$PATH for programs that configure networks, and for those that start such ones."""
    found = os.get_exec_path()
    return ":".join((*found, *(directory for directory in _ADMINISTRATORS if directory not in found)))


def find(name: str) -> str | None:
    """The path of a program that configures networks (nft, iptables), None where it is not installed."""
    return process.find_program(name) or process.find_program(name, _ADMINISTRATORS)


def find_helper(name: str, conf: ContainersConf, *, needed: bool = True) -> str:
    """The path of a helper program; Unsupported where it is missing, "" if it is not needed."""
    for directory in conf.helper_binaries_dir:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    found = process.find_program(name)
    if found is None and needed:
        raise Unsupported(f"could not find {name!r} in one of {', '.join(conf.helper_binaries_dir)}",
                          hint=f"install the package {name}, or use --network host or none")
    return found or ""

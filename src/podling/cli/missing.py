"""Podman's commands that podling does not have yet: they are refused by their names, not as unknown words."""

from __future__ import annotations

# Group (or "" for the program itself) -> the commands missing in it; "*" means the whole group.
MISSING: dict[str, str] = {
    "": "auto-update build compose events init stats update",
    "container": "checkpoint clone init prune restore runlabel stats update",
    "image": "build",
    "volume": "export import mount unmount reload",
    "system": "connection events renumber service",
    "buildx": "* build inspect prune version",
    "farm": "* build create list ls remove rm update",
    "generate": "* kube spec systemd",
    "healthcheck": "* run",
    "kube": "* apply down generate play",
    "machine": "* cp info init inspect list ls os remove reset rm set ssh start stop",
    "play": "* kube",
    "pod": "* clone create exists inspect kill list logs ls pause prune ps restart rm start stats stop top unpause",
    "quadlet": "* install list ls print rm",
    "secret": "* create exists inspect list ls remove rm",
}


def missing(words: list[str]) -> str:
    """The path of the missing Podman command that the words begin with, for example ``pod create``; "" if there is none."""
    first = words[0]
    if first in MISSING[""].split():
        return first
    names = MISSING.get(first, "").split()
    if len(words) > 1 and words[1] in names:
        return f"{first} {words[1]}"
    return first if "*" in names else ""

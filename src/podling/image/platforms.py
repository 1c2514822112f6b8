"""Which platform's image a host takes, in Go's words (linux/amd64, linux/arm/v7)."""

from __future__ import annotations

import os

from podling.errors import InvalidArgument
from podling.model import Platform
from podling.values.machines import ARCHITECTURES, VARIANTS

# Most capable first: a host of one variant also runs what stands behind it.
_COMPATIBLE = {
    "arm": ("v8", "v7", "v6", "v5"),
    "arm64": ("v9.5", "v9.4", "v9.3", "v9.2", "v9.1", "v9", "v8.9", "v8.8", "v8.7", "v8.6", "v8.5", "v8.4", "v8.3", "v8.2",
              "v8.1", "v8"),
    "amd64": ("v4", "v3", "v2", "v1"),
}
# Supported by every machine of the architecture: the same as no variant.
_BASE_VARIANT = {"arm64": "v8", "amd64": "v1"}
_OTHER_NAMES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386"}


def host_platform() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    return Platform(os="linux", architecture=ARCHITECTURES.get(machine, machine), variant=VARIANTS.get(machine, ""))


def parse_platform(text: str) -> Platform:
    """The platform of ``linux/arm64/v8`` or ``linux/arm64``; InvalidArgument otherwise."""
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise InvalidArgument(f"invalid platform syntax for --platform (use OS/ARCH[/VARIANT]): {text!r}")
    return Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else "")


def format_platform(platform: Platform) -> str:
    """``linux/arm64/v8``."""
    return f"{platform.os}/{platform.architecture}" + (f"/{platform.variant}" if platform.variant else "")


def wanted_platforms(asked: Platform | None = None, host: Platform | None = None) -> tuple[Platform, ...]:
    """The platforms that will do, best first. Empty fields of ``asked`` are the host's.

    The host's variant counts only where the architecture was not asked for: ``--arch arm`` means any arm, as in Podman.
    """
    host = host or host_platform()
    system = (asked and asked.os) or host.os
    architecture = (asked and asked.architecture) or host.architecture
    architecture = _OTHER_NAMES.get(architecture, architecture)
    variant = (asked and asked.variant) or ("" if asked and asked.architecture else host.variant)
    return tuple([Platform(os=system, architecture=architecture, variant=name) for name in _variants(architecture, variant)])


def _variants(architecture: str, variant: str) -> tuple[str, ...]:
    if not variant:
        base = _BASE_VARIANT.get(architecture)
        return ("", base) if base else ("",)
    order = _COMPATIBLE.get(architecture, ())
    if variant not in order:
        return (variant, "")
    return (*order[order.index(variant):], "")


def runs_on(image: Platform, wanted: tuple[Platform, ...]) -> bool:
    """Whether an image of this platform is one of those wanted, its variant left aside (images often leave it out)."""
    first = wanted[0]
    return image.os in ("", first.os) and image.architecture in ("", first.architecture)

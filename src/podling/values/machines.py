"""The kernel's names of machines as Go's names of architectures and their variants."""

from __future__ import annotations

ARCHITECTURES = {
    "x86_64": "amd64", "i386": "386", "i486": "386", "i586": "386", "i686": "386", "aarch64": "arm64", "aarch64_be": "arm64",
    "armv8l": "arm", "armv7l": "arm", "armv6l": "arm", "armv5tel": "arm", "ppc64le": "ppc64le", "ppc64": "ppc64",
    "s390x": "s390x", "riscv64": "riscv64", "mips64": "mips64le", "loongarch64": "loong64",
}
VARIANTS = {"aarch64": "v8", "armv8l": "v8", "armv7l": "v7", "armv6l": "v6", "armv5tel": "v5"}

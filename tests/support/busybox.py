"""A small image without any engine: static busybox and its links."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _config(diff_ids: list[str], cmd: list[str]) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
                       "config": {"Cmd": cmd, "Env": ["PATH=/bin"]},
                       "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d in diff_ids]},
                       "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "made"} for _ in diff_ids]}).encode()


def busybox_archive(base: Path) -> Path:
    """A docker-archive of ``localhost/bb:latest``: static busybox and its links."""
    layer = io.BytesIO()
    binary = Path("/bin/busybox").read_bytes()
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "etc", "root", "tmp", "var"):
            tar.addfile(_entry(directory, tarfile.DIRTYPE, mode=0o1777 if directory == "tmp" else 0o755))
        entry = _entry("bin/busybox", tarfile.REGTYPE)
        entry.size = len(binary)
        tar.addfile(entry, io.BytesIO(binary))
        for name in names:
            if name != "busybox":
                link = _entry(f"bin/{name}", tarfile.SYMTYPE)
                link.linkname = "/bin/busybox"
                tar.addfile(link)
        for path, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            entry = _entry(path, tarfile.REGTYPE, mode=0o644)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    content = layer.getvalue()
    config = _config([_digest(content)], ["sh"])
    path = base / "bb.tar"
    manifest = json.dumps([{"Config": _digest(config) + ".json", "RepoTags": ["localhost/bb:latest"],
                            "Layers": [_digest(content) + ".tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in ((_digest(content) + ".tar", content), (_digest(config) + ".json", config), ("manifest.json", manifest)):
            entry = _entry(name, tarfile.REGTYPE, mode=0o644)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def _entry(name: str, kind: bytes, *, mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    return entry

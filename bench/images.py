"""Images for measuring: busybox, and one of 480 MB in 8 layers with 47,000 files, made without any engine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

BIG_LAYERS, BIG_FILES, BIG_BYTES = 8, 47_000, 480_000_000


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


def big_image(reference: str, base: Path) -> None:
    """Push the big image to a registry with skopeo, out of an OCI layout that is removed afterwards.

    Half of each file is random, half is text, so that it compresses by about two as real images do.
    """
    layout = base / "big-layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    diff_ids, layers = [], []
    for number in range(BIG_LAYERS):
        tar = layout / "layer.tar"
        _big_layer(tar, number)
        diff_ids.append(_file_digest(tar))
        subprocess.run(["gzip", "-1", "-n", str(tar)], check=True)
        packed = tar.with_suffix(".tar.gz")
        digest = _file_digest(packed)
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{digest}",
                       "size": packed.stat().st_size})
        packed.rename(blobs / digest)
    config = _config(diff_ids, ["sh"])
    (blobs / _digest(config)).write_bytes(config)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                                      "digest": f"sha256:{_digest(config)}", "size": len(config)}, "layers": layers}).encode()
    (blobs / _digest(manifest)).write_bytes(manifest)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{_digest(manifest)}", "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "1"}}]}))
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{reference}"], check=True)
    subprocess.run(["rm", "-rf", str(layout)], check=True)


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _big_layer(path: Path, number: int) -> None:
    files = BIG_FILES // BIG_LAYERS
    size = BIG_BYTES // BIG_FILES
    text = (b"the quick brown fox jumps over the lazy dog, again and again\n" * (size // 60 + 1))[:size // 2]
    with tarfile.open(path, "w") as tar:
        for index in range(files):
            if index % 100 == 0:
                tar.addfile(_entry(f"layer{number}/d{index // 100}", tarfile.DIRTYPE))
            entry = _entry(f"layer{number}/d{index // 100}/f{index}", tarfile.REGTYPE, mode=0o644)
            data = os.urandom(size - len(text)) + text
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

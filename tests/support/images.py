"""Images made of plain Python tars, for registries and archives; and the big one that the benchmarks move around.

    image = simple_image({"etc/motd": b"hello"}, {"bin/tool": b"..."})
    image.write_layout(directory)                   # an OCI layout that skopeo reads
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def sha256(data: bytes) -> str:
    """A digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: dict[str, bytes] | Iterable[tuple[tarfile.TarInfo, bytes]], *, format: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed tar of regular files (with their directories), or of whatever members are given."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format) as archive:
        if isinstance(files, dict):
            made: set[str] = set()
            for name, content in files.items():
                for depth in range(1, name.count("/") + 1):
                    parent = "/".join(name.split("/")[:depth])
                    if parent not in made:
                        made.add(parent)
                        info = tarfile.TarInfo(parent + "/")
                        info.type, info.mode = tarfile.DIRTYPE, 0o755
                        archive.addfile(info)
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = len(content), 0o644, 1_700_000_000
                archive.addfile(info, io.BytesIO(content))
        else:
            for info, content in files:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


def compress(data: bytes, kind: str) -> bytes:
    """The data as gzip, zstd or as it is."""
    if kind == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if kind == "zstd":
        from backports import zstd

        return zstd.compress(data, 3)
    return data


class TestImage:
    """An image: blobs by digest, and a manifest."""

    __test__ = False

    def __init__(self, layers: Iterable[bytes], *, config: dict[str, object] | None = None, compression: str = "gzip",
                 docker: bool = False, architecture: str = "amd64", variant: str = "", annotations: dict[str, str] | None = None) -> None:
        self.tars = list(layers)
        self.diff_ids = [sha256(layer) for layer in self.tars]
        self.blobs: dict[str, bytes] = {}
        self.media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
        value: dict[str, object] = {"created": "2024-05-06T07:08:09.123456789Z", "architecture": architecture, "os": "linux",
                                    "config": config or {"Cmd": ["/bin/sh"]},
                                    "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
                                    "history": [{"created_by": f"layer {n}"} for n in range(len(self.tars))]}
        if variant:
            value["variant"] = variant
        self.config = json.dumps(value).encode()
        suffix = {"": "", "gzip": ".gzip" if docker else "+gzip", "zstd": ".zstd" if docker else "+zstd"}[compression]
        kind = (DOCKER_LAYER if docker else OCI_LAYER) + suffix
        manifest: dict[str, object] = {"schemaVersion": 2, "mediaType": self.media_type,
                                       "config": self._add(self.config, DOCKER_CONFIG if docker else OCI_CONFIG),
                                       "layers": [self._add(compress(layer, compression), kind) for layer in self.tars]}
        if annotations:
            manifest["annotations"] = annotations
        self.layers = [str(layer["digest"]) for layer in manifest["layers"]]  # type: ignore[attr-defined]
        self.manifest = json.dumps(manifest).encode()
        self.digest = sha256(self.manifest)
        self.id = sha256(self.config).removeprefix("sha256:")
        self.platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}

    def _add(self, content: bytes, media_type: str) -> dict[str, object]:
        self.blobs[sha256(content)] = content
        return {"mediaType": media_type, "digest": sha256(content), "size": len(content)}

    @property
    def descriptor(self) -> dict[str, object]:
        """What an index says of it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest), "platform": self.platform}

    def write_layout(self, directory: Path, name: str = "") -> None:
        """Add it to an OCI layout, made where it is absent."""
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        for digest, content in {**self.blobs, self.digest: self.manifest}.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = directory / "index.json"
        value = json.loads(index.read_text()) if index.exists() else {"schemaVersion": 2, "manifests": []}
        descriptor = dict(self.descriptor)
        del descriptor["platform"]
        if name:
            descriptor["annotations"] = {"org.opencontainers.image.ref.name": name}
        value["manifests"].append(descriptor)
        index.write_text(json.dumps(value))

    def write_directory(self, directory: Path) -> None:
        """Write it in the form of ``dir:``, which takes Docker's manifests too."""
        directory.mkdir(parents=True, exist_ok=True)
        for digest, content in self.blobs.items():
            (directory / digest.removeprefix("sha256:")).write_bytes(content)
        (directory / "manifest.json").write_bytes(self.manifest)
        (directory / "version").write_text("Directory Transport Version: 1.1\n")


def simple_image(*layers: dict[str, bytes], **options: object) -> TestImage:
    """An image of layers with regular files."""
    return TestImage([tar(layer) for layer in layers], **options)  # type: ignore[arg-type]


def write_many_images(path: Path, count: int, layers: int = 10) -> None:
    """A docker-archive with so many images of ten small layers, all but the topmost the same for all: localhost/many/iN:1."""
    entries, written = [], set()
    with tarfile.open(path, "w") as archive:
        def add(name: str, content: bytes) -> None:
            if name not in written:
                written.add(name)
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

        for number in range(count):
            tars = [tar({f"file{depth}": f"{number if depth == layers - 1 else 'shared'}".encode()}) for depth in range(layers)]
            created = f"2024-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
            config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "created": created,
                                 "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in tars]}}).encode()
            names = [sha256(layer)[7:] + ".tar" for layer in tars]
            for name, content in zip([*names, sha256(config)[7:] + ".json"], [*tars, config], strict=True):
                add(name, content)
            entries.append({"Config": sha256(config)[7:] + ".json", "RepoTags": [f"localhost/many/i{number}:1"], "Layers": names})
        add("manifest.json", json.dumps(entries).encode())


# --- the big one ------------------------------------------------------------------------------------------------------

BIG_LAYERS, BIG_FILES, BIG_BYTES = 8, 47_000, 480 << 20


def write_big_layout(directory: Path, *, layers: int = BIG_LAYERS, files: int = BIG_FILES, size: int = BIG_BYTES,
                     seed: int = 1) -> None:
    """An OCI layout ``directory:big`` with an image of this many layers, files and bytes: text and programs, most files small.

    The same every time. Put it under /dev/shm and delete it after the run.
    """
    from isal import isal_zlib

    source = random.Random(seed)
    pool = _pool(source)
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    diff_ids, descriptors = [], []
    for number in range(layers):
        sizes = _sizes(source, files // layers, size // layers)
        compressor, diff, parts = isal_zlib.compressobj(2, wbits=31), hashlib.sha256(), []
        for block in _blocks(_members(source, pool, number, sizes)):
            diff.update(block)
            parts.append(compressor.compress(block))
        parts.append(compressor.flush())
        content = b"".join(parts)
        diff_ids.append("sha256:" + diff.hexdigest())
        descriptors.append({"mediaType": OCI_LAYER + "+gzip", "digest": sha256(content), "size": len(content)})
        (blobs / sha256(content).removeprefix("sha256:")).write_bytes(content)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
                         "rootfs": {"type": "layers", "diff_ids": diff_ids},
                         "history": [{"created_by": f"layer {number}"} for number in range(layers)]}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": descriptors,
                           "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)}}).encode()
    for content in (config, manifest):
        (blobs / sha256(content).removeprefix("sha256:")).write_bytes(content)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": sha256(manifest), "size": len(manifest),
         "annotations": {"org.opencontainers.image.ref.name": "big"}}]}))


def _pool(source: random.Random) -> bytes:
    """Bytes to cut files from: half words, half what looks like machine code; gzip makes it about 2.7 times smaller."""
    words = ["".join(source.choices("etaoinshrdlucmfw", k=source.randint(2, 11))) for _ in range(3000)]
    text = " ".join(source.choices(words, weights=[1 / (rank + 3) for rank in range(3000)], k=400_000)).encode()[:2 << 20]
    code = bytearray()
    pieces = [source.randbytes(source.randint(2, 12)) for _ in range(2000)]
    while len(code) < len(text):
        code += source.choice(pieces) + source.randbytes(1)
    return text + bytes(code)


def _sizes(source: random.Random, count: int, total: int) -> list[int]:
    """File sizes: nine of ten a few KB, the rest up to some MB."""
    raw = [source.lognormvariate(7.5, 1.1) if source.random() < 0.9 else source.lognormvariate(10.5, 1.3) for _ in range(count)]
    factor = total / sum(raw)
    return [int(size * factor) for size in raw]


def _members(source: random.Random, pool: bytes, number: int, sizes: list[int]) -> Iterable[bytes]:
    """The tar of one layer, in pieces."""
    directories: list[str] = []
    for position, size in enumerate(sizes):
        if position % 20 == 0:
            directories.append(f"usr/share/layer{number}/{source.choice(['lib', 'doc', 'data'])}{position // 20}")
            info = tarfile.TarInfo(directories[-1])
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
            yield info.tobuf(tarfile.USTAR_FORMAT)
        info = tarfile.TarInfo(f"{directories[-1]}/file{position}.{source.choice(['py', 'so', 'txt', 'h'])}")
        info.size, info.mode, info.mtime = size, 0o644, 1_700_000_000 + position
        yield info.tobuf(tarfile.USTAR_FORMAT)
        left = size
        while left:
            start = source.randrange(len(pool) - 4096)
            piece = pool[start : start + min(left, 1 << 18)]
            left -= len(piece)
            yield piece
        yield bytes(-size % 512)
    yield bytes(1024)


def _blocks(pieces: Iterable[bytes]) -> Iterable[bytes]:
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= 1 << 20:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


if __name__ == "__main__":
    import sys
    from pathlib import Path as _Path

    write_big_layout(_Path(sys.argv[1]))
    print(sum(entry.stat().st_size for entry in os.scandir(f"{sys.argv[1]}/blobs/sha256")))

"""Artifacts: files in OCI manifests, kept in an OCI layout of their own as Podman keeps them.

    <graphroot>/artifacts/index.json          each artifact's name (org.opencontainers.image.ref.name) and manifest
    <graphroot>/artifacts/blobs/sha256/<hex>  manifests and files

What is changed is index.json, as a whole, by whoever holds the lock that the engine takes; blobs that it does not reach go.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import Corrupt, NotFound
from podling.image import digests, manifest
from podling.image.jsonfields import Fields, load_object
from podling.image.manifest import Descriptor
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from podling.image.encryption.jwe import PrivateKey
    from podling.image.encryption.layers import LayerKey

EMPTY_CONFIG = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20
_SNIFF = 512
# Beginnings that tell a type, as Go's http.DetectContentType names them.
_MAGIC = ((b"\x1f\x8b\x08", "application/x-gzip"), (b"PK\x03\x04", "application/zip"), (b"%PDF-", "application/pdf"),
          (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"),
          (b"\0asm", "application/wasm"), (b"<?xml", "text/xml; charset=utf-8"), (b"\xef\xbb\xbf", "text/plain; charset=utf-8"))
_BINARY = frozenset((*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)))


class Artifact(Record):
    """An artifact in the store: ``document`` is its manifest's JSON."""

    name: str
    digest: str
    content: bytes
    document: dict[str, Any]
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(layer.size for layer in self.layers)


def parse(content: bytes, name: str = "") -> Artifact:
    """The artifact of a manifest; Corrupt where it is none that can be kept."""
    value = load_object(content, "artifact manifest", limit=manifest.MANIFEST_LIMIT)
    fields = Fields(value, "artifact manifest")
    if fields.integer("schemaVersion") != 2 or "manifests" in value:
        raise Corrupt("this is not the manifest of an artifact")
    layers = []
    for item in fields.objects("layers"):
        digest = manifest.checked_digest(item.text("digest"), "artifact manifest: layers: digest")
        layers.append(Descriptor(media_type=item.text("mediaType"), digest=digest, size=item.integer("size"),
                                 annotations=item.text_map("annotations")))
    return Artifact(name=name, digest=digests.digest_of(content), content=content, document=value, layers=tuple(layers))


def sniff(beginning: bytes) -> str:
    """The media type that a file's first bytes tell."""
    for magic, name in _MAGIC:
        if beginning.startswith(magic):
            return name
    return "application/octet-stream" if any(byte in _BINARY for byte in beginning) else "text/plain; charset=utf-8"


class Artifacts:
    """The layout in one directory. What changes it is called with the store's lock held."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.blobs = f"{directory}/blobs/sha256"

    def path(self, digest: str) -> str:
        """The file of a blob."""
        return f"{self.blobs}/{digest.partition(':')[2]}"

    # --- reading ------------------------------------------------------------------------------------------------------

    def all(self) -> list[Artifact]:
        """All artifacts, in the index's order."""
        return [parse(files.read_bytes(self.path(entry["digest"]), manifest.MANIFEST_LIMIT), _name(entry)) for entry in self._index()]

    def _index(self) -> list[dict[str, Any]]:
        try:
            content = files.read_bytes(f"{self.directory}/index.json", manifest.MANIFEST_LIMIT)
        except FileNotFoundError:
            return []
        found = Fields(load_object(content, "index.json", limit=manifest.MANIFEST_LIMIT), "index.json").objects("manifests")
        for entry in found:
            manifest.checked_digest(entry.text("digest"), "index.json: digest")
        return [entry.values for entry in found]

    def find(self, name: str) -> Artifact:
        """The artifact of a name, with or without the tag latest, or of a digest or its beginning; NotFound."""
        known = self.all()
        hexadecimal = name.removeprefix("sha256:")
        for artifact in known:
            if artifact.name in (name, f"{name}:latest"):
                return artifact
        for artifact in known:
            if len(hexadecimal) >= 3 and artifact.digest.startswith(f"sha256:{hexadecimal}"):
                return artifact
        raise NotFound(f"no artifact found with name or digest of {name}")

    # --- writing ------------------------------------------------------------------------------------------------------

    def keep(self, name: str, content: bytes) -> Artifact:
        """Know an artifact, whose blobs are here, under a name from now on; what had the name before loses it."""
        artifact = parse(content, name)
        files.write_atomic(self.path(artifact.digest), content, 0o644)
        files.write_atomic(self.path(digests.digest_of(EMPTY_CONFIG)), EMPTY_CONFIG, 0o644)
        entry = {"mediaType": manifest.OCI_MANIFEST, "digest": artifact.digest, "size": len(content),
                 "annotations": {manifest.REF_NAME: name}}
        self._write([*(old for old in self._index() if _name(old) != name), entry])
        return artifact

    def remove(self, artifact: Artifact) -> None:
        """Forget an artifact, and delete what no other needs."""
        self._write([entry for entry in self._index() if _name(entry) != artifact.name])
        self.collect()

    def collect(self) -> None:
        """Delete blobs that no artifact has."""
        needed = {digests.digest_of(EMPTY_CONFIG)}
        for artifact in self.all():
            needed.update((artifact.digest, *(layer.digest for layer in artifact.layers)))
            config = artifact.document.get("config")
            needed.add(str(config.get("digest")) if isinstance(config, dict) else "")
        for name in os.listdir(self.blobs):
            if f"sha256:{name}" not in needed:
                os.unlink(f"{self.blobs}/{name}")

    def _write(self, entries: list[dict[str, Any]]) -> None:
        value = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": entries}
        files.write_atomic(f"{self.directory}/oci-layout", _LAYOUT, 0o644)
        files.write_atomic(f"{self.directory}/index.json", jsontext.dumps(value).encode(), 0o644)

    def add_blob(self, chunks: Iterator[bytes], expected: str = "") -> tuple[str, int, str]:
        """Keep a file; (its digest, its size, the type that its beginning tells). Corrupt where it has another digest than expected."""
        files.make_directories(self.blobs, 0o755)
        digester, beginning = digests.Digester(), b""
        with files.Aside(f"{self.blobs}/.{files.unique_name()}") as new:
            for chunk in chunks:
                digester.update(chunk)
                if len(beginning) < _SNIFF:
                    beginning += chunk[:_SNIFF - len(beginning)]
                files.write_all(new.fd, chunk)
            if expected and digester.digest != expected:
                raise digests.mismatch("reading an artifact's blob", expected, digester.digest)
            os.fsync(new.fd)
            new.become(self.path(digester.digest))
        return digester.digest, digester.size, sniff(beginning)

    def chunks(self, digest: str) -> Iterator[bytes]:
        """A blob's bytes; Corrupt where they are not those of its digest."""
        digester = digests.Digester()
        for chunk in read_file(self.path(digest)):
            digester.update(chunk)
            yield chunk
        if digester.digest != digest:
            raise digests.mismatch(f"reading {self.path(digest)}", digest, digester.digest)


def _name(entry: dict[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(manifest.REF_NAME) or "")


def read_file(path: str) -> Iterator[bytes]:
    """A file in chunks."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := os.read(fd, _CHUNK):
            yield data
    finally:
        os.close(fd)


# --- encrypted files --------------------------------------------------------------------------------------------------


def unlock(artifact: Artifact, keys: Sequence[PrivateKey]) -> dict[int, LayerKey]:
    """What decrypts each encrypted file, by its number; InvalidArgument where none of the keys does."""
    from podling.image.encryption import layers  # a library for cryptography

    return {number: layers.unwrap(layer.annotations, keys, f"layer {layer.digest}") for number, layer in enumerate(artifact.layers)
            if layer.media_type.endswith(layers.SUFFIX)}


def decrypted(sealed: Iterator[bytes], layer: Descriptor, lock: LayerKey) -> Iterator[bytes]:
    """An encrypted file's plain bytes; it ends only if the encrypted ones were those of the digest and of the key: Corrupt otherwise."""
    from podling.image.encryption import layers

    digester = digests.Digester()

    def read(_size: int) -> bytes:
        data = next(sealed, b"")
        digester.update(data)
        if not data and digester.digest != layer.digest:
            raise digests.mismatch("reading an artifact's blob", layer.digest, digester.digest)
        return data

    plain = layers.decrypted(read, lock, f"layer {layer.digest}")
    while data := plain(_CHUNK):
        yield data


def with_plain(artifact: Artifact, plain: dict[int, tuple[str, int, str]]) -> bytes:
    """The manifest with these files decrypted; each as :meth:`Artifacts.add_blob` gives it."""
    from podling.image.encryption import layers

    changed = list(artifact.document["layers"])
    for number, (digest, size, _) in plain.items():
        kept = {name: text for name, text in sorted(artifact.layers[number].annotations.items()) if not name.startswith(layers.PREFIX)}
        entry = {**changed[number], "mediaType": artifact.layers[number].media_type.removesuffix(layers.SUFFIX),
                 "digest": digest, "size": size, "annotations": kept}
        changed[number] = entry if kept else {name: value for name, value in entry.items() if name != "annotations"}
    return jsontext.dumps({**artifact.document, "layers": changed}).encode()


# --- manifests --------------------------------------------------------------------------------------------------------


def build(layers: list[dict[str, Any]], artifact_type: str) -> bytes:
    """A manifest's JSON, its fields in Podman's order."""
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST}
    if artifact_type:
        value["artifactType"] = artifact_type
    value["config"] = {"mediaType": EMPTY_TYPE, "digest": digests.digest_of(EMPTY_CONFIG), "size": len(EMPTY_CONFIG), "data": "e30="}
    value["layers"] = layers
    return jsontext.dumps(value).encode()


def layer_entry(descriptor: tuple[str, int, str], media_type: str, annotations: dict[str, str]) -> dict[str, Any]:
    """What a manifest says of a file; ``descriptor`` as :meth:`Artifacts.add_blob` gives it."""
    digest, size, sniffed = descriptor
    return {"mediaType": media_type or sniffed, "digest": digest, "size": size, "annotations": annotations}

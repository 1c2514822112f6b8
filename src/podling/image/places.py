"""Where images are read from: registries, archives and directories, each as a Source.

    docker://HOST/PATH[:TAG|@DIGEST]     a registry
    docker-archive:FILE[:NAME]           what ``docker save`` writes
    oci-archive:FILE[:NAME]              a tar of an OCI layout
    oci:DIRECTORY[:NAME]                 an OCI layout
    dir:DIRECTORY                        one image's blobs as files

A Source finds images (their manifest, configuration and layers, all checked against their digests) and opens the layers one by
one, also in forked processes. Nothing of a source is trusted: sizes are bounded, names inside archives never touch the file
system, names inside directories are digests.
"""

from __future__ import annotations

import os

from podling import jsontext
from podling.config.requirements import normalized
from podling.errors import Corrupt, InvalidArgument, NotFound
from podling.image import digests, manifest
from podling.image.jsonfields import Fields, load_object
from podling.image.manifest import Descriptor, Index, Manifest
from podling.image.signatures import stored
from podling.image.tarfiles import Archive, Member, file_reader
from podling.record import Record
from podling.store.imageconfig import parse_config
from podling.store.images import StoredManifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from podling.image.encryption.layers import LayerKey
    from podling.image.policy import Gate
    from podling.image.registry.ranges import Ranges
    from podling.image.signatures.stored import Signature
    from podling.model import Platform
    from podling.values.reference import Reference

TRANSPORTS = ("docker", "docker-archive", "oci-archive", "oci", "dir", "containers-storage", "docker-daemon")
_DOCKER_ARCHIVE_LIMIT = 4 << 20


class Found(Record):
    """One image in a source. ``layers`` and ``diff_ids`` are the lowest first; ``names`` what the source calls it.

    ``signatures``: those that it came with, once the policy has let it in; until then None, and no store takes it.
    """

    manifest: bytes
    media_type: str
    config: bytes
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    names: tuple[str, ...] = ()
    digest: str = ""                         # by which it was found: the index's where there is one
    others: tuple[StoredManifest, ...] = ()  # the index that named it
    signatures: tuple[bytes, ...] | None = None
    layer_keys: dict[int, LayerKey] = {}     # number of a layer -> what decrypts it


class Place(Record):
    """A transport and what follows it."""

    transport: str
    path: str
    name: str = ""                           # of the image in an archive or a layout

    def __str__(self) -> str:
        return f"{self.transport}:{self.path}" + (f":{self.name}" if self.name else "")


def parse_place(text: str) -> Place | None:
    """The place that ``TRANSPORT:...`` names, None for a plain image name."""
    transport, separator, rest = text.partition(":")
    if not separator or transport not in TRANSPORTS:
        return None
    if transport == "docker":
        if not rest.startswith("//"):
            raise InvalidArgument(f'invalid image reference "{text}": docker: image reference {rest} does not start with //')
        return Place(transport=transport, path=rest[2:])
    if not rest:
        raise InvalidArgument(f"invalid image reference {text!r}: it names no path")
    if transport in ("docker-archive", "oci-archive", "oci"):
        path, _, name = rest.partition(":")
        return Place(transport=transport, path=path, name=name)
    return Place(transport=transport, path=rest)


# --- layers as streams ------------------------------------------------------------------------------------------------


class LayerStream:
    """A layer's bytes as the source has them; :meth:`finish` reads what is left and checks size and digest."""

    resumed = False                          # some of it is what an earlier run left

    def __init__(self, read: Callable[[int], bytes], what: str, descriptor: Descriptor | None) -> None:
        self._read = read
        self.what = what
        self.descriptor = descriptor
        self.size = 0
        self._digester = digests.Digester(descriptor.digest.partition(":")[0]) if descriptor is not None else None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, b"" at the end."""
        data = self._read(size)
        self.size += len(data)
        if self._digester is not None:
            self._digester.update(data)
        return data

    def finish(self) -> None:
        """Corrupt unless the whole stream is what its descriptor says."""
        while self.read(1 << 20):
            continue
        if self._digester is None or self.descriptor is None:
            return
        if self.size != self.descriptor.size:
            raise Corrupt(f"{self.what}: it has {self.size} bytes, not the {self.descriptor.size} that the manifest says")
        if self._digester.digest != self.descriptor.digest:
            raise digests.mismatch(self.what, self.descriptor.digest, self._digester.digest)

    def fetch(self, start: int, end: int) -> bytes:
        """Bytes of the blob that have been read already; b"" where the stream cannot go back."""
        return b""

    def forget(self) -> None:
        """What came is wrong: nothing of it is kept for another run."""

    def close(self) -> None:
        """Let go of what the stream needs."""

    def __enter__(self) -> LayerStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Source:
    """What all sources offer; a context manager."""

    transport = ""
    identity = ""                            # for errors
    scope = ""                               # for the policy: the name, or the path without links, "" where it has none
    shown = ""                               # with its transport, for refusals
    wanted: Reference | None = None          # the name that signatures must be for
    gate: Gate | None = None                 # what lets its images in; without one they are only looked at
    is_remote = False                        # layers take time to come, however small they are

    def signatures(self, digest: str, *, listed: bool) -> list[Signature]:
        """The signatures of the manifest with this digest. ``listed``: an index named it."""
        return []

    def admitted(self, content: bytes, *, listed: bool = False) -> tuple[bytes, ...] | None:
        """The signatures of the image with this manifest, if the policy lets it in (None where nobody asked); Refused."""
        return None if self.gate is None else self.gate.admit(self, content, listed=listed)

    def find(self, wanted: tuple[Platform, ...]) -> list[Found]:
        """The images that are meant, for the first of the wanted platforms that there is."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Load what reading layers needs, before processes are forked that would each load it."""

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer's stream; called in the process that reads it."""
        raise NotImplementedError

    def ranges(self, found: Found, number: int) -> Ranges | None:
        """The parts of a layer, where they can be had one by one."""
        return None

    def close(self) -> None:
        """Let go of files and connections."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


# --- whatever has blobs by digest -------------------------------------------------------------------------------------


class BlobSource(Source):
    """A source whose manifests and blobs are found by digest. Subclasses give ``blob`` and ``top``."""

    def top(self) -> tuple[bytes, str]:
        """(the manifest or index that the source means, its media type)."""
        raise NotImplementedError

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob, verified."""
        raise NotImplementedError

    def names(self) -> tuple[str, ...]:
        """What the source calls the image."""
        return ()

    def find(self, wanted: tuple[Platform, ...]) -> list[Found]:
        """The one image."""
        content, media_type = self.top()
        digest, others = digests.digest_of(content), []
        parsed = manifest.parse(content, media_type)
        for _ in range(manifest.NESTED_INDEXES):
            if not isinstance(parsed, Index):
                break
            others.append(StoredManifest(digest=digests.digest_of(content), media_type=parsed.media_type, content=content))
            chosen = manifest.choose(parsed, wanted)
            content = self.blob(chosen, manifest.MANIFEST_LIMIT)
            parsed = manifest.parse(content, chosen.media_type)
        if isinstance(parsed, Index):
            raise Corrupt(f"{self.identity}: indexes are nested more than {manifest.NESTED_INDEXES} deep")
        signatures = self.admitted(content, listed=bool(others))      # before anything else of the image is read
        found = found_image(content, parsed, self.blob(parsed.config, manifest.CONFIG_LIMIT), names=self.names(), digest=digest,
                            others=tuple(others))
        return [found.replace(signatures=signatures)]


def found_image(content: bytes, parsed: Manifest, config: bytes, *, names: tuple[str, ...], digest: str,
                others: tuple[StoredManifest, ...] = ()) -> Found:
    """The record of an image, its configuration's list of layers checked against the manifest's."""
    parse_config(config)                     # what cannot be read is not stored
    diff_ids = config_diff_ids(config)
    if len(diff_ids) != len(parsed.layers):
        raise Corrupt(f"the image's configuration names {len(diff_ids)} layers, its manifest {len(parsed.layers)}")
    return Found(manifest=content, media_type=parsed.media_type, config=config, layers=parsed.layers, diff_ids=diff_ids,
                 names=names, digest=digest, others=others)


def config_diff_ids(config: bytes) -> tuple[str, ...]:
    """The digests of the uncompressed layers that a configuration names."""
    fields = Fields(load_object(config, "image configuration", limit=manifest.CONFIG_LIMIT), "image configuration")
    if fields.values.get("rootfs") is None:
        raise Corrupt("image configuration: it names no layers (rootfs is missing)")
    found = fields.object("rootfs").texts("diff_ids")
    return tuple(manifest.checked_digest(text, "image configuration: rootfs.diff_ids") for text in found)


class Layout(BlobSource):
    """An OCI layout: a directory, or a tar of one."""

    def __init__(self, place: Place, *, spool: str = "", opened: Archive | None = None) -> None:
        self.transport = place.transport
        self.place = place
        self.identity = "" if place.path == "-" else os.path.abspath(place.path)
        self.scope, self.shown = _scope(place), str(place)
        self.archive = opened or (Archive(place.path, spool=spool) if place.transport == "oci-archive" else None)

    def _file(self, name: str, limit: int) -> bytes:
        if self.archive is not None:
            return self.archive.content(name, limit)
        return _read_file(os.path.join(self.place.path, name), limit)

    def top(self) -> tuple[bytes, str]:
        """What index.json names: by the name asked for, or the only one."""
        text = self._file("index.json", manifest.MANIFEST_LIMIT)
        entries = Fields(load_object(text, "index.json", limit=manifest.MANIFEST_LIMIT), "index.json").objects("manifests")
        index = manifest.parse(jsontext.dumps({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX,
                                               "manifests": [entry.values for entry in entries]}).encode())
        assert isinstance(index, Index)
        chosen = [item for item in index.manifests
                  if not self.place.name or item.annotations.get(manifest.REF_NAME) == self.place.name]
        if not chosen:
            raise NotFound(f"no descriptor found for reference {self.place.name!r} in {self.place.path}")
        if len(chosen) > 1:
            raise InvalidArgument(f"more than one image in {self.place.path}, choose an image",
                                  hint=f"name one: {self.transport}:{self.place.path}:NAME")
        self.found_name = chosen[0].annotations.get(manifest.REF_NAME, "")
        return self.blob(chosen[0], manifest.MANIFEST_LIMIT), chosen[0].media_type

    def names(self) -> tuple[str, ...]:
        """The reference's name in index.json."""
        return (self.found_name,) if self.found_name else ()

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob of the layout."""
        content = self._file(_blob_name(descriptor.digest), limit)
        digests.verify(content, descriptor.digest, f"reading blob {descriptor.digest} of {self.identity}")
        return content

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer of the layout."""
        descriptor = found.layers[number]
        what = f"reading blob {descriptor.digest} of {self.identity}"
        if self.archive is not None:
            return LayerStream(self.archive.reader(self.archive.find(_blob_name(descriptor.digest))), what, descriptor)
        return FileStream(os.path.join(self.place.path, _blob_name(descriptor.digest)), what, descriptor)

    def close(self) -> None:
        """Close the archive."""
        if self.archive is not None:
            self.archive.close()


class Directory(BlobSource):
    """``dir:``: manifest.json, and every blob under the hex part of its digest."""

    transport = "dir"

    def __init__(self, place: Place) -> None:
        self.path = place.path
        self.identity = os.path.abspath(place.path)
        self.scope, self.shown = _scope(place), str(place)

    def top(self) -> tuple[bytes, str]:
        """manifest.json."""
        return _read_file(os.path.join(self.path, "manifest.json"), manifest.MANIFEST_LIMIT), ""

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob of the directory."""
        content = _read_file(self._path(descriptor), limit)
        digests.verify(content, descriptor.digest, f"reading blob {descriptor.digest} of {self.identity}")
        return content

    def signatures(self, digest: str, *, listed: bool) -> list[Signature]:
        """``signature-1`` and so on; of a listed manifest those that begin with its digest."""
        prefix = f"{digest.partition(':')[2]}-" if listed else ""
        found: list[Signature] = []
        while len(found) <= stored.MOST:
            path = os.path.join(self.path, f"{prefix}signature-{len(found) + 1}")
            try:
                data = _read_file(path, stored.LIMIT)
            except FileNotFoundError:
                return found
            found.append(stored.from_bytes(data, f"parsing signature {path}"))
        raise Corrupt(f"{self.path} has more than {stored.MOST} signatures")

    def _path(self, descriptor: Descriptor) -> str:
        hexadecimal = descriptor.digest.partition(":")[2]
        path = os.path.join(self.path, hexadecimal)
        return path if os.path.exists(path) else os.path.join(self.path, f"{hexadecimal}.manifest.json")

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer of the directory."""
        descriptor = found.layers[number]
        return FileStream(self._path(descriptor), f"reading blob {descriptor.digest} of {self.identity}", descriptor)


class FileStream(LayerStream):
    """A layer that is a file."""

    def __init__(self, path: str, what: str, descriptor: Descriptor) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        super().__init__(lambda size: os.read(self._fd, size), what, descriptor)

    def fetch(self, start: int, end: int) -> bytes:
        """Any bytes of the file."""
        return os.pread(self._fd, end - start, start)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _read_file(path: str, limit: int) -> bytes:
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Corrupt(f"{path} is longer than {limit} bytes")
    return content


def _scope(place: Place) -> str:
    """The place as the policy names it: without links, so that none leads past a rule."""
    return "" if place.path == "-" else os.path.realpath(place.path)


def _blob_name(digest: str) -> str:
    algorithm, _, hexadecimal = digest.partition(":")
    return f"blobs/{algorithm}/{hexadecimal}"


# --- docker-archive ---------------------------------------------------------------------------------------------------


class DockerArchive(Source):
    """What ``docker save`` writes: any number of images in one tar."""

    transport = "docker-archive"

    def __init__(self, place: Place, *, spool: str, read: Callable[[int], bytes] | None = None) -> None:
        """``read``: where the archive comes from, if it is no file."""
        self.place = place
        self.identity = "" if place.path == "-" else os.path.abspath(place.path)
        self.shown = str(place)
        self.wanted = _archive_name(place.name)
        self.archive = Archive(place.path, spool=spool, read=read)
        self._members: dict[str, tuple[Member, ...]] = {}

    def find(self, wanted: tuple[Platform, ...]) -> list[Found]:
        """All images of the archive, or the one that the place names."""
        text = self.archive.content("manifest.json", _DOCKER_ARCHIVE_LIMIT)
        try:
            entries = jsontext.loads(text)
        except (ValueError, RecursionError):
            raise Corrupt(f"archive {self.place.path}: manifest.json is not JSON") from None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Corrupt(f"archive {self.place.path}: manifest.json is not a list of images")
        found = [self._image(Fields(entry, "manifest.json")) for entry in entries]
        if self.place.name:
            found = [image for image in found if self.place.name in image.names]
        if not found:
            raise NotFound(f"no image {self.place.name!r} in {self.place.path}" if self.place.name
                           else f"no image in {self.place.path}")
        return found

    def _image(self, entry: Fields) -> Found:
        config = self.archive.content(entry.text("Config"), manifest.CONFIG_LIMIT)
        diff_ids = config_diff_ids(config)
        members = tuple(self.archive.find(name) for name in entry.texts("Layers"))
        if len(members) != len(diff_ids):
            raise Corrupt(f"archive {self.place.path}: an image has {len(members)} layers, its configuration names {len(diff_ids)}")
        layers = tuple(Descriptor(media_type=manifest.DOCKER_LAYER, digest=diff_id, size=member.size)
                       for diff_id, member in zip(diff_ids, members, strict=True))
        described = Manifest(media_type=manifest.DOCKER_MANIFEST, layers=layers, config=Descriptor(
            media_type=manifest.DOCKER_CONFIG, digest=digests.digest_of(config), size=len(config)))
        content = manifest.build(described)
        found = Found(manifest=content, media_type=described.media_type, config=config, layers=layers, diff_ids=diff_ids,
                      names=entry.texts("RepoTags"), digest=digests.digest_of(content), signatures=self.admitted(content))
        self._members[found.digest] = members
        return found

    def layer(self, found: Found, number: int, progress: Callable[[int], None]) -> LayerStream:
        """A layer; its digest is the uncompressed one, which the store checks."""
        member = self._members[found.digest][number]
        read = file_reader(self.archive.fd, member.offset, member.size)
        return LayerStream(read, f"reading layer {found.diff_ids[number]} of {self.place.path}", None)

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()


def _archive_name(name: str) -> Reference | None:
    """The full name of an image in an archive, None for what is none."""
    try:
        return normalized(name).with_tag() if name else None
    except InvalidArgument:
        return None

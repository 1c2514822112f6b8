"""Images written to archives and directories: layers whose digests are the image's diff ids, byte for byte as they came.

A file on a disk is written by several processes at once, each layer at the place that its size determines; a pipe is written
from beginning to end. A file appears under its name when it is whole.
"""

from __future__ import annotations

import os
import stat

from podling import jsontext
from podling.errors import AlreadyExists, InvalidArgument, PodlingError
from podling.image import digests, manifest, workers
from podling.image.manifest import Descriptor, Manifest
from podling.image.outgoing import Form
from podling.image.tarfiles import Planned, layout, sequence
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from podling.image.encryption.layers import Encrypted
    from podling.image.outgoing import Blob
    from podling.model import Image
    from podling.store.additional import StoredLayer
    from podling.store.images import Images
    from podling.store.layers import Layer

WORKERS = 2
FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")
PLAIN = Form(compression="")
_OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
DIR_VERSION = b"Directory Transport Version: 1.1\n"


class Content(Record):
    """What is written of one image."""

    image: Image
    names: tuple[str, ...]
    config: bytes
    layers: tuple[Layer | StoredLayer, ...]


class Export:
    """Images on their way out of the store."""

    def __init__(self, images: Images, wanted: Sequence[tuple[Image, tuple[str, ...]]], progress: Callable[..., None]) -> None:
        self.images = images
        self.progress = progress
        self.contents = [Content(image=image, names=names, config=images.config_bytes(image), layers=tuple(images.layers(image)))
                         for image, names in wanted]
        unique = {layer.diff_id: (content.image, layer) for content in self.contents for layer in content.layers}
        self.layers = list(unique.values())
        self.number = {diff_id: number for number, diff_id in enumerate(unique)}

    def tar(self, number: int) -> Iterator[bytes]:
        """The uncompressed tar of the layer with this number."""
        return self.images.open_tar(*self.layers[number])

    # --- docker-archive and oci-archive -------------------------------------------------------------------------------

    def docker_members(self) -> list[Planned]:
        """The members of a docker-archive."""
        members = [Planned(name=f"{_hex(layer.diff_id)}.tar", size=layer.tar_size, layer=number)
                   for number, (_, layer) in enumerate(self.layers)]
        entries = []
        for content in self.contents:
            config = f"{_hex(digests.digest_of(content.config))}.json"
            members.append(Planned(name=config, content=content.config))
            entries.append({"Config": config, "RepoTags": [name for name in content.names if "@" not in name],
                            "Layers": [f"{_hex(layer.diff_id)}.tar" for layer in content.layers]})
        members = list({member.name: member for member in members}.values())
        return [*members, Planned(name="manifest.json", content=jsontext.dumps(entries).encode())]

    def oci_members(self) -> list[Planned]:
        """The members of an OCI layout."""
        members = [Planned(name=f"blobs/sha256/{_hex(layer.diff_id)}", size=layer.tar_size, layer=number)
                   for number, (_, layer) in enumerate(self.layers)]
        entries = []
        for content in self.contents:
            described = manifest.build(described_image(content, docker=False))
            digest = digests.digest_of(described)
            members += [Planned(name=f"blobs/sha256/{_hex(digests.digest_of(data))}", content=data)
                        for data in (content.config, described)]
            entries += [Descriptor(media_type=manifest.OCI_MANIFEST, digest=digest, size=len(described),
                                   annotations={manifest.REF_NAME: name} if name else {}) for name in content.names or ("",)]
        members = list({member.name: member for member in members}.values())
        return [Planned(name="oci-layout", content=_OCI_LAYOUT),
                Planned(name="index.json", content=manifest.build_index(entries, media_type="")), *members]

    def to_archive(self, path: str, members: list[Planned]) -> None:
        """Write the members as a tar; "-" is standard output."""
        placed, total = layout(members)
        self._begin()
        if path == "-" or not is_new_file(path):
            fd = 1 if path == "-" else os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for piece in sequence(placed, total, self.tar):
                    files.write_all(fd, piece)
            finally:
                if path != "-":
                    os.close(fd)
            self._end()
            return
        try:
            aside = files.Aside(f"{path}.{files.unique_name()}")
        except OSError as error:
            raise PodlingError(f"creating {path}") from error
        with aside as new:
            self._write_placed(new.fd, placed, total)
            new.become(path)

    def _write_placed(self, fd: int, placed: list[tuple[int, Planned, bytes]], total: int) -> None:
        os.ftruncate(fd, total)
        offsets = {}
        for offset, member, head in placed:
            _write_at(fd, head + member.content, offset)
            if member.layer >= 0:
                offsets[member.layer] = offset + len(head)

        def task(number: int, tell: Callable[..., None]) -> bool:
            at = offsets[number]
            for piece in self.tar(number):
                _write_at(fd, piece, at)
                at += len(piece)
                tell(done=at - offsets[number])
            return True

        self._work(task)

    def _work(self, task: Callable[[int, Callable[..., None]], Any]) -> list[Any]:
        def seen(number: int, event: dict[str, Any]) -> None:
            self.progress("advance", key=f"{number}", done=event["done"])

        from podling.store.archive import pack  # noqa: F401  before the fork, not in each child

        count = workers.for_layers([layer.tar_size for _, layer in self.layers], WORKERS)
        results = workers.run(len(self.layers), task, workers=count, progress=seen)
        self._end()
        return results

    def _begin(self) -> None:
        for number, (_, layer) in enumerate(self.layers):
            self.progress("begin", key=f"{number}", label=f"Copying blob {_hex(layer.diff_id)[:12]}", total=layer.tar_size)

    def _end(self) -> None:
        for number in range(len(self.layers)):
            self.progress("end", key=f"{number}", result="done")
        for content in self.contents:
            label = f"Copying config {_hex(digests.digest_of(content.config))[:10]}"
            self.progress("begin", key=label, label=label, total=len(content.config))
            self.progress("end", key=label, result="done")
        self.progress("message", text="Writing manifest to image destination")

    # --- directories --------------------------------------------------------------------------------------------------

    def to_directory(self, path: str, *, oci: bool, form: Form = PLAIN) -> None:
        """Write an OCI layout, or a ``dir:`` directory (one image), into ``path``, made where it is absent."""
        if not oci and len(self.contents) != 1:
            raise InvalidArgument("a directory holds one image only", hint="use --format docker-archive or oci-archive")
        files.make_directories(f"{path}/blobs/sha256" if oci else path, 0o755)
        blobs = f"{path}/blobs/sha256" if oci else path
        written = self._write_layers(blobs, form)
        if oci:
            self._finish_layout(path, blobs, written, form)
        else:
            content = self.contents[0]
            docker = content.image.media_type != manifest.OCI_MANIFEST and not form.needs_oci
            described = self._described(content, written, form, docker=docker)
            files.write_atomic(f"{path}/{_hex(described.config.digest)}", content.config, 0o644)
            files.write_atomic(f"{path}/manifest.json", manifest.build(described), 0o644)
            files.write_atomic(f"{path}/version", DIR_VERSION, 0o644)

    def write_image(self, blobs: str, form: Form, *, oci: bool) -> tuple[bytes, str]:
        """Write one image's layers and configuration into a directory, under their digests; (its manifest, the media type of that)."""
        content, written = self.contents[0], self._write_layers(blobs, form)
        described = self._described(content, written, form, docker=not oci and content.image.media_type != manifest.OCI_MANIFEST)
        files.write_atomic(f"{blobs}/{_hex(described.config.digest)}", content.config, 0o644)
        return manifest.build(described), described.media_type

    def _write_layers(self, blobs: str, form: Form) -> list[Any]:
        self._begin()

        def task(number: int, tell: Callable[..., None]) -> list[Any]:
            return _write_layer(form.blob(self.tar(number), number, len(self.layers)), blobs, tell)

        return self._work(task)

    def _finish_layout(self, path: str, blobs: str, written: list[Any], form: Form) -> None:
        entries = []
        for content in self.contents:
            described = manifest.build(self._described(content, written, form, docker=False))
            for data in (content.config, described):
                files.write_atomic(f"{blobs}/{_hex(digests.digest_of(data))}", data, 0o644)
            entries += [Descriptor(media_type=manifest.OCI_MANIFEST, digest=digests.digest_of(described), size=len(described),
                                   annotations={manifest.REF_NAME: name} if name else {}) for name in content.names or ("",)]
        write_index(path, entries)

    def _described(self, content: Content, written: list[Any], form: Form, *, docker: bool) -> Manifest:
        numbers = [self.number[layer.diff_id] for layer in content.layers]
        return described_image(content, [
            Descriptor(digest=written[number][0], size=written[number][1], annotations=written[number][2],
                       media_type=form.media_type(number, len(self.layers), docker=docker)) for number in numbers], docker=docker)


def described_image(content: Content, layers: list[Descriptor] | None = None, *, docker: bool) -> Manifest:
    """The manifest of an image; without ``layers`` these are its uncompressed tars."""
    kind = manifest.layer_type(docker=docker, compression="")
    plain = [Descriptor(media_type=kind, digest=layer.diff_id, size=layer.tar_size) for layer in content.layers]
    return Manifest(
        media_type=manifest.DOCKER_MANIFEST if docker else manifest.OCI_MANIFEST,
        config=Descriptor(media_type=manifest.DOCKER_CONFIG if docker else manifest.OCI_CONFIG,
                          digest=digests.digest_of(content.config), size=len(content.config)),
        layers=tuple(plain if layers is None else layers))


def _write_layer(blob: Blob | Encrypted, directory: str, tell: Callable[..., None]) -> list[Any]:
    """[digest, size, annotations] of the layer's file, which appears under its digest when it is whole."""
    digester = digests.Digester()
    with files.Aside(f"{directory}/.{files.unique_name()}") as new:
        for piece in blob:
            digester.update(piece)
            files.write_all(new.fd, piece)
            tell(done=digester.size)
        new.become(f"{directory}/{_hex(digester.digest)}")
    return [digester.digest, digester.size, blob.annotations]


def write_index(path: str, new: list[Descriptor]) -> None:
    """Make a directory with blobs an OCI layout; what it names already stays, but for the names that are given anew."""
    names = {entry.annotations.get(manifest.REF_NAME, "") for entry in new} - {""}
    entries = [entry for entry in _known_entries(path) if entry.annotations.get(manifest.REF_NAME, "") not in names]
    files.write_atomic(f"{path}/oci-layout", _OCI_LAYOUT, 0o644)
    files.write_atomic(f"{path}/index.json", manifest.build_index([*entries, *new], media_type=""), 0o644)


def write_archive(path: str, members: list[Planned], content: Callable[[int], Iterator[bytes]]) -> None:
    """A new tar at ``path``; ``content(layer)`` gives what is not in the members themselves."""
    with files.Aside(f"{path}.{files.unique_name()}") as new:
        for piece in sequence(*layout(members), content):
            files.write_all(new.fd, piece)
        new.become(path)


def _known_entries(path: str) -> list[Descriptor]:
    """What an index.json that is there names already."""
    try:
        content = files.read_bytes(f"{path}/index.json", manifest.MANIFEST_LIMIT)
    except FileNotFoundError:
        return []
    parsed = manifest.parse(content, manifest.OCI_INDEX)
    return list(parsed.manifests) if isinstance(parsed, manifest.Index) else []


def is_new_file(path: str) -> bool:
    """Whether a regular file is to be made; False for a pipe or a device that is there."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(mode):
        raise InvalidArgument(f"{path} is a directory")
    if stat.S_ISREG(mode) and os.stat(path).st_size:
        raise AlreadyExists(f"{path}: docker-archive doesn't support modifying existing images",
                            hint=f"remove {path} first, or name another file")
    return stat.S_ISREG(mode)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _hex(digest: str) -> str:
    return digest.partition(":")[2]

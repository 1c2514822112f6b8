"""A store of our own in a temporary directory, and the ways in and out of it, without an engine around."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from podling.config.auth import Credentials
from podling.config.policy import Policy
from podling.config.requirements import Requirement
from podling.database import Database
from podling.image import digests, transfer
from podling.image.places import Directory, DockerArchive, Layout, Place, Source
from podling.image.platforms import wanted_platforms
from podling.image.policy import Gate
from podling.image.remote import Access, Remote
from podling.store import open_images
from podling.values import reference

if TYPE_CHECKING:
    from pathlib import Path

    from podling.model import Image, Platform
    from podling.store.images import Images


ACCEPT = Gate(Policy(default=(Requirement(kind="insecureAcceptAnything"),)))


class Store:
    """An image store at ``path``."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.database = Database(str(path / "podling.db"))
        self.images: Images = open_images(self.database, str(path), str(path / "run"))
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _seen(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))

    def pull(self, name: str, *, login: tuple[str, str] | None = None, cert_dir: str = "", insecure: bool = True,
             platform: Platform | None = None, retries: int = 3) -> Image:
        """Pull from a registry."""
        wanted = reference.parse(name).with_tag()
        credentials = Credentials(username=login[0], password=login[1]) if login else None
        access = Access(insecure=insecure, cert_dir=cert_dir, credentials=credentials, retries=retries, retry_delay=0.05)
        with Remote(wanted, access, str(self.path), name=wanted) as source:
            source.gate = ACCEPT
            found = source.find(wanted_platforms(platform))[0]
            return transfer.store(
                self.images, source, found, names=[] if wanted.digest else [str(wanted)],
                repo_digests=sorted({f"{wanted.name}@{digest}" for digest in (found.digest, digests.digest_of(found.manifest))}),
                repository=wanted.name, progress=self._seen)

    def load(self, text: str) -> list[Image]:
        """Load all images of ``TRANSPORT:PATH[:NAME]``."""
        transport, _, rest = text.partition(":")
        path, _, name = rest.partition(":")
        place = Place(transport=transport, path=path, name=name)
        spool = str(self.path / "blobs/spool")
        source: Source
        if transport == "docker-archive":
            source = DockerArchive(place, spool=spool)
        else:
            source = Directory(place) if transport == "dir" else Layout(place, spool=spool)
        source.gate = ACCEPT
        with source:
            return [transfer.store(self.images, source, found, names=found.names, progress=self._seen)
                    for found in source.find(wanted_platforms())]

    def tree(self, image: Image) -> dict[str, bytes]:
        """The regular files of an image's layers, upper ones over lower ones (without whiteouts)."""
        found: dict[str, bytes] = {}
        for directory in reversed(self.images.layer_directories(image.id)):
            for parent, _, names in os.walk(directory):
                for name in names:
                    with open(os.path.join(parent, name), "rb") as file:
                        found[os.path.relpath(os.path.join(parent, name), directory)] = file.read()
        return found

    def leftovers(self) -> list[str]:
        """What no finished pull leaves: temporary layers, rubbish, downloads, layers that no image has."""
        known = {key for (key,) in self.database.rows(
            "SELECT key FROM layers WHERE id IN (SELECT layer_id FROM image_layers)")}
        found = [f"layers/{name}" for name in self._names("layers") if name not in known]
        return found + [f"{place}/{name}" for place in ("rubbish", "blobs/sha256", "blobs/spool") for name in self._names(place)]

    def _names(self, place: str) -> list[str]:
        try:
            return sorted(os.listdir(self.path / place))
        except FileNotFoundError:
            return []

    def partials(self) -> list[str]:
        """Downloads that a later run continues."""
        return [name for name in self._names("blobs/sha256") if name.endswith(".partial")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")

"""Images: what is known of them, by which names, and of which layers they are made.

An image appears and disappears in one transaction, and only when all its layers are there. Own images come first, then
those of the additional stores, which nothing here changes.
"""

from __future__ import annotations

import os
import time

from podling.errors import InUse, InvalidArgument, NoSuchImage, NotFound, PodlingError
from podling.model import Image, Platform
from podling.record import Record
from podling.store import ancestry, naming
from podling.values.machines import ARCHITECTURES
from podling.values.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from podling.database import Database
    from podling.model import ImageConfig
    from podling.store.additional import AdditionalStore, StoredLayer
    from podling.store.layers import Layer, Layers
    from podling.values.reference import Reference

    Listing = list                           # the class has a method of this name

LIST_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_COLUMNS = "id, digest, media_type, created, size"


class StoredManifest(Record):
    """A manifest or index that an image came with."""

    digest: str
    media_type: str
    content: bytes


class Images:
    """The images of one store and of its additional, read-only ones."""

    def __init__(self, database: Database, layers: Layers, stores: Sequence[AdditionalStore] = (), *,
                 short_names: Callable[[str], Sequence[str]] | None = None) -> None:
        """``short_names`` gives the full names, without tag, that a short one may mean by registries.conf, best first."""
        self.database = database
        self.layer_store = layers
        self.stores = tuple(stores)
        self.short_names = short_names
        self.collects_later = False          # see removing_several
        self.has_left_something = False

    # --- reading ------------------------------------------------------------------------------------------------------

    def list(self) -> Listing[Image]:
        """All images, the newest first, own before additional ones."""
        images = self._images(f"SELECT {_COLUMNS} FROM images ORDER BY created DESC, id")  # noqa: S608
        known = {image.id for image in images}
        for store in self.stores:
            more = [image for image in store.images() if image.id not in known]
            known.update(image.id for image in more)
            images += more
        return images

    def _images(self, query: str, *values: str) -> Listing[Image]:
        """The images of a query; without a value three more queries serve all images, with one just this image."""
        where, only = (" WHERE image_id = ?", values[:1]) if values else ("", ())
        names: dict[str, Listing[str]] = {}
        for image_id, name in self.database.rows(f"SELECT image_id, name FROM image_names{where} ORDER BY rowid", *only):  # noqa: S608
            names.setdefault(image_id, []).append(name)
        digests: dict[str, Listing[str]] = {}
        for image_id, digest in self.database.rows(f"SELECT image_id, digest FROM image_manifests{where}", *only):  # noqa: S608
            digests.setdefault(image_id, []).append(digest)
        pulled: dict[str, Listing[str]] = {}
        for image_id, repository, digest in self.database.rows(
                f"SELECT image_id, repository, digest FROM image_digests{where}", *only):  # noqa: S608
            pulled.setdefault(image_id, []).append(f"{repository}@{digest}")
        nothing: Listing[str] = []
        return [Image(id=image_id, digest=digest, media_type=media_type, created=created, size=size,
                      names=tuple([name for name in names.get(image_id, nothing) if "@" not in name]),
                      digest_names=tuple([name for name in names.get(image_id, nothing) if "@" in name]),
                      repo_digests=naming.repo_digests(names.get(image_id, nothing), digests.get(image_id, nothing),
                                                       pulled.get(image_id, nothing)))
                for image_id, digest, media_type, created, size in self.database.rows(query, *values)]

    def get(self, image_id: str, store: str = "") -> Image:
        """The image of exactly this id, in our own store or in the additional one of this path."""
        if store:
            return self._store(store).get(image_id)
        found = self._own(image_id)
        if found is None:
            raise NoSuchImage(f"{image_id}: image not known")
        return found

    def _own(self, image_id: str) -> Image | None:
        found = self._images(f"SELECT {_COLUMNS} FROM images WHERE id = ?", image_id)  # noqa: S608
        return found[0] if found else None

    def _store(self, path: str) -> AdditionalStore:
        for store in self.stores:
            if store.path == path:
                return store
        raise NotFound(f"{path} is not configured as an additional image store",
                       hint="name it in additionalimagestores of storage.conf")

    def resolve(self, name_or_id: str) -> Image:
        """The image that a name, an id or the beginning of an id means; NoSuchImage where there is none."""
        found = self.lookup(name_or_id, lists=True)
        if found is None:
            raise NoSuchImage(f"{name_or_id}: image not known", hint=self._ambiguity(name_or_id))
        return found

    def lookup(self, name_or_id: str, platform: Platform | None = None, *, lists: bool = False) -> Image | None:
        """As :meth:`resolve`, None where there is none, or none for ``platform`` ("" in it means any).

        A manifest list stands for its image for the platform, or for this host, if that is here; with ``lists`` for itself.
        """
        found = self._find(name_or_id)
        if found is not None and not lists and not found.store and found.media_type in LIST_TYPES:
            found = self._instance(found, platform) or found
        if found is not None and platform is not None and not self._is_for(found, platform):
            return None
        return found

    def _instance(self, listed: Image, platform: Platform | None) -> Image | None:
        """The image of a manifest list for a platform, None where it is not in this store."""
        from podling.store.image_lists import entries  # few have such lists

        machine = os.uname().machine
        wanted = platform or Platform(os="linux", architecture=ARCHITECTURES.get(machine, machine))
        for entry in entries(self, listed):
            said = entry.get("platform") or {}
            pairs = ((wanted.os, "os"), (wanted.architecture, "architecture"), (wanted.variant, "variant"))
            if all(not value or said.get(key) == value for value, key in pairs):
                image = self._by_digest(entry["digest"])
                if image is not None:
                    return image
        return None

    def _find(self, text: str) -> Image | None:
        """Podman's order: whole id, the names that it may mean, beginning of an id, digest, end of a name."""
        if text.startswith("sha256:"):
            text = text[7:]
            if not naming.is_id(text):
                raise InvalidArgument(f"sha256:{text}: invalid format: no 64-byte hexadecimal value")
        if naming.is_id(text):
            return self._by_id(text)
        reference = naming.parse_or_none(text)
        if reference is not None:
            for candidate in naming.candidates(reference, self.short_names):
                image = self._by_name(candidate)
                if image is not None:
                    return image
        ids = self._with_prefix(text)
        if len(ids) == 1:
            return self._by_id(ids[0])
        if reference is None:
            return None
        return self._by_digest(reference.digest) if reference.digest else self._by_end(reference)

    def _by_id(self, image_id: str) -> Image | None:
        found = self._own(image_id)
        if found is None:
            for store in self.stores:
                found = store.find(image_id)
                if found is not None:
                    break
        return found

    def _by_name(self, name: str) -> Image | None:
        """The image of a full name with tag, digest, or both."""
        named, at, digest = name.partition("@")
        if at:
            row = self.database.row("SELECT image_id FROM image_digests WHERE repository = ? AND digest = ?",
                                    naming.repository(named), digest)
            row = row or self.database.row(
                "SELECT m.image_id FROM image_manifests m JOIN image_names n ON n.image_id = m.image_id "
                "WHERE m.digest = ? AND substr(n.name, 1, length(?2)) = ?2", digest, naming.repository(named) + ":")
        else:
            row = self.database.row("SELECT image_id FROM image_names WHERE name = ?", named)
        if row is not None:
            return self._own(row[0])
        for store in self.stores:
            found = store.named(name)
            if found is not None:
                return found
        return None

    def _with_prefix(self, prefix: str) -> Listing[str]:
        """Up to two ids that begin so."""
        if not naming.is_prefix(prefix):
            return []
        rows = self.database.rows("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", prefix, prefix + "g")
        found = {image_id for (image_id,) in rows}
        for store in self.stores:
            found.update(image.id for image in store.images() if image.id.startswith(prefix))
        return sorted(found)[:2]

    def _by_digest(self, digest: str) -> Image | None:
        row = self.database.row("SELECT image_id FROM image_manifests WHERE digest = ?1 UNION "
                                "SELECT image_id FROM image_digests WHERE digest = ?1 LIMIT 1", digest)
        if row is not None:
            return self._own(row[0])
        for store in self.stores:
            for image in store.images():
                if any(known.endswith("@" + digest) for known in image.repo_digests) or image.digest == digest:
                    return image
        return None

    def _by_end(self, reference: Reference) -> Image | None:
        """The first image one of whose names ends like a short one, at a slash."""
        if not reference.is_short:
            return None
        end = "/" + str(reference.with_tag())
        row = self.database.row("SELECT image_id FROM image_names WHERE substr(name, -length(?1)) = ?1 ORDER BY rowid LIMIT 1",
                                end)
        if row is not None:
            return self._own(row[0])
        for store in self.stores:
            for image in store.images():
                if any(name.endswith(end) for name in image.names):
                    return image
        return None

    def _ambiguity(self, text: str) -> str | None:
        return f"{text} is the beginning of several images' ids: say more of it" if len(self._with_prefix(text)) > 1 else None

    def _is_for(self, image: Image, platform: Platform) -> bool:
        config = ancestry.load(self.config_bytes(image))
        wanted = ((platform.os, "os"), (platform.architecture, "architecture"), (platform.variant, "variant"))
        return all(not value or config.get(key) == value for value, key in wanted)

    def name_for(self, image: Image, asked: str) -> str:
        """What a container calls the image it was made from: the name that ``asked`` means, for an id the image's first."""
        reference = naming.parse_or_none(asked)
        if reference is not None and not naming.is_id(asked):
            for candidate in naming.candidates(reference, self.short_names):
                if candidate in image.names or candidate in image.repo_digests:
                    return candidate
            if not image.id.startswith(asked):
                end = "/" + str(reference.with_tag())
                return next((name for name in image.names if name.endswith(end)), asked)
        return image.names[0] if image.names else asked

    # --- what an image is made of -------------------------------------------------------------------------------------

    def config_bytes(self, image: Image) -> bytes:
        """The image's configuration as it came."""
        if image.store:
            return self._store(image.store).config_bytes(image.id)
        row = self.database.row("SELECT config FROM images WHERE id = ?", image.id)
        if row is None:
            raise NoSuchImage(f"{image.id}: image not known")
        return bytes(row[0])

    def config(self, image: Image) -> ImageConfig:
        """The image's configuration, read."""
        from podling.store.imageconfig import parse_config  # only who makes a container needs it

        if not image.store and image.media_type in LIST_TYPES:
            raise InvalidArgument(f"{image.names[0] if image.names else image.id} is a manifest list without an image for this platform "
                                  "in the store", hint="podling manifest inspect NAME shows what is in it")

        return parse_config(self.config_bytes(image))

    def manifests(self, image: Image) -> Listing[StoredManifest]:
        """The manifests and indexes that the image came with, the one of ``image.digest`` first."""
        if image.store:
            return self._store(image.store).manifests(image.id)
        rows = self.database.rows("SELECT digest, media_type, content FROM image_manifests WHERE image_id = ? "
                                  "ORDER BY digest <> ?, digest", image.id, image.digest)
        return [StoredManifest(digest=digest, media_type=kind, content=bytes(content)) for digest, kind, content in rows]

    def signatures(self, image: Image) -> Listing[bytes]:
        """The signatures of the image's manifest, as it came with them."""
        if image.store:
            return self._store(image.store).signatures(image.id, image.digest)
        return [bytes(content) for (content,) in self.database.rows(
            "SELECT content FROM image_signatures WHERE image_id = ? AND digest = ? ORDER BY position", image.id, image.digest)]

    def layers(self, image: Image) -> tuple[Layer | StoredLayer, ...]:
        """The image's layers, lowest first."""
        if image.store:
            return self._store(image.store).layers(image.id)
        return self.layer_store.of_image(image.id)

    def open_tar(self, image: Image, layer: Layer | StoredLayer, *, verify: bool = True) -> Iterator[bytes]:
        """The tar of one of the image's layers, as :meth:`Layers.open_tar`."""
        if image.store:
            return self._store(image.store).open_tar(layer)  # type: ignore[arg-type]
        return self.layer_store.open_tar(layer, verify=verify)  # type: ignore[arg-type]

    def layer_directories(self, image_id: str, store: str = "") -> Listing[str]:
        """The directories that overlay puts together, topmost first."""
        if store:
            return self._store(store).layer_directories(image_id)
        rows = self.database.rows("SELECT key FROM image_layers JOIN layers ON id = layer_id WHERE image_id = ? "
                                  "ORDER BY position DESC", image_id)
        if not rows and self._own(image_id) is None:
            raise NoSuchImage(f"{image_id}: image not known")
        return [f"{self.layer_store.directory}/{key}/diff" for (key,) in rows]

    def size(self, image_id: str, store: str = "") -> int:
        """The size that ``images`` shows, in bytes."""
        if store:
            return self._store(store).get(image_id).size
        row = self.database.row("SELECT size FROM images WHERE id = ?", image_id)
        if row is None:
            raise NoSuchImage(f"{image_id}: image not known")
        return int(row[0])

    # --- relations ----------------------------------------------------------------------------------------------------

    def parent(self, image: Image) -> str:
        """The id of the image that this one was built on in one step, "" where it is not here."""
        return "" if image.store else ancestry.parent(self.database, image.id)

    def children(self, image: Image) -> Listing[str]:
        """Ids of the images that were built on this one in one step."""
        return [] if image.store else ancestry.children(self.database, image.id)

    def descendants(self, image: Image) -> Listing[str]:
        """Ids of all images that were built on this one, in any number of steps."""
        return [] if image.store else ancestry.descendants(self.database, image.id)

    def history(self, image: Image) -> Listing[ancestry.HistoryEntry]:
        """The steps that made the image, the newest first."""
        return ancestry.history(self.config_bytes(image), [layer.tar_size for layer in self.layers(image)])

    # --- changing -----------------------------------------------------------------------------------------------------

    def add(self, *, config: bytes, manifest: bytes, media_type: str, layers: Sequence[Layer], names: Iterable[str] = (),
            repo_digests: Iterable[str] = (), manifests: Iterable[StoredManifest] = (),
            signatures: Sequence[bytes] = ()) -> Image:
        """Know an image from now on, or know it by more names; one transaction.

        ``layers`` lowest first, held since they were found or added. ``names`` are full, with tag or digest; whoever had one
        loses it and stays without. ``repo_digests``: ``repository@digest`` it was pulled by; ``manifests``: further ones, such as the
        index that named it; ``signatures``: of the manifest, in place of those that were known. Afterwards the layers are let
        go. PodlingError where one of them is gone.
        """
        from hashlib import sha256  # who pulls has it loaded anyway

        image_id, digest = sha256(config).hexdigest(), f"sha256:{sha256(manifest).hexdigest()}"
        # Podman counts the manifest twice, because it stores it under two names.
        size = sum(layer.tar_size for layer in layers) + len(config) + 2 * len(manifest)
        created = ancestry.time_of(ancestry.load(config).get("created"))
        came = [StoredManifest(digest=digest, media_type=media_type, content=manifest), *manifests]
        try:
            with self.database.transaction():
                self.database.run(
                    "INSERT INTO images (id, digest, media_type, created, pulled, size, config) VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type, "
                    "size = excluded.size", image_id, digest, media_type, created, time.time_ns(), size, config)
                self.database.run_many(
                    "INSERT OR IGNORE INTO image_manifests (image_id, digest, media_type, content) VALUES (?, ?, ?, ?)",
                    [(image_id, one.digest, one.media_type, one.content) for one in came])
                self.database.run("DELETE FROM image_signatures WHERE image_id = ? AND digest = ?", image_id, digest)
                self.database.run_many("INSERT INTO image_signatures (image_id, digest, position, content) VALUES (?, ?, ?, ?)",
                                       [(image_id, digest, position, content) for position, content in enumerate(signatures)])
                self.database.run("DELETE FROM image_layers WHERE image_id = ?", image_id)
                self.database.run_many("INSERT INTO image_layers (image_id, position, layer_id) VALUES (?, ?, ?)",
                                       [(image_id, position, layer.id) for position, layer in enumerate(layers)])
                for name in names:
                    self._name(image_id, name)
                self.database.run_many("INSERT OR IGNORE INTO image_digests (repository, digest, image_id) VALUES (?, ?, ?)",
                                       [(*_at(repo_digest), image_id) for repo_digest in repo_digests])
        except self.database.connection.IntegrityError as error:
            raise PodlingError(f"storing image {image_id}: one of its layers was removed meanwhile",
                               hint="try again") from error
        self.layer_store.release()
        return self.get(image_id)

    def _name(self, image_id: str, name: str) -> None:
        self.database.run("DELETE FROM image_names WHERE name = ? AND image_id <> ?", name, image_id)
        self.database.run("INSERT OR IGNORE INTO image_names (name, image_id) VALUES (?, ?)", name, image_id)

    def tag(self, image: Image, name: str) -> None:
        """Give the image one more full name with tag; another image that had it loses it."""
        self._writable(image)
        try:
            with self.database.transaction():
                self._name(image.id, name)
        except self.database.connection.IntegrityError:
            raise NoSuchImage(f"{image.id}: image not known") from None

    def untag(self, image: Image, names: Iterable[str] | None = None) -> Listing[str]:
        """Take these names (``repository@digest`` as well), or all, from the image, which stays; those that it had."""
        self._writable(image)
        with self.database.transaction():
            own = {name for (name,) in self.database.rows("SELECT name FROM image_names WHERE image_id = ?", image.id)}
            own |= {f"{repository}@{digest}" for repository, digest in self.database.rows(
                "SELECT repository, digest FROM image_digests WHERE image_id = ?", image.id)}
            gone = sorted(own) if names is None else [name for name in names if name in own]
            for name in gone:
                repository, _, digest = name.partition("@")
                self.database.run("DELETE FROM image_digests WHERE repository = ? AND digest = ? AND image_id = ?",
                                  repository, digest, image.id)
                self.database.run("DELETE FROM image_names WHERE name = ? AND image_id = ?", name, image.id)
        return gone

    def remove(self, image: Image) -> None:
        """Forget the image, with all its names, and delete what only it has.

        InUse where a container needs it. Layers of a pull that runs just now are left to the next garbage collection.
        """
        self._writable(image)
        try:
            with self.database.durable():
                if not self.database.run("DELETE FROM images WHERE id = ?", image.id):
                    raise NoSuchImage(f"{image.id}: image not known")
        except self.database.connection.IntegrityError:
            users = self.containers_using(image.id)
            raise InUse(f"image used by {users[0] if users else 'a container'}: image is in use by a container: consider "
                        "listing external containers and force-removing image",
                        hint="remove its containers first, or use --force") from None
        self.has_left_something = True
        if not self.collects_later:
            self.collect_layers()

    def collect_layers(self) -> None:
        """Delete the layers that no image has any more."""
        from podling.store.garbage import collect_layers

        collect_layers(self.database, self.layer_store.graphroot)
        self.has_left_something = False

    def removing_several(self) -> RemovingSeveral:
        """``with images.removing_several():`` -- what images leave behind that are removed inside is deleted once, at the end."""
        return RemovingSeveral(self)

    @staticmethod
    def _writable(image: Image) -> None:
        if image.store:
            raise InUse(f"image {image.id} is in the store {image.store}, which is read-only here",
                        hint="change it with the engine that owns this store")

    def containers_using(self, image_id: str) -> Listing[str]:
        """Ids of the containers that were made from the image or have it mounted."""
        return [row[0] for row in self.database.rows(
            "SELECT id FROM containers WHERE local_image = ?1 UNION "
            "SELECT container_id FROM container_images WHERE image_id = ?1", image_id)]

    def collect(self) -> None:
        """Delete what no record names: layers, container directories, what killed processes have left."""
        from podling.store.garbage import collect

        collect(self.database, self.layer_store.graphroot)


class RemovingSeveral:
    """Puts off the garbage collection, which looks at the whole store, until all images of one command are gone."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __enter__(self) -> None:
        self._images.collects_later = True

    def __exit__(self, *_: object) -> None:
        self._images.collects_later = False
        if self._images.has_left_something:
            self._images.collect_layers()


def _at(repo_digest: str) -> tuple[str, str]:
    reference = parse(repo_digest)
    return reference.name, reference.digest

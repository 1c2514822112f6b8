"""``manifest create|add|annotate|inspect|push|remove|rm``: lists of images for several platforms."""

from __future__ import annotations

from podling import jsontext
from podling.engine import registries, transfers, trust
from podling.engine.images import full_name
from podling.engine.options import PullOptions, RegistryOptions, SigningOptions
from podling.errors import AlreadyExists, InvalidArgument, NoSuchImage, NotFound, RegistryError, Unsupported
from podling.image import digests, manifest, transfer
from podling.image.manifest import Descriptor, Index
from podling.image.outgoing import Form
from podling.image.places import parse_place
from podling.image.platforms import wanted_platforms
from podling.linux.files import write_atomic
from podling.record import Record
from podling.store import image_lists as stored
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from podling.engine.engine import Engine
    from podling.image.registry.client import Registry
    from podling.image.signatures.signing import Signing
    from podling.model import Image, Platform
    from podling.values.reference import Reference


class Changes(Record):
    """What ``add`` and ``annotate`` say of an instance; "" and () are not said."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    features: tuple[str, ...] = ()
    os_features: tuple[str, ...] = ()
    annotations: dict[str, str] = {}


class AddOptions(Record):
    """``manifest add``. ``all``: every image of an index."""

    all: bool = False
    changes: Changes = Changes()
    registry: RegistryOptions = RegistryOptions()


class PushListOptions(Record):
    """``manifest push``. ``format``: oci or v2s2, "" is oci. ``add_compression``: images are sent once more in these formats."""

    all: bool = True
    format: str = ""
    compression_format: str = ""
    compression_level: int | None = None
    force_compression: bool = False
    add_compression: tuple[str, ...] = ()
    digest_file: str = ""
    remove: bool = False
    annotations: dict[str, str] = {}         # of the index itself, which Docker's has not
    signing: SigningOptions = SigningOptions()
    registry: RegistryOptions = RegistryOptions()
    progress: Callable[..., None] | None = None


def find(engine: Engine, name: str) -> Image:
    """The list of this name or id; InvalidArgument where it is an image of another kind."""
    image = engine.images.resolve(name)
    stored.check(image)
    return image


def exists(engine: Engine, name: str) -> bool:
    """Whether there is a list of this name."""
    image = engine.images.lookup(name, lists=True)
    return image is not None and stored.is_list(image)


def create(engine: Engine, name: str, names: Iterable[str], options: AddOptions, *, amend: bool = False,
           annotations: dict[str, str] | None = None) -> Image:
    """A new list with these images in it; with ``amend`` an old one is taken where it is there. ``annotations``: of the list itself."""
    full = full_name(name)
    image = next((image for image in engine.images.list() if full in image.names and not image.store), None)
    if image is not None and not amend:
        raise AlreadyExists(f'creating image to hold manifest list: image name "{full}" is already associated with image '
                            f'"{image.id}": that name is already in use', hint="use --amend to change it")
    if image is None:
        found = [_instances(engine, text, options) for text in names]     # nothing is made where one of them is not there
        image = stored.create(engine.images, full)
    else:
        stored.check(image)
        found = [_instances(engine, text, options) for text in names]
    for new in found:
        _include(engine, image, new)
        image = engine.images.get(image.id)
    return annotate_list(engine, image, annotations) if annotations else image


def annotate_list(engine: Engine, image: Image, annotations: dict[str, str]) -> Image:
    """Give a list itself annotations."""
    stored.annotate(engine.images, image, annotations)
    return image


def add(engine: Engine, name: str, names: Iterable[str], options: AddOptions) -> Image:
    """Put images into a list, or replace what has their digests."""
    image = find(engine, name)
    for text in names:
        _include(engine, image, _instances(engine, text, options))
        image = engine.images.get(image.id)
    return image


def _include(engine: Engine, image: Image, new: list[tuple[dict[str, Any], str]]) -> None:
    listed = stored.entries(engine.images, image)
    for entry, _ in new:
        listed = [old for old in listed if old["digest"] != entry["digest"]] + [entry]
    stored.replace(engine.images, image, listed, {entry["digest"]: source for entry, source in new if source})


def annotate(engine: Engine, name: str, instance: str, changes: Changes) -> Image:
    """Change what a list says of an instance, which is named by its digest or as an image of the store."""
    image = find(engine, name)
    listed = stored.entries(engine.images, image)
    digest = instance
    if not instance.startswith("sha256:"):
        digest = engine.images.resolve(instance).digest
    if all(entry["digest"] != digest for entry in listed):
        raise NotFound(f'no Docker manifest matching digest "{digest}" was found in list: no image instance matching the '
                       "specified digest was found in the list or index")
    changed = [_changed(entry, changes) if entry["digest"] == digest else entry for entry in listed]
    stored.replace(engine.images, image, changed)
    return image


def remove(engine: Engine, name: str, digest: str) -> Image:
    """Take an instance out of a list."""
    image = find(engine, name)
    listed = stored.entries(engine.images, image)
    try:
        stored.entry_of(listed, digest)
    except NotFound as error:
        raise NotFound(f"removing from manifest list {name}") from error
    stored.replace(engine.images, image, [entry for entry in listed if entry["digest"] != digest])
    return image


def _changed(entry: dict[str, Any], changes: Changes) -> dict[str, Any]:
    platform = dict(entry.get("platform") or {})
    said = {"architecture": changes.architecture, "os": changes.os, "os.version": changes.os_version,
            "os.features": list(changes.os_features), "variant": changes.variant, "features": list(changes.features)}
    platform.update({key: value for key, value in said.items() if value})
    order = ("architecture", "os", "os.version", "os.features", "variant", "features")
    found = {**entry, "platform": {key: platform[key] for key in order if platform.get(key)}}
    if changes.annotations:
        found["annotations"] = {**(entry.get("annotations") or {}), **changes.annotations}
    return found


# --- instances --------------------------------------------------------------------------------------------------------


def _instances(engine: Engine, text: str, options: AddOptions) -> list[tuple[dict[str, Any], str]]:
    """(descriptor, where it is: "" for this store) of the image, or of all images of an index, that a text names."""
    place = parse_place(text)
    if place is not None and place.transport not in ("docker", "containers-storage"):
        raise Unsupported(f"the transport {place.transport}: is not available for manifest lists yet",
                          hint="pull the image and add it by its name")
    if place is not None and place.transport == "containers-storage":
        return _local(engine, transfers.pull(engine, text, PullOptions()), options)
    local = engine.images.lookup(text, lists=True) if place is None else None
    if local is not None:
        return _local(engine, local, options)
    return _remote(place.path if place is not None else text, options)


def _local(engine: Engine, image: Image, options: AddOptions) -> list[tuple[dict[str, Any], str]]:
    if stored.is_list(image):
        listed = stored.entries(engine.images, image)
        if not options.all:
            raise InvalidArgument(f"{image.names[0]} is a manifest list", hint="use --all to add all its images")
        return [(entry, stored.source(engine.images, image, entry["digest"])) for entry in listed]
    found = next(one for one in engine.images.manifests(image) if one.digest == image.digest)
    platform = engine.images.config(image).platform
    return [(_changed(_entry(found.media_type, found.digest, len(found.content), platform), options.changes), "")]


def _entry(media_type: str, digest: str, size: int, platform: Platform | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": size}
    if platform is not None:
        entry["platform"] = {key: value for key, value in (("architecture", platform.architecture), ("os", platform.os),
                                                           ("variant", platform.variant)) if value}
    return entry


class Repository:
    """A registry's repository, opened."""

    def __init__(self, text: str, options: RegistryOptions, *, push: bool = False) -> None:
        conf = registries.configured()
        wanted = reference.parse(text)
        if wanted.is_short:
            wanted = reference.parse(conf.candidates(text)[0])
        self.wanted: Reference = wanted if wanted.digest else wanted.with_tag()
        endpoint = conf.push_endpoint(self.wanted) if push else conf.endpoints(self.wanted)[-1]
        self.access = transfers.access(options, endpoint)
        self.name = endpoint.reference.repository
        self.reference = endpoint.reference
        self.registry: Registry = self.access.open(endpoint.reference.registry)

    def top(self) -> tuple[bytes, str]:
        """The manifest or index of the tag or digest."""
        try:
            return self.registry.manifest(self.name, self.wanted.digest or self.wanted.tag)
        except RegistryError as error:
            raise type(error)(f"initializing source docker://{self.wanted}") from error

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.close()


def _remote(text: str, options: AddOptions) -> list[tuple[dict[str, Any], str]]:
    with Repository(text, options.registry) as place:
        content, media_type = place.top()
        parsed = manifest.parse(content, media_type)
        source = f"docker://{place.wanted.name}"
        if isinstance(parsed, Index):
            changes = options.changes
            asked = wanted_platforms()[0].replace(**{key: value for key, value in (
                ("os", changes.os), ("architecture", changes.architecture), ("variant", changes.variant)) if value})
            chosen = parsed.manifests if options.all else (manifest.choose(parsed, wanted_platforms(asked)),)
            found = []
            for item in chosen:
                raw = next(one for one in jsontext.loads(content)["manifests"] if one["digest"] == item.digest)
                found.append((raw if options.all else _changed(raw, changes), f"{source}@{item.digest}"))
            return found
        from podling.image.registry import blobs

        config = blobs.read(place.registry, place.name, parsed.config, manifest.CONFIG_LIMIT)
    described: dict[str, Any] = jsontext.loads(config)
    entry = _entry(parsed.media_type, digests.digest_of(content), len(content), None)
    entry["platform"] = {key: described[key] for key in ("architecture", "os", "variant") if described.get(key)}
    return [(_changed(entry, options.changes), f"{source}@{entry['digest']}")]


# --- inspect and push -------------------------------------------------------------------------------------------------


def inspect(engine: Engine, name: str, options: RegistryOptions) -> dict[str, Any]:
    """A list of the store in the shape of Podman's JSON, or what a registry has under the name."""
    place = parse_place(name)
    image = engine.images.lookup(name, lists=True) if place is None else None
    if image is None or not stored.is_list(image):
        with Repository(place.path if place is not None else name, options) as repository:
            shape: dict[str, Any] = jsontext.loads(repository.top()[0])
            return shape
    listed = [{key: entry[key] for key in ("mediaType", "size", "digest", "platform", "annotations") if entry.get(key)}
              for entry in stored.entries(engine.images, image)]
    annotations = stored.annotations_of(engine.images, image)
    return {"schemaVersion": 2, "mediaType": image.media_type, "manifests": listed or None,
            **({"annotations": annotations} if annotations else {})}


def push(engine: Engine, name: str, destination: str, options: PushListOptions) -> str:
    """Send a list, with ``all`` its images first, to a registry; the digest of what stands there now."""
    image = find(engine, name)
    place = parse_place(destination)
    options = options.replace(annotations=stored.annotations_of(engine.images, image))
    transfers.check_compression(options.compression_format or "gzip", options.format)
    for kind in options.add_compression:
        transfers.check_compression(kind, options.format)
    if place is not None and place.transport != "docker":
        from podling.engine import list_export

        if options.add_compression:
            raise Unsupported(f"--add-compression is not available for the transport {place.transport}:", hint="push to a registry")
        listed = [(entry, stored.source(engine.images, image, entry["digest"])) for entry in stored.entries(engine.images, image)]
        digest = list_export.push(engine, listed, place, options)
    else:
        digest = _push_registry(engine, image, place.path if place is not None else destination, options)
    if options.digest_file:
        write_atomic(options.digest_file, digest.encode(), 0o644)
    if options.remove:
        engine.images.remove(image)
    return digest


def _push_registry(engine: Engine, image: Image, destination: str, options: PushListOptions) -> str:
    listed = stored.entries(engine.images, image)
    report = options.progress or transfer.ignore_progress
    with Repository(destination, options.registry, push=True) as target:
        signing = trust.signing(options.signing, target.wanted, target.reference)
        if signing is not None:
            signing.prepare(target.registry)
        report("message", text="Getting image list signatures")
        sent = list(listed)
        if options.all:
            report("message", text=f"Copying {len(listed)} of {len(listed)} images in list")
            sent = list(_push_instances(engine, image, listed, target, options))
        report("message", text="Writing manifest list to image destination")
        content, kind = index_of(sent, options)
        target.registry.ping()
        digest = target.registry.put_manifest(target.name, target.wanted.digest or target.wanted.tag, content, kind)
        if signing is not None:
            _sign(signing, target, [*[entry["digest"] for entry in sent if options.all], digest], report)
    return digest


def index_of(sent: list[dict[str, Any]], options: PushListOptions) -> tuple[bytes, str]:
    """(the index of these descriptors, its media type)."""
    docker = options.format == "v2s2"
    kind = stored.DOCKER_LIST if docker else stored.OCI_INDEX
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind, "manifests": [_sent(entry, docker) for entry in sent]}
    if options.annotations and not docker:
        value["annotations"] = options.annotations
    return jsontext.dumps(value).encode(), kind


def _sign(signing: Signing, target: Repository, signed: list[str], report: Callable[..., None]) -> None:
    """Sign the images that were sent and the list, each by the list's name, as who pulls it asks for it."""
    for digest in dict.fromkeys(signed):
        signatures = signing.make(digest, report)
        report("message", text="Storing signatures")
        signing.write(target.registry, digest, signatures)


def _sent(entry: dict[str, Any], docker: bool) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if not (docker and key == "annotations")}


def _push_instances(engine: Engine, image: Image, listed: list[dict[str, Any]], target: Repository,
                    options: PushListOptions) -> Iterator[dict[str, Any]]:
    report = options.progress or transfer.ignore_progress
    for number, entry in enumerate(listed, 1):
        report("message", text=f"Copying image {entry['digest']} ({number}/{len(listed)})")
        source = stored.source(engine.images, image, entry["digest"])
        if source:
            with Repository(source.removeprefix("docker://"), options.registry) as origin:
                _copy(origin, target, Descriptor(media_type=entry["mediaType"], digest=entry["digest"], size=entry["size"]))
            yield entry
        else:
            yield _push_local(engine, entry, target, options)
    for kind in options.add_compression:
        for entry in listed:
            yield _push_again(engine, entry, target, options.replace(compression_format=kind, force_compression=True))


def _push_again(engine: Engine, entry: dict[str, Any], target: Repository, options: PushListOptions) -> dict[str, Any]:
    """An instance once more, in another compression; who knows better formats finds it by an annotation."""
    sent = _push_local(engine, entry, target, options)
    marks = {"io.github.containers.compression.zstd": "true"} if options.compression_format.startswith("zstd") else {}
    return {**sent, **({"annotations": {**(entry.get("annotations") or {}), **marks}} if marks else {})}


def local_image(engine: Engine, digest: str) -> Image:
    """The image of this store that a list names by its digest."""
    found = next((image for image in engine.images.list()
                  if any(one.digest == digest for one in engine.images.manifests(image))), None)
    if found is None:
        raise NoSuchImage(f"{digest}: the image that the list names is not here",
                          hint="take it out with 'podling manifest remove', pull it, or push with --all=false")
    return found


def _push_local(engine: Engine, entry: dict[str, Any], target: Repository, options: PushListOptions) -> dict[str, Any]:
    """Send an image of this store; its descriptor with the digest that it has there."""
    from podling.image.pushing import Push

    form = Form(compression=options.compression_format or engine.conf.compression_format or "gzip", level=options.compression_level)
    push_ = Push(engine.images, local_image(engine, entry["digest"]), target.wanted.replace(digest=""), target.access, by_digest=True,
                 form=form, force=options.force_compression, progress=options.progress or transfer.ignore_progress)
    digest = push_.run()
    content, media_type = push_.written
    return {**entry, "mediaType": media_type, "digest": digest, "size": len(content)}


def _copy(origin: Repository, target: Repository, descriptor: Descriptor) -> None:
    """Bring an image from one registry to another, its manifest unchanged; what is there already is not sent."""
    from podling.image.registry import blobs

    content, media_type = origin.registry.manifest(origin.name, descriptor.digest)
    parsed = manifest.parse_manifest(content, media_type)
    target.registry.ping()
    for blob in (*parsed.layers, parsed.config):
        if blobs.size_of(target.registry, target.name, blob.digest) is not None:
            continue
        same = origin.registry.host == target.registry.host
        if same and blobs.mount(target.registry, target.name, blob.digest, origin.name):
            continue
        written, _ = blobs.upload_stream(target.registry, target.name,
                                         lambda blob=blob: blobs.stream(origin.registry, origin.name, blob),  # type: ignore[misc]
                                         blob.digest)
        if written != blob.digest:
            raise digests.mismatch(f"reading blob {blob.digest} of {origin.registry.host}/{origin.name}", blob.digest, written)
    target.registry.put_manifest(target.name, descriptor.digest, content, parsed.media_type)

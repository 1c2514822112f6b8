"""Images in and out: ``pull``, ``push``, ``save``, ``load`` and ``import``."""

from __future__ import annotations

import os
import time

from podling import log
from podling.engine.images import LOCALHOST, full_name
from podling.errors import InvalidArgument, NoSuchImage, PodlingError, RegistryError, Unsupported, explain
from podling.image import digests, transfer
from podling.image.outgoing import Form
from podling.image.places import TRANSPORTS, Directory, DockerArchive, Layout, Place, Source, parse_place
from podling.image.platforms import format_platform, runs_on, wanted_platforms
from podling.linux.files import write_atomic
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from podling.config.registries import Endpoint, RegistriesConf
    from podling.engine.engine import Engine
    from podling.engine.options import ImportOptions, PullOptions, PushOptions, RegistryOptions, SaveOptions
    from podling.image.encryption.jwe import PrivateKey
    from podling.image.policy import Gate
    from podling.image.remote import Access
    from podling.model import Image
    from podling.values.reference import Reference

COMPRESSIONS = ("gzip", "zstd", "zstd:chunked")
POLICIES = ("always", "missing", "never", "newer", "ifnewer", "ifmissing")


# --- pull -------------------------------------------------------------------------------------------------------------


def pull(engine: Engine, name: str, options: PullOptions) -> Image:
    """The image of this name, pulled as the policy says; one of several candidates is looked for in each registry in turn."""
    mode = {"ifnewer": "newer", "ifmissing": "missing"}.get(options.policy or "", options.policy or "always")
    if mode not in POLICIES:
        raise InvalidArgument(f'unsupported pull policy "{options.policy}"', hint="one of always, missing, never, newer")
    place = parse_place(name)
    if place is not None and place.transport == "containers-storage":
        own = own_image(engine, place)
        if own is not None:
            return own
    if place is not None and place.transport != "docker":
        images = load(engine, place, options.progress, options.signature_policy,
                      private_keys(options.decryption_keys))
        return images[0]
    text = place.path if place is not None else name
    local = engine.images.lookup(text, platform=options.platform) if mode != "always" else None
    if mode in ("missing", "never") and local is not None:
        return local
    if mode == "never":
        raise NoSuchImage(f"{name}: image not known", hint=f"pull it first: podling pull {name}")
    text = _meant(engine, text, options)
    if mode == "newer" and local is not None:
        return _pull_newer(engine, text, local, options)
    return _pull_candidates(engine, text, options)


def _meant(engine: Engine, text: str, options: PullOptions) -> str:
    """What a short name means here: the full name of the local image that it stands for, if there is one for the platform."""
    local = engine.images.lookup(text, platform=options.platform)
    if local is None or (reference.is_id_prefix(text) and local.id.startswith(text)):
        return text
    return engine.images.name_for(local, text)


def pull_all_tags(engine: Engine, name: str, options: PullOptions) -> list[Image]:
    """Every tag of a repository."""
    from podling.engine import registries

    conf = registries.configured()
    wanted = reference.parse(conf.candidates(name)[0])
    if wanted.tag or wanted.digest:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    endpoint = conf.endpoints(wanted)[-1]
    registry = access(options.registry, endpoint).open(endpoint.reference.registry)
    try:
        tags = registry.tags(endpoint.reference.repository)
    finally:
        registry.close()
    return [_pull_reference(engine, conf, wanted.replace(tag=tag, digest=""), options) for tag in tags]


def _pull_newer(engine: Engine, name: str, local: Image, options: PullOptions) -> Image:
    """Pull if the registry has another image by now; without an answer the local one does."""
    from podling.engine import registries

    try:
        conf = registries.configured()
        wanted = reference.parse(conf.candidates(name)[0]).with_tag()
        endpoint = conf.endpoints(wanted)[-1]
        once = options.registry if options.registry.retry is not None else options.registry.replace(retry=0)
        registry = access(once, endpoint).open(endpoint.reference.registry)
        try:
            digest = registry.manifest_digest(endpoint.reference.repository,
                                              endpoint.reference.digest or endpoint.reference.tag)
        finally:
            registry.close()
        known = {stored.digest for stored in engine.images.manifests(local)}
        if digest in known:
            return local
        return _pull_candidates(engine, name, options)
    except RegistryError as error:
        log.debug(f"the local image is used, the registry does not answer: {explain(error)}")
        return local


def _pull_candidates(engine: Engine, name: str, options: PullOptions) -> Image:
    from podling.engine import registries

    conf = registries.configured()
    candidates = conf.candidates(name, can_ask=options.choose is not None)
    chosen = ""
    if len(candidates) > 1 and options.choose is not None:
        chosen = options.choose(name, candidates)
        candidates = [chosen]
    elif (way := conf.way(name)) and options.progress is not None:
        options.progress("message", text=way)
    failures: list[PodlingError] = []
    for candidate in candidates:
        wanted = reference.parse(candidate)
        if not wanted.digest:
            wanted = wanted.with_tag()
        try:
            image = _pull_reference(engine, conf, wanted, options)
        except (RegistryError, Unsupported) as error:
            failures.append(error)
            if len(candidates) == 1:
                raise
            continue
        if chosen:                               # the next time, and for Podman too, the answer is known
            registries.remember(reference.parse(name).name, wanted.name)
        return image
    words = "; ".join(explain(error) for error in failures)
    raise RegistryError(f'{len(failures)} errors occurred while pulling "{name}": {words}')


def _pull_reference(engine: Engine, conf: RegistriesConf, wanted: Reference, options: PullOptions) -> Image:
    """Pull one full reference, from a mirror or from its registry."""
    from podling.engine import trust

    report = options.progress or transfer.ignore_progress
    gate = trust.gate(options.signature_policy)
    report("message", text=f"Trying to pull {wanted}...")
    gate.check_place("docker", str(wanted.without_tag()), f"docker://{wanted.without_tag()}")
    endpoints = conf.endpoints(wanted)
    for endpoint in endpoints[:-1]:
        try:
            return _pull_endpoint(engine, wanted, endpoint, options, gate)
        except (RegistryError, PodlingError) as error:
            log.debug(f"mirror {endpoint.reference}: {explain(error)}")
    return _pull_endpoint(engine, wanted, endpoints[-1], options, gate)


def _pull_endpoint(engine: Engine, wanted: Reference, endpoint: Endpoint, options: PullOptions, gate: Gate) -> Image:
    from podling.engine import trust
    from podling.image.remote import Remote  # an HTTP client, which archives do not need

    keys = private_keys(options.decryption_keys)
    reach, platforms, places = access(options.registry, endpoint), wanted_platforms(options.platform), trust.signature_places()
    with Remote(endpoint.reference, reach, engine.paths.graphroot, name=wanted, places=places) as source:
        source.gate = gate
        try:
            found = source.find(platforms)[0]
        except RegistryError as error:
            raise type(error)(f"initializing source docker://{wanted}") from error
        repo_digests = _repo_digests(wanted, found.digest, digests.digest_of(found.manifest))
        try:
            image = transfer.store(engine.images, source, found, names=[str(wanted.without_tag())],
                                   repo_digests=repo_digests, repository=endpoint.reference.name, keys=keys,
                                   progress=options.progress)
        except RegistryError as error:
            raise type(error)(f"copying image docker://{wanted}") from error
    has = engine.images.config(image).platform
    if not runs_on(has, platforms):
        log.warning(f"image platform ({format_platform(has)}) does not match the expected platform "
                    f"({format_platform(platforms[0])})")
    return image


def private_keys(texts: Collection[str]) -> list[PrivateKey]:
    """The private keys that ``--decryption-key`` names."""
    if not texts:
        return []
    from podling.image.encryption import keys

    return [keys.private(text) for text in texts]


def _repo_digests(wanted: Reference, *found: str) -> list[str]:
    return sorted({f"{wanted.name}@{digest}" for digest in found})


def access(options: RegistryOptions, endpoint: Endpoint) -> Access:
    """How a registry is reached: options over registries.conf and auth.json."""
    from podling.engine import registries
    from podling.image.remote import Access

    insecure = endpoint.insecure if options.tls_verify is None else not options.tls_verify
    return Access(insecure=insecure, cert_dir=options.cert_dir or "", retries=options.retry, retry_delay=options.retry_delay,
                  credentials=registries.credentials(endpoint.reference.name, options))


# --- load and import --------------------------------------------------------------------------------------------------


def open_source(engine: Engine, place: Place) -> Source:
    """The source that a place other than a registry is."""
    spool = f"{engine.paths.graphroot}/blobs/spool"
    if place.transport == "docker-archive":
        return DockerArchive(place, spool=spool)
    if place.transport in ("oci-archive", "oci"):
        return Layout(place, spool=spool)
    if place.transport == "dir":
        return Directory(place)
    if place.transport == "containers-storage":
        from podling.image.storage import StorageSource, parse_store_place

        return StorageSource(parse_store_place(place))
    if place.transport == "docker-daemon":
        from podling.image.daemon import DaemonImage  # an HTTP client

        return DaemonImage(place, spool=spool)
    raise Unsupported(f"the transport {place.transport}: is not available yet")


def own_image(engine: Engine, place: Place) -> Image | None:
    """The image of our own store, and of those that are configured beside it, that ``containers-storage:`` means, if any."""
    from podling.image.storage import parse_store_place

    meant = parse_store_place(place)
    if meant.graphroot and meant.graphroot.rstrip("/") != engine.paths.graphroot:
        return None
    return engine.images.lookup(meant.name)


def _tag_in_store(engine: Engine, image: Image, place: Place) -> str:
    """``push IMAGE containers-storage:NAME``: our own store has the image already, under one more name from now on."""
    from podling.image.storage import parse_store_place

    meant = parse_store_place(place)
    if meant.graphroot and meant.graphroot.rstrip("/") != engine.paths.graphroot:
        raise Unsupported(f"the store {meant.graphroot} belongs to another engine, podling does not write there",
                          hint="use podling save and podman load")
    engine.images.tag(image, full_name(meant.name))
    return image.digest


def load(engine: Engine, place: Place, progress: Callable[..., None] | None = None,
         signature_policy: str | None = None, keys: Sequence[PrivateKey] = ()) -> list[Image]:
    """The images of an archive or directory, stored under the names that it gives them."""
    with open_source(engine, place) as source:
        return _load_opened(engine, source, progress, signature_policy, keys)


def load_file(engine: Engine, path: str, progress: Callable[..., None] | None = None,
              signature_policy: str | None = None) -> list[Image]:
    """``load``: what kind of archive or directory it is, it tells itself. "-" is standard input."""
    if path != "-" and os.path.isdir(path):
        transport = "oci" if os.path.exists(f"{path}/index.json") else "dir"
        return load(engine, Place(transport=transport, path=path), progress, signature_policy)
    try:
        archive = DockerArchive(Place(transport="docker-archive", path=path), spool=f"{engine.paths.graphroot}/blobs/spool")
    except FileNotFoundError as error:
        raise InvalidArgument("reading archive") from error
    members = archive.archive.members
    if "manifest.json" in members:
        with archive:
            return _load_opened(engine, archive, progress, signature_policy)
    if "index.json" in members:
        with Layout(Place(transport="oci-archive", path=path), opened=archive.archive) as layout:
            return _load_opened(engine, layout, progress, signature_policy)
    archive.close()
    raise InvalidArgument(f"payload does not match any of the supported image formats: {path} has neither manifest.json nor "
                          "index.json", hint="a root file system is imported with 'podling import'")


def _load_opened(engine: Engine, source: Source, progress: Callable[..., None] | None,
                 signature_policy: str | None, keys: Sequence[PrivateKey] = ()) -> list[Image]:
    """The images of a source, each with the names that it has there."""
    from podling.engine import trust

    source.gate = trust.gate(signature_policy)
    stored = []
    for found in source.find(wanted_platforms()):
        names = tuple(full for name in found.names if (full := _loaded_name(name)))
        stored.append(transfer.store(engine.images, source, found, names=names, keys=keys, progress=progress).replace(names=names))
    return stored


def _loaded_name(name: str) -> str:
    """The full name for a name in an archive; "" for what is none, such as a bare tag in an OCI layout."""
    try:
        parsed = reference.parse(name)
    except InvalidArgument:
        return ""
    if parsed.is_short:
        parsed = parsed.qualified("localhost")
    return str(parsed.with_tag())


def import_image(engine: Engine, source: str, name: str | None, options: ImportOptions) -> Image:
    """A root file system's tar (a path, "-" or a URL) as an image. The same file gives the same image: it is as old as the file."""
    from podling.engine import trust
    from podling.image.importing import import_tar, open_file

    trust.gate(options.signature_policy).check_unsigned("tarball", f"tarball:{source}")
    names = []
    if name:
        parsed = reference.parse(name)
        names = [str((parsed.qualified("localhost") if parsed.is_short else parsed).with_tag())]
    if source.startswith(("http://", "https://")):
        from podling.image.registry.connection import Connection, Patience

        host = source.partition("://")[2].partition("/")[0]
        connection = Connection(host, patience=Patience())
        answer = connection.send("GET", source, headers={})
        if answer.status != 200:
            raise RegistryError(f"fetching {source}: the server answers {answer.status}")
        read: Callable[[int], bytes] = answer.read
    else:
        read = open_file(source)
    created = os.stat(source).st_mtime_ns if os.path.isfile(source) else time.time_ns()
    return import_tar(engine.images, read, names=names, changes=options.changes, message=options.message,
                      platform=options.platform, source="tarball", created=created)


# --- push and save ----------------------------------------------------------------------------------------------------


def push(engine: Engine, name: str, destination: str | None, options: PushOptions) -> str:
    """Send an image to a registry, an archive or a directory; the digest of its manifest, "" where there is none to tell."""
    from podling.engine import registries, trust

    image = engine.images.resolve(name)
    report = options.progress or transfer.ignore_progress
    if not options.remove_signatures:
        report("message", text="Getting image source signatures")
        _check_unsigned(engine, image)
    place = parse_place(destination or "")
    if place is not None and place.transport != "docker":
        if options.signing.any:
            raise InvalidArgument(f"cannot determine canonical Docker reference for destination {place}",
                                  hint="only images in registries are signed")
        if options.encryption_keys and place.transport not in ("oci", "dir"):
            raise Unsupported(f"layers are not encrypted for the transport {place.transport}:", hint="push to a registry, oci: or dir:")
        if place.transport == "containers-storage":
            return _tag_in_store(engine, image, place)
        return _push_place(engine, image, place, options)
    wanted = _push_target(place.path if place is not None else destination or _push_name(engine, image, name))
    wanted = wanted if wanted.digest else wanted.with_tag()
    endpoint = registries.configured().push_endpoint(wanted)
    form = _form(engine, options)
    signing = trust.signing(options.signing, wanted, endpoint.reference)
    from podling.image.pushing import Push

    try:
        digest = Push(engine.images, image, wanted, access(options.registry, endpoint), form=form,
                      force=bool(options.force_compression), manifest_type=options.format or "", signing=signing, progress=report).run()
    except RegistryError as error:
        raise type(error)(f'pushing image "{name}" to "docker://{wanted}"') from error
    if options.digest_file:
        write_atomic(options.digest_file, digest.encode(), 0o644)
    return digest


def _form(engine: Engine, options: PushOptions) -> Form:
    """How the layers are to leave."""
    compression = options.compression_format or engine.conf.compression_format or "gzip"
    check_compression(compression, options.format or "")
    if options.encrypt_layers and not options.encryption_keys:
        raise InvalidArgument("--encrypt-layer can only be used with --encryption-key")
    if not options.encryption_keys:
        return Form(compression=compression, level=options.compression_level)
    if options.format == "v2s2":
        raise InvalidArgument("encrypted layers need annotations, which Docker's manifests have not", hint="push with --format oci")
    from podling.image.encryption import keys  # a library for cryptography

    return Form(compression=compression, level=options.compression_level, encrypted=options.encrypt_layers,
                recipients=tuple([keys.recipient(text) for text in options.encryption_keys]))


def check_compression(compression: str, form: str) -> None:
    """InvalidArgument for a format that we do not write, or that the manifest's form cannot describe."""
    if compression not in COMPRESSIONS:
        raise InvalidArgument(f'unknown compression format "{compression}"', hint=f"one of {', '.join(COMPRESSIONS)}")
    if compression.startswith("zstd") and form == "v2s2":
        raise InvalidArgument(f"Docker's manifests do not know layers compressed with {compression}", hint="push with --format oci")


def _check_unsigned(engine: Engine, image: Image) -> None:
    """InvalidArgument for an image that came with signatures: what is sent is compressed anew, and they would not fit it."""
    if engine.images.signatures(image):
        raise InvalidArgument('Copying this image would require changing layer representation, which we cannot do: "Would '
                              'invalidate signatures"', hint="--remove-signatures sends it without them")


def _push_target(text: str) -> Reference:
    """The reference to push to: a name without a registry is one of Docker Hub, wherever short names are searched."""
    transport, _, rest = text.partition(":")
    if rest.startswith(("/", ".")):              # no tag
        raise InvalidArgument(f'invalid image name "{text}", unknown transport "{transport}"',
                              hint=f"the transports are {', '.join(TRANSPORTS)}")
    wanted = reference.parse(text)
    return wanted.qualified(reference.DOCKER_HUB) if wanted.is_short else wanted


def _push_name(engine: Engine, image: Image, name: str) -> str:
    """Where an image goes that is pushed without a destination: its own full name, unless that is only a short one's in localhost."""
    if reference.is_id_prefix(name) and image.id.startswith(name):
        raise InvalidArgument(f"destination is missing: {name} is an image's id", hint=f"podling push {name} REGISTRY/NAME")
    meant = engine.images.name_for(image, name)
    return name if reference.parse(name).is_short and reference.parse(meant).registry == LOCALHOST else meant


def _push_place(engine: Engine, image: Image, place: Place, options: PushOptions) -> str:
    from podling.image.saving import Export

    names = (place.name,) if place.name else ()
    if place.transport == "docker-daemon":
        return _push_daemon(engine, image, place, options)
    export = Export(engine.images, [(image, names)], options.progress or transfer.ignore_progress)
    form = _form(engine, options)
    if place.transport == "docker-archive":
        export.to_archive(place.path, export.docker_members())
    elif place.transport == "oci-archive":
        export.to_archive(place.path, export.oci_members())
    elif place.transport in ("oci", "dir"):
        export.to_directory(place.path, oci=place.transport == "oci", form=form)
    else:
        raise Unsupported(f"the transport {place.transport}: is not available yet")
    return ""


def _push_daemon(engine: Engine, image: Image, place: Place, options: PushOptions) -> str:
    from podling.image import daemon  # an HTTP client
    from podling.image.saving import Export
    from podling.image.tarfiles import layout, sequence

    name = daemon.checked_name(place)
    if name.startswith("sha256:"):
        raise InvalidArgument(f"{place}: an image is sent to a Docker daemon under a name", hint="docker-daemon:NAME:TAG")
    export = Export(engine.images, [(image, (name,))], options.progress or transfer.ignore_progress)
    daemon.load(sequence(*layout(export.docker_members()), export.tar))
    return ""


def save(engine: Engine, names: tuple[str, ...], output: str, options: SaveOptions) -> None:
    """Write images to ``output`` ("-": standard output). Without ``multi`` the further names are names of the first image."""
    from podling.image.saving import Export

    form = options.format or "docker-archive"
    if form not in ("docker-archive", "oci-archive", "oci-dir", "docker-dir"):
        raise InvalidArgument(f'unknown format "{form}"', hint="one of docker-archive, oci-archive, oci-dir, docker-dir")
    if options.compress and form not in ("docker-dir", "oci-dir"):
        raise InvalidArgument("--compress can only be set when --format is 'docker-dir'")
    export = Export(engine.images, _wanted(engine, names, options, form), options.progress or transfer.ignore_progress)
    if form == "docker-archive":
        export.to_archive(output, export.docker_members())
    elif form == "oci-archive":
        export.to_archive(output, export.oci_members())
    else:
        if output == "-":
            raise InvalidArgument(f"format {form} needs a directory to write to", hint="name one with --output")
        export.to_directory(output, oci=form == "oci-dir", form=Form(compression="gzip" if options.compress else ""))


def _wanted(engine: Engine, names: tuple[str, ...], options: SaveOptions, form: str) -> list[tuple[Image, tuple[str, ...]]]:
    """The images to save, each with the names it has in the archive."""
    found: dict[str, tuple[Image, list[str]]] = {}
    first: Image | None = None
    for name in names:
        image = engine.images.resolve(name) if options.multi or first is None else first
        first = first or image
        if options.multi and form != "docker-archive":
            raise InvalidArgument("--multi-image-archive is only supported with --format docker-archive")
        names_of = found.setdefault(image.id, (image, []))[1]
        full = _loaded_name(name) if not (reference.is_id_prefix(name) and image.id.startswith(name)) else ""
        if full:
            known = next((own for own in image.names if own == full or own.endswith("/" + full.partition("/")[2])), full)
            names_of.append(known)
    return [(image, tuple(dict.fromkeys(names_of))) for image, names_of in found.values()]

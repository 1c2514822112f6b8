"""``artifact add|extract|inspect|ls|pull|push|rm``: files in registries that are no images."""

from __future__ import annotations

import os

from podling.engine import registries, transfers, trust
from podling.engine.options import RegistryOptions, SigningOptions
from podling.errors import AlreadyExists, Corrupt, InvalidArgument, NotFound, RegistryError
from podling.image import artifacts as stored
from podling.image import digests, transfer
from podling.image.artifacts import TITLE, Artifact, Artifacts
from podling.image.manifest import OCI_MANIFEST
from podling.linux import files
from podling.record import Record
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podling.engine.engine import Engine
    from podling.image.manifest import Descriptor
    from podling.linux.locks import Held
    from podling.values.reference import Reference


class AddArtifactOptions(Record):
    """``artifact add``. ``file_type``: of the files, "" is what their content tells."""

    type: str = ""
    file_type: str = ""
    annotations: dict[str, str] = {}
    append: bool = False
    overwrite: bool = False                      # --replace


class ArtifactTransfer(Record):
    """``artifact pull`` and ``push``."""

    registry: RegistryOptions = RegistryOptions()
    digest_file: str = ""
    decryption_keys: tuple[str, ...] = ()        # FILE[:PASSPHRASE] of private keys
    signature_policy: str | None = None
    signing: SigningOptions = SigningOptions()
    progress: Callable[..., None] | None = None


def store(engine: Engine) -> Artifacts:
    """The store of artifacts."""
    return Artifacts(f"{engine.paths.graphroot}/artifacts")


def _changing(engine: Engine) -> Held:
    return engine.lock("store", "artifacts").exclusive()


def add(engine: Engine, name: str, paths: Iterable[str], options: AddArtifactOptions) -> Artifact:
    """Make an artifact of files, or add files to one."""
    reference.parse(name)
    if options.append and options.type:
        raise InvalidArgument("append option is not compatible with type option")
    with _changing(engine):
        kept = store(engine)
        old = next((artifact for artifact in kept.all() if artifact.name == name), None)
        if old is not None and not options.append and not options.overwrite:
            raise AlreadyExists(f"artifact {name} already exists")
        if old is None and options.append:
            raise NotFound(f"no artifact found with name or digest of {name}")
        layers = list(old.document["layers"]) if old is not None and options.append else []
        for path in paths:
            title = os.path.basename(path)
            if any((layer.get("annotations") or {}).get(TITLE) == title for layer in layers):
                raise AlreadyExists(f"{title}: file already exists in artifact {name}")
            blob = kept.add_blob(stored.read_file(path))
            layers.append(stored.layer_entry(blob, options.file_type, {**options.annotations, TITLE: title}))
        kind = str(old.document.get("artifactType") or "") if old is not None and options.append else options.type
        artifact = kept.keep(name, stored.build(layers, kind))
        kept.collect()
    return artifact


def remove(engine: Engine, name: str) -> str:
    """Delete an artifact; its digest."""
    with _changing(engine):
        kept = store(engine)
        artifact = kept.find(name)
        kept.remove(artifact)
    return artifact.digest


def extract(engine: Engine, name: str, target: str, *, digest: str = "", title: str = "") -> None:
    """Write an artifact's files into a directory, or one of them to a file."""
    if digest and title:
        raise InvalidArgument("cannot specify both digest and title")
    kept = store(engine)
    artifact = kept.find(name)
    wanted = [layer for layer in artifact.layers if (not digest or layer.digest == digest)
              and (not title or layer.annotations.get(TITLE) == title)]
    if not wanted:
        raise NotFound(f'no blob with the {"digest" if digest else "title"} "{digest or title}"' if digest or title
                       else "the artifact has no blobs")
    if os.path.isdir(target):
        for layer in wanted:
            _write(kept, layer, os.path.join(target, file_name(layer)))
        return
    if len(wanted) > 1:
        raise InvalidArgument(f"the artifact consists of several blobs and the target {target!r} is not a directory and neither "
                              "digest or title was specified to only copy a single blob")
    _write(kept, wanted[0], target)


def file_name(layer: Descriptor) -> str:
    """A file's name in a directory: its title, which must be just a name, else its digest."""
    title = layer.annotations.get(TITLE, "")
    if not title:
        return layer.digest.replace(":", "-")
    if "/" in title or title in (".", "..") or "\0" in title:
        raise Corrupt(f"the artifact's title {title!r} is no file name", hint="name the file to write to, with --title or --digest")
    return title


def _write(kept: Artifacts, layer: Descriptor, path: str) -> None:
    with files.Aside(f"{path}.{files.unique_name()}") as new:
        for chunk in kept.chunks(layer.digest):
            files.write_all(new.fd, chunk)
        new.become(path)


# --- registries -------------------------------------------------------------------------------------------------------


def _wanted(name: str) -> Reference:
    wanted = reference.parse(name.removeprefix("docker://"))
    if wanted.is_short:
        raise InvalidArgument(f"{name}: the name of an artifact in a registry begins with the registry")
    return wanted if wanted.digest else wanted.with_tag()


def pull(engine: Engine, name: str, options: ArtifactTransfer) -> Artifact:
    """Bring an artifact from a registry; its policy is asked before any file is read.

    With a key its encrypted files are kept decrypted, and the manifest that says so; without any they are kept as they are.
    """
    from podling.image.registry import blobs
    from podling.image.remote import Remote

    wanted, keys = _wanted(name), transfers.private_keys(options.decryption_keys)
    gate = trust.gate(options.signature_policy)
    gate.check_place("docker", str(wanted.without_tag()), f"docker://{wanted.without_tag()}")
    endpoint = registries.configured().endpoints(wanted)[-1]
    reach, places = transfers.access(options.registry, endpoint), trust.signature_places()
    report = options.progress or transfer.ignore_progress
    source = Remote(endpoint.reference, reach, engine.paths.graphroot, name=wanted, places=places)
    with source, _changing(engine):
        source.gate = gate
        try:
            content, _ = source.top()
        except RegistryError as error:
            raise type(error)(f"initializing source docker://{wanted}") from error
        source.admitted(content)
        artifact, kept = stored.parse(content, str(wanted)), store(engine)
        locks = stored.unlock(artifact, keys) if keys else {}

        def bring(number: int, layer: Descriptor) -> None:
            chunks = blobs.stream(source.registry, endpoint.reference.repository, layer)
            if number in locks:
                plain[number] = kept.add_blob(stored.decrypted(chunks, layer, locks[number]))
            else:
                kept.add_blob(chunks, layer.digest)

        plain: dict[int, tuple[str, int, str]] = {}
        for number, layer in enumerate(artifact.layers):
            report("begin", key=layer.digest, label=f"Copying blob {layer.digest[7:19]}", total=layer.size)
            if number in locks or not os.path.exists(kept.path(layer.digest)):
                source.registry.patiently(f"reading blob {layer.digest} of {wanted}",
                                          lambda number=number, layer=layer: bring(number, layer))  # type: ignore[misc]
            report("end", key=layer.digest, result="done")
        report("message", text="Writing manifest to image destination")
        return kept.keep(str(wanted), stored.with_plain(artifact, plain) if plain else content)


def push(engine: Engine, name: str, options: ArtifactTransfer) -> str:
    """Send an artifact to the registry that its name says; the digest of its manifest."""
    from podling.image.registry import blobs

    kept = store(engine)
    artifact = kept.find(name)
    wanted = _wanted(artifact.name)
    endpoint = registries.configured().push_endpoint(wanted)
    registry, repository = transfers.access(options.registry, endpoint).open(endpoint.reference.registry), endpoint.reference.repository
    report = options.progress or transfer.ignore_progress
    signing = trust.signing(options.signing, wanted, endpoint.reference)
    try:
        registry.ping()
        if signing is not None:
            signing.prepare(registry)
        for layer in artifact.layers:
            report("begin", key=layer.digest, label=f"Copying blob {layer.digest[7:19]}", total=layer.size)
            if blobs.size_of(registry, repository, layer.digest) is None:
                blobs.upload_stream(registry, repository, lambda layer=layer: kept.chunks(layer.digest), layer.digest)  # type: ignore[misc]
            report("end", key=layer.digest, result="done")
        config = digests.digest_of(stored.EMPTY_CONFIG)
        if blobs.size_of(registry, repository, config) is None:
            blobs.upload_bytes(registry, repository, stored.EMPTY_CONFIG, config)
        report("message", text="Writing manifest to image destination")
        signatures = signing.make(artifact.digest, report) if signing is not None else []
        digest = registry.put_manifest(repository, wanted.tag or artifact.digest, artifact.content, OCI_MANIFEST)
        if signing is not None:
            report("message", text="Storing signatures")
            signing.write(registry, digest, signatures)
    except RegistryError as error:
        raise type(error)(f'pushing artifact "{name}" to "docker://{wanted}"') from error
    finally:
        registry.close()
    if options.digest_file:
        files.write_atomic(options.digest_file, digest.encode(), 0o644)
    return digest

"""``commit`` and ``export``: a container's file system as an image's layer, or as one tar.

1. The container is paused, unless it need not be. 2. Its upper directory becomes a tar with whiteouts, which the store unpacks
as a layer: from then on it is the layer of that tar, byte for byte, under its digest. 3. The image's configuration is the
base's with what the container was made with, then the changes that were asked for.
"""

from __future__ import annotations

import os
import time

from podling import jsontext, log
from podling.engine import idmaps
from podling.engine.images import full_name
from podling.engine.rootfs import RootFilesystem
from podling.errors import InvalidArgument, PodlingError, Unsupported, explain
from podling.image import digests, manifest
from podling.image.importing import change_config
from podling.image.manifest import Descriptor, Manifest
from podling.image.platforms import host_platform
from podling.linux.files import read_bytes, write_all, write_atomic
from podling.record import Record
from podling.store.archive.writer import TarOptions, tar_tree
from podling.values.reference import parse
from podling.values.units import format_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.engine.engine import Engine
    from podling.model import Container, ContainerConfig, Image
    from podling.store.layers import Layer

FORMATS = {"oci": manifest.OCI_MANIFEST, "docker": manifest.DOCKER_MANIFEST}
_CONFIG_LIMIT = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OWN_VARIABLES = ("HOME=", "HOSTNAME=")          # of this container, not of the image


class CommitOptions(Record):
    """``commit``. ``pause`` None: if the host can."""

    author: str = ""
    changes: tuple[str, ...] = ()
    config: dict[str, Any] = {}                  # of an image: what it says counts more than the container's
    format: str = "oci"
    message: str = ""
    iidfile: str = ""                            # gets the image's id
    include_volumes: bool = False
    pause: bool | None = None
    squash: bool = False
    progress: Callable[..., None] | None = None


def read_config(path: str) -> dict[str, Any]:
    """The file of ``--config``: an image's ``config`` in JSON."""
    try:
        found = jsontext.loads(read_bytes(path, _CONFIG_LIMIT))
    except OSError as error:
        raise InvalidArgument(f"reading image configuration: {explain(error)}") from None
    except ValueError as error:
        raise InvalidArgument(f"parsing image configuration from \"{path}\": {error}") from None
    lists, texts = ("Cmd", "Entrypoint", "Env", "OnBuild"), ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname")
    kinds = {**dict.fromkeys(lists, list), **dict.fromkeys(texts, str), **dict.fromkeys(("Labels", "Volumes", "ExposedPorts"), dict)}
    if not isinstance(found, dict):
        raise InvalidArgument(f"parsing image configuration from \"{path}\": it is not an object")
    for name, kind in kinds.items():
        if not isinstance(found.get(name) or kind(), kind):
            raise InvalidArgument(f"parsing image configuration from \"{path}\": {name} is of the wrong type")
    return {name: found[name] for name in kinds if found.get(name)}


def check(options: CommitOptions) -> None:
    """InvalidArgument for what contradicts itself; done before anything is touched."""
    if options.format not in FORMATS:
        raise InvalidArgument(f'unrecognized image format "{options.format}"')
    if options.message and options.format != "docker":
        raise InvalidArgument("messages are only compatible with the docker image format (-f docker)")
    change_config({}, options.changes)


def commit(engine: Engine, container: Container, name: str, options: CommitOptions) -> Image:
    """Make an image of the container as it is now; ``name`` "" gives none."""
    check(options)
    if name:
        parse(name)                              # Podman's words for a name that is none
    names = [full_name(name)] if name else []
    config = engine.containers.config(container.id)
    if config.rootfs:
        raise InvalidArgument("cannot commit a container that uses an exploded rootfs")
    paused = _pause(engine, container, options.pause)
    try:
        base = [] if options.squash else base_layers(engine, config)
        layer = _layer(engine, container, base, squash=options.squash)
    finally:
        if paused:
            _unpause(engine, container)
    image = _store(engine, config, [*base, layer], names, options)
    if options.iidfile:
        write_atomic(options.iidfile, image.id.encode(), 0o644)
    return image


def _pause(engine: Engine, container: Container, wanted: bool | None) -> bool:
    if wanted is False or engine.containers.state(container.id).status != "running":
        return False
    from podling.engine.stop import pause  # all of starting and stopping: for running containers alone

    try:
        pause(engine, container)
    except (PodlingError, OSError) as error:
        if wanted:
            raise
        log.warning(f"the container could not be paused, its files may change while they are copied: {explain(error)}")
        return False
    return True


def _unpause(engine: Engine, container: Container) -> None:
    from podling.engine.stop import unpause

    unpause(engine, container)


def base_layers(engine: Engine, config: ContainerConfig) -> list[Layer]:
    """The layers of the container's image, held; those of an additional store are copied into ours."""
    image, store = engine.images.get(config.image_id, config.image_store), engine.images.layer_store
    store.hold()
    held: list[Layer] = []
    for layer in engine.images.layers(image):
        own = store.reuse(layer.diff_id, held)
        if own is None:
            tar = engine.images.open_tar(image, layer)
            own = store.add(reader(tar), diff_id=layer.diff_id, parents=tuple(held))
        held.append(own)
    return held


def reader(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """An iterator of chunks as a stream."""
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        if not rest:
            rest = next((chunk for chunk in chunks if chunk), b"")
        data, rest = rest[:size], rest[size:]
        return data

    return read


def _layer(engine: Engine, container: Container, base: list[Layer], *, squash: bool) -> Layer:
    if not squash and engine.filesystems.driver != "overlay":
        raise Unsupported(f"the driver {engine.filesystems.driver} cannot tell a container's changes from its image",
                          hint="use --squash, or the driver overlay")
    ids = idmaps.to_inside(engine.containers.config(container.id))      # an image knows the container's owners alone
    if squash:
        with RootFilesystem(engine, container) as root:
            return engine.images.layer_store.add(reader(tar_tree(root, TarOptions(ids=ids))))
    try:
        upper = os.open(engine.filesystems.places(container.id).upper, _DIRECTORY)
    except FileNotFoundError:                    # it was never mounted
        with RootFilesystem(engine, container):
            upper = os.open(engine.filesystems.places(container.id).upper, _DIRECTORY)
    try:
        return engine.images.layer_store.add(reader(tar_tree(upper, TarOptions(whiteouts=True, ids=ids))), parents=base)
    finally:
        os.close(upper)


def _store(engine: Engine, config: ContainerConfig, layers: list[Layer], names: list[str], options: CommitOptions) -> Image:
    docker = options.format == "docker"
    document = _document(engine, config, layers, options)
    content = jsontext.dumps(document).encode("utf-8", "surrogateescape")
    kind = manifest.layer_type(docker=docker, compression="")
    described = manifest.build(Manifest(
        media_type=FORMATS[options.format],
        config=Descriptor(media_type=manifest.DOCKER_CONFIG if docker else manifest.OCI_CONFIG, digest=digests.digest_of(content),
                          size=len(content)),
        layers=tuple(Descriptor(media_type=kind, digest=layer.diff_id, size=layer.tar_size) for layer in layers)))
    _report(layers, content, options.progress)
    return engine.images.add(config=content, manifest=described, media_type=FORMATS[options.format], layers=layers, names=names)


def _report(layers: list[Layer], config: bytes, progress: Callable[..., None] | None) -> None:
    if progress is None:
        return
    progress("message", text="Getting image source signatures")
    for number, layer in enumerate(layers):
        progress("begin", key=f"{number}", label=f"Copying blob {layer.diff_id[7:19]}", total=layer.tar_size)
        progress("end", key=f"{number}", result="done" if number == len(layers) - 1 else "skipped: already exists")
    progress("begin", key="config", label=f"Copying config {digests.digest_of(config)[7:17]}", total=len(config))
    progress("end", key="config", result="done")
    progress("message", text="Writing manifest to image destination")


# --- the configuration ------------------------------------------------------------------------------------------------


def _document(engine: Engine, config: ContainerConfig, layers: list[Layer], options: CommitOptions) -> dict[str, Any]:
    base = engine.images.get(config.image_id, config.image_store)
    old: dict[str, Any] = jsontext.loads(engine.images.config_bytes(base))
    docker = options.format == "docker"
    now, host = format_rfc3339(time.time_ns(), local=False), host_platform()
    inner = change_config(_container_config(config, old.get("config") or {}, options), options.changes, docker=docker)
    author = options.author or old.get("author") or ""
    document: dict[str, Any] = {"comment": options.message} if docker and options.message else {}
    document["created"] = now
    if docker:
        inner = {**_docker_defaults(config), **inner}
        document.update({"container": config.id, "container_config": inner})
    if author:
        document["author"] = author
    document["architecture"], document["os"] = old.get("architecture") or host.architecture, old.get("os") or host.os
    if old.get("variant"):
        document["variant"] = old["variant"]
    document["config"] = inner
    if docker:
        document["parent"] = f"sha256:{config.image_id}"
    document["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
    step = {"created": now, **({"author": author} if author else {}), "created_by": "/bin/sh",
            "comment": f"FROM {config.image_name or config.image_id}"}
    document["history"] = [*([] if options.squash else old.get("history") or []), step]
    return document


def _docker_defaults(config: ContainerConfig) -> dict[str, Any]:
    return {"Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
            "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": config.image_name,
            "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None}


def _container_config(config: ContainerConfig, base: dict[str, Any], options: CommitOptions) -> dict[str, Any]:
    """The base's ``config`` with what the container was made with."""
    found = dict(base)
    said: dict[str, Any] = {
        "User": config.user, "Env": [line for line in config.env if not line.startswith(_OWN_VARIABLES)],
        "Entrypoint": list(config.entrypoint or ()), "Cmd": list(config.cmd), "WorkingDir": config.working_dir,
        "Labels": dict(config.labels)}
    ports = [f"{mapping.container_port + offset}/{mapping.protocol}" for mapping in config.ports for offset in range(mapping.length)]
    said["ExposedPorts"] = {**(base.get("ExposedPorts") or {}), **{port: {} for port in ports}}
    if options.include_volumes:
        volumes: dict[str, Any] = {mount.destination: {} for mount in config.mounts if mount.kind in ("volume", "bind")}
        said["Volumes"] = {**(base.get("Volumes") or {}), **volumes}
    for key, value in options.config.items():
        said[key] = {**said.get(key, base.get(key) or {}), **value} if isinstance(value, dict) else value
    for key, value in said.items():
        found.pop(key, None)
        if value:
            found[key] = value
    return found


# --- export -----------------------------------------------------------------------------------------------------------


def export(engine: Engine, container: Container, path: str) -> None:
    """Write the container's whole file system as a tar to a file, or to standard output ("")."""
    options = TarOptions(ids=idmaps.to_inside(engine.containers.config(container.id)))
    with RootFilesystem(engine, container) as root:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644) if path else 1
        try:
            for chunk in tar_tree(root, options):
                write_all(fd, chunk)
        finally:
            if path:
                os.close(fd)

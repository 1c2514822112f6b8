"""``import``: a root file system's tar becomes an image of one layer."""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import InvalidArgument
from podling.image import digests, manifest
from podling.image.compression import decompressed
from podling.image.manifest import Descriptor, Manifest
from podling.image.platforms import host_platform
from podling.values.units import format_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from podling.model import Image, Platform
    from podling.store.images import Images

INSTRUCTIONS = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")


def import_tar(images: Images, read: Callable[[int], bytes], *, names: Iterable[str], changes: Iterable[str], message: str,
               platform: Platform | None, source: str, created: int) -> Image:
    """Store the tar as an image. ``source``: where it came from, for the image's history; ``created``: when (nanoseconds)."""
    config = apply_changes(changes)
    plain, _ = decompressed(read)
    layer = images.layer_store.add(plain)
    where = platform or host_platform()
    host = host_platform()
    moment = format_rfc3339(created, local=False)
    document: dict[str, Any] = {
        "created": moment, "architecture": where.architecture or host.architecture, "os": where.os or host.os}
    if where.variant:
        document["variant"] = where.variant
    document["config"] = config
    document["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id]}
    document["history"] = [{"created": moment, "created_by": f"/bin/sh -c #(nop) ADD file:{layer.diff_id[7:]} in /",
                            "comment": message or f"imported from {source}"}]
    content = jsontext.dumps(document).encode("utf-8", "surrogateescape")
    described = manifest.build(Manifest(
        media_type=manifest.OCI_MANIFEST,
        config=Descriptor(media_type=manifest.OCI_CONFIG, digest=digests.digest_of(content), size=len(content)),
        layers=(Descriptor(media_type=manifest.OCI_LAYER, digest=layer.diff_id, size=layer.tar_size),)))
    return images.add(config=content, manifest=described, media_type=manifest.OCI_MANIFEST, layers=(layer,), names=names)


def apply_changes(changes: Iterable[str]) -> dict[str, Any]:
    """The ``config`` of an image that Dockerfile instructions describe: ``CMD ["sh"]`` or ``CMD=sh``."""
    return change_config({}, changes)


def change_config(config: dict[str, Any], changes: Iterable[str], *, docker: bool = True) -> dict[str, Any]:
    """A ``config`` changed by Dockerfile instructions; the given one stays. OCI's format has no ``docker`` fields (OnBuild)."""
    config = {key: dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value
              for key, value in config.items() if docker or key not in ("OnBuild", "Healthcheck", "Shell")}
    for change in changes:
        word, value = _split(change)
        if word not in INSTRUCTIONS:
            raise InvalidArgument(f'invalid change "{change}": invalid instruction {word}', hint=f"one of {', '.join(INSTRUCTIONS)}")
        _apply(config, word, value, change)
    return config


def _split(change: str) -> tuple[str, str]:
    for position, letter in enumerate(change):
        if letter in " \t=":
            return change[:position].upper(), change[position + 1:].strip()
    raise InvalidArgument(f'invalid change "{change}" - must be formatted as KEY VALUE')


def _apply(config: dict[str, Any], word: str, value: str, change: str) -> None:
    if word in ("CMD", "ENTRYPOINT"):
        config[{"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}[word]] = _command(value, change)
    elif word == "ENV":
        env = dict(entry.split("=", 1) for entry in config.get("Env", []))
        env.update(_pairs(value, change))
        config["Env"] = [f"{name}={text}" for name, text in env.items()]
    elif word == "LABEL":
        config.setdefault("Labels", {}).update(_pairs(value, change))
    elif word == "EXPOSE":
        for port in value.split():
            config.setdefault("ExposedPorts", {})[port if "/" in port else f"{port}/tcp"] = {}
    elif word == "VOLUME":
        for path in _command(value, change) if value.startswith("[") else value.split():
            config.setdefault("Volumes", {})[path] = {}
    elif word == "ONBUILD":
        config.setdefault("OnBuild", []).append(value)
    else:
        config[{"STOPSIGNAL": "StopSignal", "USER": "User", "WORKDIR": "WorkingDir"}[word]] = value


def _command(value: str, change: str) -> list[str]:
    if not value.startswith("["):
        return ["/bin/sh", "-c", value]
    try:
        words = jsontext.loads(value)
    except ValueError:
        raise InvalidArgument(f'invalid change "{change}": {value} is not a JSON list') from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidArgument(f'invalid change "{change}": {value} is not a list of texts')
    return words


def _pairs(value: str, change: str) -> dict[str, str]:
    import shlex  # it loads re: 5 ms that a commit without changes need not pay

    try:
        words = shlex.split(value)
    except ValueError as error:
        raise InvalidArgument(f'invalid change "{change}": {error}') from None
    if words and "=" not in words[0]:
        name, _, rest = value.partition(" ")
        return {name: rest.strip()}
    return dict(word.partition("=")[::2] for word in words)


def open_file(path: str) -> Callable[[int], bytes]:
    """A local file or standard input ("-") as a stream."""
    fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return lambda size: os.read(fd, size)

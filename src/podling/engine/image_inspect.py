"""``image inspect`` and ``history``: an image in the shapes of Podman's JSON."""

from __future__ import annotations

import os

from podling import jsontext
from podling.engine.shapes import Struct, Time, or_null
from podling.store import ancestry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.engine.engine import Engine
    from podling.model import Image
    from podling.store.ancestry import HistoryEntry

# Of the configuration's "config", in this order, where they are set.
_CONFIG_KEYS = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
                "ArgsEscaped")


def inspect_image(engine: Engine, image: Image) -> Struct:
    """All that is known of an image."""
    document: dict[str, Any] = jsontext.loads(engine.images.config_bytes(image))
    config = document.get("config") or {}
    history = document.get("history") or []
    comment = document.get("comment") or (history[-1].get("comment") if history else "") or ""
    found = Struct({
        "Id": image.id, "Digest": image.digest, "RepoTags": list(image.names), "RepoDigests": list(image.repo_digests),
        "Parent": "" if image.store else ancestry.parent(engine.database, image.id), "Comment": comment,
        "Created": Time(image.created, local=False),
        "Config": Struct({key: _sorted(config[key]) for key in _CONFIG_KEYS if config.get(key)}),
        "Version": document.get("docker_version") or "", "Author": document.get("author") or "",
        "Architecture": document.get("architecture") or "", "Os": document.get("os") or "", "Size": image.size,
        "VirtualSize": image.size, "GraphDriver": _graph_driver(engine, image),
        "RootFS": Struct({"Type": "layers", "Layers": list((document.get("rootfs") or {}).get("diff_ids") or [])}),
        "Labels": or_null(_sorted(config.get("Labels") or {})), "Annotations": _annotations(engine, image),
        "ManifestType": image.media_type, "User": config.get("User") or "",
        "History": [Struct({key: entry[key] for key in ("created", "created_by", "author", "comment", "empty_layer")
                            if entry.get(key)}) for entry in history],
        "NamesHistory": or_null(list(image.all_names)),
    })
    if config.get("Healthcheck"):
        found["HealthCheck"] = Struct(config["Healthcheck"])
    return found


def _sorted(value: Any) -> Any:
    return dict(sorted(value.items())) if isinstance(value, dict) else value


def _graph_driver(engine: Engine, image: Image) -> Struct:
    """The top layer as overlay's upper directory, as Podman shows it; it is never mounted so."""
    directories = engine.images.layer_directories(image.id, image.store)
    if not directories:
        return Struct({"Name": "overlay", "Data": None})
    top, *rest = directories
    lower = {"LowerDir": ":".join(rest)} if rest else {}
    work = os.path.join(os.path.dirname(top), "work")
    return Struct({"Name": "overlay", "Data": {**lower, "UpperDir": top, "WorkDir": work}})


def _annotations(engine: Engine, image: Image) -> dict[str, str]:
    for manifest in engine.images.manifests(image):
        if manifest.digest == image.digest:
            found: dict[str, str] = jsontext.loads(manifest.content).get("annotations") or {}
            return dict(sorted(found.items()))
    return {}


def history(engine: Engine, image: Image) -> list[HistoryEntry]:
    """How an image was made, the last step first."""
    return ancestry.history(engine.images.config_bytes(image), [layer.tar_size for layer in engine.images.layers(image)])

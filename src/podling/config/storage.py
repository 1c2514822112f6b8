"""storage.conf(5): where images and containers are kept, as one record."""

from __future__ import annotations

import os

from podling.config import layers, values
from podling.errors import InvalidArgument
from podling.linux.rootless import owner
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

NAME = "storage.conf"
VARIABLE = "CONTAINERS_STORAGE_CONF"


class StorageConf(Record):
    """The configuration; "" means: not configured. Paths are as they are written, with $HOME, $UID and $USER put in."""

    driver: str = ""
    graphroot: str = ""
    runroot: str = ""
    image_store: str = ""
    transient_store: bool = False
    additional_image_stores: tuple[str, ...] = ()
    additional_layer_stores: tuple[str, ...] = ()
    mount_program: str = ""
    mount_options: str = ""                  # of overlay, separated by commas
    ignore_chown_errors: bool = False
    force_mask: str = ""
    use_composefs: bool = False
    size: str = ""
    inodes: str = ""
    pull_options: dict[str, str] = {}
    root_auto_userns_user: str = ""          # whose subordinate ids --userns=auto gives root's containers
    auto_userns_min_size: int = 1024         # and how many each of them gets
    auto_userns_max_size: int = 65536


_OPTIONS = {
    "mount_program": ("mount_program", "text"), "mountopt": ("mount_options", "text"),
    "ignore_chown_errors": ("ignore_chown_errors", "flag"), "force_mask": ("force_mask", "text"),
    "use_composefs": ("use_composefs", "flag"), "size": ("size", "text"), "inodes": ("inodes", "text"),
}
_FIELDS = {
    "storage.driver": ("driver", "text"), "storage.graphroot": ("graphroot", "text"), "storage.runroot": ("runroot", "text"),
    "storage.imagestore": ("image_store", "text"), "storage.rootless_storage_path": ("rootless_storage_path", "text"),
    "storage.transient_store": ("transient_store", "flag"),
    "storage.options.additionalimagestores": ("additional_image_stores", "texts"),
    "storage.options.additionallayerstores": ("additional_layer_stores", "texts"),
    "storage.options.pull_options": ("pull_options", "table"),
    "storage.options.root-auto-userns-user": ("root_auto_userns_user", "text"),
    "storage.options.auto-userns-min-size": ("auto_userns_min_size", "natural"),
    "storage.options.auto-userns-max-size": ("auto_userns_max_size", "natural"),
    **{f"storage.options.{name}": field for name, field in _OPTIONS.items()},
    **{f"storage.options.overlay.{name}": field for name, field in _OPTIONS.items()},
}


def load(env: Mapping[str, str], *, rootless: bool, home: str, cache: str = "",
         places: layers.Places | None = None) -> StorageConf:
    """The storage configuration of this host and user; see :func:`podling.config.containers.load`.

    Of the main files only the most important counts, as Podman has it. The variables STORAGE_DRIVER and STORAGE_OPTS
    override the files.
    """
    where = places or layers.places(env, rootless=rootless, home=home)
    paths = layers.find(NAME, VARIABLE, env, where, one_main=True)
    read: dict[str, Any] = layers.cached("storage", paths, cache, lambda tables: values.merge(tables, _FIELDS))
    own = any(path.startswith(where.user + "/") for path in paths) if where.user else False
    return decide(read, env, rootless=rootless and not (own or env.get(VARIABLE)), home=home)


def decide(read: dict[str, Any], env: Mapping[str, str], *, rootless: bool, home: str) -> StorageConf:
    """The record for what the files say. ``rootless``: the files are the system's, but the user is not root."""
    found = {name: values.frozen(value) for name, value in read.items()}
    own_path = found.pop("rootless_storage_path", "")
    if rootless:
        found["graphroot"], found["runroot"] = own_path, ""
    found["pull_options"] = {name: _word(value) for name, value in found.get("pull_options", {}).items()}
    _override(found, env)
    who = owner()
    names = {"HOME": home, "USER": env.get("USER", ""), "UID": str(who.uid if who else os.geteuid())}
    for name in ("graphroot", "runroot", "image_store"):
        if found.get(name):
            found[name] = expand(found[name], {**env, **names})
    for name in ("additional_image_stores", "additional_layer_stores"):
        found[name] = tuple(expand(path, {**env, **names}) for path in found.get(name, ()))
    return StorageConf(**found)


def with_options(conf: StorageConf, driver: str | None, texts: Iterable[str]) -> StorageConf:
    """The record with what ``--storage-driver`` and ``--storage-opt`` say; InvalidArgument for an option that is not known."""
    found: dict[str, Any] = {"driver": driver} if driver else {}
    found["additional_image_stores"] = conf.additional_image_stores
    for text in texts:
        if not apply_option(found, text):
            raise InvalidArgument(f"storage option {text!r} is not known")
    return conf.replace(**found)


def _override(found: dict[str, Any], env: Mapping[str, str]) -> None:
    if env.get("STORAGE_DRIVER"):
        found["driver"] = env["STORAGE_DRIVER"]
    for option in env.get("STORAGE_OPTS", "").split(","):
        apply_option(found, option.strip())


def apply_option(found: dict[str, Any], option: str) -> bool:
    """Put one ``--storage-opt`` ("overlay.mountopt=nodev", "additionalimagestore=/x") in; False for one that is not known."""
    key, equals, value = option.partition("=")
    name = key.partition(".")[2] if key.partition(".")[0] in ("overlay", "overlay2", "vfs", ".overlay") else key
    if not equals:
        return not option
    if name in ("imagestore", "additionalimagestore"):
        found["additional_image_stores"] = (*found.get("additional_image_stores", ()), value)
    elif name in _OPTIONS:
        field, kind = _OPTIONS[name]
        found[field] = value.lower() in ("true", "1") if kind == "flag" else value
    else:
        return False
    return True


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def expand(text: str, names: Mapping[str, str]) -> str:
    """``$NAME`` and ``${NAME}`` replaced, by nothing where there is no such name."""
    result, rest = "", text
    while rest:
        before, dollar, rest = rest.partition("$")
        result += before
        if not dollar:
            break
        if rest.startswith("{"):
            name, _, rest = rest[1:].partition("}")
        else:
            length = next((at for at, c in enumerate(rest) if not (c.isalnum() or c == "_")), len(rest))
            name, rest = rest[:length], rest[length:]
        result += names.get(name, "")
    return result

"""A container's own user namespace while it runs, and the mounts whose owners follow from it.

    <runroot>/containers/<id>/userns         the namespace, kept as a file
    <runroot>/containers/<id>/idmapped/<n>   the source of the container's n-th mount, with its ids mapped

Both go with the directory of the bundle. Where the container's root reaches its root file system: see ``engine.staging``. What is mounted
into it the runtimes open before they enter the namespace.
"""

from __future__ import annotations

import os

from podling.engine.idmaps import maps_at, outside, spans_of
from podling.errors import InvalidArgument, PodlingError, Refused, Unsupported, WrongState
from podling.linux import nested
from podling.linux.files import make_directories
from podling.linux.trees import change_owner
from podling.runtime.mounts import mount_source
from podling.values import idmaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.engine.engine import Engine
    from podling.model import ContainerConfig, Facts
    from podling.values.idmaps import Span
    from podling.values.mounts import Mount

# Giving these to a container's user would take them from everybody else: as Podman has it.
_EVERYBODYS = frozenset(("/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64",
                         "/media", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
                         "/var/log"))


def prepare(engine: Engine, config: ContainerConfig) -> str:
    """The path of the container's user namespace, which is made unless it is another's."""
    if config.user_ns.mode == "container":
        return _of_container(engine, config.user_ns.value)
    if config.user_ns.mode == "ns":
        if maps_at(config.user_ns.value) != (config.uid_map, config.gid_map):
            raise WrongState(f"the user namespace {config.user_ns.value} has other ids than when the container was made",
                             hint="make the container anew: podling run --replace")
        return config.user_ns.value
    path = f"{engine.paths.run(config.id)}/userns"
    uids, gids = spans_of(config)
    nested.make(path, idmaps.kernel_text(uids), idmaps.kernel_text(gids))
    return path


def _of_container(engine: Engine, container_id: str) -> str:
    other = engine.containers.config(container_id)
    if engine.containers.state(container_id).status not in ("running", "paused"):
        raise WrongState(f"cannot join the user namespace of container {container_id}: it is not running: container state improper",
                         hint=f"start it first: podling start {container_id[:12]}")
    if other.user_ns.mode == "container":
        return _of_container(engine, other.user_ns.value)
    return other.user_ns.value if other.user_ns.mode == "ns" else f"{engine.paths.run(container_id)}/userns"


def as_runc_takes_it(engine: Engine, config: ContainerConfig, namespaces: dict[str, str], *, own_network: bool) -> dict[str, str]:
    """The paths of the namespaces to join, for runc: it enters the user namespace first, and may join no other user namespace's then.

    Where something is joined that belongs to others, runc makes the user namespace itself, with the same ids, after it has joined;
    but a network namespace of the container's own would not belong to that one. Unsupported.
    """
    kinds = {"network": config.net_ns, "pid": config.pid_ns, "ipc": config.ipc_ns, "uts": config.uts_ns, "cgroup": config.cgroup_ns}
    foreign = [kind for kind, joined in kinds.items() if joined.mode == "ns"
               or (joined.mode == "container" and _namespace_of(engine, joined.value) != namespaces["user"])]
    if not foreign:
        return namespaces
    if own_network or config.user_ns.mode in ("container", "ns"):
        raise Unsupported(f"runc cannot join the {foreign[0]} namespace of a container with other ids",
                          hint="use crun (--runtime crun), or the same user namespace: --userns=container:NAME")
    return {kind: path for kind, path in namespaces.items() if kind != "user"}


def _namespace_of(engine: Engine, container_id: str) -> str:
    config = engine.containers.config(container_id)
    return "" if config.user_ns.mode in ("host", "") else _of_container(engine, container_id)


# --- mounts -----------------------------------------------------------------------------------------------------------


def own_mounts(engine: Engine, config: ContainerConfig, facts: Facts) -> Facts:
    """Serve the options ``U`` and ``idmap``: owners changed for good, or shown changed."""
    images = dict(facts.image_mounts)
    for number, mount in enumerate(config.mounts):
        if mount.kind not in ("bind", "volume"):
            continue
        source = images.get(mount.destination) or mount_source(mount, facts)
        if mount.chown:
            _give(source, outside(config, facts.uid, facts.gid))
        if mount.idmap is not None:
            images[mount.destination] = _show(engine, config, facts, number, source)
    return facts.replace(image_mounts=images)


def _give(source: str, owner: tuple[int, int]) -> None:
    """``U``: everything at and below the source belongs to the container's user."""
    if os.path.normpath(source) in _EVERYBODYS or os.path.realpath(source) in _EVERYBODYS:
        raise Refused(f'chowning host path "{source}" is not allowed. You can manually `chown -R {owner[0]}:{owner[1]} {source}`',
                      hint="leave out the option U, or mount a directory below it")
    try:
        change_owner(source, *owner)
    except OSError as error:
        raise PodlingError(f"changing the owner of {source} to {owner[0]}:{owner[1]}") from error


def _show(engine: Engine, config: ContainerConfig, facts: Facts, number: int, source: str) -> str:
    """``idmap``: the source mounted with mapped ids; where."""
    mount = config.mounts[number]
    target = f"{engine.paths.run(config.id)}/idmapped/{number}"
    make_directories(os.path.dirname(target), 0o700)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if mount.idmap:
        uids, gids = _mappings(mount, config)
        namespace = nested.temporary(idmaps.kernel_text(uids), idmaps.kernel_text(gids))
    else:
        namespace = os.open(facts.namespaces["user"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        nested.show_mapped(source, target, namespace, recursive=True)
    except OSError as error:
        raise PodlingError(f"mounting {source} with mapped ids: {error.strerror}: its file system cannot do that",
                           hint="leave out the option idmap; U changes the owners instead") from error
    finally:
        os.close(namespace)
    return target


def _mappings(mount: Mount, config: ContainerConfig) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans of ``uids=0-1000-1#5-2000-3;gids=@0-0-1``: ids on disk, ids that they become, how many.

    After ``@`` those that they become are the container's. As crun reads it.
    """
    found: dict[str, tuple[Span, ...]] = {}
    own = dict(zip(("uids", "gids"), spans_of(config), strict=True))
    for part in (mount.idmap or "").split(";"):
        name, _, text = part.partition("=")
        if name not in own or not text:
            raise _malformed(mount)
        relative, spans = text.startswith("@"), []
        for piece in text.removeprefix("@").split("#"):
            numbers = piece.split("-")
            if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
                raise _malformed(mount)
            inside, shown, size = (int(number) for number in numbers)
            mapped = idmaps.to_outside(own[name], shown) if relative and own[name] else shown
            if mapped is None:
                raise InvalidArgument(f"the container has no id {shown}, which idmap={mount.idmap} names")
            spans.append((inside, mapped, size))
        found[name] = tuple(spans)
    uids = found.get("uids") or found["gids"]
    return uids, found.get("gids") or uids


def _malformed(mount: Mount) -> InvalidArgument:
    return InvalidArgument(f"invalid option idmap={mount.idmap} of the mount at {mount.destination}",
                           hint="write it as idmap=uids=0-1000-10#10-2000-5;gids=0-1000-10 (on disk, as shown, how many)")

"""Which ids a container has: ``--userns``, ``--uidmap`` and their kin, decided once, when it is made.

    wanted        what was asked, by flags, PODMAN_USERNS or containers.conf, or None where no namespace was
    gather        what deciding it needs to know of the host, the image and other containers
    decide        pure: the namespace, its maps, and the user who runs in it

Ids "outside" are always those of the engine's own namespace: the host's for root, for an ordinary user those of the namespace in
which the user is 0.
"""

from __future__ import annotations

import os

from podling import log
from podling.errors import InvalidArgument, NotFound, PodlingError
from podling.linux.files import read_text
from podling.record import Record
from podling.values import idmaps, isolation
from podling.values.isolation import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from podling.config.containers import ContainersConf
    from podling.engine.engine import Engine
    from podling.engine.options import CreateOptions
    from podling.engine.resolve import Surroundings
    from podling.model import ContainerConfig
    from podling.store.mapped import Maps
    from podling.values.idmaps import Range, Span

    Translation = Callable[[int, int], tuple[int, int]]

VARIABLE = "PODMAN_USERNS"
AUTO_OWNER = "containers"                    # whose subordinate ids root's auto containers get, as in Podman


class IdFacts(Record):
    """What :func:`decide` needs to know. Pairs are (of users, of groups)."""

    owner: tuple[int, int] | None = None     # uid and gid of the ordinary user, as on the host; None for root
    parents: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ())      # the engine's namespace: (id in it, id on the host, how many)
    named: tuple[tuple[Range, ...], tuple[Range, ...]] = ((), ())      # what --subuidname and --subgidname name, as on the host
    free: tuple[tuple[Range, ...], tuple[Range, ...]] = ((), ())       # what auto may give
    used: tuple[tuple[Range, ...], tuple[Range, ...]] = ((), ())       # what other containers have of it
    accounts: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())       # ids that the image and the options name
    joined: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())         # maps of the namespace that is joined
    sizes: tuple[int, int] = (1024, 65536)   # the smallest and the largest that auto gives by itself
    joined_id: str = ""                      # of the container whose namespace it is


class Decided(Record):
    """``user``: who runs in the container where neither the user nor the image says so."""

    user_ns: Namespace = Namespace(mode="host")
    uid_map: tuple[str, ...] = ()
    gid_map: tuple[str, ...] = ()
    user: str = ""


# --- what was asked ---------------------------------------------------------------------------------------------------


def check(options: CreateOptions) -> None:
    """Refuse flags that contradict each other."""
    names = options.subuid_name or options.subgid_name
    maps = options.uid_map or options.gid_map
    if options.user_ns is not None and options.user_ns.mode != "" and (maps or names):
        raise InvalidArgument("--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive",
                              hint="leave out --userns")
    if maps and names:
        raise InvalidArgument("--subuidname and --subgidname cannot be set together with --uidmap and --gidmap")


def wanted(options: CreateOptions, conf: ContainersConf, environ: Mapping[str, str]) -> Namespace | None:
    """What was asked: flags count more than PODMAN_USERNS, and that more than containers.conf. None: no namespace of its own."""
    if options.uid_map or options.gid_map or options.subuid_name or options.subgid_name:
        return Namespace(mode="private")
    asked = options.user_ns
    if asked is None:
        text = environ.get(VARIABLE) or conf.userns
        asked = isolation.parse_namespace("user", text) if text else Namespace(mode="host")
    if asked.mode == "private":
        raise InvalidArgument("must provide at least one UID or GID mapping to configure a user namespace",
                              hint="use --uidmap and --gidmap, or --userns=auto, which chooses them")
    return None if asked.mode in ("host", "") else asked


# --- what must be known -----------------------------------------------------------------------------------------------


def gather(engine: Engine, options: CreateOptions, surroundings: Surroundings) -> IdFacts:
    """The facts for ``surroundings.user_ns``; no more than it needs."""
    from podling.linux import userns

    namespace = surroundings.user_ns
    assert namespace is not None
    uids, gids = userns.uid_map(), userns.gid_map()
    if engine.rootless:
        parents = tuple(tuple((ids.inside, ids.outside, ids.size) for ids in found) for found in (uids, gids))
    else:                                        # root's subordinate ids are those of its own namespace
        parents = tuple(tuple((ids.inside, ids.inside, ids.size) for ids in found) for found in (uids, gids))
    owner = (engine.owner.uid, engine.owner.gid) if engine.owner else None
    facts = IdFacts(owner=owner, parents=(parents[0], parents[1]))
    if namespace.mode == "container":
        other = engine.containers.config(engine.containers.find(namespace.value).id)
        return facts.replace(joined=(other.uid_map, other.gid_map or other.uid_map), joined_id=other.id)
    if namespace.mode == "ns":
        return facts.replace(joined=maps_at(namespace.value))
    if namespace.mode == "auto":
        return facts.replace(free=_free(engine, facts), used=_used(engine), accounts=_accounts(engine, options, surroundings),
                             sizes=(engine.storage.auto_userns_min_size, engine.storage.auto_userns_max_size))
    if options.subuid_name or options.subgid_name:
        return facts.replace(named=(_subids(options.subuid_name or options.subgid_name or "", "uid"),
                                    _subids(options.subgid_name or options.subuid_name or "", "gid")))
    return facts


def maps_at(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The maps of the user namespace at a path; none for this process' own. NotFound, InvalidArgument."""
    from podling.linux import nested

    try:
        if os.path.samestat(os.stat(path), os.stat("/proc/self/ns/user")):
            return (), ()
        uids, gids = nested.maps_of(path)
    except FileNotFoundError:
        raise NotFound(f"cannot find specified user namespace path: stat {path}: no such file or directory") from None
    except OSError as error:
        raise InvalidArgument(f"the user namespace {path} cannot be joined: {error.strerror}") from error
    return idmaps.texts(idmaps.from_kernel(uids)), idmaps.texts(idmaps.from_kernel(gids))


def _subids(name: str, kind: str) -> tuple[Range, ...]:
    import pwd

    from podling.linux import userns

    path = f"/etc/sub{kind}"
    try:
        number = int(name) if name.isascii() and name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:                             # "containers" needs no account
        number = -1
    found = userns.subids(name, number, path)
    if not found:
        raise PodlingError(f'no sub{kind} ranges found for user "{name}" in {path}',
                           hint=f"add a line to it, such as {name}:2147483647:2147483648")
    return found


def _free(engine: Engine, facts: IdFacts) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Root's containers get the ids of a user made for that; an ordinary user's those of its namespace but its own."""
    if facts.owner is None:
        name = engine.storage.root_auto_userns_user or AUTO_OWNER
        return _subids(name, "uid"), _subids(name, "gid")
    found = [tuple((max(own, 1), size - (own == 0)) for own, _, size in spans if size > (own == 0)) for spans in facts.parents]
    return found[0], found[1]


def _used(engine: Engine) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """The ids of all containers that have their own, Podman's too; one that keeps the host's ids is in nobody's way."""
    from podling import jsontext

    found: tuple[list[Range], list[Range]] = ([], [])
    for (text,) in engine.database.rows("SELECT config FROM containers WHERE instr(config, '\"uid_map\":[\"')"):
        config = jsontext.loads(text)
        for ranges, spans in zip(found, (config["uid_map"], config["gid_map"] or config["uid_map"]), strict=True):
            if not idmaps.is_identity(idmaps.spans(spans)):
                ranges += [(outside, size) for _, outside, size in idmaps.spans(spans)]
    for container in _podmans_containers(engine):
        for ranges, key in zip(found, ("uidmap", "gidmap"), strict=True):
            ranges += [(span["host_id"], span["size"]) for span in container.get(key) or ()]
    return tuple(found[0]), tuple(found[1])


def _podmans_containers(engine: Engine) -> list[dict[str, Any]]:
    """What containers/storage keeps of the containers of Podman's own store: it gives them ids of the same ranges."""
    from podling import jsontext
    from podling.engine.engine import PODMAN_GRAPHROOT, data_directory

    store = f"{data_directory(engine.owner)}/containers/storage" if engine.owner else PODMAN_GRAPHROOT
    found: list[dict[str, Any]] = []
    for driver in ("overlay", "vfs"):
        for name in ("containers.json", "volatile-containers.json"):
            path = f"{store}/{driver}-containers/{name}"
            try:
                found += jsontext.loads(read_text(path) or "[]")
            except FileNotFoundError:
                continue
            except ValueError as error:          # just being written
                log.debug(f"reading {path}: {error}")
    return found


def _accounts(engine: Engine, options: CreateOptions, surroundings: Surroundings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids in the image's /etc/passwd and /etc/group, and those that the options name by number."""
    from podling.runtime import users

    user, _, group = (options.user or "").partition(":")
    uids = [int(user)] if user.isascii() and user.isdigit() else []
    gids = [int(word) for word in (group, *options.group_add) if word.isascii() and word.isdigit()]
    lowers: Sequence[str] = ()
    if surroundings.image_id:
        lowers = engine.images.layer_directories(surroundings.image_id, surroundings.image_store)
    elif options.rootfs:
        lowers = [options.image.removesuffix(":O")]
    for entry in users.parse_passwd(_image_file(lowers, "passwd")):
        uids.append(entry.uid)
        gids.append(entry.gid)
    gids += [found.gid for found in users.parse_group(_image_file(lowers, "group"))]
    return tuple(uids), tuple(gids)


def _image_file(lowers: Sequence[str], name: str) -> str:
    """A file of an image's /etc, read from its layers; "" where there is none, or a link."""
    from podling.runtime import users
    from podling.store.stack import lookup

    found = lookup(lowers, f"etc/{name}") if lowers else []
    return users.read_inside(os.path.dirname(found[0]), name) if found and not os.path.islink(found[0]) else ""


# --- what is decided --------------------------------------------------------------------------------------------------


def decide(options: CreateOptions, namespace: Namespace, facts: IdFacts) -> Decided:
    """The container's namespace and ids; pure. InvalidArgument in Podman's words where it cannot be."""
    if namespace.mode in ("container", "ns"):
        if not facts.joined[0]:                  # its namespace is the engine's own
            return Decided()
        namespace = namespace.replace(value=facts.joined_id or namespace.value)
        return Decided(user_ns=namespace, uid_map=facts.joined[0], gid_map=facts.joined[1])
    if namespace.mode == "keep-id":
        return _keep(namespace, facts)
    if namespace.mode == "nomap":
        if facts.owner is None:
            raise InvalidArgument("nomap is only supported in rootless mode", hint="as root, --userns=auto leaves the host's ids out")
        uids, gids = (idmaps.nomap(_count(spans) - 1) for spans in facts.parents)
    elif namespace.mode == "auto":
        uids, gids = _auto(namespace, facts)
    elif options.uid_map or options.gid_map:
        uids, gids = idmaps.explicit(options.uid_map, options.gid_map, facts.parents, fill=facts.owner is not None)
    else:
        uids, gids = _named(facts)
    for spans in (uids, gids):
        if idmaps.to_outside(spans, 0) is None:
            raise InvalidArgument("container ID 0 cannot be mapped to a host ID", hint="the map must hold the container's id 0")
    user = "0:0" if namespace.mode == "nomap" else ""
    return Decided(user_ns=namespace, uid_map=idmaps.texts(uids), gid_map=idmaps.texts(gids), user=user)


def _count(spans: Iterable[Span]) -> int:
    return sum(size for _, _, size in spans)


def _keep(namespace: Namespace, facts: IdFacts) -> Decided:
    said = {name: int(values[-1]) for name, values in idmaps.options(namespace.value).items()}
    if facts.owner is None:                      # root keeps all ids by itself; the namespace is one nevertheless
        if "size" in said:
            raise InvalidArgument("cannot set max size for user namespace when not running rootless", hint="leave out size=")
        identity = [tuple((own, own, size) for own, _, size in spans) for spans in facts.parents]
        return Decided(user_ns=namespace, uid_map=idmaps.texts(identity[0]), gid_map=idmaps.texts(identity[1]),
                       user=f"{said.get('uid', 0)}:{said.get('gid', 0)}")
    uid, gid = said.get("uid", facts.owner[0]), said.get("gid", facts.owner[1])
    counts = [min(_count(spans) - 1, said.get("size", idmaps.LARGEST)) for spans in facts.parents]
    if (uid and not counts[0]) or (gid and not counts[1]):
        raise InvalidArgument("keep-id needs a subordinate id for the container's root, and this user has none",
                              hint="add some with usermod --add-subuids and --add-subgids, or say --userns=keep-id:uid=0,gid=0")
    return Decided(user_ns=namespace, uid_map=idmaps.texts(idmaps.keep(uid, counts[0])),
                   gid_map=idmaps.texts(idmaps.keep(gid, counts[1])), user=f"{uid}:{gid}")


def _auto(namespace: Namespace, facts: IdFacts) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    said = idmaps.options(namespace.value)
    fixed = [idmaps.spans(said.get(name, ())) for name in ("uidmapping", "gidmapping")]
    # One size for both, as Podman has it: programs expect it.
    size = int(said["size"][-1]) if "size" in said else idmaps.needed((*facts.accounts[0], *facts.accounts[1]), *facts.sizes)
    found = [idmaps.auto(free, used, size, spans) for free, used, spans in zip(facts.free, facts.used, fixed, strict=True)]
    return found[0], found[1]


def _named(facts: IdFacts) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Ranges of the host's ids, which must be among the engine's."""
    texts = [[f"{inside}:@{outside}:{size}" for inside, outside, size in idmaps.sequence(ranges)] for ranges in facts.named]
    return idmaps.explicit(texts[0], texts[1], facts.parents, fill=False)


# --- of a container that is made --------------------------------------------------------------------------------------


def layer_maps(config: ContainerConfig, namespace: str = "") -> Maps | None:
    """What the store needs to give the image's files the container's owners; None where they are the engine's already."""
    uids, gids = spans_of(config)
    if idmaps.is_identity(uids) and idmaps.is_identity(gids):
        return None
    from podling.store.mapped import Maps

    return Maps(uids=uids, gids=gids, namespace=namespace)


def spans_of(config: ContainerConfig) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The container's maps; () for the engine's own ids."""
    return idmaps.spans(config.uid_map), idmaps.spans(config.gid_map or config.uid_map)


def to_inside(config: ContainerConfig) -> Translation | None:
    """What gives the container's (uid, gid) for the engine's; None where they are the same. For many files: the maps are read once."""
    return _translation(idmaps.to_inside, config)


def to_outside(config: ContainerConfig) -> Translation | None:
    """The reverse of :func:`to_inside`."""
    return _translation(idmaps.to_outside, config)


def _translation(translate: Callable[[Iterable[Span], int], int | None], config: ContainerConfig) -> Translation | None:
    uids, gids = spans_of(config)
    if idmaps.is_identity(uids) and idmaps.is_identity(gids):
        return None

    def both(uid: int, gid: int) -> tuple[int, int]:
        new_uid, new_gid = translate(uids, uid), translate(gids, gid)
        return (uid if new_uid is None else new_uid), (gid if new_gid is None else new_gid)

    return both


def outside(config: ContainerConfig, uid: int, gid: int) -> tuple[int, int]:
    """The engine's ids for a user and a group of the container; what it does not have is left as it is."""
    translation = to_outside(config)
    return translation(uid, gid) if translation else (uid, gid)


def inside(config: ContainerConfig, uid: int, gid: int) -> tuple[int, int]:
    """The container's ids for the engine's; what it does not have is left as it is."""
    translation = to_inside(config)
    return translation(uid, gid) if translation else (uid, gid)


def kept(config: ContainerConfig) -> tuple[int, int] | None:
    """With keep-id: the calling user's ids in the container."""
    if config.user_ns.mode != "keep-id":
        return None
    return inside(config, 0, 0)

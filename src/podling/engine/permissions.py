"""Users in containers with ids of their own or of an ordinary user: which there are, and why one cannot write to a directory of the
caller, with the flag for it.

In the user's namespace its files are root's. A program that runs as another user in the container, because the image has a USER line,
is a stranger to them, and fails with EACCES somewhere. What it says then is its own; what we know of it is said beside it.
"""

from __future__ import annotations

import os

from podling.errors import InvalidArgument
from podling.linux import userns
from podling.runtime.mounts import maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import ContainerConfig, Facts


def strange_mount(config: ContainerConfig, facts: Facts) -> str:
    """What to say of the first bind mount that is the calling user's own and that the container's user cannot write to; "" for none.

    Only for an ordinary user's container.
    """
    if outside(config, facts.uid, facts.gid)[0] == 0:
        return ""
    for mount in config.mounts:
        plain = mount.kind == "bind" and not mount.chown and not mount.overlay and mount.idmap is None
        if plain and "ro" not in mount.options and _is_closed(mount.source, facts):
            return (f"the container's user {facts.uid}:{facts.gid} cannot write to {mount.source}, which is yours: "
                    f"--userns=keep-id:uid={facts.uid},gid={facts.gid} lets it act as you")
    return ""


def check_ids(config: ContainerConfig, uid: int, gid: int) -> None:
    """InvalidArgument where the container has no such id, by its own map or that of the user's namespace."""
    if config.uid_map:
        _check_own_ids(config, uid, gid)
        return
    for number, ids, name in ((uid, userns.uid_map(), "uid"), (gid, userns.gid_map(), "gid")):
        if userns.to_outside(ids, number) is None:
            raise InvalidArgument(
                f"the container's user {uid}:{gid} does not exist in your user namespace, which has {sum(r.size for r in ids)} {name}s",
                hint=f"have root give you more in /etc/sub{name}, then run `podling system migrate`; or use --user with a lower number")


def _check_own_ids(config: ContainerConfig, uid: int, gid: int) -> None:
    for number, lines, name in ((uid, config.uid_map, "uid"), (gid, config.gid_map or config.uid_map, "gid")):
        if not maps(lines, number):
            raise InvalidArgument(f"the container's user {uid}:{gid} does not exist in its user namespace, whose {name}s are "
                                  f"{', '.join(lines)} (container:host:size)",
                                  hint="ask for more ids, such as --userns=auto:size=..., or use --user with a lower number")


def outside(config: ContainerConfig, uid: int, gid: int) -> tuple[int, int]:
    """The engine's ids for a user and a group of the container; what it does not have is left as it is."""
    if not config.uid_map:
        return uid, gid
    from podling.engine import idmaps  # for containers with ids of their own alone

    return idmaps.outside(config, uid, gid)


def kept_groups(config: ContainerConfig) -> tuple[str, ...]:
    """With keep-id: the calling user's group, which whoever runs in the container belongs to, as in Podman."""
    if config.user_ns.mode != "keep-id":
        return ()
    from podling.engine import idmaps

    return (str(idmaps.inside(config, 0, 0)[1]),)


def _is_closed(path: str, facts: Facts) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    bits = 0o020 if status.st_gid in (facts.gid, *facts.groups) else 0o002
    return status.st_uid == 0 and not status.st_mode & bits

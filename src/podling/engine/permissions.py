"""Users in an ordinary user's containers: which there are, and why one cannot write to a directory of the caller, with the flag for it.

In the user's namespace its files are root's. A program that runs as another user in the container, because the image has a USER line,
is a stranger to them, and fails with EACCES somewhere. What it says then is its own; what we know of it is said beside it.
"""

from __future__ import annotations

import os

from podling.errors import InvalidArgument
from podling.linux import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import ContainerConfig, Facts


def strange_mount(config: ContainerConfig, facts: Facts) -> str:
    """What to say of the first bind mount that is the calling user's own and that the container's user cannot write to; "" for none.

    Only for an ordinary user's container. A container with an id map of its own has chosen whose files are whose.
    """
    if facts.uid == 0 or config.uid_map:
        return ""
    for mount in config.mounts:
        plain = mount.kind == "bind" and not mount.chown and not mount.overlay and mount.idmap is None
        if plain and "ro" not in mount.options and _is_closed(mount.source, facts):
            return (f"the container's user {facts.uid}:{facts.gid} cannot write to {mount.source}, which is yours: "
                    "--user 0:0 lets it act as you")
    return ""


def check_ids(config: ContainerConfig, uid: int, gid: int) -> None:
    """InvalidArgument where the user's namespace has no such id; a container with a map of its own has its own ids."""
    if config.uid_map:
        return
    for number, ids, name in ((uid, userns.uid_map(), "uid"), (gid, userns.gid_map(), "gid")):
        if userns.to_outside(ids, number) is None:
            raise InvalidArgument(
                f"the container's user {uid}:{gid} does not exist in your user namespace, which has {sum(r.size for r in ids)} {name}s",
                hint=f"have root give you more in /etc/sub{name}, then run `podling system migrate`; or use --user with a lower number")


def _is_closed(path: str, facts: Facts) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    bits = 0o020 if status.st_gid in (facts.gid, *facts.groups) else 0o002
    return status.st_uid == 0 and not status.st_mode & bits

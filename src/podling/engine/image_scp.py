"""``image scp`` on one machine: an image from one user's store to another's, by way of an archive in a directory of that user.

Root asks podling to save or load as the other user (``setpriv``). A file that another user wrote is opened without following links,
and taken only if it is a regular file of that user's own.
"""

from __future__ import annotations

import os
import stat

from podling import launch
from podling.engine import transfers
from podling.errors import InvalidArgument, NotFound, Refused, Unsupported
from podling.image.saving import Export
from podling.image.transfer import ignore_progress
from podling.linux import process
from podling.linux.files import remove_tree, unique_name
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.engine.engine import Engine

_PLACE = "/var/tmp"                              # archives may be large: no tmpfs


class Side(Record):
    """One end: an image in a user's store; ``user`` "" is the store that this podling has open."""

    user: str = ""
    image: str = ""


def parse_side(text: str) -> Side:
    """``IMAGE``, or ``[USER@]localhost::[IMAGE]``; Unsupported for another machine."""
    host, colons, image = text.partition("::")
    if not colons:
        return Side(image=text)
    user, _, machine = host.rpartition("@")
    if machine != "localhost":
        raise Unsupported(f"image scp to or from another machine ({machine}) is not available yet",
                          hint="podling save IMAGE | ssh HOST podman load")
    return Side(user=user, image=image)


def scp(engine: Engine, source: str, destination: str, progress: Callable[..., None] | None) -> list[str]:
    """Copy an image between two users' stores; the lines that ``load`` says."""
    start, end = parse_side(source), parse_side(destination) if destination else Side()
    if not start.user and not end.user:
        raise InvalidArgument("must specify a destination: invalid argument")
    if not start.image:
        raise InvalidArgument("no source image specified: invalid argument")
    if end.image:
        raise InvalidArgument("cannot specify an image rename: invalid argument")
    if engine.rootless or os.geteuid() != 0:
        raise Refused("copying images between users needs root")
    directory = f"{_PLACE}/podling-scp-{unique_name()}"
    os.mkdir(directory, 0o700)
    archive = f"{directory}/image.tar"
    try:
        _save(engine, start, directory, archive, progress)
        return _load(engine, end, directory, archive, progress)
    finally:
        remove_tree(directory)


def _save(engine: Engine, side: Side, directory: str, archive: str, progress: Callable[..., None] | None) -> None:
    if side.user:
        uid, gid = _account(side.user)[:2]
        os.chown(directory, uid, gid)
        _as_user(side.user, "save", "-q", "-o", archive, side.image)
        os.chown(directory, 0, 0)
        fd = os.open(archive, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != uid or found.st_nlink != 1:
                raise Refused(f"{archive} is not the file that user {side.user} was asked to write")
        finally:
            os.close(fd)
        return
    image = engine.images.resolve(side.image)
    names = [name for name in image.names if name == engine.images.name_for(image, side.image)] or list(image.names[:1])
    export = Export(engine.images, [(image, tuple(names))], progress or ignore_progress)
    export.to_archive(archive, export.docker_members())


def _load(engine: Engine, side: Side, directory: str, archive: str, progress: Callable[..., None] | None) -> list[str]:
    if side.user:
        uid, gid = _account(side.user)[:2]
        os.chown(archive, uid, gid, follow_symlinks=False)
        os.chown(directory, uid, gid)
        return _as_user(side.user, "load", "-q", "-i", archive).splitlines()
    images = transfers.load_file(engine, archive, progress)
    return [f"Loaded image: {name}" for image in images for name in image.names or (f"sha256:{image.id}",)]


def _account(user: str) -> tuple[int, int, str]:
    """(uid, gid, home)."""
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise NotFound(f"user: unknown user {user}") from None
    return found.pw_uid, found.pw_gid, found.pw_dir


def _as_user(user: str, *arguments: str) -> str:
    """The output of podling with these arguments, run as another user."""
    uid, gid, home = _account(user)
    env = {"HOME": home, "USER": user, "LOGNAME": user, "PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    if os.path.isdir(f"/run/user/{uid}"):
        env["XDG_RUNTIME_DIR"] = f"/run/user/{uid}"
    argv = ["setpriv", "--reuid", str(uid), "--regid", str(gid), "--init-groups", *launch.own_command(), *arguments]
    return process.run(argv, env=env, cwd="/").stdout.decode("utf-8", "surrogateescape")

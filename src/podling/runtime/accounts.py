"""The lines of passwd and group that a container's own files lack: for its user, for accounts of this host, for who called."""

from __future__ import annotations

from podling.errors import InvalidArgument
from podling.linux import rootless
from podling.runtime import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.model import ContainerConfig


def new_lines(config: ContainerConfig, known: users.Accounts) -> tuple[str, str]:
    """What to add to /etc/passwd, and to /etc/group; ``known`` are the container's own accounts, to which the caller's are added."""
    people, groups = _host_lines(config, known)
    person, group = _caller_lines(config, known)
    known.users.extend(users.parse_passwd(person))   # by which the user is known
    known.groups.extend(users.parse_group(group))
    return _passwd_line(config, known) + people + person, _group_line(config, known) + groups + group


def _passwd_line(config: ContainerConfig, known: users.Accounts) -> str:
    """The line that makes the container's numeric user known in it; "" where it is known or has a name."""
    name, _, group = config.user.partition(":")
    if not name or not (name.isascii() and name.isdecimal()) or known.user(name) is not None:
        return ""
    gid = users.lookup(known, config.user).gid if group else 0
    home = config.working_dir or "/"
    if config.passwd_entry:
        return _filled(config.passwd_entry, USERNAME=name, UID=name, GID=str(gid), NAME="container user", HOME=home)
    return f"{name}:*:{name}:{gid}:container user:{home}:/bin/sh\n"


def _group_line(config: ContainerConfig, known: users.Accounts) -> str:
    """The line that makes the container's numeric group known in it; "" where it is known or has a name."""
    name, colon, group = config.user.partition(":")
    number = group if colon else name
    if not (number.isascii() and number.isdecimal()) or known.group(number) is not None:
        return ""
    if config.group_entry:
        return _filled(config.group_entry, GROUPNAME=number, GID=number, USERLIST=name)
    return f"{number}:x:{number}:{name}\n"


def _filled(line: str, **values: str) -> str:
    """A line of the user's own with ``$NAME`` replaced, in the order of the values."""
    for word, value in values.items():
        line = line.replace(f"${word}", value)
    return line + "\n"


def _host_lines(config: ContainerConfig, known: users.Accounts) -> tuple[str, str]:
    """The lines of passwd and of group that make accounts of this host known in the container (``--hostuser``)."""
    if not config.host_users:
        return "", ""
    import grp
    import pwd

    people = groups = ""
    for name in config.host_users:
        try:
            entry = pwd.getpwuid(int(name)) if name.isascii() and name.isdecimal() else pwd.getpwnam(name)
        except KeyError:
            raise InvalidArgument(f"user: unknown user {name}", hint="--hostuser names an account of this host") from None
        home = entry.pw_dir if any(mount.destination == entry.pw_dir for mount in config.mounts) else config.working_dir or "/"
        if known.user(entry.pw_name) is None:
            people += f"{entry.pw_name}:*:{entry.pw_uid}:{entry.pw_gid}:{entry.pw_gecos}:{home}:/bin/sh\n"
        if known.group(str(entry.pw_gid)) is None:
            try:
                group = grp.getgrgid(entry.pw_gid).gr_name
            except KeyError:
                group = entry.pw_name
            groups += f"{group}:x:{entry.pw_gid}:{entry.pw_name}\n"
    return people, groups


def _caller_lines(config: ContainerConfig, known: users.Accounts) -> tuple[str, str]:
    """With keep-id, unless it chose other ids: the lines of passwd and of group that make the calling user known in the container.

    Its home is the working directory, unless the home, or a directory above it, is mounted.
    """
    chosen = [word for word in config.user_ns.value.split(",") if not word.startswith("size=") and word]
    who = rootless.owner() if config.user_ns.mode == "keep-id" and not chosen else None
    if who is None or known.user(who.name) is not None or known.user(str(who.uid)) is not None:
        return "", ""
    import pwd

    try:
        comment = pwd.getpwuid(who.uid).pw_gecos
    except KeyError:
        comment = ""
    mounted = any(f"{who.home}/".startswith(mount.destination.rstrip("/") + "/") for mount in config.mounts)
    home = who.home if mounted else config.working_dir or "/"
    if config.passwd_entry:
        line = _filled(config.passwd_entry, USERNAME=who.name, UID=str(who.uid), GID=str(who.gid), NAME=comment, HOME=home)
    else:
        line = f"{who.name}:*:{who.uid}:{who.gid}:{comment}:{home}:/bin/sh\n"
    return line, "" if known.group(str(who.gid)) else f"{who.name}:x:{who.gid}:{who.name}\n"

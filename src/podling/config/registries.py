"""registries.conf(5): short names, mirrors, blocked and insecure registries."""

from __future__ import annotations

import os

from podling.config import layers
from podling.errors import Corrupt, InvalidArgument, Refused
from podling.linux import files
from podling.linux.locks import Lock
from podling.record import Record
from podling.values import reference
from podling.values.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

NAME = "registries.conf"
VARIABLES = ("CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH")
DEFAULT_SEARCH = ("docker.io",)
MODES = ("enforcing", "permissive", "disabled")
AUTH_FILES = "containers-auth.json"          # the credential helper that stands for the files of auth.py
_TABLE = "[[registry]]"


class Mirror(Record):
    """A copy of a registry or of a part of it. ``pull``: all, digest-only or tag-only."""

    location: str
    insecure: bool = False
    pull: str = "all"


class Registry(Record):
    """What is configured for the names that begin with ``prefix`` (or whose host ends so, for ``*.example.com``)."""

    prefix: str
    location: str = ""                       # what takes the prefix' place; "" changes nothing
    insecure: bool = False
    blocked: bool = False
    mirror_by_digest_only: bool = False
    mirrors: tuple[Mirror, ...] = ()


class Endpoint(Record):
    """A place to fetch an image from: ``reference`` names it there. ``insecure``: HTTP and unknown certificates are allowed."""

    reference: Reference
    insecure: bool = False
    mirror: bool = False


class RegistriesConf(Record):
    """The configuration. ``search`` is None where nothing is configured, empty where short names are forbidden."""

    search: tuple[str, ...] | None = None
    short_name_mode: str = "permissive"
    aliases: dict[str, str] = {}             # short name -> qualified name, both without tag
    registries: tuple[Registry, ...] = ()
    credential_helpers: tuple[str, ...] = (AUTH_FILES,)
    origins: dict[str, str] = {}             # short name of an alias, "" for ``search`` -> the file that says so

    def candidates(self, name: str, *, can_ask: bool = False) -> list[str]:
        """The qualified names that a name may stand for, the likeliest first; a qualified name stands for itself.

        ``can_ask``: somebody is there to choose between several, otherwise mode "enforcing" refuses. Raises InvalidArgument
        where nothing may be searched.
        """
        wanted = reference.parse(name)
        if not wanted.is_short:
            return [str(wanted)]
        alias = self.alias(wanted)
        if alias is not None:
            return [str(alias)]
        search = DEFAULT_SEARCH if self.search is None else self.search
        if not search:
            raise InvalidArgument(f'short-name "{name}" did not resolve to an alias and no unqualified-search registries are '
                                  "defined", hint="Name the registry, for example docker.io/" + name)
        if len(search) > 1 and self.short_name_mode == "enforcing" and not can_ask:
            raise InvalidArgument(f'short-name "{name}": short-name resolution enforced but cannot prompt without a TTY',
                                  hint=f"Name the registry, for example {search[0]}/{name}")
        return [str(wanted.qualified(registry)) for registry in search]

    def way(self, name: str) -> str:
        """How :meth:`candidates` come from a short name, for the user; "" for one that is qualified."""
        wanted = reference.parse(name)
        if not wanted.is_short:
            return ""
        if self.alias(wanted) is not None:
            return f'Resolved "{wanted.name}" as an alias ({self.origins[wanted.name]})'
        if self.search is None:
            return f'Resolving "{wanted.name}" using {DEFAULT_SEARCH[0]}, because no registries.conf names registries to search'
        return f'Resolving "{wanted.name}" using unqualified-search registries ({self.origins[""]})'

    def alias(self, short: Reference) -> Reference | None:
        """The qualified reference that an alias gives a short one; None where there is none."""
        value = self.aliases.get(short.name, "")
        return reference.parse(value).replace(tag=short.tag, digest=short.digest) if value else None

    def registry_for(self, name: str) -> Registry | None:
        """What is configured for a qualified name, with its tag or digest: the longest prefix that fits."""
        best, length = None, -1
        for registry in self.registries:
            if matched_length(name, registry.prefix) > -1 and len(registry.prefix) > length:
                best, length = registry, len(registry.prefix)
        return best

    def endpoints(self, wanted: Reference) -> list[Endpoint]:
        """Where to fetch a qualified reference from: mirrors first, then its registry. Refused if it is blocked."""
        registry = self._allowed(wanted)
        if registry is None:
            return [Endpoint(reference=wanted)]
        found = [Endpoint(reference=_moved(wanted, registry.prefix, mirror.location), insecure=mirror.insecure, mirror=True)
                 for mirror in registry.mirrors if _mirror_serves(registry, mirror, by_digest=bool(wanted.digest))]
        return [*found, Endpoint(reference=_moved(wanted, registry.prefix, registry.location), insecure=registry.insecure)]

    def push_endpoint(self, wanted: Reference) -> Endpoint:
        """Where to send a qualified reference: its own registry, never a mirror. Refused if it is blocked."""
        registry = self._allowed(wanted)
        return Endpoint(reference=wanted, insecure=registry is not None and registry.insecure)

    def _allowed(self, wanted: Reference) -> Registry | None:
        registry = self.registry_for(str(wanted))
        if registry is not None and registry.blocked:
            raise Refused(f"registry {registry.prefix} is blocked in registries.conf",
                          hint=f"Ask your administrator, or remove blocked = true for {registry.prefix} in registries.conf")
        return registry


def matched_length(name: str, prefix: str) -> int:
    """How much of a name its match with a prefix covers; -1 where it does not match.

    A prefix ends where a part of the name does: ``example.com/foo`` is not in ``example.com/foobar``.
    """
    if prefix.startswith("*."):
        at = name.find(prefix[1:])
        if at < 1 or "/" in name[:at]:
            return -1
        end = at + len(prefix) - 1
    elif name.startswith(prefix):
        end = len(prefix)
    else:
        return -1
    return end if end == len(name) or name[end] in ":/@" else -1


def _moved(wanted: Reference, prefix: str, location: str) -> Reference:
    """The reference with ``location`` in the place of ``prefix``."""
    if not location:
        return wanted
    text = str(wanted)
    try:
        return reference.parse(location + text[matched_length(text, prefix):])
    except InvalidArgument as error:
        raise InvalidArgument(f"rewriting {text}: location {location} in registries.conf does not give a valid name") from error


def _mirror_serves(registry: Registry, mirror: Mirror, *, by_digest: bool) -> bool:
    if registry.mirror_by_digest_only:
        return by_digest
    return mirror.pull == "all" or (mirror.pull == "digest-only") == by_digest


# --- reading ----------------------------------------------------------------------------------------------------------


def load(env: Mapping[str, str], *, rootless: bool, home: str, cache: str = "",
         places: layers.Places | None = None) -> RegistriesConf:
    """The registries of this host and user; see :func:`podling.config.containers.load`.

    A main file of the user hides the system's files altogether. The aliases that podling and Podman have recorded come last.
    """
    where = places or layers.places(env, rootless=rootless, home=home)
    variable = next((name for name in VARIABLES if env.get(name)), VARIABLES[0])
    own = os.path.join(where.user, NAME) if where.user else ""
    if own and os.path.isfile(own):
        where = where.replace(vendor="", administrator="")
    paths = layers.find(NAME, variable, env, where, one_main=True)
    recorded = alias_file(rootless=rootless, home=home, env=env)
    if os.path.isfile(recorded):
        paths.append(recorded)
    return RegistriesConf.from_json(layers.cached("registries", paths, cache, lambda tables: merge(tables).to_json()))


def merge(tables: Iterable[tuple[str, dict[str, Any]]]) -> RegistriesConf:
    """The record for the files' tables, later ones overriding earlier ones. Corrupt with path and key for what is wrong."""
    conf = RegistriesConf()
    registries: dict[str, Registry] = {}
    aliases: dict[str, str] = {}
    origins: dict[str, str] = {}
    for path, table in tables:
        _refuse_version_1(path, table)
        if "unqualified-search-registries" in table:
            origins[""] = path
            conf = conf.replace(search=tuple(_texts(path, table, "unqualified-search-registries")))
        if table.get("short-name-mode"):
            conf = conf.replace(short_name_mode=_one_of(path, table, "short-name-mode", MODES))
        if "credential-helpers" in table:
            conf = conf.replace(credential_helpers=tuple(_texts(path, table, "credential-helpers")) or (AUTH_FILES,))
        for entry in _tables(path, table, "registry"):
            registry = _registry(path, entry)
            registries[registry.prefix] = registry
        _add_aliases(path, table, aliases)
        origins.update(dict.fromkeys(table.get("aliases") or (), path))
    return conf.replace(registries=tuple(registries.values()), aliases=aliases, origins=origins)


def _refuse_version_1(path: str, table: dict[str, Any]) -> None:
    old = table.get("registries")
    parts = old if isinstance(old, dict) else {}
    lists = {name: [item for item in part.get("registries") or () if isinstance(item, str)]
             for name, part in parts.items() if isinstance(part, dict)}
    if not any(lists.values()):
        return
    lines = []
    if lists.get("search"):
        lines.append(f"unqualified-search-registries = [{', '.join(_quoted(name) for name in lists['search'])}]")
    for key, word in (("insecure", "insecure"), ("block", "blocked")):
        lines += [f"[[registry]] location = {_quoted(name)} {word} = true" for name in lists.get(key, ())]
    raise Corrupt(f"reading configuration file {path}: it is in version 1 of the format ([registries.search]), which is not "
                  "supported", hint=f"Write it in version 2: {'; '.join(lines)}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _registry(path: str, entry: dict[str, Any]) -> Registry:
    location, prefix = _location(path, entry, "location"), _location(path, entry, "prefix")
    if not prefix and not location:
        raise _wrong(path, _TABLE, "invalid condition: both location and prefix are unset")
    prefix = prefix or location
    if "*" in prefix and not _is_wildcard(prefix):
        raise _wrong(path, _TABLE, f"prefix {_quoted(prefix)}: a wildcard is only possible as *.host")
    if not location and not prefix.startswith("*."):
        raise _wrong(path, _TABLE, f"location is unset and prefix {_quoted(prefix)} is not in the format: *.example.com")
    digest_only = _flag(path, entry, "mirror-by-digest-only")
    mirrors = tuple(_mirror(path, mirror, digest_only) for mirror in _tables(path, entry, "mirror"))
    return Registry(prefix=prefix, location=location, insecure=_flag(path, entry, "insecure"),
                    blocked=_flag(path, entry, "blocked"), mirror_by_digest_only=digest_only, mirrors=mirrors)


def _is_wildcard(prefix: str) -> bool:
    return prefix.startswith("*.") and "*" not in prefix[1:] and "/" not in prefix and len(prefix) > 2


def _mirror(path: str, entry: dict[str, Any], digest_only: bool) -> Mirror:
    location = _location(path, entry, "location")
    if not location:
        raise _wrong(path, "[[registry.mirror]]", "invalid condition: mirror location is unset")
    pull = entry.get("pull-from-mirror") or ""
    if pull and digest_only:
        raise _wrong(path, "[[registry.mirror]]", f"cannot set mirror usage mirror-by-digest-only for the registry and "
                                                  f"pull-from-mirror for mirror {_quoted(location)} at the same time")
    if pull:
        pull = _one_of(path, entry, "pull-from-mirror", ("all", "digest-only", "tag-only"))
    return Mirror(location=location, insecure=_flag(path, entry, "insecure"), pull=pull or "all")


def _location(path: str, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise _wrong(path, key, "expected a text in quotes")
    value = value.rstrip("/")
    if value.startswith(("http://", "https://")):
        raise _wrong(path, key, f"invalid location {_quoted(value)}: URI schemes are not supported")
    return value


def _add_aliases(path: str, table: dict[str, Any], aliases: dict[str, str]) -> None:
    entries = table.get("aliases") or {}
    if not isinstance(entries, dict):
        raise _wrong(path, "aliases", "expected a table")
    for name, value in entries.items():
        if not value:
            aliases.pop(name, None)
            continue
        try:
            _check_alias(name, value)
        except InvalidArgument as error:
            raise _wrong(path, f"alias {_quoted(name)}", error.message) from None
        aliases[name] = value


def _check_alias(name: str, value: Any) -> None:
    short = reference.parse(name)
    full = reference.parse(value) if isinstance(value, str) else None
    if not short.is_short or short.tag or short.digest:
        raise InvalidArgument("a short name has neither registry nor tag")
    if full is None or full.is_short or full.tag or full.digest:
        raise InvalidArgument(f"{value!r} is not a name with a registry and without tag")


def _tables(path: str, table: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = table.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _wrong(path, key, f"expected tables, written as [[{key}]]")
    return value


def _texts(path: str, table: dict[str, Any], key: str) -> list[str]:
    value = table[key]
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _wrong(path, key, 'expected a list of names, ["docker.io"]')
    return value


def _flag(path: str, table: dict[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(path, key, "expected true or false")
    return value


def _one_of(path: str, table: dict[str, Any], key: str, words: tuple[str, ...]) -> str:
    value = table[key]
    if value not in words:
        raise _wrong(path, key, f"expected one of {', '.join(words)}, not {value!r}")
    return str(value)


def _wrong(path: str, key: str, why: str) -> Corrupt:
    return Corrupt(f"reading configuration file {path}: {key}: {why}", hint=f"Correct it in {path}")


# --- recorded aliases -------------------------------------------------------------------------------------------------


def alias_file(*, rootless: bool, home: str, env: Mapping[str, str]) -> str:
    """The file in which engines record what a short name was resolved to."""
    if not rootless:
        return "/var/cache/containers/short-name-aliases.conf"
    return os.path.join(env.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "containers/short-name-aliases.conf")


def record_alias(path: str, name: str, value: str) -> None:
    """Remember that the short ``name`` stands for ``value``, both without tag, for every engine on this machine."""
    from podling.config import toml

    _check_alias(name, value)
    files.make_directories(os.path.dirname(path), 0o755)
    with Lock(path + ".lock").exclusive(timeout=30):
        aliases: dict[str, str] = {}
        if os.path.exists(path):
            _add_aliases(path, toml.read(path), aliases)
        aliases[name] = value
        lines = [f"  {_quoted(key)} = {_quoted(aliases[key])}\n" for key in sorted(aliases)]
        files.write_atomic(path, ("[aliases]\n" + "".join(lines)).encode(), 0o644)

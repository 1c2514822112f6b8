"""``search``: images and tags in registries."""

from __future__ import annotations

from podling.engine import registries, transfers
from podling.engine.options import RegistryOptions
from podling.errors import InvalidArgument, NotInRegistry, RegistryError, explain
from podling.image.jsonfields import Fields, load_object
from podling.record import Record
from podling.values import gotext, reference, urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.image.registry.client import Registry

DEFAULT_LIMIT = 25
_ANSWER_LIMIT = 16 << 20
_PAGES = 1000


class SearchOptions(Record):
    """``search``. None in a filter: not asked for."""

    limit: int = 0
    no_trunc: bool = False
    stars: int = 0
    is_official: bool | None = None
    is_automated: bool | None = None
    registry: RegistryOptions = RegistryOptions()


class Result(Record):
    """An image that was found. ``index``: the registry, as Podman calls it."""

    index: str
    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


def filters(texts: tuple[str, ...]) -> dict[str, object]:
    """``stars=3``, ``is-official``, ``is-automated=false`` as fields of the options."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name == "stars":
            try:
                found["stars"] = gotext.parse_uint(value, base=10)
            except InvalidArgument as error:
                raise InvalidArgument(f"incorrect value type for stars filter: {error.message}") from None
        elif name in ("is-official", "is-automated"):
            found[name.replace("-", "_")] = value != "false" if equals else True
        else:
            raise InvalidArgument(f"invalid filter type {text!r}", hint="one of stars=N, is-official=BOOL, is-automated=BOOL")
    return found


def search(term: str, options: SearchOptions) -> list[Result]:
    """What registries have for a term; without a registry in it all that short names are searched in.

    A registry that does not answer is left out while another does; RegistryError where none does.
    """
    found: list[Result] = []
    failures: list[RegistryError] = []
    hosts = _hosts(term)
    for host, text in hosts:
        try:
            found += _in_registry(host, text, options)
        except RegistryError as error:
            failures.append(error)
    if failures and len(failures) == len(hosts):
        raise RegistryError("; ".join(explain(error) for error in failures))
    return found


def _hosts(term: str) -> list[tuple[str, str]]:
    """(registry, term) for each registry to ask."""
    host, slash, rest = term.removeprefix("docker://").partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return [(host, rest)]
    search_in = registries.configured().search or ()
    if not search_in:
        raise InvalidArgument(f"couldn't search registry for {term!r}: no unqualified-search registries are defined",
                              hint="name the registry before the term, or set unqualified-search-registries in registries.conf")
    return [(name, term) for name in search_in]


def _open(host: str, repository: str, options: RegistryOptions) -> Registry:
    conf = registries.configured()
    endpoint = conf.endpoints(reference.parse(f"{host}/{repository}"))[-1]
    # who does not answer at once is left out: other registries are asked
    return transfers.access(options.replace(retry=options.retry or 0), endpoint).open(endpoint.reference.registry)


def _in_registry(host: str, term: str, options: SearchOptions) -> list[Result]:
    limit = options.limit or DEFAULT_LIMIT
    registry = _open(host, "search", options.registry)
    try:
        try:
            found = _by_search(registry, host, term, limit)
        except NotInRegistry:
            found = _by_catalog(registry, host, term, limit)
    except RegistryError as error:
        raise type(error)(f'couldn\'t search registry "{host}"') from error
    finally:
        registry.close()
    kept = [one for one in found if one.stars >= options.stars
            and (options.is_official is None or one.official == options.is_official)
            and (options.is_automated is None or one.automated == options.is_automated)]
    return kept[:limit]


def _by_search(registry: Registry, host: str, term: str, limit: int) -> list[Result]:
    """Docker's search, which Docker Hub and Quay have."""
    path = f"/v1/search?q={urls.quoted(term)}&n={limit}"
    if host == "docker.io":
        path = f"https://index.docker.io{path}"
    what = f"searching {host}"
    body = registry.patiently(what, lambda: registry.request("GET", path, scopes=()).body(_ANSWER_LIMIT))
    found = []
    for item in Fields(load_object(body, what, limit=_ANSWER_LIMIT), what).objects("results"):
        name = item.text("name")
        if host == "docker.io" and "/" not in name:
            name = f"library/{name}"
        found.append(Result(index=host, name=f"{host}/{name}", description=" ".join(item.text("description").split()),
                            stars=item.integer("star_count"), official=bool(item.values.get("is_official")),
                            automated=bool(item.values.get("is_automated"))))
    return found


def _by_catalog(registry: Registry, host: str, term: str, limit: int) -> list[Result]:
    """The list of all repositories, of which those are taken that the term is a part of."""
    what, found = f"listing the repositories of {host}", list[Result]()
    last = ""
    for _ in range(_PAGES):
        path = "/v2/_catalog?n=1000" + (f"&last={urls.quoted(last)}" if last else "")
        body = registry.patiently(what, lambda path=path: registry.request(  # type: ignore[misc]
            "GET", path, scopes=("registry:catalog:*",)).body(_ANSWER_LIMIT))
        names = list(Fields(load_object(body, what, limit=_ANSWER_LIMIT), what).texts("repositories"))
        found += [Result(index=host, name=f"{host}/{name}") for name in names if term in name]
        if len(names) < 1000 or len(found) >= limit or names[-1] == last:
            break
        last = names[-1]
    return found[:limit]


def tags(term: str, options: SearchOptions) -> tuple[str, list[str]]:
    """(the repository, its tags) for ``--list-tags``. A tag in the term does not count, as in Podman."""
    text = term.removeprefix("docker://")
    candidates = registries.configured().candidates(text)
    failures = []
    for candidate in candidates:
        wanted = reference.parse(candidate)
        registry = _open(wanted.registry, wanted.repository, options.registry)
        try:
            found = registry.tags(wanted.repository)
            return wanted.name, found[:options.limit] if options.limit else found
        except RegistryError as error:
            failures.append(error)
        finally:
            registry.close()
    raise RegistryError("; ".join(explain(error) for error in failures))

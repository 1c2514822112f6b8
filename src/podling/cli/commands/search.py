"""``podling search``."""

from __future__ import annotations

from podling.cli import output
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row
from podling.cli.progress import registry_options
from podling.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.engine.search import Result, SearchOptions

_LONGEST = 44
_COLUMNS = Columns(name="search", shown=("Name", "Description"))
_COMPATIBLE = Columns(name="search", shown=("Name", "Description", "Stars", "Official", "Automated"))
_TAGS = Columns(name="search", shown=("Name", "Tag"))


def search(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Look for images or tags in registries."""
    from podling.engine import search as searching  # loads an HTTP client

    options = searching.SearchOptions(registry=registry_options(dict(said)), **searching.filters(said.get("filter", ())),  # type: ignore[arg-type]
                                      **context.options(said, "limit", "no_trunc"))
    template = said.get("format")
    if said.get("list_tags"):
        if said.get("filter"):
            raise InvalidArgument("filters are not applicable to list tags result")
        _list_tags(context, args[0], options, template)
        return
    found = searching.search(args[0], options)
    rows = [_row(one, no_trunc=options.no_trunc) for one in found]
    if output.is_json(template):
        output.print_json(context.out, [row.json for row in rows], indent=4)
    elif rows:
        output.report(context.out, rows, _COMPATIBLE if said.get("compatible") else _COLUMNS, template=template)


def _row(one: Result, *, no_trunc: bool) -> Row:
    text = one.description if no_trunc or len(one.description) <= _LONGEST else f"{one.description[:_LONGEST]}..."
    fields = {"Index": one.index, "Name": one.name, "Description": text, "Stars": one.stars,
              "Official": "[OK]" if one.official else "", "Automated": "[OK]" if one.automated else "", "Tag": ""}
    return Row(fields, json=fields, go_type="entities.ImageSearchReport")


def _list_tags(context: Context, term: str, options: SearchOptions, template: str | None) -> None:
    from podling.engine import search as searching

    name, found = searching.tags(term, options)
    if output.is_json(template):
        output.print_json(context.out, [{"Name": name, "Tags": found}], indent=4)
    elif found:
        rows = [Row({"Name": name, "Tag": tag}, json={"Name": name, "Tag": tag}, go_type="entities.ImageSearchReport") for tag in found]
        output.report(context.out, rows, _TAGS, template=template)


SEARCH = Command(
    "search", "[options] TERM", "Search registry for image",
    "Search registries for a given image. Can search all the default registries or a specific registry.\n\n\tUsers can limit the "
    "number of results, and filter the output based on certain conditions.",
    (
        Flag("--authfile", help="Path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override",
             complete="files"),
        Flag("--cert-dir", help="Path to a directory containing TLS certificates and keys", complete="files"),
        Flag("--compatible", help="List stars, official and automated columns (Docker compatibility)", kind="bool"),
        Flag("--creds", help="`Credentials` (USERNAME:PASSWORD) to use for authenticating to a registry"),
        Flag("--filter", "-f", "Filter output based on conditions provided (default [])", kind="slice",
             choices=("stars=", "is-official=", "is-automated=")),
        Flag("--format", help="Change the output format to JSON or a Go template"),
        Flag("--limit", help="Limit the number of results", kind="uint", metavar="int"),
        Flag("--list-tags", help="List the tags of the input registry", kind="bool"),
        Flag("--no-trunc", help="Do not truncate the output", kind="bool"),
        Flag("--tls-verify", help="Require HTTPS and verify certificates when contacting registries", kind="bool",
             default_text="true"),
    ),
    search, args=(1, 1, ""), examples=("{} --filter=is-official --limit 3 alpine",
                                       "{} registry.fedoraproject.org/  # only works with v2 registries",
                                       '{} --format "table {{{{.Index}}}} {{{{.Name}}}}" registry.fedoraproject.org/fedora'),
)

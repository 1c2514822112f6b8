"""``podling image trust``: what is required of images, shown and set."""

from __future__ import annotations

import os

from podling.cli import output
from podling.cli.flags import Command, Flag
from podling.cli.output import Columns, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context
    from podling.engine.trust import TrustEntry

_COLUMNS = Columns(name="show", shown=("Transport", "RepoName", "Type", "GPGId", "SignatureStore"),
                   headings={"RepoName": "NAME", "GPGId": "ID", "SignatureStore": "STORE"})


def show(context: Context, said: dict[str, Any], _args: list[str]) -> None:
    """Print the policy: a table, JSON, or its file."""
    from podling.engine import trust

    path = said.get("policypath") or ""
    if said.get("raw"):
        context.out.line(trust.policy_text(path).decode("utf-8", "replace"))
        return
    entries = trust.show(path, said.get("registrypath") or "")
    if said.get("json"):
        output.print_json(context.out, [_shape(entry) for entry in entries], indent=2)
        return
    rows = [Row({"Transport": entry.transport, "RepoName": entry.repo_name, "Type": entry.kind, "GPGId": entry.keys,
                 "SignatureStore": entry.store}) for entry in entries]
    output.report(context.out, rows, _COLUMNS, headings=not said.get("noheading", False))


def _shape(entry: TrustEntry) -> dict[str, str]:
    """Podman's JSON of an entry, which leaves out what is empty."""
    shape = {"transport": entry.transport, "name": entry.name, "repo_name": entry.repo_name, "sigstore": entry.store,
             "type": entry.kind, "gpg_id": entry.keys}
    return {key: value for key, value in shape.items() if value or key in ("transport", "type")}


def set_(_context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Write a requirement into the policy."""
    from podling.engine import trust

    keys = tuple(os.path.abspath(path) for path in said.get("pubkeysfile", ()))
    trust.set_trust(args[0], said.get("type", "signedBy"), keys, said.get("policypath") or "")


SHOW = Command(
    "show", "[options] [REGISTRY]", "Display trust policy for the system", "Display trust policy for the system",
    (
        Flag("--json", "-j", "Output as json", kind="bool"),
        Flag("--noheading", "-n", "Do not print column headings", kind="bool"),
        Flag("--policypath", hidden=True), Flag("--registrypath", hidden=True),
        Flag("--raw", kind="bool", help="Output raw policy file"),
    ),
    show, args=(0, 1, ""),
)
SET = Command(
    "set", "[options] REGISTRY", "Set default trust policy or a new trust policy for a registry",
    "Set default trust policy or add a new trust policy for a registry",
    (
        Flag("--policypath", hidden=True),
        Flag("--pubkeysfile", "-f", "Path of installed public key(s) to trust for TARGET.\nAbsolute path to keys is added to "
             "policy.json. May\nused multiple times to define multiple public keys.\nFile(s) must exist before using this command",
             kind="array", complete="files"),
        Flag("--type", "-t", "Trust type, accept values: signedBy(default), accept, reject", default_text="signedBy",
             choices=("accept", "reject", "signedBy", "sigstoreSigned")),
    ),
    set_, args=(1, 1, ""),
)

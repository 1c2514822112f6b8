"""Signatures in OpenShift's registry, which keeps them itself and says so (``X-Registry-Supports-Signatures: 1``).

https://github.com/openshift/openshift-docs/blob/main/modules/images-signatures.adoc; they take the place of the lookaside.
"""

from __future__ import annotations

import binascii
import os

from podling import jsontext
from podling.errors import Corrupt
from podling.image.jsonfields import Fields, load_object
from podling.image.registry.client import pull_scope, push_scope
from podling.image.registry.replies import ERROR_LIMIT
from podling.image.signatures.stored import LIMIT, MOST, Signature, from_bytes
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from podling.image.registry.client import Registry

_VERSION, _KIND = 2, "atomic"


def _path(repository: str, digest: str) -> str:
    return f"/extensions/v2/{urls.quoted(repository)}/signatures/{urls.quoted(digest, safe=':')}"


def read(registry: Registry, repository: str, digest: str) -> list[Signature]:
    """The signatures that the registry has for a manifest; those of other kinds are left out."""
    what = f"downloading signatures for {digest} in {registry.host}/{repository}"

    def attempt() -> bytes:
        return registry.request("GET", _path(repository, digest), scopes=pull_scope(repository)).body(LIMIT)

    entries = Fields(load_object(registry.patiently(what, attempt), what, limit=LIMIT), what).objects("signatures")
    found = [from_bytes(_content(entry), what) for entry in entries
             if entry.integer("schemaVersion") == _VERSION and entry.text("type") == _KIND]
    if len(found) > MOST:
        raise Corrupt(f"{what}: there are more than {MOST}")
    return found


def _content(entry: Fields) -> bytes:
    try:
        return binascii.a2b_base64(entry.text("content"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise Corrupt(f"{entry.where}: content is not base64") from None


def write(registry: Registry, repository: str, digest: str, signatures: Sequence[Signature]) -> None:
    """Give the registry signatures that it does not have yet."""
    known = read(registry, repository, digest)
    for signature in signatures:
        if signature not in known:
            _put(registry, repository, digest, signature)


def _put(registry: Registry, repository: str, digest: str, signature: Signature) -> None:
    body = jsontext.dumps({"schemaVersion": _VERSION, "name": f"{digest}@{os.urandom(16).hex()}", "type": _KIND,
                           "content": binascii.b2a_base64(signature.to_bytes(), newline=False).decode()}).encode()

    def attempt() -> None:
        registry.request("PUT", _path(repository, digest), scopes=push_scope(repository), body=body, accept=(201,),
                         headers={"Content-Type": "application/json"}).body(ERROR_LIMIT)

    registry.patiently(f"uploading signature to {registry.host}/{repository}", attempt)

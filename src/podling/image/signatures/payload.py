"""What is signed: the digest of a manifest, and the name under which the image is meant to be found.

The same JSON for both kinds of signatures but for its type; see containers-signature(5). It is read with nothing left to
chance: members that are unknown, missing, repeated or of another type make it invalid.
"""

from __future__ import annotations

from podling import __version__, jsontext
from podling.errors import SignatureRejected
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIMPLE_TYPE = "atomic container signature"
SIGSTORE_TYPE = "cosign container image signature"
CREATOR = f"podling {__version__}"


class Payload(Record):
    """What a signature says. ``reference``: as it is written there. ``creator``, ``timestamp`` (seconds): None if not said."""

    digest: str
    reference: str
    creator: str | None = None
    timestamp: int | None = None


def build(payload: Payload, kind: str) -> bytes:
    """The text to sign, with members in the order in which Go's encoder writes a map."""
    optional: dict[str, Any] = {}
    if payload.creator is not None:
        optional["creator"] = payload.creator
    if payload.timestamp is not None:
        optional["timestamp"] = payload.timestamp
    critical = {"identity": {"docker-reference": payload.reference}, "image": {"docker-manifest-digest": payload.digest}, "type": kind}
    return jsontext.dumps({"critical": critical, "optional": optional}).encode()


def parse(content: bytes, kind: str) -> Payload:
    """What a verified text says; SignatureRejected where it is no such text, or one of another kind."""
    try:
        value = jsontext.loads_strict(content)
    except (ValueError, RecursionError) as error:
        raise _invalid(str(error)[:200] or "nested too deeply") from None
    top = _members(value, "the signed text", ("critical", "optional"))
    critical = _members(top["critical"], "critical", ("type", "image", "identity"))
    if critical["type"] != kind:
        raise _invalid(f"Unrecognized signature type {_shown(critical['type'])}")
    image = _members(critical["image"], "image", ("docker-manifest-digest",))
    identity = _members(critical["identity"], "identity", ("docker-reference",))
    optional = {} if top["optional"] is None and kind == SIGSTORE_TYPE else top["optional"]
    if not isinstance(optional, dict):
        raise _invalid("optional is not an object")
    return Payload(digest=_text(image, "docker-manifest-digest"), reference=_text(identity, "docker-reference"),
                   creator=_text(optional, "creator") if "creator" in optional else None, timestamp=_timestamp(optional))


def _members(value: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The object, which has exactly these members."""
    if not isinstance(value, dict):
        raise _invalid(f"{where} is not an object")
    for name in names:
        if name not in value:
            raise _invalid(f"{where}: {name} is missing")
    for name in value:
        if name not in names:
            raise _invalid(f"{where}: Unknown key {_shown(name)}")
    return value


def _text(values: dict[str, Any], name: str) -> str:
    value = values[name]
    if not isinstance(value, str):
        raise _invalid(f"{name} is not a string")
    return value


def _timestamp(optional: dict[str, Any]) -> int | None:
    value = optional.get("timestamp")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if "timestamp" in optional and (not isinstance(value, int) or isinstance(value, bool)):
        raise _invalid("timestamp is not a whole number")
    return value


def _shown(value: object) -> str:
    return repr(value)[:100]


def _invalid(why: str) -> SignatureRejected:
    return SignatureRejected(f"Invalid signature: {why}")

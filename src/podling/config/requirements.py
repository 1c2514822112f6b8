"""The requirements of containers-policy.json(5), read strictly: what is misspelt must not be taken for something laxer.

An unknown member, one of the wrong type, one that is missing and one too many are all errors, as in containers/image.
"""

from __future__ import annotations

import binascii

from podling import jsontext
from podling.errors import InvalidArgument
from podling.record import Record
from podling.values import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.values.reference import Reference

ACCEPT = "insecureAcceptAnything"
REJECT = "reject"
SIGNED_BY = "signedBy"
SIGNED_BASE_LAYER = "signedBaseLayer"
SIGSTORE_SIGNED = "sigstoreSigned"
GPG_KEYS = "GPGKeys"
_KEY_TYPES = (GPG_KEYS, "signedByGPGKeys", "X509Certificates", "signedByX509CAs")


class WrongPolicy(InvalidArgument):
    """A part of a policy that says something it must not; the message says what and where."""


class KeySource(Record):
    """Where keys or certificates are: files, or the policy itself."""

    paths: tuple[str, ...] = ()
    data: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.data)


class SignedIdentity(Record):
    """What a signature must say that it signs. ``name``: a reference or repository; prefixes for remapIdentity."""

    kind: str = "matchRepoDigestOrExact"
    name: str = ""
    prefix: str = ""
    signed_prefix: str = ""


class FulcioRoots(Record):
    """Whose short-lived certificates count: issued by ``ca``, for ``subject_email`` as ``oidc_issuer`` knows it."""

    ca: KeySource
    oidc_issuer: str
    subject_email: str


class PkiRoots(Record):
    """Whose long-lived certificates count; an email or a host name, or both, must be in them."""

    roots: KeySource
    intermediates: KeySource
    subject_email: str = ""
    subject_hostname: str = ""


class Requirement(Record):
    """One requirement. ``keys``: any one of them; ``rekor``: keys of transparency logs, one of which must have logged it."""

    kind: str
    key_type: str = ""
    keys: KeySource = KeySource()
    rekor: KeySource = KeySource()
    fulcio: FulcioRoots | None = None
    pki: PkiRoots | None = None
    identity: SignedIdentity = SignedIdentity()


class Members:
    """One JSON object that is taken apart; :meth:`end` refuses what nobody took. Absent and null are not the same."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise WrongPolicy(f"{where} is not a JSON object")
        self.rest = dict(value)
        self.where = where

    def wrong(self, why: str) -> WrongPolicy:
        """The error for this object."""
        return WrongPolicy(f"{self.where}: {why}")

    def take(self, name: str) -> Any:
        """The member's value, None where it is absent."""
        if name not in self.rest:
            return None
        value = self.rest.pop(name)
        if value is None:
            raise self.wrong(f"{name} is null")
        return value

    def text(self, name: str) -> str:
        """A member that is a string with something in it; "" where it is absent."""
        value = self.take(name)
        if value is None:
            return ""
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.wrong(f"{name} is not a string with something in it")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A member that is a list of strings, with at least one; () where it is absent."""
        value = self.take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            raise self.wrong(f"{name} is not a list of strings with at least one member")
        return tuple(value)

    def data(self, name: str) -> tuple[bytes, ...]:
        """A member in base64; () where it is absent."""
        text = self.text(name)
        return (self._decoded(name, text),) if text else ()

    def datas(self, name: str) -> tuple[bytes, ...]:
        """A member that is a list of base64; () where it is absent."""
        return tuple([self._decoded(name, text) for text in self.texts(name)])

    def _decoded(self, name: str, text: str) -> bytes:
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise self.wrong(f"{name} is not base64: {error}") from None

    def end(self) -> None:
        """Error where something is left."""
        for name in self.rest:
            raise self.wrong(f"Unknown key {jsontext.dumps(name)}")


def parse(value: Any, where: str) -> Requirement:
    """One requirement; WrongPolicy."""
    members = Members(value, where)
    kind = members.text("type")
    read: Callable[[Members], Requirement] | None = _READERS.get(kind)
    if read is None:
        raise members.wrong(f'unknown policy requirement type "{kind}"' if kind else "the requirement has no type")
    found = read(members)
    members.end()
    return found


def _signed_by(members: Members) -> Requirement:
    key_type = members.text("keyType")
    if key_type not in _KEY_TYPES:
        raise members.wrong(f'invalid keyType "{key_type}"')
    keys = _one_source(members, "keyPath", "keyPaths", "keyData", "")
    if not keys:
        raise members.wrong("exactly one of keyPath, keyPaths and keyData must be specified")
    return Requirement(kind=SIGNED_BY, key_type=key_type, keys=keys, identity=_identity(members))


def _signed_base_layer(members: Members) -> Requirement:
    identity = members.take("baseLayerIdentity")
    if identity is None:
        raise members.wrong("baseLayerIdentity not specified")
    return Requirement(kind=SIGNED_BASE_LAYER, identity=parse_identity(identity, f"{members.where}: baseLayerIdentity"))


def _sigstore_signed(members: Members) -> Requirement:
    keys = _one_source(members, "keyPath", "keyPaths", "keyData", "keyDatas")
    rekor = _one_source(members, "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
    fulcio, pki = members.take("fulcio"), members.take("pki")
    if [bool(keys), fulcio is not None, pki is not None].count(True) != 1:
        raise members.wrong("exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki must be specified")
    if fulcio is not None and not rekor:
        raise members.wrong("at least one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and "
                            "rekorPublicKeyDatas must be specified if fulcio is used")
    if pki is not None and rekor:
        raise members.wrong("rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and rekorPublicKeyDatas are not "
                            "supported for pki")
    return Requirement(
        kind=SIGSTORE_SIGNED, keys=keys, rekor=rekor, identity=_identity(members),
        fulcio=None if fulcio is None else _fulcio(Members(fulcio, f"{members.where}: fulcio")),
        pki=None if pki is None else _pki(Members(pki, f"{members.where}: pki")))


def _fulcio(members: Members) -> FulcioRoots:
    found = FulcioRoots(ca=_one_source(members, "caPath", "", "caData", ""), oidc_issuer=members.text("oidcIssuer"),
                        subject_email=members.text("subjectEmail"))
    members.end()
    if not found.ca:
        raise members.wrong("exactly one of caPath and caData must be specified")
    if not found.oidc_issuer or not found.subject_email:
        raise members.wrong(f"{'subjectEmail' if found.oidc_issuer else 'oidcIssuer'} not specified")
    return found


def _pki(members: Members) -> PkiRoots:
    found = PkiRoots(
        roots=_one_source(members, "caRootsPath", "", "caRootsData", ""),
        intermediates=_one_source(members, "caIntermediatesPath", "", "caIntermediatesData", ""),
        subject_email=members.text("subjectEmail"), subject_hostname=members.text("subjectHostname"))
    members.end()
    if not found.roots:
        raise members.wrong("exactly one of caRootsPath and caRootsData must be specified")
    if not found.subject_email and not found.subject_hostname:
        raise members.wrong("at least one of subjectEmail and subjectHostname must be specified")
    return found


def _one_source(members: Members, path: str, paths: str, data: str, datas: str) -> KeySource:
    """The keys that one of these members gives; nothing where none is there, an error for two."""
    given = [name for name in (path, paths, data, datas) if name in members.rest]
    if len(given) > 1:
        raise members.wrong(f"only one of {' and '.join(given)} may be specified")
    single = members.text(path)
    return KeySource(paths=(single,) if single else members.texts(paths) if paths else (),
                     data=members.data(data) or (members.datas(datas) if datas else ()))


# --- identities -------------------------------------------------------------------------------------------------------


def _identity(members: Members) -> SignedIdentity:
    value = members.take("signedIdentity")
    return SignedIdentity() if value is None else parse_identity(value, f"{members.where}: signedIdentity")


def parse_identity(value: Any, where: str) -> SignedIdentity:
    """What a signature must say; WrongPolicy."""
    members = Members(value, where)
    kind = members.text("type")
    if kind in ("matchExact", "matchRepoDigestOrExact", "matchRepository"):
        found = SignedIdentity(kind=kind)
    elif kind == "exactReference":
        name = _name(members, "dockerReference")
        if not (name.tag or name.digest):
            raise members.wrong("dockerReference contains neither a tag nor digest")
        found = SignedIdentity(kind=kind, name=str(name))
    elif kind == "exactRepository":
        found = SignedIdentity(kind=kind, name=_name(members, "dockerRepository").name)
    elif kind == "remapIdentity":
        found = SignedIdentity(kind=kind, prefix=_prefix(members, "prefix"), signed_prefix=_prefix(members, "signedPrefix"))
    else:
        raise members.wrong(f'unknown policy reference match type "{kind}"')
    members.end()
    return found


def _name(members: Members, field: str) -> Reference:
    text = members.text(field)
    if not text:
        raise members.wrong(f"{field} not specified")
    try:
        return normalized(text)
    except InvalidArgument as error:
        raise members.wrong(f'invalid format of {field} "{text}": {error.message}') from None


def _prefix(members: Members, field: str) -> str:
    """A registry, or a namespace or repository in one."""
    text = members.text(field)
    try:
        name = reference.parse(f"{text}/x")
    except InvalidArgument:
        name = None
    if name is None or name.is_short or str(name) not in (f"{text}/x", "docker.io/library/x"):
        raise members.wrong(f'{field} "{text}" is neither a registry nor a name in one')
    return text


def normalized(text: str) -> Reference:
    """The reference that a text names, a short one in Docker Hub's full form, as signatures mean it; InvalidArgument."""
    found = reference.parse(text)
    return found.qualified(reference.DOCKER_HUB) if found.is_short else found


_READERS: dict[str, Callable[[Members], Requirement]] = {
    ACCEPT: lambda _: Requirement(kind=ACCEPT), REJECT: lambda _: Requirement(kind=REJECT), SIGNED_BY: _signed_by,
    SIGNED_BASE_LAYER: _signed_base_layer, SIGSTORE_SIGNED: _sigstore_signed,
}

"""What this host and user trust: the signature policy, where signatures are, and ``image trust``."""

from __future__ import annotations

import os

from podling import jsontext
from podling.config import policy, requirements
from podling.config.requirements import ACCEPT, REJECT, SIGNED_BY, SIGSTORE_SIGNED
from podling.errors import Corrupt, InvalidArgument, PodlingError, explain
from podling.image.policy import Gate
from podling.linux import files, rootless
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.config.policy import Policy
    from podling.config.registries_d import SignaturePlaces
    from podling.config.requirements import KeySource, Requirement
    from podling.engine.options import SigningOptions
    from podling.image.signatures.signing import Signers, Signing
    from podling.values.reference import Reference

TYPES = ("accept", ACCEPT, REJECT, SIGNED_BY, SIGSTORE_SIGNED)
_SHOWN = {ACCEPT: "accept", REJECT: "reject", SIGNED_BY: "signed", SIGSTORE_SIGNED: "sigstoreSigned"}
_HOST = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/*"
_LIMIT = 4 << 20
_PASSPHRASE_LIMIT = 64 << 10


def _home() -> str:
    return os.environ.get("HOME", "/")


def gate(signature_policy: str | None = None) -> Gate:
    """The signature policy in front of what comes in; PolicyMissing or Corrupt where it cannot be read."""
    return Gate(policy.load(os.environ, home=_home(), named=signature_policy or ""))


def signature_places(directory: str = "") -> SignaturePlaces:
    """Where signatures of images in registries are."""
    from podling.config import registries_d

    return registries_d.load(directory or registries_d.directory(os.environ, home=_home()),
                             builtin=registries_d.builtin_place(rootless=rootless.owner() is not None, home=_home()))


def read_passphrase(path: str) -> str:
    """The first line of a file."""
    return files.read_text(path, _PASSPHRASE_LIMIT).partition("\n")[0]


def signing(options: SigningOptions, wanted: Reference, target: Reference) -> Signing | None:
    """The signing of a push to ``target`` under the name ``wanted``, None where nobody signs."""
    if not options.any:
        return None
    from podling.image.signatures.signing import Signers, Signing

    passphrase = options.sign_passphrase
    if options.sign_passphrase_file is not None:
        passphrase = read_passphrase(options.sign_passphrase_file)
    signers = Signers(gpg_key=options.sign_by or "", key_file=options.sign_by_sigstore_private_key or "", passphrase=passphrase)
    if options.sign_by_sigstore:
        signers = _sigstore_signers(options.sign_by_sigstore, signers)
    return Signing(signers, signature_places(), wanted=wanted, reference=target)


def _sigstore_signers(path: str, others: Signers) -> Signers:
    """The signers, with those that a file of sigstore's parameters names."""
    from podling.config import sigstore

    said = sigstore.load(path)
    if others.key_file:
        raise InvalidArgument("only one of --sign-by-sigstore and --sign-by-sigstore-private-key can be used")
    passphrase = read_passphrase(said.passphrase_file) if said.passphrase_file else others.passphrase
    if said.passphrase_file and others.gpg_key and others.passphrase is not None and others.passphrase != passphrase:
        raise InvalidArgument("the GPG key and sigstore's key cannot have two passphrases in one push", hint="push twice")
    return others.replace(key_file=said.key_file, passphrase=passphrase, fulcio_url=said.fulcio_url, token=said.token,
                          rekor_url=said.rekor_url)


# --- image trust show -------------------------------------------------------------------------------------------------


class TrustEntry(Record):
    """One requirement of the policy; ``keys``: whose they are, ``store``: where signatures are read."""

    transport: str
    name: str
    repo_name: str
    kind: str
    keys: str = ""
    store: str = ""


def policy_text(path: str = "") -> bytes:
    """The policy's file as it is."""
    return files.read_bytes(policy.find(os.environ, home=_home(), named=path), _LIMIT)


def show(path: str = "", registries_path: str = "") -> list[TrustEntry]:
    """What the policy requires of which images, the default first."""
    found: Policy = policy.load(os.environ, home=_home(), named=path)
    places = signature_places(registries_path)
    entries = [_entry("all", "* (default)", "default", requirement, places.default.lookaside) for requirement in found.default]
    for transport in sorted(found.transports):
        shown = "repository" if transport == "docker" else transport
        for scope in sorted(found.transports[transport]):
            entries += [_entry(shown, scope, scope, requirement, places.shown(scope))
                        for requirement in found.transports[transport][scope]]
    return entries


def _entry(transport: str, name: str, repo_name: str, requirement: Requirement, store: str) -> TrustEntry:
    keys = ", ".join(_owners(requirement.keys)) if requirement.kind == SIGNED_BY else ""
    return TrustEntry(transport=transport, name=name, repo_name=repo_name, kind=_SHOWN.get(requirement.kind, ""), store=store,
                      keys="N/A" if requirement.kind == SIGSTORE_SIGNED else keys)


def _owners(source: KeySource) -> list[str]:
    """The mail addresses of the keys; a file that has none is told and left out."""
    from podling import log
    from podling.image.signatures import gpg

    found = []
    for path, data in [*[(path, b"") for path in source.paths], *[("the policy", data) for data in source.data]]:
        try:
            found += gpg.user_ids(data or files.read_bytes(path, _LIMIT))
        except (PodlingError, OSError) as error:
            log.warning(f"getting the identity of the key in {path}: {explain(error)}")
    return found


# --- image trust set --------------------------------------------------------------------------------------------------


def set_trust(scope: str, kind: str, key_files: tuple[str, ...], path: str = "") -> None:
    """Write what is required of images in ``scope`` (a registry or something in it, or "default") into the policy."""
    check_scope(scope)
    if kind not in TYPES:
        raise InvalidArgument(f"invalid choice: {kind} (choose from 'accept', 'reject', 'signedBy', 'sigstoreSigned')")
    entries = _entries(kind, key_files)
    path = policy.find(os.environ, home=_home(), named=path)
    content = _read(path)
    if scope == "default":
        content["default"] = entries
    else:
        if not content.get("default"):
            raise InvalidArgument("default trust policy must be set", hint="podling image trust set --type accept|reject default")
        transports = content.setdefault("transports", {})
        holder = next((scopes for scopes in transports.values() if scope in scopes), None)
        (transports.setdefault("docker", {}) if holder is None else holder)[scope] = entries
    try:
        policy.parse(content, path)
    except requirements.WrongPolicy as error:
        raise Corrupt(f'invalid policy in "{path}": {error.message}') from None
    try:
        mode = os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        mode = 0o644
        files.make_directories(os.path.dirname(path))
    files.write_atomic(os.path.realpath(path), jsontext.pretty(content, "    ").encode(), mode)


def check_scope(scope: str) -> None:
    """InvalidArgument unless the text can be a registry or something in it."""
    if not scope or scope[0] in "/:" or any(character not in _HOST for character in scope):
        raise InvalidArgument(f"invalid image uri: {scope}")


def _entries(kind: str, key_files: tuple[str, ...]) -> list[dict[str, str]]:
    if kind in ("accept", ACCEPT, REJECT):
        if key_files:
            raise InvalidArgument(f"{len(key_files)} public keys unexpectedly provided for trust type {kind}")
        return [{"type": ACCEPT if kind == "accept" else kind}]
    if not key_files:
        raise InvalidArgument(f"at least one public key must be defined for type '{kind}'")
    more = {"keyType": "GPGKeys"} if kind == SIGNED_BY else {}
    return [{"type": kind, **more, "keyPath": path} for path in key_files]


def _read(path: str) -> dict[str, Any]:
    try:
        content = jsontext.loads_strict(files.read_bytes(path, _LIMIT))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Corrupt(f'could not read trust policies: "{path}": {error}') from None
    if not isinstance(content, dict) or not all(isinstance(scopes, dict) for scopes in content.get("transports", {}).values()):
        raise Corrupt(f'could not read trust policies: "{path}" is not a policy')
    return content

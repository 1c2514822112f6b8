"""Certificates that stand for a signer: Fulcio's, good for minutes, and those of a company's own authority.

A chain is looked for from the certificate through intermediate ones to a root that the policy names, as RFC 5280 says: names,
signatures, times, basic constraints, key usage, path lengths. What it cannot judge (name constraints, critical extensions that
are unknown) it refuses.
"""

from __future__ import annotations

import datetime

from podling.errors import Corrupt, SignatureRejected
from podling.image.signatures.keys import exceptions, serialization, usable, x509
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from podling.config.requirements import FulcioRoots, PkiRoots
    from podling.image.signatures.keys import PublicKey

    Found = TypeVar("Found", bound=x509.ExtensionType)

_LONGEST_CHAIN = 8
_MOST_CERTIFICATES = 32
_CODE_SIGNING = x509.oid.ExtendedKeyUsageOID.CODE_SIGNING
_KNOWN = {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid, x509.SubjectAlternativeName.oid,
          x509.CertificatePolicies.oid}
# https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md: the issuer as raw text, and as DER
_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_UTF8_STRING = 0x0C


class Chain(Record):
    """What a certificate is judged by. ``at``: the moment at which all of it must be valid."""

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    at: datetime.datetime


def load(pem: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM text, at least one; Corrupt, beginning with ``what``."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise Corrupt(f"{what}: no certificates in PEM form: {str(error)[:200]}") from None
    if len(found) > _MOST_CERTIFICATES:
        raise Corrupt(f"{what}: it has {len(found)} certificates, more than the {_MOST_CERTIFICATES} that are allowed")
    return tuple(found)


def load_untrusted(pem: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """As :func:`load`, of what came with an image: SignatureRejected."""
    try:
        return load(pem, what)
    except Corrupt as error:
        raise SignatureRejected(error.message) from None


def to_pem(chain: tuple[x509.Certificate, ...]) -> str:
    """Certificates as PEM, one after the other."""
    return b"".join([one.public_bytes(serialization.Encoding.PEM) for one in chain]).decode()


# --- who it is --------------------------------------------------------------------------------------------------------


def fulcio_key(roots: FulcioRoots, certificate: x509.Certificate, chain: Chain) -> PublicKey:
    """The key of a certificate that Fulcio gave to the one whom the policy names; SignatureRejected."""
    _verify(certificate, chain)
    issuer = _oidc_issuer(certificate)
    if issuer != roots.oidc_issuer:
        raise SignatureRejected(f'Unexpected Fulcio OIDC issuer "{issuer}"')
    _check_email(certificate, roots.subject_email)
    return key_of(certificate)


def pki_key(roots: PkiRoots, certificate: x509.Certificate, chain: Chain) -> PublicKey:
    """The key of a certificate of the policy's own authority for the one whom it names; SignatureRejected."""
    _verify(certificate, chain)
    if roots.subject_email:
        _check_email(certificate, roots.subject_email)
    if roots.subject_hostname:
        names = _alternatives(certificate, x509.DNSName)
        if not any(_host_matches(name, roots.subject_hostname) for name in names):
            raise SignatureRejected(f'Unexpected subject hostname: the certificate is for {names}, not "{roots.subject_hostname}"')
    return key_of(certificate)


def key_of(certificate: x509.Certificate) -> PublicKey:
    """The certificate's key; SignatureRejected for one of another kind."""
    try:
        return usable(certificate.public_key(), "the signer's certificate")
    except (Corrupt, ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise SignatureRejected(str(error)) from None


def _check_email(certificate: x509.Certificate, wanted: str) -> None:
    found = _alternatives(certificate, x509.RFC822Name)
    if wanted not in found:
        raise SignatureRejected(f'Required email "{wanted}" not found (got {found})')


def _alternatives(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> list[str]:
    extension = _extension(certificate, x509.SubjectAlternativeName)
    return [] if extension is None else [str(name.value) for name in extension if isinstance(name, kind)]


def _host_matches(pattern: str, host: str) -> bool:
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        label, dot, rest = host.partition(".")
        return bool(label and dot) and rest == pattern[2:]
    return pattern == host


def _oidc_issuer(certificate: x509.Certificate) -> str:
    """Who told Fulcio the signer's name; both forms of the extension must agree."""
    found = []
    for extension in _extensions(certificate):
        if extension.oid == _ISSUER_V1:
            found.append(_utf8(extension.value.value))
        elif extension.oid == _ISSUER_V2:
            found.append(_utf8(_der_string(extension.value.value)))
    if not found:
        raise SignatureRejected("Fulcio certificate is missing the issuer extension")
    if len(set(found)) > 1:
        raise SignatureRejected("inconsistent OIDC issuer extension values in the Fulcio certificate")
    return found[0]


def _der_string(data: bytes) -> bytes:
    """The content of a DER UTF8String of up to 65,535 bytes."""
    if len(data) >= 2 and data[0] == _UTF8_STRING:
        size = {0x81: 1, 0x82: 2}.get(data[1], 0)
        length = int.from_bytes(data[2 : 2 + size], "big") if size else data[1]
        content = data[2 + size :]
        if len(content) == length and (data[1] < 0x80 or size):
            return content
    raise SignatureRejected("invalid ASN.1 in the OIDC issuer extension of the Fulcio certificate")


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SignatureRejected("the OIDC issuer of the Fulcio certificate is not UTF-8") from None


# --- the chain --------------------------------------------------------------------------------------------------------


def _verify(certificate: x509.Certificate, chain: Chain) -> None:
    """SignatureRejected unless a chain leads from the certificate to a root, all valid, all meant for signing code."""
    _check_validity(certificate, chain.at)
    _check_extensions(certificate)
    _check_usage(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise SignatureRejected("the signer's certificate is one of an authority")
    if not _leads_to_root(certificate, chain, ()):
        raise SignatureRejected("verifying leaf certificate failed: x509: certificate signed by unknown authority")


def _leads_to_root(certificate: x509.Certificate, chain: Chain, path: tuple[x509.Certificate, ...]) -> bool:
    for root in chain.roots:
        if _issued(root, certificate, chain, len(path)):
            return True
    if len(path) + 2 > _LONGEST_CHAIN:
        return False
    return any(_leads_to_root(issuer, chain, (*path, certificate)) for issuer in chain.intermediates
               if issuer not in path and issuer != certificate and _issued(issuer, certificate, chain, len(path)))


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, chain: Chain, below: int) -> bool:
    """Whether an authority that is valid has issued the certificate. ``below``: certificates of authorities under it."""
    try:
        certificate.verify_directly_issued_by(issuer)
        _check_validity(issuer, chain.at)
        _check_extensions(issuer)
        _check_usage(issuer)
        return _may_issue(issuer, below)
    except (ValueError, TypeError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, SignatureRejected):
        return False


def _may_issue(issuer: x509.Certificate, below: int) -> bool:
    constraints, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca or (constraints.path_length is not None and below > constraints.path_length):
        return False
    return usage is None or usage.key_cert_sign


def _check_validity(certificate: x509.Certificate, at: datetime.datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise SignatureRejected(f"x509: certificate has expired or is not yet valid: it was not valid at {at:%Y-%m-%dT%H:%M:%SZ}")


def _check_extensions(certificate: x509.Certificate) -> None:
    for extension in _extensions(certificate):
        if extension.critical and extension.oid not in _KNOWN:
            raise SignatureRejected(f"x509: unhandled critical extension {extension.oid.dotted_string}")
        if isinstance(extension.value, x509.NameConstraints):
            raise SignatureRejected("certificates of authorities with name constraints are not supported")


def _check_usage(certificate: x509.Certificate) -> None:
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is not None and _CODE_SIGNING not in usage and x509.oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
        raise SignatureRejected("x509: certificate specifies an incompatible key usage")


def _extension(certificate: x509.Certificate, kind: type[Found]) -> Found | None:
    return next((extension.value for extension in _extensions(certificate) if isinstance(extension.value, kind)), None)


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension, exceptions.UnsupportedAlgorithm) as error:
        raise SignatureRejected(f"x509: {str(error)[:200]}") from None

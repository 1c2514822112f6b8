"""TLS to registries: what certs.d adds to the system's certificates, and faults in Podman's words. Only loaded where TLS is spoken."""

from __future__ import annotations

import os
import ssl

from podling.errors import InvalidArgument, describe


def context(certificates: str, *, insecure: bool) -> ssl.SSLContext:
    """TLS as the system trusts it, with what a certs.d directory adds: ``*.crt`` CAs, ``*.cert`` with ``*.key`` ourselves."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not insecure:
        made.load_default_certs()            # 20 ms
    if hasattr(ssl, "VERIFY_X509_STRICT"):  # on by default from Python 3.13 on, and refuses what every other client takes
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificates:
        _load_certificates(made, certificates)
    return made


def _load_certificates(made: ssl.SSLContext, directory: str) -> None:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise InvalidArgument(f"reading certificates: {describe(error)}") from error
    for name in names:
        stem, dot, kind = name.rpartition(".")
        path = os.path.join(directory, name)
        try:
            if dot and kind == "crt":
                made.load_verify_locations(path)
            elif dot and kind == "cert":
                if f"{stem}.key" not in names:
                    raise InvalidArgument(f"missing key {stem}.key for client certificate {name}. Note that CA certificates "
                                          "should use the extension .crt")
                made.load_cert_chain(path, os.path.join(directory, f"{stem}.key"))
            elif dot and kind == "key" and f"{stem}.cert" not in names:
                raise InvalidArgument(f"missing client certificate {stem}.cert for key {name}")
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"loading certificate {path}: {getattr(error, 'reason', None) or describe(error)}") from error


def words(error: ssl.SSLError) -> tuple[str, str | None]:
    """(what an error of TLS means, what to do about it)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (f"tls: failed to verify certificate: {error.verify_message}",
                "put the registry's CA into /etc/containers/certs.d/HOST:PORT/ca.crt, or use --cert-dir or --tls-verify=false")
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return ("http: server gave HTTP response to HTTPS client",
                "for a registry without TLS use --tls-verify=false, or insecure = true in registries.conf")
    return f"tls: {reason.replace('_', ' ').lower() or error}", None

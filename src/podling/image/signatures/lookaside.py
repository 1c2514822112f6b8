"""Signatures beside a registry: ``BASE/REPOSITORY@sha256=HEX/signature-1``, -2 and so on, until one is missing.

Read from a web server or a directory; written into a directory, from where a web server may offer them.
"""

from __future__ import annotations

import os

from podling.errors import Corrupt, InvalidArgument, RegistryError, Unsupported
from podling.image.signatures.stored import LIMIT, MOST, Signature, from_bytes
from podling.linux import files
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podling.image.registry.connection import Connection
    from podling.image.remote import Access
    from podling.values.reference import Reference

_ERROR_LIMIT = 64 << 10
_REDIRECTS = 10


def read(base: str, reference: Reference, digest: str, access: Access) -> list[Signature]:
    """The signatures that a place has for a manifest; RegistryError where it does not answer, Corrupt for what is none."""
    place = _place(base, reference, digest)
    pieces = _from_directory(_local_path(place)) if urls.split(place).scheme == "file" else _from_server(place, access)
    found = []
    for number, data in enumerate(pieces, 1):
        if number > MOST:
            raise Corrupt(f"{place} has more than {MOST} signatures")
        found.append(from_bytes(data, f"parsing signature {place}/signature-{number}"))
    return found


def _place(base: str, reference: Reference, digest: str) -> str:
    """The URL of the directory for a manifest."""
    parts = urls.split(base)
    if parts.scheme not in ("http", "https", "file"):
        raise Unsupported(f"unsupported scheme {parts.scheme!r} when downloading signature from {base}",
                          hint="a lookaside in registries.d begins with https://, http:// or file://")
    algorithm, _, hexadecimal = digest.partition(":")
    if parts.query or "#" in base:
        raise Unsupported(f"the lookaside {base} has a query, which cannot be followed by a path")
    return f"{base.rstrip('/')}/{urls.quoted(reference.repository)}@{algorithm}={hexadecimal}"


def _local_path(url: str) -> str:
    """The path of a ``file:`` URL."""
    parts = urls.split(url)
    if parts.scheme != "file" or parts.authority or not parts.path.startswith("/"):
        raise InvalidArgument(f"{url} names no directory: it must be of the form file:///PATH")
    return urls.unquoted(parts.path)


def _from_directory(directory: str) -> Iterator[bytes]:
    number = 1
    while True:
        try:
            yield files.read_bytes(f"{directory}/signature-{number}", LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            return
        number += 1


def _from_server(place: str, access: Access) -> Iterator[bytes]:
    from podling.image.registry.client import final
    from podling.image.registry.connection import Connection

    connection = Connection(urls.split(place).authority, insecure=access.insecure, cert_dir=access.cert_dir)
    number = 1
    try:
        while True:
            url = f"{place}/signature-{number}"
            try:
                data = _fetch(connection, url)
            except RegistryError as error:
                raise final(error, f"reading signatures: {url}") from error
            if data is None:
                return
            yield data
            number += 1
    finally:
        connection.close()


def _fetch(connection: Connection, url: str) -> bytes | None:
    """The file, None where there is none."""
    answer = connection.send("GET", url, headers={})
    for _ in range(_REDIRECTS):
        location = answer.header("location")
        if answer.status not in (301, 302, 303, 307, 308) or not location:
            break
        answer.body(_ERROR_LIMIT)
        target = urls.join(url, location)
        if urls.split(target).scheme not in ("https", urls.split(url).scheme):
            raise RegistryError(f"the server redirects to {target[:200]}, which has no TLS")
        url = target
        answer = connection.send("GET", url, headers={})
    if answer.status == 404:
        answer.body(_ERROR_LIMIT)
        return None
    if answer.status != 200:
        raise RegistryError(f"the server answers {answer.status}")
    data = answer.body(LIMIT)
    if len(data) > LIMIT:
        raise Corrupt(f"signature {url} is longer than the {LIMIT} bytes that are allowed")
    return data


# --- writing ----------------------------------------------------------------------------------------------------------


def writable(base: str) -> str:
    """The place, if signatures can be written there; InvalidArgument otherwise."""
    scheme = urls.split(base).scheme
    if scheme in ("http", "https"):
        raise InvalidArgument(f"writing directly to a {scheme} lookaside {base} is not supported. Configure a lookaside-staging: location")
    _local_path(base)
    return base


def write(base: str, reference: Reference, digest: str, signatures: Sequence[Signature]) -> None:
    """Put the signatures there in place of those that the manifest has there."""
    directory = directory_of(base, reference, digest)
    files.make_directories(directory)
    for number, signature in enumerate(signatures, 1):
        files.write_atomic(f"{directory}/signature-{number}", signature.to_bytes(), 0o644)
    number = len(signatures) + 1
    while os.path.lexists(f"{directory}/signature-{number}"):
        os.unlink(f"{directory}/signature-{number}")
        number += 1


def append(directory: str, signature: Signature) -> str:
    """Put one more signature into a manifest's directory; the path of its file."""
    files.make_directories(directory)
    for number in range(1, MOST + 1):
        path = f"{directory}/signature-{number}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            continue
        try:
            files.write_all(fd, signature.to_bytes())
        finally:
            os.close(fd)
        return path
    raise InvalidArgument(f"{directory} has {MOST} signatures already")


def directory_of(base: str, reference: Reference, digest: str) -> str:
    """The directory of a manifest's signatures in a place that is one of files."""
    return _local_path(_place(base, reference, digest))

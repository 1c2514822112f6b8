"""containers-sigstore-signing-params.yaml(5): who signs with sigstore, the file of ``push --sign-by-sigstore``.

    privateKeyFile: /home/me/sign.key                # either a key
    privateKeyPassphraseFile: /home/me/passphrase
    fulcio:                                          # or a certificate for minutes
      fulcioURL: https://fulcio.sigstore.dev
      oidcMode: staticToken                          # the only mode here; the others need a browser
      oidcIDToken: eyJ...
    rekorURL: https://rekor.sigstore.dev             # the log that is told; fulcio needs one
"""

from __future__ import annotations

from podling.config import yaml
from podling.errors import Corrupt, Unsupported
from podling.linux import files
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 1 << 20
_TOP = ("fulcio", "privateKeyFile", "privateKeyPassphraseFile", "rekorURL")
_FULCIO = ("fulcioURL", "oidcMode", "oidcIDToken", "oidcIssuerURL", "oidcClientID", "oidcClientSecret")
_MODES = ("staticToken", "deviceFlow", "interactive")


class SigstoreParameters(Record):
    """What the file says; "" for what it does not say."""

    key_file: str = ""
    passphrase_file: str = ""
    fulcio_url: str = ""
    token: str = ""
    rekor_url: str = ""


def load(path: str) -> SigstoreParameters:
    """The parameters in a file; Corrupt, Unsupported."""
    return parse(files.read_bytes(path, _LIMIT), path)


def parse(content: bytes, path: str) -> SigstoreParameters:
    """As :func:`load`, from the file's text."""
    try:
        document = yaml.load(content)
    except ValueError as error:
        raise _wrong(path, str(error)) from None
    values = _texts(document, _TOP, path, "")
    fulcio = values.pop("fulcio", None)
    if (fulcio is None) == ("privateKeyFile" not in values):
        raise _wrong(path, "exactly one of privateKeyFile and fulcio must be specified")
    found = SigstoreParameters(key_file=values.get("privateKeyFile", ""), rekor_url=values.get("rekorURL", ""),
                               passphrase_file=values.get("privateKeyPassphraseFile", ""))
    return found if fulcio is None else _with_fulcio(found, _texts(fulcio, _FULCIO, path, "fulcio: "), path)


def _with_fulcio(found: SigstoreParameters, fulcio: dict[str, str], path: str) -> SigstoreParameters:
    mode = fulcio.get("oidcMode", "")
    if mode not in _MODES:
        raise _wrong(path, f"fulcio: oidcMode {mode!r} is none of {', '.join(_MODES)}")
    if mode != "staticToken":
        raise Unsupported(f"{path}: the oidcMode {mode} is not available yet", hint="use staticToken with an oidcIDToken")
    for name in ("fulcioURL", "oidcIDToken"):
        if not fulcio.get(name):
            raise _wrong(path, f"fulcio: {name} is missing")
    if not found.rekor_url:
        raise _wrong(path, "rekorURL must be specified if fulcio is used")
    return found.replace(fulcio_url=fulcio["fulcioURL"], token=fulcio["oidcIDToken"])


def _texts(value: Any, names: tuple[str, ...], path: str, where: str) -> dict[str, Any]:
    """The mapping, which has no other keys, and strings as values (``fulcio`` is looked at by the caller)."""
    if not isinstance(value, dict):
        raise _wrong(path, f"{where}it is not a mapping")
    for key, said in value.items():
        if key not in names:
            raise _wrong(path, f"{where}unknown key {key!r}")
        if key != "fulcio" and (not isinstance(said, str) or not said):
            raise _wrong(path, f"{where}{key} is not a string with something in it")
    return dict(value)


def _wrong(path: str, why: str) -> Corrupt:
    return Corrupt(f"sigstore parameters {path}: {why}", hint=f"Correct {path}; see man 5 containers-sigstore-signing-params.yaml")

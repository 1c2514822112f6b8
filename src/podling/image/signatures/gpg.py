"""GPG: the only place that runs ``gpg``. What it says is read from its status lines alone (doc/DETAILS of GnuPG).

Keys to verify with are imported into a home directory that exists for one verification only, so that nothing but them counts:
not the user's keys, not their trust. To sign, gpg uses the user's home (GNUPGHOME) and agent.
"""

from __future__ import annotations

import os

from podling.errors import PodlingError, ProgramFailed, SignatureRejected, Unsupported
from podling.linux import process
from podling.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from tempfile import TemporaryDirectory
    from types import TracebackType

PROGRAM = "gpg"
SECONDS = 60.0
SIGN_SECONDS = 300.0                         # somebody may have to type a passphrase
CONTENT_LIMIT = 4 << 20                      # bytes of a signed text, also where it comes compressed
_MARK = b"[GNUPG:] "
_SIGNATURE_CLASSES = ("00", "01")            # of a document, binary or text
_REASONS = {
    "BADSIG": "it does not fit what it signs", "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "the key that made it has expired", "REVKEYSIG": "the key that made it was revoked",
    "ERRSIG": "it was made by a key that is not trusted", "NODATA": "it is no OpenPGP signature",
    "BEGIN_DECRYPTION": "it is encrypted", "ENC_TO": "it is encrypted", "NO_PUBKEY": "it was made by a key that is not trusted",
    "UNEXPECTED": "it is no OpenPGP signature",
}


class Verified(Record):
    """What was signed, and the fingerprint of the primary key that did it."""

    content: bytes
    fingerprint: str


class Keyring:
    """A gpg home with some public keys, as a context; ``fingerprints`` of their primary keys."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = tuple(keys)
        self.fingerprints: frozenset[str] = frozenset()
        self._directory: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Keyring:
        from tempfile import TemporaryDirectory

        self._directory = TemporaryDirectory(prefix="podling-gpg-", ignore_cleanup_errors=True)
        try:
            imported: set[str] = set()
            for key in self.keys:
                done = self._run(["--import"], key)
                imported.update(words[1] for name, words in _status(done.stderr) if name == "IMPORT_OK" and len(words) > 1)
            self.fingerprints = frozenset(imported)
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._directory is not None
        self._directory.cleanup()

    def _run(self, arguments: list[str], text: bytes) -> process.Completed:
        assert self._directory is not None
        home = self._directory.name
        # What is said to people goes to a file, so that standard error has status lines and nothing else.
        command = [PROGRAM, "--homedir", home, "--batch", "--no-tty", "--no-options", "--no-autostart", "--no-auto-key-retrieve",
                   "--trust-model", "always", "--logger-file", os.path.join(home, "log"), "--status-fd", "2", *arguments]
        try:
            return process.run(command, input=text, check=False, timeout=SECONDS, stdout_limit=CONTENT_LIMIT)
        except Unsupported as error:
            raise _not_installed() from error

    def verify(self, signature: bytes) -> Verified:
        """What one good signature by one of the keys signs; SignatureRejected ("Invalid GPG signature: ...")."""
        done = self._run(["--max-output", str(CONTENT_LIMIT), "--output", "-", "--verify"], signature)
        found = _status(done.stderr)
        names = [name for name, _ in found]
        for name, why in _REASONS.items():
            if name in names:
                raise _invalid(why, next((words[0] for kind, words in found if kind == name and words), ""))
        if names.count("NEWSIG") != 1 or names.count("GOODSIG") != 1 or names.count("VALIDSIG") != 1 or names.count("PLAINTEXT") != 1:
            raise _invalid(f"it has {names.count('NEWSIG')} signatures of {names.count('PLAINTEXT')} texts, not one of one")
        words = next(words for name, words in found if name == "VALIDSIG")
        if len(words) < 10 or words[8] not in _SIGNATURE_CLASSES:
            raise _invalid("it is not a signature of a document")
        if done.status:
            raise _invalid(f"gpg ended with status {done.status}")
        if words[9] not in self.fingerprints:
            raise SignatureRejected(f"Signature by key {words[9]} is not accepted")
        return Verified(content=done.stdout, fingerprint=words[9])


def _status(text: bytes) -> list[tuple[str, list[str]]]:
    """(keyword, arguments) of each status line."""
    found = []
    for line in text.split(b"\n"):
        if line.startswith(_MARK):
            name, *words = line[len(_MARK):].decode(errors="replace").split(" ")
            found.append((name, words))
    return found


def _invalid(why: str, key: str = "") -> SignatureRejected:
    is_key = len(key) >= 16 and all(character in "0123456789ABCDEF" for character in key)
    return SignatureRejected(f"Invalid GPG signature: {why}{f' (key {key})' if is_key else ''}")


def _not_installed() -> Unsupported:
    return Unsupported("signatures need the program gpg, which is not installed", hint="Install the package gnupg")


# --- signing ----------------------------------------------------------------------------------------------------------


def sign(content: bytes, key: str, passphrase: str | None = None) -> bytes:
    """An OpenPGP message with this content, signed by a key of the user (an id, a fingerprint, a mail address)."""
    command = [PROGRAM, "--batch", "--no-tty", "--status-fd", "2", "--local-user", key, "--output", "-"]
    if passphrase is None:
        return _sign([*command, "--sign"], content, key, ())
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)           # a passphrase longer than a pipe holds is none
        os.write(writer, passphrase.encode() + b"\n")
        os.close(writer)
        writer = -1
        options = ["--pinentry-mode", "loopback", "--passphrase-fd", str(reader)]
        return _sign([*command, *options, "--sign"], content, key, (reader,))
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _sign(command: list[str], content: bytes, key: str, descriptors: tuple[int, ...]) -> bytes:
    try:
        done = process.run(command, input=content, check=False, timeout=SIGN_SECONDS, pass_fds=descriptors)
    except Unsupported as error:
        raise _not_installed() from error
    names = [name for name, _ in _status(done.stderr)]
    if done.status or names.count("SIG_CREATED") != 1 or not done.stdout:
        lines = [line for line in done.stderr.split(b"\n") if line and not line.startswith(_MARK)]
        words = b"; ".join(lines).decode(errors="replace")[-600:] or process.describe_status(done.status)
        raise ProgramFailed(f"signing with the key {key}: {words}", argv=tuple(command), status=done.status, output=words,
                            hint="gpg --list-secret-keys shows the keys that there are; GNUPGHOME names another home")
    return done.stdout


# --- keys -------------------------------------------------------------------------------------------------------------


def user_ids(key: bytes) -> list[str]:
    """The mail addresses, or else names, of the keys in a file; PodlingError where it has none."""
    with Keyring(()) as ring:
        done = ring._run(["--with-colons", "--show-keys"], key)
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        fields = line.split(":")
        if fields[0] == "uid" and len(fields) > 9 and fields[9]:
            name = fields[9].replace("\\x3a", ":")
            mail, closed, _ = name.partition("<")[2].partition(">")
            found.append(mail if closed else name)
    if not found:
        raise PodlingError("there is no public key in it")
    return found

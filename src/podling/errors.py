"""Every failure that podling reports: one class a kind, with its words, exit code and HTTP status.

An error leaves an operation only after the operation has undone what it had half done. Context is added by
chaining: ``raise PodlingError("pulling image x") from cause``; :func:`explain` joins the chain the way Podman does.
"""

from __future__ import annotations


class PodlingError(Exception):
    """Root of all reported failures.

    ``hint`` is the next command or action to try, a whole sentence without a final full stop.
    """

    exit_code = 125
    http_status = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidArgument(PodlingError):
    """What was asked is malformed or contradicts itself."""

    http_status = 400


class NoSuchAccount(InvalidArgument):
    """The container has no user or group of this name."""


class InvalidDetachKeys(InvalidArgument):
    """A key sequence to detach with that no terminal sends."""


class NotFound(PodlingError):
    """An object that was named does not exist."""

    http_status = 404


class NoSuchContainer(NotFound):
    """No container has this name or id."""


class NoSuchImage(NotFound):
    """No image has this name or id."""


class NoSuchVolume(NotFound):
    """No volume has this name."""


class NoSuchNetwork(NotFound):
    """No network has this name or id."""


class NoSuchExecSession(NotFound):
    """No exec session has this id."""


class AlreadyExists(PodlingError):
    """The name or id is taken."""

    http_status = 409


class InUse(PodlingError):
    """Another object still needs this one."""

    http_status = 409


class WrongState(PodlingError):
    """The object is not in a state that allows the operation."""

    http_status = 409


class Refused(PodlingError):
    """A policy or a privilege forbids it."""

    http_status = 403


class SignatureRejected(Refused):
    """An image carries no signature that the policy accepts."""


class PolicyForbids(Refused):
    """The signature policy rejects this image whatever it carries."""


class PolicyMissing(Refused):
    """There is no signature policy, so nothing is trusted."""


class RegistryError(PodlingError):
    """A registry answered with an error, with nonsense, or not at all."""


class Unauthorized(RegistryError):
    """The registry wants other credentials, or any."""


class NotInRegistry(RegistryError):
    """The registry knows no such repository, manifest or blob."""


class Unsupported(PodlingError):
    """This host, or this version of podling, cannot do it; the message names what is missing."""

    http_status = 501


class Corrupt(PodlingError):
    """Stored or received content is not what its digest or format promises."""


class ProgramFailed(PodlingError):
    """An outside program ended badly.

    ``argv`` is the command line (without secrets), ``status`` its exit status (negative: the signal that ended it) and
    ``output`` its last words.
    """

    def __init__(self, message: str, *, argv: tuple[str, ...] = (), status: int = 0, output: str = "",
                 hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.argv = argv
        self.status = status
        self.output = output


class CommandNotFound(ProgramFailed):
    """The command to run does not exist in the container."""

    exit_code = 127


class NotExecutable(ProgramFailed):
    """The command to run exists but cannot be executed."""

    exit_code = 126


class ExitStatus(PodlingError):
    """A command ends with this status and says nothing more (for example the container's own exit code)."""

    def __init__(self, status: int) -> None:
        super().__init__("")
        self.exit_code = status


def explain(error: BaseException) -> str:
    """The error and its causes on one line, outermost first, joined as Podman joins them: ``outer: inner: cause``."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        text = describe(seen)
        if text and not (parts and parts[-1].endswith(text)):
            parts.append(text)
        seen = seen.__cause__
    return ": ".join(parts)


def hints(error: BaseException) -> list[str]:
    """The hints of the error and its causes, outermost first, without repetition."""
    found: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        hint = getattr(seen, "hint", None)
        if hint and hint not in found:
            found.append(hint)
        seen = seen.__cause__
    return found


def advice(error: BaseException) -> list[str]:
    """The hints as sentences; one that is a command to type stays as it is."""
    return [hint if hint.startswith("podling ") else hint[:1].upper() + hint[1:] for hint in hints(error)]


def describe(error: BaseException) -> str:
    """The words of one error without its causes; system errors in the form ``path: no such file or directory``."""
    if isinstance(error, PodlingError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        words = error.strerror[:1].lower() + error.strerror[1:]
        where = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return f"{' -> '.join(where)}: {words}" if where else words
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) or type(error).__name__

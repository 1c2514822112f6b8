"""The values of ``run``'s and ``create``'s flags that are not simply a text, a number or a grammar of ``podling.values``."""

from __future__ import annotations

from podling import jsontext
from podling.errors import InvalidArgument, Unsupported
from podling.model import RESTART_POLICIES, Platform, RestartPolicy
from podling.values import addresses, isolation, limits, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.values.isolation import Namespace
    from podling.values.limits import Device

LOG_DRIVERS = ("k8s-file", "json-file", "journald", "none", "passthrough")
_PULL_POLICIES = {
    "always": "always", "Always": "always", "missing": "missing", "ifnotpresent": "missing", "IfNotPresent": "missing",
    "newer": "newer", "ifnewer": "newer", "never": "never", "Never": "never", "": "missing",
}


def one_of(what: str, *words: str) -> Callable[[str], str]:
    """A parser that accepts these words alone; ``what`` names the kind in its error."""

    def parse(text: str) -> str:
        if text not in words:
            raise InvalidArgument(f'running container create option: invalid {what} "{text}": invalid argument',
                                  hint=f"one of {', '.join(words)}")
        return text

    return parse


def namespace(kind: str) -> Callable[[str], Namespace]:
    """The parser of a namespace flag of this kind."""
    return lambda text: isolation.parse_namespace(kind, text)


def attached(text: str) -> str:
    """A stream of ``--attach``."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise InvalidArgument(f'invalid stream "{text}" for --attach - must be one of stdin, stdout, or stderr: '
                              "invalid argument")
    return text.lower()


def key_value(text: str) -> tuple[str, str]:
    """``key=value``; a key alone has an empty value."""
    name, _, value = text.partition("=")
    return name, value


def annotation(text: str) -> tuple[str, str]:
    """``key=value`` of ``--annotation``."""
    if "=" not in text:
        raise InvalidArgument("annotations must be formatted KEY=VALUE")
    return key_value(text)


def add_host(text: str) -> str:
    """``name[;name]:address`` of ``--add-host``; the address may be ``host-gateway``."""
    names, colon, address_text = text.partition(":")
    if not colon or not names:
        raise InvalidArgument(f'bad format for add-host: "{text}"')
    if address_text != "host-gateway":
        try:
            addresses.parse_ip(address_text.removeprefix("[").removesuffix("]"))
        except InvalidArgument:
            raise InvalidArgument(f'invalid IP address in add-host: "{address_text}"') from None
    return text


def address(text: str) -> str:
    """The address of ``--ip`` and ``--ip6``."""
    try:
        return addresses.parse_ip(text)
    except InvalidArgument:
        raise InvalidArgument(f'"{text}" is not an ip address') from None


def dns_server(text: str) -> str:
    """The address of ``--dns``, or ``none``."""
    if text == "none":
        return text
    try:
        return addresses.parse_ip(text)
    except InvalidArgument:
        raise InvalidArgument(f"{text} is not an ip address") from None


def cpus(number: float) -> tuple[int, int]:
    """(quota, period) of ``--cpus``."""
    return limits.parse_cpus(repr(number))


def swappiness(number: int) -> int | None:
    """``--memory-swappiness``; None for -1, the kernel's default."""
    value = limits.parse_memory_swappiness(str(number))
    return None if value < 0 else value


def pids_limit(number: int) -> int:
    """``--pids-limit``."""
    return limits.parse_pids_limit(str(number))


def shm_size(text: str) -> int:
    """Bytes of ``--shm-size``."""
    try:
        return units.parse_size(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"unable to translate --shm-size: {error.message}") from None


def device(text: str) -> Device:
    """A ``--device``; names of CDI devices (``vendor.com/class=name``) are refused."""
    if not text.startswith("/") and "=" in text:
        raise Unsupported(f"--device {text}: CDI devices are not available in podling yet")
    return limits.parse_device(text)


def device_rule(text: str) -> str:
    """A ``--device-cgroup-rule``, checked."""
    limits.parse_device_rule(text)
    return text


def entrypoint(text: str) -> tuple[str, ...]:
    """``--entrypoint``: a JSON array or one word; nothing for an empty text."""
    if not text:
        return ()
    if text.startswith("["):
        try:
            words = jsontext.loads(text)
        except ValueError:
            return (text,)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
    return (text,)


def image_volume(text: str) -> str:
    """``--image-volume``; ``bind`` is another word for ``anonymous``."""
    mode = "anonymous" if text == "bind" else text
    if mode not in ("anonymous", "tmpfs", "ignore"):
        raise InvalidArgument(f'invalid image volume mode "{text}" required value: anonymous, tmpfs, ignore')
    return mode


def log_driver(text: str) -> str:
    """``--log-driver``."""
    if text not in LOG_DRIVERS:
        raise InvalidArgument("running container create option: invalid log driver: invalid argument",
                              hint=f"one of {', '.join(LOG_DRIVERS)}")
    return text


def log_option(text: str) -> tuple[str, str]:
    """``max-size=``, ``path=`` or ``tag=`` of ``--log-opt``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument(f'invalid log option "{text}"')
    if name not in ("max-size", "path", "tag"):
        raise Unsupported(f"--log-opt {name} is not available in podling yet")
    return name, value


def platform(text: str) -> Platform:
    """``linux/arm64/v8``; parts left out are this host's."""
    parts = text.split("/")
    if len(parts) > 3 or not parts[0]:
        raise InvalidArgument(f'invalid platform syntax for --platform="{text}": use OS/ARCH[/VARIANT]')
    system, architecture, variant = (*parts, "", "")[:3]
    return Platform(os=system, architecture=architecture, variant=variant)


def pull_policy(text: str) -> str:
    """``--pull``."""
    if text not in _PULL_POLICIES:
        raise InvalidArgument(f'unsupported pull policy "{text}"', hint="one of always, missing, newer, never")
    return _PULL_POLICIES[text]


def restart_policy(text: str) -> RestartPolicy:
    """``--restart``: a policy, for on-failure with ``:RETRIES``."""
    name, colon, count = text.partition(":")
    name = "no" if name in ("never", "") else name
    if name not in RESTART_POLICIES:
        raise InvalidArgument(f'running container create option: "{name}" is not a valid restart policy: invalid argument',
                              hint=f"one of {', '.join(RESTART_POLICIES)}")
    if not colon:
        return RestartPolicy(name=name)
    if name != "on-failure":
        raise InvalidArgument("restart policy retries can only be specified with on-failure restart policy")
    if not (count.isascii() and count.isdigit() and len(count) < 10):
        raise InvalidArgument(f'parsing restart policy retry count: strconv.Atoi: parsing "{count}": invalid syntax')
    return RestartPolicy(name=name, retries=int(count))


def systemd(text: str) -> str:
    """``--systemd``: true, false or always."""
    word = text.lower()
    if word not in ("true", "false", "always"):
        raise InvalidArgument('invalid config provided: --systemd values must be one of "true, false, always": '
                              "invalid configuration")
    return word


def umask(text: str) -> str:
    """``--umask``: one to four octal digits, filled up to four."""
    if not 1 <= len(text) <= 4 or text.strip("01234567"):
        raise InvalidArgument(f"running container create option: invalid umask string {text}: invalid argument")
    return text.rjust(4, "0")


def seconds(text: str) -> float:
    """Seconds of a duration (``1.5s``, ``1m``)."""
    return units.parse_duration(text) / units.SECOND


# --- health checks: times in nanoseconds ------------------------------------------------------------------------------


def health_test(text: str) -> tuple[str, ...]:
    """``--health-cmd``: none, a command line for the shell, or a JSON array of words."""
    try:
        words = jsontext.loads(text) if text.startswith("[") else None
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        first, _, rest = text.partition(" ")
        if text.lower() == "none":
            return ("NONE",)
        if first.upper() == "CMD":
            return ("CMD", *rest.split())
        return ("CMD-SHELL", rest if first.upper() == "CMD-SHELL" else text)
    if words and words[0].upper() in ("CMD", "CMD-SHELL", "NONE"):
        return (words[0].upper(), *words[1:])
    return ("CMD", *words) if len(words) > 1 else ("CMD-SHELL", *words)


def health_interval(text: str) -> int:
    """``--health-interval``; 0 for ``disable``."""
    return 0 if text == "disable" else _health_time("interval", text, 0, "")


def health_start_period(text: str) -> int:
    """``--health-start-period``."""
    return _health_time("start-period", text, 0, "healthcheck-start-period must be 0 seconds or greater")


def health_timeout(text: str) -> int:
    """``--health-timeout``."""
    return _health_time("timeout", text, 1, "healthcheck-timeout must be at least 1 second")


def _health_time(name: str, text: str, least: int, too_short: str) -> int:
    try:
        value = units.parse_duration(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid healthcheck-{name}: {error.message}") from None
    if too_short and value < least:
        raise InvalidArgument(too_short)
    return value

"""Signals: ``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3`` <-> numbers, with Linux's numbers on every architecture we run on."""

from __future__ import annotations

from podling.errors import InvalidArgument

_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
    "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
_RTMIN = 34
_RTMAX = 64
_NUMBERS = {name: number for number, name in enumerate(_NAMES, 1)} | {
    "IOT": 6, "CLD": 17, "POLL": 29, "UNUSED": 31, "RTMIN": _RTMIN, "RTMAX": _RTMAX,
}

SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGCHLD, SIGSTOP, SIGURG, SIGWINCH = 1, 2, 9, 15, 17, 19, 23, 28


def parse(text: str) -> int:
    """The number of a signal given by name (any case, with or without SIG) or number (1 to 64); InvalidArgument otherwise."""
    invalid = InvalidArgument(f"invalid signal: {text}")
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 10 else _RTMAX + 1
        if number == 0:
            raise invalid
        if number > _RTMAX:
            raise InvalidArgument("valid signals are 1 through 64")
        return number
    known = text.upper().removeprefix("SIG")
    for start, base in (("RTMIN+", _RTMIN), ("RTMAX-", _RTMAX)):
        offset = known.removeprefix(start)
        if offset != known:
            if not (offset.isascii() and offset.isdigit() and len(offset) < 3 and int(offset) <= _RTMAX - _RTMIN):
                raise invalid
            return base + int(offset) if base == _RTMIN else base - int(offset)
    if known not in _NUMBERS or not text.isascii():
        raise invalid
    return _NUMBERS[known]


def name(number: int) -> str:
    """``SIGTERM`` of 15, ``SIGRTMIN+3`` of 37; the number itself where no signal has it."""
    if 1 <= number <= len(_NAMES):
        return f"SIG{_NAMES[number - 1]}"
    if _RTMIN <= number <= _RTMAX:
        if number in (_RTMIN, _RTMAX):
            return "SIGRTMIN" if number == _RTMIN else "SIGRTMAX"
        middle = (_RTMIN + _RTMAX) // 2
        return f"SIGRTMIN+{number - _RTMIN}" if number <= middle else f"SIGRTMAX-{_RTMAX - number}"
    return str(number)


def names() -> tuple[str, ...]:
    """Every name that :func:`parse` knows, for completion, in the order of their numbers."""
    return tuple(f"SIG{_NAMES[number - 1]}" for number in range(1, len(_NAMES) + 1)) + tuple(
        name(number) for number in range(_RTMIN, _RTMAX + 1))

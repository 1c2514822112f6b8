"""The id maps of a container's user namespace: ``--uidmap`` and ``--gidmap``, keep-id, nomap, auto. Pure.

A span is (first id in the container, first id in the engine's own namespace, how many). ``parent`` spans are those of the engine's
namespace itself: (first id in it, first id on the host, how many).
"""

from __future__ import annotations

from podling.errors import InvalidArgument, PodlingError
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Span = tuple[int, int, int]
    Range = tuple[int, int]                  # first id, how many

LARGEST = (1 << 32) - 1
NOBODY = 65534


def spans(texts: Iterable[str]) -> tuple[Span, ...]:
    """What ``ContainerConfig.uid_map`` says: "container:host:size" each."""
    found = []
    for text in texts:
        inside, outside, size = text.split(":")
        found.append((int(inside), int(outside), int(size)))
    return tuple(found)


def texts(found: Iterable[Span]) -> tuple[str, ...]:
    """The reverse of :func:`spans`."""
    return tuple(f"{inside}:{outside}:{size}" for inside, outside, size in found)


def kernel_text(found: Iterable[Span]) -> str:
    """As /proc/PID/uid_map takes it."""
    return "\n".join(f"{inside} {outside} {size}" for inside, outside, size in found)


def from_kernel(text: str) -> tuple[Span, ...]:
    """What /proc/PID/uid_map says."""
    found = []
    for line in text.splitlines():
        inside, outside, size = (int(word) for word in line.split())
        found.append((inside, outside, size))
    return tuple(found)


def is_identity(found: Iterable[Span]) -> bool:
    """Whether every id that is mapped is itself, so that files keep their owners."""
    return all(inside == outside for inside, outside, _ in found)


def to_outside(found: Iterable[Span], number: int) -> int | None:
    """The engine's id for one of the container; None where it is not mapped."""
    return next((outside + number - inside for inside, outside, size in found if inside <= number < inside + size), None)


def to_inside(found: Iterable[Span], number: int) -> int | None:
    """The container's id for one of the engine; None where it is not mapped."""
    return next((inside + number - outside for inside, outside, size in found if outside <= number < outside + size), None)


# --- --uidmap and --gidmap --------------------------------------------------------------------------------------------


class _Entry:
    """One value of ``--uidmap`` or ``--gidmap``."""

    __slots__ = ("extends", "kinds", "parts")

    def __init__(self, kinds: str, extends: bool, parts: list[Span]) -> None:
        self.kinds = kinds                   # letters of "ug" that were said
        self.extends = extends
        self.parts = parts


def explicit(uids: Sequence[str], gids: Sequence[str], parents: tuple[Sequence[Span], Sequence[Span]], *,
             fill: bool) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """(uid spans, gid spans) of the two flags' values. One flag alone counts for both, but for values marked ``u`` or ``g``.

    ``parents``: the engine's uid and gid spans, for ``@HOST``. ``fill``: where every value is a ``+``, all the engine's other ids
    fill the gaps from 0 on (rootless). InvalidArgument in Podman's words.
    """
    own_uids = _entries(uids, "UID", parents[0])
    own_gids = _entries(gids, "GID", parents[1])
    if not gids:
        own_gids = [entry for entry in _entries(uids, "UID", parents[1], also=own_uids) if entry.kinds != "u"]
    elif not uids:
        own_uids = [entry for entry in _entries(gids, "GID", parents[0], also=own_gids) if entry.kinds != "g"]
    own_uids = [entry for entry in own_uids if entry.kinds != "g"]
    own_gids = [entry for entry in own_gids if entry.kinds != "u"]
    return _combined(own_uids, parents[0], "UID", fill), _combined(own_gids, parents[1], "GID", fill)


def _entries(values: Sequence[str], kind: str, parent: Sequence[Span], also: Sequence[_Entry] = ()) -> list[_Entry]:
    """The values read; of ``also`` (the same values read for the other kind) only to leave out what is not for this one."""
    other = "u" if kind == "GID" else "g"
    own = [value for value, entry in zip(values, also, strict=False) if entry.kinds != other] if also else values
    return [_entry(value, kind, parent, values) for value in own if value]


def _entry(value: str, kind: str, parent: Sequence[Span], values: Sequence[str]) -> _Entry:
    inside, _, rest = value.partition(":")
    digits = inside.lstrip("+ug")
    flags = inside[:len(inside) - len(digits)]
    outside, colon, size = rest.partition(":")
    host = outside.startswith("@")
    numbers = [_number(word) for word in (digits, outside.removeprefix("@"), size if colon else "1")]
    if None in numbers:
        raise InvalidArgument(f"initializing ID mappings: {kind} setting is malformed expected "
                              f'["[+ug]uint32:[@]uint32[:uint32]"] : [{" ".join(quote(each) for each in values)}]')
    first, start, count = (number for number in numbers if number is not None)
    if count == 0:
        raise InvalidArgument(f"initializing ID mappings: {kind} setting is malformed: {quote(value)} maps no id")
    span = (first, start, count)
    parts = _from_host(span, parent, value, kind) if host else [span]
    return _Entry("".join(letter for letter in "ug" if letter in flags), "+" in flags, parts)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= LARGEST else None


def _from_host(span: Span, parent: Sequence[Span], value: str, kind: str) -> list[Span]:
    """``@``: ids of the host, looked up in the engine's namespace; split where they are not in one piece there."""
    inside, host, count = span
    found: list[Span] = []
    while count:
        known = next(((own, outer, size) for own, outer, size in parent if outer <= host < outer + size), None)
        if known is None:
            raise InvalidArgument(f"initializing ID mappings: {kind} {host} of the host is not mapped in this user's namespace: "
                                  f"{quote(value)}", hint=f"give it to the user in /etc/sub{kind.lower()}, then run "
                                  "'podling system migrate'")
        own, outer, size = known
        many = min(count, outer + size - host)
        found.append((inside, own + host - outer, many))
        inside, host, count = inside + many, host + many, count - many
    return found


def _combined(entries: list[_Entry], parent: Sequence[Span], kind: str, fill: bool) -> tuple[Span, ...]:
    found: list[Span] = []
    for entry in entries:
        for part in entry.parts:
            found = [*(_without(found, part) if entry.extends else found), part]
    if fill and all(entry.extends for entry in entries):
        found = _filled(found, parent)
    elif not entries:
        found = [(own, own, size) for own, _, size in parent]
    _check_overlaps(found, kind)
    return tuple(sorted(found) if any(entry.extends for entry in entries) else found)


def _without(found: list[Span], taken: Span) -> list[Span]:
    """What is left of spans where neither the ids inside nor those outside of another remain."""
    for side in (0, 1):
        low, high = taken[side], taken[side] + taken[2]
        found = [piece for span in found for piece in _cut(span, low - span[side], high - span[side])]
    return found


def _cut(span: Span, low: int, high: int) -> list[Span]:
    """A span without its ids from ``low`` to before ``high``, counted from its first."""
    inside, outside, size = span
    low, high = max(0, min(low, size)), max(0, min(high, size))
    if low >= high:
        return [span]
    return [piece for piece in ((inside, outside, low), (inside + high, outside + high, size - high)) if piece[2]]


def _filled(found: list[Span], parent: Sequence[Span]) -> list[Span]:
    """All the engine's ids that are not used yet, in order, for the container's ids that are not used yet, from 0 on."""
    free: list[Span] = [(own, own, size) for own, _, size in sorted(parent)]
    for _, outside, size in found:
        free = [piece for span in free for piece in _cut(span, outside - span[1], outside + size - span[1])]
    result = list(found)
    inside = 0
    for _, outside, size in free:
        while size:
            taken = next((span for span in found if span[0] <= inside < span[0] + span[2]), None)
            if taken is not None:
                inside = taken[0] + taken[2]
                continue
            until = min((span[0] for span in found if span[0] > inside), default=LARGEST)
            many = min(size, until - inside)
            result.append((inside, outside, many))
            inside, outside, size = inside + many, outside + many, size - many
    return _merged(result)


def _merged(found: list[Span]) -> list[Span]:
    result: list[Span] = []
    for inside, outside, size in sorted(found):
        if result and result[-1][0] + result[-1][2] == inside and result[-1][1] + result[-1][2] == outside:
            result[-1] = (result[-1][0], result[-1][1], result[-1][2] + size)
        else:
            result.append((inside, outside, size))
    return result


def _check_overlaps(found: list[Span], kind: str) -> None:
    """InvalidArgument where an id is mapped twice; the kernel would only say EINVAL."""
    for side, where in ((0, "container"), (1, "host")):
        ordered = sorted(found, key=lambda span: span[side])
        for index, second in enumerate(ordered[1:]):
            first = ordered[index]
            if first[side] + first[2] > second[side]:
                raise InvalidArgument(f"initializing ID mappings: {kind} {second[side]} of the {where} is mapped twice")


# --- keep-id, nomap, auto ---------------------------------------------------------------------------------------------


def keep(number: int, count: int) -> tuple[Span, ...]:
    """keep-id: the engine's 0, which is the user, becomes ``number``; the ``count`` other ids fill up from 0 around it."""
    below = min(number, count)
    found = [(0, 1, below), (number, 0, 1), (number + 1, number + 1, count - number)]
    return tuple(span for span in found if span[2] > 0)


def nomap(count: int) -> tuple[Span, ...]:
    """nomap: all ids but the user's own."""
    if count < 1:
        raise InvalidArgument("nomap needs subordinate ids, and this user has none", hint="add some with usermod --add-subuids")
    return ((0, 1, count),)


def needed(ids: Iterable[int], least: int, most: int) -> int:
    """How many ids ``auto`` gives a container whose accounts have these; nobody's is left out, as every image has it."""
    largest = max((number + 1 for number in ids if number != NOBODY), default=0)
    return min(max(largest, least), most)


def auto(available: Iterable[Range], used: Iterable[Range], size: int, fixed: Sequence[Span] = ()) -> tuple[Span, ...]:
    """``size`` ids from 0 on for the container, of ``available`` ids without the ``used`` ones, in as few pieces as first fit.

    ``fixed`` spans (``auto:uidmapping=``) are there besides, and their ids are not given again. PodlingError where too few are left.
    """
    free = [(0, first, count) for first, count in available]
    for first, count in [*used, *((outside, count) for _, outside, count in fixed)]:
        free = [piece for span in free for piece in _cut(span, first - span[1], first + count - span[1])]
    wanted: list[Span] = [(0, 0, size)]
    for inside, _, count in fixed:
        wanted = [piece for span in wanted for piece in _cut(span, inside - span[0], inside + count - span[0])]
    total = sum(span[2] for span in free)
    if total < sum(span[2] for span in wanted):
        raise PodlingError(f"cannot find available IDs for a user namespace of {size} ids: {total} are left: not enough unused IDs "
                           "in user namespace",
                           hint="remove containers that have ids of their own (keep-id and nomap use all of a user's), or ask for fewer: "
                                "--userns=auto:size=...")
    found = list(fixed)
    for inside, _, count in wanted:
        found += _take(free, inside, count)
    return tuple(sorted(found))


def _take(free: list[Span], inside: int, count: int) -> list[Span]:
    """``count`` ids taken from ``free``: in one piece where one is large enough, else from the first on."""
    whole = next((index for index, span in enumerate(free) if span[2] >= count), None)
    found = []
    while count:
        index = 0 if whole is None else whole
        _, first, size = free[index]
        many = min(size, count)
        found.append((inside, first, many))
        free[index:index + 1] = [(0, first + many, size - many)] if many < size else []
        inside, count = inside + many, count - many
    return found


def sequence(ranges: Iterable[Range]) -> tuple[Span, ...]:
    """Ranges of subordinate ids (``--subuidname``), one after the other from the container's 0 on."""
    found, inside = [], 0
    for first, count in ranges:
        found.append((inside, first, count))
        inside += count
    return tuple(found)


def options(text: str) -> dict[str, list[str]]:
    """The options of ``keep-id:`` and ``auto:`` by name; the grammar was checked when they were read."""
    found: dict[str, list[str]] = {}
    for option in text.split(",") if text else ():
        name, _, value = option.partition("=")
        found.setdefault(name, []).append(value)
    return found

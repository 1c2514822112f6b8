"""Which containers a command acts on: names, ``--all``, ``--latest``, ``--filter``, ``--cidfile``, ``--ignore``."""

from __future__ import annotations

import time

from podling.engine.engine import Engine
from podling.engine.options import SelectOptions
from podling.errors import InvalidArgument, NoSuchContainer
from podling.model import RESTART_POLICIES, Container, ContainerState
from podling.values import gotext, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STATUSES = ("created", "initialized", "running", "stopped", "paused", "exited", "unknown", "stopping", "removing", "dead",
            "restarting", "configured")


def select(engine: Engine, options: SelectOptions, *, keep: Callable[[ContainerState], bool] | None = None) -> list[Container]:
    """The containers that the options name, each once, in the order named.

    ``keep`` narrows ``--all`` (``stop --all`` means all running ones). NoSuchContainer names the first that is missing,
    unless ``ignore``.
    """
    if options.all or options.filters:
        pairs = [(c, s) for c, s in engine.containers.list_with_states() if keep is None or not options.all or keep(s)]
        return [container for container, _ in apply_filters(engine, pairs, options.filters)]
    if options.latest:
        return [engine.containers.latest()]
    names = options.names + tuple(read_cidfile(path, options.ignore) for path in options.cidfiles)
    found: dict[str, Container] = {}
    for name in names:
        if not name:
            continue
        try:
            container = engine.containers.find(name)
        except NoSuchContainer:
            if not options.ignore:
                raise
            continue
        found[container.id] = container
    return list(found.values())


def read_cidfile(path: str, ignore: bool = False) -> str:
    """The id in a ``--cidfile``; "" where the file is missing and that is to be ignored."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except FileNotFoundError as error:
        if ignore:
            return ""
        raise InvalidArgument("reading CIDFile") from error


def apply_filters(engine: Engine, pairs: list[tuple[Container, ContainerState]],
                  filters: dict[str, tuple[str, ...]]) -> list[tuple[Container, ContainerState]]:
    """Those that match every filter; the values of one filter are alternatives (labels: all must match)."""
    for name, values in filters.items():
        make = _FILTERS.get(name)
        if make is None:
            raise InvalidArgument(f"{name} is an invalid filter", hint="see 'podling ps --help' for the filters")
        test = make(engine, values)
        pairs = [pair for pair in pairs if test(*pair)]
    return pairs


def _by_id(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    return lambda container, state: any(container.id.startswith(value.lower()) for value in values)


def _by_name(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    import re  # names are regular expressions; only this filter needs them

    try:
        patterns = [re.compile(value.lstrip("/")) for value in values]
    except re.error as error:
        raise InvalidArgument(f"invalid name filter: {error}") from None
    return lambda container, state: any(pattern.search(container.name) for pattern in patterns)


def _by_label(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    return lambda container, state: all(label_matches(container.labels, value) for value in values)


def _by_label_not(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    return lambda container, state: not any(label_matches(container.labels, value) for value in values)


def label_matches(labels: dict[str, str], wanted: str) -> bool:
    """Whether labels hold ``key`` or ``key=value``; a ``*`` at the end of the key matches any rest."""
    key, separator, value = wanted.partition("=")
    keys = [known for known in labels if known.startswith(key[:-1])] if key.endswith("*") else [key]
    return any(known in labels and (not separator or labels[known] == value) for known in keys)


def _by_status(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    for value in values:
        if value not in STATUSES:
            raise InvalidArgument(f"unknown container state: {value}: invalid argument", hint=f"one of {', '.join(STATUSES)}")
    wanted = {"exited" if value == "stopped" else "created" if value == "configured" else value for value in values}
    return lambda container, state: state.status in wanted


def _by_exit_code(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    codes = {gotext.parse_int(value, base=10) for value in values}
    return lambda container, state: state.status == "exited" and state.exit_code in codes


def _by_ancestor(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    ids, names = set(), set()
    for value in values:
        image = engine.images.lookup(value)
        if image is not None:
            ids.add(image.id)
            ids.update(engine.images.descendants(image))
        names.add(value if ":" in value.rpartition("/")[2] else value + ":latest")
    return lambda container, state: (container.image_id in ids or container.image_name in names
                                     or any(container.image_name.endswith("/" + name) for name in names)
                                     or any(container.image_id.startswith(value) for value in values if len(value) > 2))


def _by_time(engine: Engine, value: str) -> int:
    try:
        return units.parse_time(value, now=time.time_ns())
    except InvalidArgument:
        return engine.containers.find(value).created


def _before(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    limit = min(engine.containers.find(value).created for value in values)
    return lambda container, state: container.created < limit


def _since(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    limit = max(engine.containers.find(value).created for value in values)
    return lambda container, state: container.created > limit


def _until(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    limit = min(units.parse_time(value, now=time.time_ns()) for value in values)
    return lambda container, state: container.created < limit


def _by_volume(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    def test(container: Container, state: ContainerState) -> bool:
        mounts = engine.containers.config(container.id).mounts
        for value in values:
            source, separator, destination = value.partition(":")
            for mount in mounts:
                if separator and (mount.source, mount.destination) == (source, destination):
                    return True
                if not separator and source in (mount.source, mount.destination):
                    return True
        return False

    return test


def _by_network(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    wanted = {engine.networks.get(value).name if engine.networks.exists(value) else value for value in values}
    return lambda container, state: any(network in wanted for network in container.networks)


def _by_pod(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    return lambda container, state: bool(container.pod_id) and any(container.pod_id.startswith(value) for value in values)


def _by_restart_policy(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    for value in values:
        if value not in (*RESTART_POLICIES, "never"):
            raise InvalidArgument(f"{value} invalid restart policy", hint=f"one of {', '.join(RESTART_POLICIES)}, never")
    return lambda container, state: engine.containers.config(container.id).restart.name in values


def _by_start_on_boot(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    """Podman's filter for what is to run after a restart of the host: not what the user stopped, unless it is always to run."""

    def starts(container: Container, state: ContainerState) -> bool:
        policy = engine.containers.config(container.id).restart.name
        return policy == "always" or (policy == "unless-stopped" and not state.stopped_by_user)

    wanted = {gotext.parse_bool(value) for value in values}
    return lambda container, state: starts(container, state) in wanted


def _by_command(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    return lambda container, state: bool(container.command) and container.command[0] in values


def _by_health(engine: Engine, values: tuple[str, ...]) -> Callable[[Container, ContainerState], bool]:
    return lambda container, state: "none" in values and engine.containers.config(container.id).healthcheck is None


_FILTERS = {
    "id": _by_id, "name": _by_name, "label": _by_label, "label!": _by_label_not, "status": _by_status, "exited": _by_exit_code,
    "ancestor": _by_ancestor, "before": _before, "since": _since, "until": _until, "volume": _by_volume, "network": _by_network,
    "pod": _by_pod, "restart-policy": _by_restart_policy,
    "should-start-on-boot": _by_start_on_boot, "command": _by_command, "health": _by_health,
}

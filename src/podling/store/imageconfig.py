"""An image's configuration (OCI's or Docker's, the same but for Docker's additions), read into a record."""

from __future__ import annotations

from podling import jsontext
from podling.errors import Corrupt
from podling.model import Healthcheck, ImageConfig, Platform
from podling.store.ancestry import time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_config(content: bytes) -> ImageConfig:
    """The configuration; Corrupt, naming the field, where one has the wrong type. Absent and null are the same, as in Go."""
    try:
        value = jsontext.loads(content)
    except ValueError as error:
        raise Corrupt(f"image configuration: {error}") from None
    top = _Object(value, "image configuration")
    config = top.object("config")
    return ImageConfig(
        platform=Platform(os=top.text("os"), architecture=top.text("architecture"), variant=top.text("variant")),
        created=time_of(top.values.get("created")), author=top.text("author"), comment=top.text("comment"),
        user=config.text("User"), env=config.texts("Env") or (), entrypoint=config.texts("Entrypoint"), cmd=config.texts("Cmd"),
        working_dir=config.text("WorkingDir"), stop_signal=config.text("StopSignal"), volumes=config.keys("Volumes"),
        exposed_ports=config.keys("ExposedPorts"), labels=config.labels("Labels"), healthcheck=_healthcheck(config),
        shell=config.texts("Shell") or (), on_build=config.texts("OnBuild") or (),
        diff_ids=top.object("rootfs").texts("diff_ids") or ())


def _healthcheck(config: _Object) -> Healthcheck | None:
    if config.values.get("Healthcheck") is None:
        return None
    said = config.object("Healthcheck")
    return Healthcheck(test=said.texts("Test") or (), interval=said.number("Interval"), timeout=said.number("Timeout"),
                       start_period=said.number("StartPeriod"), retries=said.number("Retries"))


class _Object:
    """A JSON object whose fields have the types that are asked for, or are absent."""

    def __init__(self, value: object, where: str) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise Corrupt(f"{where}: expected an object")
        self.values: dict[str, Any] = value
        self.where = where

    def _wrong(self, name: str, expected: str) -> Corrupt:
        return Corrupt(f"{self.where}: {name}: expected {expected}")

    def object(self, name: str) -> _Object:
        return _Object(self.values.get(name), f"{self.where}: {name}")

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if value is not None and not _is_text(value):
            raise self._wrong(name, "a string")
        return value or ""

    def number(self, name: str) -> int:
        value = self.values.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self._wrong(name, "a number")
        return value or 0

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, None where it is absent: [] says more than nothing."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(_is_text(item) for item in value):
            raise self._wrong(name, "a list of strings")
        return tuple(value)

    def keys(self, name: str) -> tuple[str, ...]:
        """The names of an object that is used as a set."""
        names = tuple(self.object(name).values)
        if not all(_is_text(item) for item in names):
            raise self._wrong(name, "names without NUL")
        return names

    def labels(self, name: str) -> dict[str, str]:
        found = self.object(name).values
        if not all(_is_text(key) and _is_text(value) for key, value in found.items()):
            raise self._wrong(name, "strings")
        return dict(found)


def _is_text(value: object) -> bool:
    """Whether it is a string that can be an argument or a variable of a process."""
    return isinstance(value, str) and "\0" not in value

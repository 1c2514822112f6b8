"""YAML that others wrote -> values: safe, and a mapping that has a key twice is an error. The only place that imports PyYAML."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(content: bytes) -> Any:
    """The value of the one document in a text, None for an empty one; ValueError in words on one line."""
    from podling import libraries

    libraries.add_site_packages()
    import yaml  # type: ignore[import-untyped]

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """Safe, and without repeated keys."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                name = (key.tag, key.value) if isinstance(key.value, str) else None
                if name is not None and name in seen:
                    raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value!r} is there twice")
                seen.add(name)
            return super().construct_mapping(node, deep=deep)

    try:
        return yaml.load(content, Loader)  # noqa: S506  it is a safe one
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:300] or "nested too deeply") from None

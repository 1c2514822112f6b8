"""OCI hooks: programs of the administrator that run at stages of a container's life, as oci-hooks(5) describes their files.

Directories of JSON files, later ones overriding files of the same name in earlier ones, in the order of their lower-case names:

    {"version": "1.0.0", "hook": {"path": "/usr/bin/x", "args": [...], "env": [...], "timeout": 5},
     "when": {"always": true, "annotations": {"regexp": "regexp"}, "commands": ["regexp"], "hasBindMounts": true},
     "stages": ["precreate", "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]}

All conditions of ``when`` must hold. Hooks of ``precreate`` get the specification on standard input and answer with another.
"""

from __future__ import annotations

import os

from podling import jsontext, log
from podling.config.layers import named_files
from podling.errors import Corrupt, InvalidArgument, explain
from podling.linux import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podling.model import ContainerConfig

STAGES = ("precreate", "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_VERSION = "1.0.0"
_LIMIT = 1 << 20
_SECONDS = 30.0                              # for hooks of precreate that say nothing of it


def apply(document: dict[str, Any], config: ContainerConfig, directories: Iterable[str]) -> dict[str, Any]:
    """The specification with the hooks that are meant for the container; Corrupt for a file that cannot be understood."""
    first: list[dict[str, Any]] = []
    present = named_files(directories, ".json")
    for name in sorted(present, key=str.lower):
        path = present[name]
        found = _read(path)
        if _matches(found["when"], document, config, path):
            for stage in found["stages"]:
                if stage == "precreate":
                    first.append(found["hook"])
                else:
                    document.setdefault("hooks", {}).setdefault(stage, []).append(found["hook"])
    for hook in first:
        document = _changed(document, hook)
    return document


def _read(path: str) -> dict[str, Any]:
    try:
        found = jsontext.loads(files.read_bytes(path, _LIMIT))
    except ValueError as error:
        raise Corrupt(f'parsing hook "{path}": {error}') from None
    if not isinstance(found, dict) or not isinstance(found.get("hook"), dict):
        raise Corrupt(f'parsing hook "{path}": it has no hook')
    if found.get("version") != _VERSION:
        raise Corrupt(f'parsing hook "{path}": unrecognized hook version: "{found.get("version", "")}"')
    program = found["hook"].get("path", "")
    if not isinstance(program, str) or not program.startswith("/") or not os.path.exists(program):
        raise Corrupt(f'hook "{path}": its program "{program}" does not exist', hint=f"mend or remove {path}")
    stages, when = found.get("stages"), found.get("when")
    if not isinstance(stages, list) or not stages or not isinstance(when, dict) or not when:
        raise Corrupt(f'hook "{path}": it needs stages and when')
    for stage in stages:
        if stage not in STAGES:
            raise Corrupt(f'hook "{path}": unknown stage "{stage}"')
    return found


def _matches(when: dict[str, Any], document: dict[str, Any], config: ContainerConfig, path: str) -> bool:
    """Whether all conditions hold. ``re`` is loaded only where a file has patterns."""
    checks = []
    if "always" in when:
        checks.append(bool(when["always"]))
    if when.get("hasBindMounts"):
        checks.append(any(mount.kind in ("bind", "volume") for mount in config.mounts))
    if when.get("annotations") or when.get("commands"):
        import re

        def found(pattern: str, text: str) -> bool:
            try:
                return re.search(pattern, text) is not None
            except re.error as error:
                raise Corrupt(f'hook "{path}": the pattern "{pattern}": {error}') from None

        said = document.get("annotations", {})
        checks += [any(found(key, name) and found(value, text) for name, text in said.items())
                   for key, value in (when.get("annotations") or {}).items()]
        if when.get("commands"):
            checks.append(any(found(pattern, config.command[0]) for pattern in when["commands"]))
    return bool(checks) and all(checks)


def _changed(document: dict[str, Any], hook: dict[str, Any]) -> dict[str, Any]:
    argv = list(hook.get("args") or [hook["path"]])
    env = dict(line.partition("=")[::2] for line in hook.get("env") or ())
    done = process.run([hook["path"], *argv[1:]], input=jsontext.dumps(document).encode("utf-8", "surrogateescape"), env=env,
                       timeout=hook.get("timeout") or _SECONDS)
    try:
        changed = jsontext.loads(done.stdout)
    except ValueError as error:
        raise InvalidArgument(f"the hook {hook['path']} of the stage precreate did not answer with a specification: "
                              f"{explain(error)}") from None
    if not isinstance(changed, dict):
        raise InvalidArgument(f"the hook {hook['path']} of the stage precreate did not answer with a specification")
    log.debug(f"the hook {hook['path']} saw the specification before the container was created")
    return changed

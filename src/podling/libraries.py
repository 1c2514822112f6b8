"""Where third-party libraries are. The interpreter is started without site (-S), so a module that imports one says so first:

    from podling import libraries
    libraries.add_site_packages()
    import yaml

No ``.pth`` file is read and no hook of another package runs: those cost tens of milliseconds, and run as root.
"""

from __future__ import annotations

import os
import sys


def add_site_packages() -> None:
    """Append to ``sys.path`` the directories that hold this podling's libraries; once is enough, more does no harm."""
    for directory in site_packages(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))):
        if directory not in sys.path and os.path.isdir(directory):
            sys.path.append(directory)


def site_packages(root: str) -> list[str]:
    """The candidates, nearest first, for a package that lies in the directory ``root``.

    1. The directory podling was installed into (venv, pipx, ``pip --user``, ``--prefix``, ``--target``, a distribution's).
    2. A checkout's ``.venv``.
    3. The virtual environment of the interpreter, which hides the system's unless it says otherwise.
    4. The system's, in the order in which Debian's and Fedora's interpreters search them.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    found = []
    if os.path.basename(root) == "src":
        found.append(os.path.join(os.path.dirname(root), ".venv", "lib", version, "site-packages"))
    else:
        found.append(root)
    environment = os.path.dirname(os.path.dirname(sys.executable))
    sees_system = _sees_system(os.path.join(environment, "pyvenv.cfg"))
    if sees_system is not None:
        found.append(os.path.join(environment, "lib", version, "site-packages"))
    if sees_system is not False:
        prefix = sys.base_prefix
        found += [f"/usr/local/lib/{version}/dist-packages", f"{prefix}/lib/python3/dist-packages",
                  f"/usr/local/lib/{version}/site-packages", f"{prefix}/lib64/{version}/site-packages",
                  f"{prefix}/lib/{version}/site-packages"]
    return found


def _sees_system(path: str) -> bool | None:
    """Whether the virtual environment of this pyvenv.cfg shows the system's packages; None: there is no environment."""
    try:
        with open(path, encoding="utf-8") as file:
            said = {"".join(line.lower().split()) for line in file}
    except OSError:
        return None
    return "include-system-site-packages=true" in said

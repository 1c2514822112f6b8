"""What the launcher and conmon's exit command start: ``python3 -I -S .../podling/__main__.py ARGUMENTS``.

A script is compiled at every start, a module only once: everything but the search path is in modules.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  the launcher may find an old one
    sys.exit(f"Error: podling needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
if not __package__:  # started as a file
    _package = __file__.rpartition("/")[0]
    if sys.path and sys.path[0] == _package:  # not isolated: our modules would stand in for the standard library's
        del sys.path[0]
    sys.path.insert(0, _package.rpartition("/")[0] or "/")

from podling.launch import run

run()

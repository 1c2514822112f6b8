"""``podling network``: ls and prune (``listing``), create, update and rm (``defining``), connect, disconnect and reload (``attaching``).

``inspect`` and ``exists`` are with the other kinds'.
"""

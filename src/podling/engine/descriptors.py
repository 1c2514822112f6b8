"""The descriptors that a command's caller hands on to a container: ``--preserve-fds`` and ``--preserve-fd``."""

from __future__ import annotations

import os

from podling.errors import InvalidArgument
from podling.linux.files import is_open


def take_descriptors(count: int, listed: tuple[int, ...] = ()) -> int:
    """How many descriptors, from 3 on, the runtime hands on; those in between that nobody named are /dev/null from now on.

    Called before anything is opened, so that a free number is nobody's. InvalidArgument for one that is not open.
    """
    for fd, flag in (*((fd, "preserve-fds") for fd in range(3, 3 + count)), *((fd, "preserve-fd") for fd in listed)):
        if fd > 2 and not is_open(fd):
            raise InvalidArgument(f"file descriptor {fd} is not available - the {flag} option requires that file "
                                  "descriptors must be passed")
    last = max((2 + count, *listed))
    unnamed = [fd for fd in range(3 + count, last + 1) if fd not in listed]
    if unnamed:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in unnamed:
            os.dup2(null, fd)
        if null not in unnamed:
            os.close(null)
    return last - 2

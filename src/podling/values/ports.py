"""Published ports: ``8080:80/udp`` <-> :class:`PortMapping`."""

from __future__ import annotations

from podling.record import Record


class PortMapping(Record):
    """A run of host ports forwarded to container ports.

    ``host_port`` 0 means: a free one is chosen when the container is made. ``length`` ports follow one another on both
    sides. ``host_ip`` "" means every address.
    """

    container_port: int
    host_port: int = 0
    length: int = 1
    protocol: str = "tcp"
    host_ip: str = ""

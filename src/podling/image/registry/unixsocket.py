"""HTTP to a service on a Unix socket of this host."""

from __future__ import annotations

import contextlib

from podling.errors import PodlingError
from podling.image.registry import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Iterable, Iterator

    Reply = tuple[int, Callable[[int], bytes]]
else:
    import _socket

_SECONDS = 300.0                             # without a byte; a daemon packs a large image before it sends the first


@contextlib.contextmanager
def request(path: str, method: str, target: str, body: Iterable[bytes] | None = None) -> Iterator[Reply]:
    """(status, function that reads the answer's body) of one request; ``body`` is sent as it comes. PodlingError where it breaks off."""
    channel = http1.Channel(_socket.socket(_socket.AF_UNIX))
    try:
        channel.sock.settimeout(_SECONDS)
        try:
            channel.sock.connect(path)
        except OSError as error:
            raise PodlingError(f"cannot connect to the Docker daemon at unix://{path}. Is the docker daemon running?") from error
        headers = {"Host": "docker", "Connection": "close", **({} if body is None else {"Content-Type": "application/x-tar"})}
        channel.send(method, target, headers, body)
        answer = channel.answer(method)
        yield answer.status, answer.read
    except (OSError, http1.Malformed) as error:
        raise PodlingError(f"the service at unix://{path} broke off") from error
    finally:
        channel.close()

"""HTTP to a service on a Unix socket of this host."""

from __future__ import annotations

import contextlib
import http.client
import socket

from podling.errors import PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Reply = tuple[int, Callable[[int], bytes]]

_SECONDS = 300.0                             # without a byte; a daemon packs a large image before it sends the first


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self.path = path

    def connect(self) -> None:
        """Connect; PodlingError where nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        try:
            self.sock.connect(self.path)
        except OSError as error:
            raise PodlingError(f"cannot connect to the Docker daemon at unix://{self.path}. Is the docker daemon running?") from error


@contextlib.contextmanager
def request(path: str, method: str, target: str, body: Iterable[bytes] | None = None) -> Iterator[Reply]:
    """(status, function that reads the answer's body) of one request; ``body`` is sent as it comes. PodlingError where it breaks off."""
    connection = _Connection(path)
    headers = {"Host": "docker"}
    if body is not None:
        headers |= {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
    try:
        connection.request(method, target, body=body, headers=headers, encode_chunked=body is not None)
        answer = connection.getresponse()
        yield answer.status, answer.read
    except (OSError, http.client.HTTPException) as error:
        raise PodlingError(f"the service at unix://{path} broke off") from error
    finally:
        connection.close()

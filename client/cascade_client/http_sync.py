"""HTTP from threads: a pool of connections, each wait bounded by the call's deadline."""

from __future__ import annotations

import io
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

import numpy as np

from cascade_client.address import Address
from cascade_client.failures import cannot_reach, too_slow
from cascade_client.http_codec import HEADER_LENGTH, HttpCodec, Reply
from cascade_client.retry import Deadline
from cascade_client.tensors import Tensor

__all__ = ["HttpTransport"]


class HttpTransport:
    """The HTTP protocol. May be shared between threads; each request that is under way has its own connection.

    Args:
        address: of the server.
        model: its name on the server.
        connect_timeout_s: longest wait for a connection.
    """

    def __init__(self, address: Address, model: str, connect_timeout_s: float) -> None:
        self._address, self._connect_timeout_s = address, connect_timeout_s
        self._codec = HttpCodec(address, model)
        self._lock, self._idle, self._closed = threading.Lock(), list[HTTPConnection](), False

    def metadata(self, timeout_s: float) -> Any:
        """See Transport."""
        return self._codec.metadata(self._exchange("GET", self._codec.metadata_path, b"", {}, timeout_s), timeout_s)

    def infer(
        self,
        tensors: Sequence[Tensor],
        timeout_s: float,
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> dict[str, np.ndarray]:
        """See Transport."""
        body, headers = self._codec.request(tensors, parameters, request_id)
        return self._codec.outputs(self._exchange("POST", self._codec.infer_path, body, headers, timeout_s), timeout_s)

    def close(self) -> None:
        """See Transport."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        deadline = Deadline(timeout_s)
        connection = self._take() or self._connect(deadline)
        is_whole = False
        try:
            reply, is_whole = _exchange(connection, method, path, body, headers, deadline)
        except socket.timeout as error:
            raise too_slow(self._address, timeout_s) from error
        except OSError as error:
            raise cannot_reach(self._address, error.strerror or str(error)) from error
        except HTTPException as error:  # the peer does not speak HTTP, or has hung up
            raise cannot_reach(self._address, f"{type(error).__name__}: {error}") from error
        finally:
            self._give_back(connection, is_whole)
        return reply

    def _connect(self, deadline: Deadline) -> HTTPConnection:
        timeout_s = min(self._connect_timeout_s, deadline.left())
        connection = HTTPConnection(self._address.host, self._address.port, timeout=timeout_s)
        try:
            connection.connect()
        except socket.timeout as error:
            raise cannot_reach(self._address, f"no connection within {timeout_s:.3g} s") from error
        except OSError as error:
            raise cannot_reach(self._address, error.strerror or str(error)) from error
        return connection

    def _take(self) -> HTTPConnection | None:
        """A connection that is open still; None where there is none."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            # What can be read from an idle connection is its end.
            if not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _give_back(self, connection: HTTPConnection, is_whole: bool) -> None:
        """Keep a connection whose response was read to its end; close any other."""
        with self._lock:
            if is_whole and not self._closed:
                self._idle.append(connection)
                return
        connection.close()


class _Timed(io.RawIOBase):
    """What comes from a socket, each read within what is left of a deadline."""

    def __init__(self, raw: Any, sock: socket.socket, deadline: Deadline) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See io.RawIOBase."""
        _limit(self._sock, self._deadline)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        """See io.RawIOBase."""
        self._raw.close()
        super().close()


def _exchange(
    connection: HTTPConnection, method: str, path: str, body: bytes, headers: Mapping[str, str], deadline: Deadline
) -> tuple[Reply, bool]:
    """The response, and whether the connection can be used again."""

    def response_class(sock: socket.socket, **named: Any) -> HTTPResponse:
        made = HTTPResponse(sock, **named)
        made.fp = io.BufferedReader(_Timed(made.fp.detach(), sock, deadline))  # type: ignore[attr-defined]
        return made

    connection.response_class = response_class  # type: ignore[assignment]
    _limit(connection.sock, deadline)
    connection.request(method, path, body or None, dict(headers))
    with connection.getresponse() as response:
        reply = Reply(response.status, response.getheader(HEADER_LENGTH), response.read())
        return reply, not response.will_close


def _limit(sock: socket.socket, deadline: Deadline) -> None:
    """Let the next wait for a socket last no longer than the deadline."""
    left_s = deadline.left()
    if left_s <= 0:
        raise socket.timeout("the deadline has passed")
    sock.settimeout(left_s)

"""The client for threads: users in, slates out, over gRPC or HTTP."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from cascade_client.address import Protocol, parse_url
from cascade_client.errors import CascadeClientError
from cascade_client.exchange import CONNECT_TIMEOUT_S, MODEL_NAME, TIMEOUT_S, AskInputs, Exchange, Infer, Settings, Step
from cascade_client.request import Request, context_features
from cascade_client.retry import DEFAULT_RETRY, Retry
from cascade_client.slates import Id, Slates
from cascade_client.transport import connect

__all__ = ["CascadeClient"]

Result = TypeVar("Result")


class CascadeClient:
    """A client of one server, to be shared between threads. Use as a context manager, or call close().

    Args:
        url: `host:port`, `grpc://host:port` or `http://host:port`; without a scheme port 8000 means HTTP, others gRPC.
        protocol: says it where the URL does not.
        timeout_s: longest time of one call, with all its tries and waits.
        connect_timeout_s: longest wait for a connection.
        retry: what is tried again, see Retry; None: nothing.
        model: name of the served model.

    Raises:
        BadSetting: an address or a setting that cannot be used.

    Example:
        >>> client = CascadeClient("localhost:8001", timeout_s=0.5, retry=None)
        >>> str(client.address)
        'grpc://localhost:8001'
        >>> client.close()
    """

    def __init__(
        self,
        url: str,
        protocol: Protocol | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        retry: Retry | None = DEFAULT_RETRY,
        model: str = MODEL_NAME,
    ) -> None:
        self.address = parse_url(url, protocol)
        self._exchange = Exchange(Settings(self.address, model, timeout_s, connect_timeout_s, retry))
        self._transport = connect(self.address, model, connect_timeout_s)
        self._closed = False

    @property
    def inputs(self) -> dict[str, str]:
        """Datatype by input name, as the server states them: "INT64", "INT32", "FP32", "FP64" or "BYTES".

        Raises:
            CascadeClientError: see recommend.
        """
        return dict(self._run(self._exchange.inputs()))

    @property
    def context_features(self) -> dict[str, str]:
        """Datatype by name of the context features that the model takes."""
        return context_features(self.inputs)

    def recommend(
        self,
        user_ids: Sequence[Id],
        *,
        context: Mapping[str, Sequence[Any]] | None = None,
        recent_item_ids: Sequence[Sequence[Id]] | None = None,
        exclude_item_ids: Sequence[Sequence[Id]] | None = None,
        slate_size: int | None = None,
    ) -> Slates:
        """Ask for the slates of some users in one request.

        Args:
            user_ids: B raw user ids, integers or strings as in the data; unknown ones get a slate as well.
            context: B values by name of a context feature; any may be left out; None is a value that is not known.
            recent_item_ids: B lists of raw item ids, oldest first; any lengths.
            exclude_item_ids: B lists of raw item ids that must not come; any lengths.
            slate_size: items wanted, the same for all users; the server's own number by default.

        Returns:
            One slate a user in the order asked; a slate is shorter when too few items are eligible.

        Raises:
            RequestRefused: a value does not fit, or the server refused the request.
            CannotReach: no connection, or it broke.
            Timeout: no answer in time.
            Unavailable: the server cannot answer now.
            WrongServer: what answered is no Cascade server of this version.
        """
        request = Request(user_ids, context or {}, recent_item_ids, exclude_item_ids, slate_size)
        return self._run(self._exchange.recommend(request))

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> CascadeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Generator[Step, Any, Result]) -> Result:
        """Do what the exchange asks for until it has its result."""
        answer, failure = None, None
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result
            try:
                answer, failure = self._do(step), None
            except CascadeClientError as error:
                failure = error

    def _do(self, step: Step) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        if isinstance(step, AskInputs):
            return self._transport.metadata(step.timeout_s)
        if isinstance(step, Infer):
            return self._transport.infer(step.tensors, step.timeout_s)
        return time.sleep(step.wait_s)

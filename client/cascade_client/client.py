"""The client for threads: users in, slates out, and events in, over gRPC or HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from cascade_client.address import Protocol, parse_url
from cascade_client.errors import CascadeClientError
from cascade_client.events import BATCH, EVENTS_MODEL, KEY, Event, EventOutcome, in_batches
from cascade_client.exchange import (
    CONNECT_TIMEOUT_S,
    MODEL_NAME,
    TIMEOUT_S,
    AskInputs,
    Exchange,
    Infer,
    Settings,
    Step,
    with_id,
)
from cascade_client.experiments import ExperimentsSource, Where
from cascade_client.request import Request, context_features
from cascade_client.retry import DEFAULT_RETRY, Deadline, Retry
from cascade_client.slates import Id, Slates
from cascade_client.split import Part, join_parts, split
from cascade_client.transport import Transport, connect

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
        experiments: the path or the URL of the repository's experiments.json, or its content: users of a variant are
            asked of the variant's model, and of `model` where that cannot answer.

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
        experiments: Where | None = None,
    ) -> None:
        self.address = parse_url(url, protocol)
        self._settings = Settings(self.address, model, timeout_s, connect_timeout_s, retry)
        self._exchange = Exchange(self._settings)
        self._transport = connect(self.address, model, connect_timeout_s)
        # The way to the model that takes events, made for the first of them.
        self._lock, self._to_events = threading.Lock(), list[tuple[Exchange, Transport]]()
        # The ways to the models of variants, made for the first request of each.
        self._experiments = None if experiments is None else ExperimentsSource(experiments)
        self._ways: dict[str, tuple[Exchange, Transport]] = {}
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

    @property
    def served_version(self) -> str:
        """The version of the model that is served now; asked each time.

        Raises:
            CascadeClientError: see recommend.
        """
        return self._run(self._exchange.version())

    def recommend(
        self,
        user_ids: Sequence[Id],
        *,
        context: Mapping[str, Sequence[Any]] | None = None,
        recent_item_ids: Sequence[Sequence[Id]] | None = None,
        exclude_item_ids: Sequence[Sequence[Id]] | None = None,
        slate_size: int | None = None,
        min_offset: int | None = None,
        seed: int | Sequence[int] | None = None,
        policy: str | None = None,
        request_id: str = "",
        consumer: str = "",
        experiment_units: Sequence[Id] | None = None,
    ) -> Slates:
        """Ask for the slates of some users in one request.

        Args:
            user_ids: B raw user ids, integers or strings as in the data; unknown ones get a slate as well.
            context: B values by name of a context feature; any may be left out; None is a value that is not known.
            recent_item_ids: B lists of raw item ids, oldest first; any lengths.
            exclude_item_ids: B lists of raw item ids that must not come; any lengths.
            slate_size: items wanted, the same for all users; the server's own number by default.
            min_offset: of a server with live events: it waits up to 50 ms until every event below this offset is in
                its state, then answers; a slate's `stream_offset` says how far it got.
            seed: of a server that explores: what slates are drawn with, one for all users or one each, so that an equal
                request gives equal slates; new ones by default, see `Slate.seed`.
            policy: of the same: "deterministic", no slate is drawn at random, or "softmax", all are; by default the
                server decides, see `Slate.explored`. A log marks slates whose policy was asked for.
            request_id: what a server that logs its requests knows this one by; a new one by default, see
                `Slates.request_id`.
            consumer: who asks, such as "web", for the same server.
            experiment_units: B ids that users are assigned to variants by, such as a visitor's; by default the user
                ids.

        Returns:
            One slate a user in the order asked; a slate is shorter when too few items are eligible.

        Raises:
            RequestRefused: a value does not fit, or the server refused the request.
            CannotReach: no connection, or it broke.
            Timeout: no answer in time.
            Unavailable: the server cannot answer now.
            WrongServer: what answered is no Cascade server of this version.
        """
        request = Request(
            *(user_ids, context or {}, recent_item_ids, exclude_item_ids, slate_size, min_offset),
            request_id=request_id,
            consumer=consumer,
            seed=seed,
            policy=policy,
        )
        if self._experiments is None:
            return self._run(self._exchange.recommend(request))
        return self._by_variant(with_id(request), self._experiments, experiment_units)

    @property
    def event_inputs(self) -> dict[str, str]:
        """Datatype by field of the events that the server takes; also "BOOL", for its stock column.

        Raises:
            CascadeClientError: see recommend.
        """
        exchange, transport = self._events()
        return dict(self._run(exchange.inputs(), transport))

    def send(self, events: Sequence[Event], *, key: str | None = None, batch: int = BATCH) -> list[EventOutcome]:
        """Send events; when this returns, the next slate knows them, or of a server that writes to a topic, a soon one.

        An event is a mapping of "user_id" and "item_id", and what it may say beside them: "label" (the server's first
        one by default; "impression" for an item that was shown), "value", "at" (a datetime with its zone, an ISO text
        with one, or a number since 1970; when it arrives by default), "event_id", context features, "extra" (further
        fields). {"kind": "item", "item_id": 5, "in_stock": False} says that an item is out of stock, by the name of the
        server's stock column.

        The events go in requests of at most `batch`, one behind the other, so order is kept; `timeout_s` and `retry`
        are those of each. A request that is sent again counts once: every event has an event id, and one that comes
        without is given one. After an error the events of earlier requests are taken in: to be able to send all again,
        give them event ids of your own.

        Args:
            events: any number, in order.
            key: the server's CASCADE_EVENTS_KEY, where it has one.
            batch: events in one request, at most 4096.

        Returns:
            What became of each; a bad one is "refused" with the reason and costs no other.

        Raises:
            CascadeClientError: see recommend; RequestRefused also for a wrong key.
        """
        exchange, transport = self._events()
        outcomes = []
        for part in in_batches(events, batch):
            outcomes += self._run(exchange.send(part, {KEY: key} if key else {}), transport)
        return outcomes

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._closed = True
        self._transport.close()
        with self._lock:
            for _, transport in (*self._to_events, *self._ways.values()):
                transport.close()

    def __enter__(self) -> CascadeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _by_variant(self, request: Request, experiments: ExperimentsSource, units: Sequence[Id] | None) -> Slates:
        """The slates of users of different variants, each of the model of theirs."""
        deadline = Deadline(self._settings.timeout_s)
        parts = split(request, experiments.current(), units)
        return join_parts(request, [(part, *self._of_part(part, deadline)) for part in parts])

    def _of_part(self, part: Part, deadline: Deadline) -> tuple[Slates, bool]:
        """Its slates, and whether the model of its variant made them; where that fails, the client's own does."""
        if not part.model:
            return self._run(self._exchange.recommend(part.request, deadline.left())), True
        exchange, transport = self._way(part.model)
        try:
            # One try in half of the time: the rest is for the model that all others are asked.
            return self._run(exchange.recommend(part.request, deadline.left() / 2), transport), True
        except CascadeClientError:
            return self._run(self._exchange.recommend(part.again, deadline.left())), False

    def _events(self) -> tuple[Exchange, Transport]:
        with self._lock:
            if not self._to_events:
                settings = replace(self._settings, model=EVENTS_MODEL)
                transport = connect(self.address, EVENTS_MODEL, settings.connect_timeout_s)
                self._to_events.append((Exchange(settings), transport))
            return self._to_events[0]

    def _way(self, model: str) -> tuple[Exchange, Transport]:
        with self._lock:
            if model not in self._ways:
                settings = replace(self._settings, model=model, retry=None)
                transport = connect(self.address, model, settings.connect_timeout_s)
                self._ways[model] = Exchange(settings), transport
            return self._ways[model]

    def _run(self, steps: Generator[Step, Any, Result], transport: Transport | None = None) -> Result:
        """Do what the exchange asks for until it has its result."""
        answer, failure = None, None
        transport = transport or self._transport
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result
            try:
                answer, failure = self._do(step, transport), None
            except CascadeClientError as error:
                failure = error

    def _do(self, step: Step, transport: Transport) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        if isinstance(step, AskInputs):
            return transport.metadata(step.timeout_s)
        if isinstance(step, Infer):
            return transport.infer(step.tensors, step.timeout_s, step.parameters, step.request_id)
        return time.sleep(step.wait_s)

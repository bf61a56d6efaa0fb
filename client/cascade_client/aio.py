"""The client for asyncio: users in, slates out, and events in, over gRPC or HTTP."""

from __future__ import annotations

import asyncio
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
from cascade_client.transport import AsyncTransport, connect_async

__all__ = ["AsyncCascadeClient"]

Result = TypeVar("Result")


class AsyncCascadeClient:
    """CascadeClient for asyncio. Many calls may be under way at once; all of them belong to one event loop.

    Args:
        url: see CascadeClient, as all that follow.
        protocol: says it where the URL does not.
        timeout_s: longest time of one call, with all its tries and waits.
        connect_timeout_s: longest wait for a connection.
        retry: what is tried again; None: nothing.
        model: name of the served model.
        experiments: see CascadeClient.

    Raises:
        BadSetting: an address or a setting that cannot be used.

    Example:
        >>> async def slates_of(user_ids):
        ...     async with AsyncCascadeClient("localhost:8001", timeout_s=0.5) as client:
        ...         return await client.recommend(user_ids)
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
        self._transport = connect_async(self.address, model, connect_timeout_s)
        # The way to the model that takes events, made for the first of them.
        self._to_events: tuple[Exchange, AsyncTransport] | None = None
        # The ways to the models of variants, made for the first request of each.
        self._experiments = None if experiments is None else ExperimentsSource(experiments)
        self._ways: dict[str, tuple[Exchange, AsyncTransport]] = {}
        self._closed = False

    async def inputs(self) -> dict[str, str]:
        """Datatype by input name, see CascadeClient.inputs."""
        return dict(await self._run(self._exchange.inputs()))

    async def context_features(self) -> dict[str, str]:
        """Datatype by name of the context features that the model takes."""
        return context_features(await self.inputs())

    async def served_version(self) -> str:
        """The version of the model that is served now, see CascadeClient.served_version."""
        return await self._run(self._exchange.version())

    async def recommend(
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
        """Ask for the slates of some users in one request: arguments, answer and errors of CascadeClient.recommend."""
        request = Request(
            *(user_ids, context or {}, recent_item_ids, exclude_item_ids, slate_size, min_offset),
            request_id=request_id,
            consumer=consumer,
            seed=seed,
            policy=policy,
        )
        if self._experiments is None:
            return await self._run(self._exchange.recommend(request))
        return await self._by_variant(with_id(request), self._experiments, experiment_units)

    async def event_inputs(self) -> dict[str, str]:
        """Datatype by field of the events that the server takes, see CascadeClient.event_inputs."""
        exchange, transport = self._events()
        return dict(await self._run(exchange.inputs(), transport))

    async def send(self, events: Sequence[Event], *, key: str | None = None, batch: int = BATCH) -> list[EventOutcome]:
        """Send events: arguments, answer and errors of CascadeClient.send."""
        exchange, transport = self._events()
        outcomes = []
        for part in in_batches(events, batch):
            outcomes += await self._run(exchange.send(part, {KEY: key} if key else {}), transport)
        return outcomes

    async def close(self) -> None:
        """Close the connections; calls that are under way fail, and the client cannot be used afterwards."""
        self._closed = True
        await self._transport.close()
        if self._to_events is not None:
            await self._to_events[1].close()
        for _, transport in self._ways.values():
            await transport.close()

    async def __aenter__(self) -> AsyncCascadeClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _by_variant(self, request: Request, experiments: ExperimentsSource, units: Sequence[Id] | None) -> Slates:
        """The slates of users of different variants, each of the model of theirs."""
        deadline = Deadline(self._settings.timeout_s)
        parts = split(request, experiments.current(), units)
        answers = await asyncio.gather(*(self._of_part(part, deadline) for part in parts))
        return join_parts(request, [(part, *answer) for part, answer in zip(parts, answers)])

    async def _of_part(self, part: Part, deadline: Deadline) -> tuple[Slates, bool]:
        """Its slates, and whether the model of its variant made them; where that fails, the client's own does."""
        if not part.model:
            return await self._run(self._exchange.recommend(part.request, deadline.left())), True
        exchange, transport = self._way(part.model)
        try:
            # One try in half of the time: the rest is for the model that all others are asked.
            return await self._run(exchange.recommend(part.request, deadline.left() / 2), transport), True
        except CascadeClientError:
            return await self._run(self._exchange.recommend(part.again, deadline.left())), False

    def _events(self) -> tuple[Exchange, AsyncTransport]:
        if self._to_events is None:
            settings = replace(self._settings, model=EVENTS_MODEL)
            transport = connect_async(self.address, EVENTS_MODEL, settings.connect_timeout_s)
            self._to_events = Exchange(settings), transport
        return self._to_events

    def _way(self, model: str) -> tuple[Exchange, AsyncTransport]:
        if model not in self._ways:
            settings = replace(self._settings, model=model, retry=None)
            transport = connect_async(self.address, model, settings.connect_timeout_s)
            self._ways[model] = Exchange(settings), transport
        return self._ways[model]

    async def _run(self, steps: Generator[Step, Any, Result], transport: AsyncTransport | None = None) -> Result:
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
                answer, failure = await self._do(step, transport), None
            except CascadeClientError as error:
                failure = error

    async def _do(self, step: Step, transport: AsyncTransport) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        if isinstance(step, AskInputs):
            return await transport.metadata(step.timeout_s)
        if isinstance(step, Infer):
            return await transport.infer(step.tensors, step.timeout_s, step.parameters, step.request_id)
        return await asyncio.sleep(step.wait_s)

"""What is sent, in which order, and what is tried again; without any input or output, for sync and asyncio alike.

Each function here is a generator: it yields what the transport shall do, takes the answer, or has the failure thrown
into it, and returns the result.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable, TypeVar, Union

from cascade_client.address import Address
from cascade_client.answers import decode
from cascade_client.errors import BadSetting, CannotReach, CascadeClientError, RequestRefused, Timeout, Unavailable
from cascade_client.events import Event, EventOutcome, encode_events, outcomes_of
from cascade_client.failures import too_slow
from cascade_client.request import USERS, Inputs, Request, read_inputs, read_version
from cascade_client.retry import Deadline, Retry, seconds
from cascade_client.slates import Slates
from cascade_client.tensors import Tensor

__all__ = [
    "CONNECT_TIMEOUT_S",
    "MODEL_NAME",
    "TIMEOUT_S",
    "AskInputs",
    "Exchange",
    "Infer",
    "Settings",
    "Step",
    "Wait",
    "with_id",
]

MODEL_NAME = "cascade"
TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class AskInputs:
    """Ask the server for the model's metadata."""

    timeout_s: float


@dataclass(frozen=True)
class Infer:
    """Send a request; the answer is arrays by output."""

    tensors: Sequence[Tensor]
    timeout_s: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True)
class Wait:
    """Do nothing for a while."""

    wait_s: float


Step = Union[AskInputs, Infer, Wait]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """What both clients are made with.

    Attributes:
        address: of the server.
        model: name of the served model.
        timeout_s: longest time of one call, with all its tries.
        connect_timeout_s: longest time to wait for a connection.
        retry: what is tried again; None: nothing.
    """

    address: Address
    model: str
    timeout_s: float
    connect_timeout_s: float
    retry: Retry | None

    def __post_init__(self) -> None:
        seconds("timeout_s", self.timeout_s)
        seconds("connect_timeout_s", self.connect_timeout_s)
        if not self.model or not isinstance(self.model, str):
            raise BadSetting(f"model must be the name of a served model, got {self.model!r}")


def with_id(request: Request) -> Request:
    """A request with an id of its own, where it has none."""
    return request if request.request_id else replace(request, request_id=uuid.uuid4().hex)


class Exchange:
    """Everything that a client knows about one server but the connection to it.

    Args:
        settings: of the client.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: Inputs | None = None

    def inputs(self) -> Generator[Step, Any, Inputs]:
        """The inputs of the model, asked for once."""
        return self._tried(self._inputs)

    def version(self) -> Generator[Step, Any, str]:
        """The version of the model that is served now."""
        return self._tried(self._version)

    def recommend(self, request: Request, timeout_s: float | None = None) -> Generator[Step, Any, Slates]:
        """The slates that a request asks for; in less time than the settings say, where it is given."""
        # Tried again, it is the same request.
        known = with_id(request)
        return self._tried(lambda deadline: self._recommend(known, deadline), timeout_s)

    def send(self, events: Sequence[Event], parameters: Mapping[str, str]) -> Generator[Step, Any, list[EventOutcome]]:
        """What becomes of some events, each with an event id: sent twice, it counts once."""
        return self._tried(lambda deadline: self._send_events(events, parameters, deadline))

    def _tried(
        self, attempt: Callable[[Deadline], Generator[Step, Any, Result]], timeout_s: float | None = None
    ) -> Generator[Step, Any, Result]:
        """The result of the first attempt that succeeds."""
        retry, limit = self._settings.retry, self._settings.timeout_s if timeout_s is None else timeout_s
        deadline = Deadline(limit)
        waits: Iterator[float] = retry.waits() if retry else iter(())
        limit_s = retry.attempt_timeout_s if retry else None
        before: CascadeClientError | None = None
        while True:
            left_s = deadline.left()
            try:
                return (yield from attempt(Deadline(left_s if limit_s is None else min(limit_s, left_s))))
            except (CannotReach, Unavailable, Timeout) as error:
                wait_s = next(waits, None)
                is_final = isinstance(error, Timeout) and limit_s is None
                if wait_s is not None and not is_final and wait_s < deadline.left():
                    before = before if isinstance(error, Timeout) else error
                    yield Wait(wait_s)
                    continue
                if isinstance(error, Timeout):  # it names what was left for the last step
                    raise too_slow(self._settings.address, limit, before) from error.__cause__
                raise

    def _inputs(self, deadline: Deadline) -> Generator[Step, Any, Inputs]:
        if self._known is None:
            self._known = yield from self._ask_inputs(deadline)
        return self._known

    def _version(self, deadline: Deadline) -> Generator[Step, Any, str]:
        metadata = yield AskInputs(deadline.left())
        return read_version(metadata, self._settings.address)

    def _ask_inputs(self, deadline: Deadline) -> Generator[Step, Any, Inputs]:
        metadata = yield AskInputs(deadline.left())
        return read_inputs(metadata, self._settings.address)

    def _recommend(self, request: Request, deadline: Deadline) -> Generator[Step, Any, Slates]:
        were_known = self._known is not None
        inputs = yield from self._inputs(deadline)
        try:
            return (yield from self._send(request, inputs, deadline))
        except RequestRefused:
            # The server may run another version of the model by now, with other inputs.
            if not were_known:
                raise
            self._known = yield from self._ask_inputs(deadline)
            if self._known == inputs:
                raise
        return (yield from self._send(request, self._known, deadline))

    def _send_events(
        self, events: Sequence[Event], parameters: Mapping[str, str], deadline: Deadline
    ) -> Generator[Step, Any, list[EventOutcome]]:
        encoded = encode_events(events, (yield from self._inputs(deadline)))
        outputs = (yield Infer(encoded.tensors, deadline.left(), parameters)) if encoded.places else {}
        return outcomes_of(encoded, outputs)

    def _send(self, request: Request, inputs: Inputs, deadline: Deadline) -> Generator[Step, Any, Slates]:
        tensors = request.tensors(inputs)
        outputs = yield Infer(tensors, deadline.left(), request.parameters(), request.request_id)
        users = next(tensor for tensor in tensors if tensor.name == USERS)
        return decode(users.array[:, 0].tolist(), outputs, request.request_id)

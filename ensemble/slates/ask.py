"""Many slates from one server: batches of users, several on their way at once, answers in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple

from cascade_client import CascadeClient, Id, RequestRefused, Slate
from cascade_client.request import explores
from ensemble.serving.client_errors import as_ours
from ensemble.serving.commands import context_value
from workflows.core.errors import RequestError, ServingError

__all__ = ["IN_FLIGHT", "Answer", "Asker", "batches"]

USERS_AT_ONCE, IN_FLIGHT = 32, 8
TIMEOUT_S, QUICK_TIMEOUT_S = 30.0, 5.0
# Ids that nobody has.
NOBODY: Mapping[str, Id] = {"INT64": -1_234_567_890_123, "BYTES": "-1234567890123"}


class Answer(NamedTuple):
    """The slates of a batch of users, and when they were asked for, milliseconds since 1970."""

    slates: list[Slate]
    asked_at_ms: int


class Asker:
    """Asks one server. Use as a context manager.

    Args:
        url: of the server.
        in_flight: requests on their way at once.

    Raises:
        ServingError, RequestError: (every method) the server is away, refuses, or has no such context feature.
    """

    def __init__(self, url: str, in_flight: int = IN_FLIGHT) -> None:
        with as_ours():
            self._client = CascadeClient(url, timeout_s=TIMEOUT_S)
            # Nothing is tried again here: whoever waits for it wants to know at once that there is no server.
            self._quick = CascadeClient(url, timeout_s=QUICK_TIMEOUT_S, retry=None)
        self._in_flight = in_flight
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="slates")
        self._context: dict[str, Any] = {}
        self._policy: list[str | None] = []

    def use(self, context: Mapping[str, str]) -> None:
        """Ask for slates of this context from now on.

        Args:
            context: fixed values of context features, as text.
        """
        with as_ours():
            known = self._quick.context_features
        for name in context:
            if name not in known:
                raise RequestError(
                    f"--context {name}: the model has no such context feature, only {', '.join(known) or 'none'}"
                )
        self._context = {name: context_value(self._client, name, text) for name, text in context.items()}

    @property
    def user_id_dtype(self) -> str:
        """INT64 or BYTES."""
        with as_ours():
            return "BYTES" if self._client.inputs["user_id"] == "BYTES" else "INT64"

    @property
    def version(self) -> str:
        """The number of the version that is served now."""
        with as_ours():
            return self._quick.served_version

    def popular(self, size: int | None = None) -> Slate:
        """The slate of a user of whom nothing is known.

        Args:
            size: items; None: the server's own number.
        """
        with as_ours():
            (slate,) = self._client.recommend([NOBODY[self.user_id_dtype]], slate_size=size, policy=self._never_drawn())
        return slate

    def most_users(self) -> int:
        """Of how many users a request is to be: 32, or half as many until the server takes them."""
        size = USERS_AT_ONCE
        while size > 1 and not self._takes([NOBODY[self.user_id_dtype]] * size, None):
            size //= 2
        return size

    def longest(self, sizes: Sequence[int]) -> int:
        """The first of some sizes of a slate that the server takes; the last one needs no trial."""
        nobody = [NOBODY[self.user_id_dtype]]
        return next((size for size in sizes[:-1] if self._takes(nobody, size)), sizes[-1])

    def slates(self, parts: Iterable[Sequence[Id]], size: int, min_offset: int | None = None) -> Iterator[Answer]:
        """The slates of batches of users, in their order.

        Args:
            parts: users of one request each.
            size: items of a slate.
            min_offset: the server waits a short time until events below it are in its state.
        """
        parts, waiting = iter(parts), deque[Future[Answer]]()
        try:
            while True:
                for part in islice(parts, self._in_flight - len(waiting)):
                    waiting.append(self._pool.submit(self._ask, part, size, min_offset))
                if not waiting:
                    return
                with as_ours():
                    answer = waiting.popleft().result()
                yield answer
        finally:
            for future in waiting:
                future.cancel()

    def check_version(self, number: str) -> None:
        """Refuse slates that were asked for since the version was this one, where it no longer is.

        Raises:
            ServingError: the server took another one meanwhile.
        """
        served = self.version
        if served != number:
            raise ServingError(
                f"the server took version {served} while slates of version {number} were made; run the command again"
            )

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._client.close()
        self._quick.close()

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _never_drawn(self) -> str | None:
        """The policy to ask for: a slate that is shown many times, and to nobody knows whom, is no draw of its own."""
        if not self._policy:
            self._policy = ["deterministic" if explores(self._client.inputs) else None]
        return self._policy[0]

    def _takes(self, users: Sequence[Id], size: int | None) -> bool:
        """Whether the server takes a request of so many users and items."""
        try:
            with as_ours():
                self._client.recommend(users, slate_size=size)
            return True
        except RequestError as error:
            if not isinstance(error.__cause__, RequestRefused):
                raise
            return False

    def _ask(self, users: Sequence[Id], size: int, min_offset: int | None) -> Answer:
        asked_at_ms = time.time_ns() // 1_000_000
        context = {name: [value] * len(users) for name, value in self._context.items()}
        policy = self._never_drawn()
        made = self._client.recommend(users, context=context, slate_size=size, min_offset=min_offset, policy=policy)
        return Answer(list(made), asked_at_ms)


def batches(users: Sequence[Id], size: int, start: int = 0) -> Iterator[Sequence[Id]]:
    """Users from one on, so many at a time."""
    for first in range(start, len(users), size):
        yield users[first : first + size]

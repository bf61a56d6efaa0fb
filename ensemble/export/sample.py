"""Slates of some users of a chain, before its last step orders them: what an export chooses a rule's strength by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ensemble.profile.make import held_out_events
from ensemble.request_columns import request_column
from runtime.chain import Chain
from runtime.explore import NO_PLACE
from runtime.ranker.sigmoid import sigmoid
from runtime.rerank import SlateRuler
from runtime.slate_spec import SlateSpec
from runtime.spec import POPULARITY, encoded
from runtime.step import load_array
from runtime.steps.order import Order, utilities_of
from runtime.stream.live import without_live_state
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["NUM_USERS", "Sample", "SampleAsker", "sample_of"]

NUM_USERS = 500


class Sample(NamedTuple):
    """What slates of some users are made of.

    Attributes:
        rows: candidates int32 [U, C].
        utilities: float32 [U, C], without boosts.
        worth: float64 [U, C], what showing an item is worth by the models: its probability, or its utility where there
            is a formula.
        history: int32 [U, L], codes of items that the users took.
        spec: the rules of the chain.
        files: what these read, by file.
        size: places of a slate.
    """

    rows: NDArray[np.int32]
    utilities: NDArray[np.float32]
    worth: NDArray[np.float64]
    history: NDArray[np.int32]
    spec: SlateSpec
    files: Mapping[str, NDArray]
    size: int

    def part(self, users: slice) -> Sample:
        """That of some of the users."""
        arrays = {name: getattr(self, name)[users] for name in ("rows", "utilities", "worth", "history")}
        return self._replace(**arrays)

    def slates(self, spec: SlateSpec, further: Mapping[str, NDArray]) -> NDArray[np.int64]:
        """Places in the candidates of slates that follow other rules, [U, S]; NO_PLACE: none.

        Args:
            spec: the rules.
            further: arrays of the items that these read and the chain's do not, by file.
        """
        ruler = SlateRuler(spec, {**self.files, **further})
        utilities = ruler.boosted(self.utilities, self.rows)
        if not spec.is_stepwise:
            best = np.lexsort((self.rows, -utilities), axis=1)[:, : self.size]
            return np.where(np.isneginf(np.take_along_axis(utilities, best, 1)), NO_PLACE, best)
        return ruler.ordered(utilities, self.rows, np.full(len(self.rows), self.size), self.history)

    def items(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Item rows of slates, [U, S]; -1: none."""
        return np.where(places >= 0, np.take_along_axis(self.rows, np.maximum(places, 0), 1), -1)

    def total_worth(self, places: NDArray[np.int64]) -> float:
        """What slates are worth together; an item counts less by the logarithm of its place, as in NDCG."""
        found = np.where(places >= 0, np.take_along_axis(self.worth, np.maximum(places, 0), 1), 0.0)
        return float((found / np.log2(np.arange(places.shape[1]) + 2)).sum())


def sample_of(run: Run, folder: Path, key: str, num_users: int = NUM_USERS) -> Sample:
    """Of users who had events in the valid split, each in the context of one of them; of others where these are few.

    Args:
        run: whose events these are.
        folder: a chain that is compiled of it.
        key: of the config, which is chosen by them.
        num_users: at most.

    Raises:
        ConfigError: the last step of the chain's graph is not the one that orders by rules.
    """
    asker = SampleAsker(folder, key)
    events = held_out_events(run, [column.name for column in asker.context_columns])[1]
    known = events["user_row"].to_numpy()
    users, first = np.unique(known, return_index=True)
    first = np.sort(first[users >= 0])
    others = np.setdiff1d(np.arange(asker.num_users), users)
    # The others in the contexts of any of the events.
    rows = np.concatenate([known[first], _spread(others, num_users - len(first))])
    contexts = np.concatenate([first, np.arange(len(rows) - len(first)) % len(events)])
    chosen = _spread(np.arange(len(rows)), num_users)
    return asker.sample(rows[chosen].astype(np.int64), events.take(pa.array(contexts[chosen])))


def _spread(values: NDArray, count: int) -> NDArray:
    """At most so many of them, evenly spaced."""
    places = np.linspace(0, len(values) - 1, max(min(count, len(values)), 0))
    return values[np.unique(places.astype(np.int64))]


class SampleAsker:
    """Asks a chain for what slates of users are made of, without live events.

    Args:
        folder: the compiled chain.
        key: what is chosen by them, for the error.

    Attributes:
        num_users: of the chain.
        batch: users at once.
        context_columns: of its requests.

    Raises:
        ConfigError: the last step of the chain's graph is not the one that orders by rules.
    """

    def __init__(self, folder: Path, key: str) -> None:
        with without_live_state():
            self._chain = Chain.load(folder)
        order, self._spec = self._chain.nodes[-1].step, self._chain.spec
        if not isinstance(order, Order):
            raise ConfigError(
                f"{key} is chosen by what the step Order orders, and the last step of the graph is "
                f"{type(order).__name__}; give a number"
            )
        self._score = order.key(self._spec)
        self._ids = load_array(folder / "ids/users.npy")
        self._slates = (self._spec.order and self._spec.order.slates) or SlateSpec()
        self._files = {name: load_array(folder / name) for name in self._slates.files}
        self.num_users, self.batch = len(self._ids), self._spec.max_batch_size
        self.context_columns = self._spec.context_columns

    def sample(self, users: NDArray[np.int64], context: pa.Table | None = None) -> Sample:
        """That of some users, by row; None: nothing is known of the context."""
        parts = [self._batch(users, context, start) for start in range(0, len(users), self.batch)]
        rows, utilities, worth, history = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Sample(rows, utilities, worth, history, self._slates, self._files, self._spec.slate_size)

    def _batch(self, users: NDArray[np.int64], context: pa.Table | None, start: int) -> tuple[NDArray, ...]:
        chain, reads = self._chain, self._chain.plan.nodes[-1].reads
        ids = self._ids[users[start : start + self.batch], None]
        request = {"user_id": ids.astype(object) if ids.dtype.kind == "S" else ids}
        if context is not None:
            for column in self.context_columns:
                values = context[column.name].slice(start, self.batch)
                request[column.name] = request_column(column, values)[:, None]
        arrays: dict[str, Any] = {}
        chain.nodes[0].encode(arrays, chain.request_step.parse(request))
        for node in chain.nodes[1:-1]:
            node.run(arrays)
        rows, scores = arrays[reads["candidates"]], arrays[reads[self._score]]
        popular = arrays[reads["path_code"]] == POPULARITY
        worth = np.where(popular, scores, sigmoid(scores)) if self._score == "ranking_score" else scores
        utilities = utilities_of(rows, scores, popular)
        return rows, utilities, worth.astype(np.float64), arrays[encoded(self._spec.history_feature)]

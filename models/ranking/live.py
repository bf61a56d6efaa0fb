"""What happened lately to the items of training examples, as pair features of the ranker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, Features
from runtime.encoders import NULL
from runtime.ranker.pairs import SHARE, STREAM, STREAM_KNOWN
from runtime.ranker.shares import HistoryShares
from runtime.ranker.spec import ShareSpec
from runtime.stream.features import pair_value
from workflows.core.run import Run
from workflows.features.schema import ITEM_ID
from workflows.stream.columns import TableStream
from workflows.stream.features import LiveColumn
from workflows.tables.info import DataInfo

__all__ = ["Hide", "LiveItems", "hide_of", "live_pairs", "share_specs", "shares_of"]

# Of training queries: so many are put as if the state of live events were away, so that a model knows that too.
HIDDEN_SHARE = 0.02


class LiveItems:
    """The stream features of items as of any instant.

    Args:
        columns: of items.
        stream: the events.
    """

    def __init__(self, columns: Sequence[LiveColumn], stream: TableStream) -> None:
        self._columns, self._stream = columns, stream

    @classmethod
    def of_run(cls, run: Run) -> LiveItems | None:
        """Those of a run; None where its config has none."""
        columns = _columns(run)
        return cls(columns, TableStream.of_run(run)) if columns else None

    def values(self, item_rows: NDArray, at: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Pair features by name.

        Args:
            item_rows: int [G, M]; -1 is no item.
            at: int64 [G], nanoseconds; what came at that very instant is not known yet.

        Returns:
            float32 [G, M] each.
        """
        rows, instants = np.maximum(item_rows, 0).ravel(), np.repeat(at, item_rows.shape[1])
        found = self._stream.of(self._columns, rows, instants)
        values = {STREAM + c.name: pair_value(c.feature, found[c.name]).reshape(item_rows.shape) for c in self._columns}
        return {STREAM_KNOWN: np.ones(item_rows.shape, np.float32), **values}


def live_pairs(run: Run) -> list[str]:
    """Names of the pair features: whether the live state is known and the columns of items, then the shares."""
    columns = _columns(run)
    windows = [STREAM_KNOWN, *(STREAM + column.name for column in columns)] if columns else []
    return [*windows, *(SHARE + column.name for column in _shares(run))]


def share_specs(run: Run, features: Features) -> tuple[ShareSpec, ...]:
    """The pair features that compare a candidate with the user's latest items.

    Args:
        run: its data/ has finished.
        features: of the run.
    """
    inputs = {feature.column or feature.name: feature.name for feature in features.schema.side("item")}
    return tuple(ShareSpec(SHARE + c.name, inputs[c.feature.label], c.feature.last) for c in _shares(run))


def shares_of(run: Run, features: Features) -> HistoryShares | None:
    """What computes them; None where the config has none."""
    specs = share_specs(run, features)
    return HistoryShares(specs, features.items[ITEM_ID], features.items) if specs else None


def _shares(run: Run) -> list[LiveColumn]:
    return [column for column in DataInfo.load(run.folder("data")).stream if column.key == "pair"]


def _columns(run: Run) -> list[LiveColumn]:
    return [column for column in DataInfo.load(run.folder("data")).stream if column.key == "item"]


class Hide:
    """Puts some queries as if nothing live were known: codes of null, and pair features of 0.

    Args:
        inputs: names of the model inputs that are stream features of users.
        is_live: bool [P], which pair features are live.
    """

    def __init__(self, inputs: Sequence[str], is_live: NDArray[np.bool_]) -> None:
        self._inputs, self._is_live = list(inputs), is_live

    def __call__(self, query: Batch, pair: NDArray[np.float32], seed: tuple[int, int]) -> tuple[Batch, NDArray]:
        """Query features [G, ...] and pair features [G, M, P] of a training batch -> the same, some of them hidden."""
        hidden = np.random.default_rng(seed).random(len(pair)) < HIDDEN_SHARE
        shown = {name: np.where(hidden[:, None], NULL, query[name]).astype(query[name].dtype) for name in self._inputs}
        return {**query, **shown}, np.where(hidden[:, None, None] & self._is_live, np.float32(0), pair)


def hide_of(run: Run, features: Features, names: Sequence[str]) -> Hide | None:
    """What hides the stream features of a run; None where it has none.

    Args:
        run: its data/ has finished.
        features: of the run.
        names: of the pair features.
    """
    of_users = {column.name for column in DataInfo.load(run.folder("data")).stream if column.key == "user"}
    inputs = [f.name for f in features.schema.side("context") if (f.column or f.name) in of_users]
    is_live = np.array([name.startswith(STREAM) or name == STREAM_KNOWN for name in names], bool)
    return Hide(inputs, is_live) if inputs or is_live.any() else None

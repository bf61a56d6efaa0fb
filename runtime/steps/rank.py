"""Step 4: candidates -> ranking scores, one logit a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.ids import NO_ITEM
from runtime.index.rounding import quantise
from runtime.onnx import OnnxGraph
from runtime.ranker.factored import load_weights, score
from runtime.ranker.pairs import NEIGHBOUR_SCORE, STREAM, STREAM_KNOWN, TOWER_SCORE, pair_features
from runtime.ranker.pairs import POPULARITY as PAIR_POPULARITY
from runtime.ranker.shares import HistoryShares
from runtime.ranker.spec import GATHERED, ShareSpec
from runtime.ranker.tasks import expected_worth, probabilities
from runtime.spec import CANDIDATE_UTILITY, LIVE_AT, LIVE_OFFSET, POPULARITY, ChainSpec, Tensor, encoded
from runtime.step import Arrays, Step, load_array
from runtime.steps.query import RANKER_FIELDS, RANKER_HIDDEN, ranker_parts
from runtime.stream.item_windows import ItemWindows
from runtime.stream.items import key_files

__all__ = ["RANKING_STEP", "WORTH_FILE", "Rank", "Users", "encoded_items", "reads_items", "reads_windows"]

ITEM_ID = "item_id"
# A slice where all users are meant: it copies nothing.
Users = NDArray | slice

# Logits are rounded to this step: the same item scores the same beside any neighbours, and equal items tie exactly.
RANKING_STEP = 2.0**-18
# float32 [N, 1 + T]: what a display of each item is worth, and what more each task that happens.
WORTH_FILE = "worth.npy"


class Scorer(Protocol):
    """Logits of candidates."""

    def __call__(self, batch: Mapping[str, NDArray], users: Users, rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """Score the candidates of some users.

        Args:
            batch: what `Rank.inputs` names, [B, ...].
            users: which rows of the batch, U of them.
            rows: item rows [U, C], none negative.
            pair: pair features [U, C, P].

        Returns:
            float32 [U, C], or [U, C, T] with tasks; a user's do not depend on the other users.
        """


class Rank(Step):
    """The ranker: factored where the model allows it, the plain graph otherwise."""

    name = "rank"
    is_heavy = True

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._spec = spec
        self._score: Scorer = (FactoredScorer if spec.ranker.factored else PlainScorer)(folder, spec)
        self._names = spec.ranker.pair_inputs
        has_popularity = PAIR_POPULARITY in self._names
        self._popularity = load_array(folder / "ranker/item_popularity.npy") if has_popularity else None
        self._parents = [task.parent for task in spec.ranker.tasks]
        self._worth = load_array(folder / WORTH_FILE) if spec.utility else None
        self._lately = ItemWindows(folder, spec) if reads_windows(spec) else None
        self._shares, self._history = open_shares(folder, spec.ranker.shares), encoded(spec.history_feature)

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The ranker's view of the query, the candidates with their scores, and the path."""
        query = ranker_parts(spec) or spec.features(spec.ranker.query_inputs)
        scores = ("retrieval_score", *(n for n in (TOWER_SCORE, NEIGHBOUR_SCORE) if n in spec.ranker.pair_inputs))
        history = spec.features([spec.history_feature]) if spec.ranker.shares else ()
        return (
            *query,
            *(tensor for tensor in history if tensor not in query),
            Tensor("candidates", "INT32", spec.num_candidates),
            *(Tensor(name, "FP32", spec.num_candidates) for name in scores),
            Tensor("path_code", "INT32"),
            *((Tensor(LIVE_OFFSET, "INT64"), Tensor(LIVE_AT, "INT64")) if reads_windows(spec) else ()),
        )

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`ranking_score`: a logit, or the popularity on the popularity path; `candidate_utility`: see `utilities`."""
        names = ("ranking_score", *([CANDIDATE_UTILITY] if spec.utility else ()))
        return tuple(Tensor(name, "FP32", spec.num_candidates) for name in names)

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The ranker; the encoded items where it reads them."""
        keys = key_files(spec) if reads_windows(spec) else ()
        compared = [f"items/{name}.npy" for name in (ITEM_ID, *(share.item_input for share in spec.ranker.shares))]
        items = ("items",) if reads_items(spec) else tuple(compared if spec.ranker.shares else ())
        return ("ranker", *items, *keys, *([WORTH_FILE] if spec.utility else ()))

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Score all C places of a user at once: every matrix product has the same shape for everybody."""
        candidates = batch["candidates"]
        is_padding = candidates == NO_ITEM
        rows = np.maximum(candidates, 0)
        pairs = self.pairs(batch)
        ranked = batch["path_code"][:, 0] != POPULARITY
        scores = batch["retrieval_score"].copy()
        users: Users = slice(None) if ranked.all() else np.flatnonzero(ranked)
        logits = quantise(self._score(batch, users, rows[users], pairs[users]), RANKING_STEP)
        scores[users] = logits[..., 0] if self._parents else logits
        found = {"ranking_score": scores}
        if self._worth is not None:
            found[CANDIDATE_UTILITY] = scores.copy()
            found[CANDIDATE_UTILITY][users] = self.utilities(logits, rows[users])
        for values in found.values():
            values[is_padding] = 0
        return found

    def utilities(self, logits: NDArray, rows: NDArray) -> NDArray[np.float32]:
        """What candidates are worth on average, float32 [U, C]; on the popularity path the popularity stays instead.

        Args:
            logits: float32 [U, C, T].
            rows: item rows [U, C], none negative.
        """
        assert self._worth is not None
        return expected_worth(probabilities(logits, self._parents), self._worth.take(rows, axis=0))

    def pairs(self, batch: Mapping[str, NDArray]) -> NDArray[np.float32]:
        """The pair features of the candidates, [B, C, P], in the order of the ranker's pair inputs."""
        candidates = batch["candidates"]
        given = {name: batch[name] for name in (TOWER_SCORE, NEIGHBOUR_SCORE) if name in self._names}
        given |= self._of_stream(batch, candidates)
        if self._shares is not None:
            given |= self._shares.compute(batch[self._history], candidates)
        return pair_features(self._names, candidates, given, self._popularity)

    def _of_stream(self, batch: Mapping[str, NDArray], candidates: NDArray) -> dict[str, NDArray[np.float32]]:
        """The stream features of the candidates; all 0 in a chain without a live state."""
        names = [name for name in self._names if name.startswith(STREAM) or name == STREAM_KNOWN]
        if self._lately is not None:
            return self._lately.values(candidates, batch[LIVE_AT][:, 0], int(batch[LIVE_OFFSET].max()))
        return {name: np.zeros(candidates.shape, np.float32) for name in names}


class FactoredScorer:
    """The factored DLRM."""

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        self._weights = load_weights(folder / "ranker", encoded_items(folder, spec) if reads_items(spec) else None)
        self._shape = (-1, spec.ranker.num_query_fields, spec.ranker.field_dim)

    def __call__(self, batch: Mapping[str, NDArray], users: Users, rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """See Scorer."""
        fields, hidden = batch[RANKER_FIELDS][users].reshape(self._shape), batch[RANKER_HIDDEN][users]
        return score(fields, hidden, rows, pair, self._weights)


class PlainScorer:
    """The whole ranker as ONNX, the user's features repeated for every candidate."""

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        self._graph = OnnxGraph(folder / "ranker/ranker.onnx")
        self._items = encoded_items(folder, spec)
        self._query = [(name, encoded(name)) for name in spec.ranker.query_inputs]
        self._tasks = (len(spec.ranker.tasks),) if spec.ranker.tasks else ()

    def __call__(self, batch: Mapping[str, NDArray], users: Users, rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """See Scorer."""
        query = {name: batch[between][users] for name, between in self._query}
        logits = np.empty((*rows.shape, *self._tasks), np.float32)
        for user in range(len(rows)):
            of_user = {name: values[user : user + 1] for name, values in query.items()}
            logits[user] = self.one(of_user, rows[user], pair[user])
        return logits

    def one(self, query: Mapping[str, NDArray], rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """Query features [1, ...], item rows [C], pair features [C, P] -> logits float32 [C], of tasks [C, T]."""
        feed = {name: np.repeat(values, len(rows), axis=0) for name, values in query.items()}
        for name, values in self._items.items():
            gathered = values[rows]
            feed[name] = gathered[:, None] if gathered.ndim == 1 else gathered
        logits: NDArray[np.float32] = self._graph.run({**feed, "pair": pair})["logit"]
        return logits if self._tasks else logits[:, 0]


def open_shares(folder: Path, specs: Sequence[ShareSpec]) -> HistoryShares | None:
    """What computes the shares of the history; None where the ranker reads none."""
    if not specs:
        return None
    inputs = {share.item_input: load_array(folder / "items" / f"{share.item_input}.npy") for share in specs}
    return HistoryShares(specs, load_array(folder / "items" / f"{ITEM_ID}.npy"), inputs)


def reads_windows(spec: ChainSpec) -> bool:
    """Whether the ranker reads what happened lately to candidates."""
    return spec.live is not None and bool(spec.live.item_features)


def reads_items(spec: ChainSpec) -> bool:
    """Whether the ranker reads encoded items: as the plain graph, or to gather its item parts."""
    return not spec.ranker.factored or spec.ranker.item_parts == GATHERED


def encoded_items(folder: Path, spec: ChainSpec) -> dict[str, NDArray]:
    """The items as the ranker reads them, by the name of the model input."""
    return {name: load_array(folder / "items" / f"{name}.npy") for name in spec.ranker.item_inputs}

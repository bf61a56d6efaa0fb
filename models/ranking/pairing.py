"""Pair features in training: the merged retriever and the item counts of one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, Features, State
from models.neighbours.merged import MergedRetriever
from models.ranking.config import RankingConfig
from models.ranking.live import LiveItems, shares_of
from runtime.ranker.pairs import NEIGHBOUR_SCORE, POPULARITY, TOWER_SCORE, pair_features, popularity_values
from runtime.ranker.shares import HistoryShares
from workflows.core.run import Run
from workflows.features.schema import HISTORY

__all__ = ["PairSource", "choose_pairs", "pairs_as_of"]

BLOCK_CELLS = 20_000_000


def choose_pairs(config: RankingConfig, *, sampled: bool) -> list[str]:
    """Names of the pair features.

    With impressions there is none unless the retrieval scores are asked for: both sources and the popularity are
    fitted on the same clicks that are the labels, so in training they would tell the answer.

    Args:
        config: whether the retrieval scores are wanted.
        sampled: the training examples are sampled ones.
    """
    wanted = config.use_retrieval_score == "yes" or (config.use_retrieval_score == "auto" and sampled)
    return [*((TOWER_SCORE, NEIGHBOUR_SCORE) if wanted else ()), *((POPULARITY,) if sampled else ())]


def pairs_as_of(
    run: Run, features: Features, names: Sequence[str], snapshot: Literal["train", "eval"], state: State
) -> PairSource:
    """The pair features of a run as of a snapshot; what happened lately to items is as of each query.

    Args:
        run: its retrieval and neighbours stages have finished.
        features: of the run.
        names: which, in order.
        snapshot: of the retriever.
        state: what was known then.
    """
    live, shares = LiveItems.of_run(run), shares_of(run, features)
    return PairSource(names, MergedRetriever(run, snapshot, state), state, live, shares)


class PairSource:
    """Computes the pair features as of one snapshot.

    Args:
        names: which, in order.
        retriever: of that snapshot.
        state: what was known then; its counts are the popularity.
        live: what happened lately to the items; None where no name asks for it.
        shares: of the histories; None where no name asks for them.
    """

    def __init__(
        self,
        names: Sequence[str],
        retriever: MergedRetriever,
        state: State,
        live: LiveItems | None = None,
        shares: HistoryShares | None = None,
    ) -> None:
        self.names, self.live, self.shares = list(names), live, shares
        self.retriever = retriever
        self.popularity = popularity_values(np.asarray(state.popularity))

    def compute(self, query: Batch, user_row: NDArray, item_rows: NDArray, at: NDArray) -> NDArray[np.float32]:
        """Pair features of given (query, item) rows.

        Args:
            query: query features by name, [G, 1] or [G, L].
            user_row: int [G], whose items count for the item-item score.
            item_rows: int [G, M]; -1 is no item.
            at: int64 [G], the instant of each query, nanoseconds.

        Returns:
            float32 [G, M, P].
        """
        if TOWER_SCORE not in self.names:
            lately = self._lately(query[HISTORY], item_rows, at)
            return pair_features(self.names, item_rows, lately, self.popularity)
        embedded = self.retriever.tower.embed(query)
        num_items = len(self.popularity)
        step = max(1, BLOCK_CELLS // num_items)
        spans = [slice(start, start + step) for start in range(0, len(user_row), step)]
        parts = []
        for span in spans:
            neighbour = self.retriever.neighbour_scores(user_row[span])
            owner, history = np.arange(len(neighbour)), query[HISTORY][span]
            parts.append(self.of_block(embedded[span], neighbour, item_rows[span], owner, history, at[span]))
        return np.concatenate(parts)

    def of_block(
        self,
        embedded: NDArray[np.float32],
        neighbour: NDArray[np.float32],
        item_rows: NDArray,
        owner: NDArray,
        history: NDArray,
        at: NDArray,
    ) -> NDArray[np.float32]:
        """Pair features where the scores of the whole catalogue are at hand.

        Args:
            embedded: float32 [Q, D], query embeddings.
            neighbour: float32 [Q, N], item-item scores.
            item_rows: int [G, M]; -1 is no item.
            owner: int [G], the query of each group.
            history: int [G, L], codes of each group's history.
            at: int64 [G], the instant of each group, nanoseconds.
        """
        known = np.maximum(item_rows, 0)
        items = self.retriever.tower.item_embeddings[known]
        scores = {
            TOWER_SCORE: np.einsum("gd,gmd->gm", embedded[owner], items, optimize=True),
            NEIGHBOUR_SCORE: neighbour[owner[:, None], known],
            **self._lately(history, item_rows, at),
        }
        return pair_features(self.names, item_rows, scores, self.popularity)

    def _lately(self, history: NDArray, item_rows: NDArray, at: NDArray) -> dict[str, NDArray[np.float32]]:
        found = {} if self.live is None else self.live.values(item_rows, at)
        return found if self.shares is None else found | self.shares.compute(history, item_rows)

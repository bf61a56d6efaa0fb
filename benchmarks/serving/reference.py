"""The slates that NumPy gives, user by user, and what the servers answered beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.questions import Questions
from cascade_client import CascadeClient, parse_url
from cascade_client.exchange import TIMEOUT_S
from cascade_client.tensors import Tensor
from cascade_client.transport import Transport, connect
from ensemble.config import Config
from ensemble.export.eligibility import eligible_items
from ensemble.export.parity import BruteForce
from runtime.chain import Chain
from runtime.encoders import NULL_INT
from runtime.index.allowed import Allowed
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.index.search import INDEX_FILE, ItemSearch, open_index
from runtime.index.settings import EXACT, IVF
from runtime.ranker.pairs import NEIGHBOUR_SCORE, TOWER_SCORE
from runtime.ranker.sigmoid import sigmoid
from runtime.spec import ChainSpec
from runtime.steps.merge import MERGED_STEP
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema

__all__ = ["Answer", "Reference", "overlap", "query_chain", "query_server", "query_stock"]

# Logits nearer than this are a tie: two sums of the same terms in another order differ by less.
TIE = 1e-4
# Logits are known for this many candidates beyond C, as rounding may exchange the last ones.
SPARE = 16


class Answer:
    """One user's slate as somebody gave it.

    Args:
        rows: item rows int64 [S], best first.
        scores: of them.
    """

    def __init__(self, rows: NDArray[np.int64], scores: Sequence[float]) -> None:
        self.rows, self.scores = rows, list(scores)

    @classmethod
    def of(cls, ids: Sequence, scores: Sequence[float], item_ids: NDArray) -> Answer:
        """From raw ids, given the sorted raw ids of the catalogue."""
        values = [value.encode() if isinstance(value, str) else value for value in ids]
        return cls(np.searchsorted(item_ids, np.array(values, item_ids.dtype)), scores)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and np.array_equal(self.rows, other.rows) and self.scores == other.scores

    __hash__ = None  # type: ignore[assignment]


class Slate(msgspec.Struct, frozen=True):
    """The reference's slate of one user.

    Attributes:
        rows: item rows, best first.
        logits: of every item that the ranker was shown, NaN elsewhere; [N].
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float64]


class Reference:
    """Scores the candidates one user at a time by explicit sums over the run's own artefacts.

    Args:
        run: the run.
        config: of the run.
        chain_folder: the compiled chain.
        questions: whose first users are compared.
        count: how many of them.
    """

    def __init__(self, run: Run, config: Config, chain_folder: Path, questions: Questions, count: int) -> None:
        self.spec = ChainSpec.load(chain_folder)
        eligible = eligible_items(run.folder("data") / "items.parquet", config)
        self._oracle = BruteForce(run, chain_folder, self.spec, eligible)
        self._settings = self.spec.index.widened(float(eligible.mean()))
        self._index: Any = None
        if self._settings.kind != EXACT:
            self._index = open_index(chain_folder / INDEX_FILE, self.spec.num_items)
        self._users = questions.user_rows[:count].tolist()
        self._inputs = [
            self._oracle.inputs(u, c) for u, c in zip(self._users, _context(run, questions, count), strict=True)
        ]
        self.through_index = [self._slate(n, by_index=True) for n in range(len(self._users))]
        self.exact = [self._slate(n, by_index=False).rows for n in range(len(self._users))]

    def num_identical(self, answers: Sequence[NDArray]) -> int:
        """How many slates hold the reference's items in its order, items whose scores tie up to rounding exchanged."""
        return sum(_same(slate, rows) for slate, rows in zip(self.through_index, answers, strict=True))

    def worst_score(self, answers: Sequence[Answer]) -> float:
        """The largest difference between an answered probability and the reference's of the same user and item."""
        differences = [
            np.abs(sigmoid(slate.logits[answer.rows]) - answer.scores)
            for slate, answer in zip(self.through_index, answers, strict=False)
        ]
        # Not a number where the reference did not rank the item: nothing to compare.
        return float(np.nanmax(np.concatenate(differences), initial=0.0))

    def _slate(self, number: int, *, by_index: bool) -> Slate:
        user, inputs = self._users[number], self._inputs[number]
        scores, allowed = self._oracle.scores(user, inputs), self._oracle.allowed(user)
        near = allowed.copy()
        if by_index and self._index is not None:
            near[:] = False
            near[self._reached(self._oracle.query(inputs), allowed)] = True
            near &= allowed
        contributed = allowed & (scores[NEIGHBOUR_SCORE] > 0)
        known, rows = (
            np.union1d(
                _best(scores[TOWER_SCORE], near, SCORE_STEP, count),
                _best(scores[NEIGHBOUR_SCORE], contributed, SCORE_STEP, count),
            )
            for count in (self.spec.num_candidates + SPARE, self.spec.num_candidates)
        )
        logits = np.full(len(allowed), np.nan)
        of_known = {name: values[known] for name, values in scores.items()}
        logits[known] = self._oracle.logits(inputs, known, of_known)[:, 0]  # of the one task of a ranker without tasks
        rows = _best(self._oracle.merged(scores), np.isin(np.arange(len(allowed)), rows), MERGED_STEP, len(rows))
        rows = rows[: self.spec.num_candidates]
        return Slate(rows[np.lexsort((rows, -logits[rows]))][: self.spec.slate_size], logits)

    def _reached(self, query: NDArray, allowed: NDArray[np.bool_]) -> NDArray:
        """Every item of the lists that the index looks into; of the other kinds, what they find."""
        if self._settings.kind == IVF:
            self._index.nprobe = self._settings.nprobe
            found: NDArray = self._index.search(query[None], self.spec.num_items)[1][0]
            return found[found >= 0]
        found_by = ItemSearch(
            self._oracle.embeddings, Allowed(np.packbits(allowed, bitorder="little")), self._settings, self._index
        )
        return found_by.nearest(query, np.zeros(0, np.int64), self.spec.num_candidates + SPARE)[0]


def query_server(url: str, questions: Questions, count: int, batch: int, item_ids: NDArray) -> list[Answer]:
    """The slates of the first users from a server of ours, `batch` users a request."""
    answers: list[Answer] = []
    with CascadeClient(url) as client:
        for start in range(0, count, batch):
            columns = {name: values[:, 0].tolist() for name, values in questions.batch(start, batch).items()}
            slates = client.recommend(columns.pop("user_id"), context=columns)
            answers += [Answer.of(slate.item_ids, slate.scores, item_ids) for slate in slates]
    return answers[:count]


def query_chain(chain: Chain, questions: Questions, count: int, item_ids: NDArray) -> list[Answer]:
    """The slates of the first users from the chain in this process, one user at a time."""
    answers = []
    for start in range(count):
        found = chain.recommend(questions.batch(start, 1))
        shown = int(found["num_items"][0, 0])
        answers.append(Answer.of(found["item_id"][0, :shown].tolist(), found["score"][0, :shown].tolist(), item_ids))
    return answers


def query_stock(url: str, questions: Questions, count: int) -> list[Answer]:
    """What stock shows the first users, one user a request; rows, not ids."""
    transport = connect(parse_url(url))
    try:
        return [_query_stock(transport, questions, start) for start in range(count)]
    finally:
        transport.close()


def _query_stock(transport: Transport, questions: Questions, start: int) -> Answer:
    inputs = [Tensor(n, questions.datatypes[n], values) for n, values in questions.batch(start, 1).items()]
    found = transport.infer(inputs, TIMEOUT_S)
    return Answer(found["ordered_ids"].reshape(-1).astype(np.int64), found["ordered_scores"].reshape(-1).tolist())


def overlap(answers: Sequence[NDArray], exact: Sequence[NDArray]) -> float:
    """Mean share of the exact slate that was answered."""
    return float(np.mean([len(np.intersect1d(a, e)) / max(len(e), 1) for a, e in zip(answers, exact, strict=True)]))


def _best(scores: NDArray, among: NDArray[np.bool_], step: float, count: int) -> NDArray[np.int64]:
    """The rows of the highest scores among some, ties by row."""
    rows = np.flatnonzero(among)
    best: NDArray[np.int64] = rows[np.lexsort((rows, -quantise(scores[rows], step)))][:count]
    return best


def _same(slate: Slate, rows: NDArray) -> bool:
    """Equal, but for items that tie up to the rounding of a sum."""
    if len(rows) != len(slate.rows) or len(np.unique(rows)) != len(rows):
        return False
    return bool(np.allclose(slate.logits[rows], slate.logits[slate.rows], rtol=0, atol=TIE))


def _context(run: Run, questions: Questions, count: int) -> list[dict[str, NDArray] | None]:
    """Encoded context of each question by NVTabular itself, [1, 1] a feature."""
    names = [name for name in questions.columns if name != "user_id"]
    if not names:
        return [None] * count
    import pandas as pd
    from merlin.io import Dataset

    from workflows.features.graphs import load_workflow

    schema = FeatureSchema.load(run.folder("features") / "schema.json")
    features = {feature.column: feature.name for feature in schema.side("context")}
    frame = pd.DataFrame({features[name]: _column(questions.columns[name][:count]) for name in names})
    workflow = load_workflow(run.folder("features") / "workflows/context")
    encoded = workflow.transform(Dataset(frame, cpu=True)).to_ddf().compute()
    return [{name: encoded[name].to_numpy()[n : n + 1, None] for name in encoded.columns} for n in range(count)]


def _column(values: NDArray) -> Any:
    """A column of questions as a workflow takes it: what a request takes for null is null."""
    import pandas as pd

    if values.dtype.kind == "S":
        return pd.Series([text.decode() or None for text in values.tolist()], dtype=object)
    return pd.Series(values).astype("Int64").mask(values == NULL_INT) if values.dtype.kind == "i" else values

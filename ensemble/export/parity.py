"""A check before a chain is exported: its slates must equal brute force over the catalogue, for sampled users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Features, State, load_features, load_state
from runtime.chain import Chain
from runtime.encoders import FIRST
from runtime.index.settings import EXACT, Settings
from runtime.neighbours import NeighbourLists
from runtime.onnx import OnnxGraph
from runtime.ranker.items import load_items
from runtime.ranker.pairs import NEIGHBOUR_SCORE, POPULARITY, STREAM, STREAM_KNOWN, TOWER_SCORE
from runtime.request import never_drawn
from runtime.spec import KNOWN_USER, PATHS, ChainSpec
from runtime.steps.merge import PINNED
from runtime.steps.rank import WORTH_FILE, PlainScorer
from runtime.stream.live import without_live_state
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["NUM_USERS", "BruteForce", "check_parity"]

NUM_USERS = 16
# Rounding of float32 sums of this size; what is further apart is a mistake.
# The sources that every chain has.
PLAIN = ("towers", "neighbours")
LOGIT_TOLERANCE, RETRIEVAL_TOLERANCE, MERGED_TOLERANCE = 2e-3, 1e-5, 5e-5


def check_parity(run: Run, chain_folder: Path, eligible: NDArray[np.bool_]) -> int:
    """Compare the compiled chain with brute force on users spread over the table.

    Args:
        run: whose artefacts the oracle reads itself.
        chain_folder: compiled from it with state "serve".
        eligible: bool [N].

    Returns:
        How many users were compared.

    Raises:
        ArtefactError: a slate differs.
    """
    spec = ChainSpec.load(chain_folder)
    # Searched exactly, so that only mistakes differ; build-index has measured what its index leaves out.
    exact = replace(spec, index=Settings(EXACT))
    with without_live_state():
        chain = Chain(chain_folder, exact)
    oracle = BruteForce(run, chain_folder, spec, eligible)
    ids = np.load(run.folder("data") / "ids/users.npy", mmap_mode="r", allow_pickle=False)
    items = np.load(run.folder("data") / "ids/items.npy", mmap_mode="r", allow_pickle=False)
    users = np.unique(np.linspace(0, len(ids) - 1, min(NUM_USERS, len(ids))).astype(np.int64))
    for user in users.tolist():
        user_id = np.array([[ids[user]]], object if ids.dtype.kind == "S" else np.int64)
        answer = chain.recommend({"user_id": user_id, **never_drawn(spec, 1)})
        count = int(answer["num_items"][0, 0])
        rows = np.searchsorted(items, np.asarray(answer["item_id"][0, :count], items.dtype))
        problem = oracle.problem(user, rows, answer["score"][0, :count])
        if answer["path"][0, 0] != PATHS[KNOWN_USER].encode():
            problem = f"the path is {answer['path'][0, 0]!r}"
        if problem:
            raise ArtefactError(
                f"export: the compiled chain and brute force disagree for the user in row {user} ({problem}); the "
                "artefacts do not belong together: run the stages again with --force"
            )
    return len(users)


class BruteForce:
    """Every item scored for one known user without a request's context, straight from the run's artefacts."""

    def __init__(self, run: Run, chain_folder: Path, spec: ChainSpec, eligible: NDArray[np.bool_]) -> None:
        self._spec, self._eligible = spec, eligible
        self._features: Features = load_features(run)
        self._state: State = load_state(run, "serve")
        self._tower = OnnxGraph(run.folder("retrieval") / "query_tower.onnx")
        self.embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy", mmap_mode="r", allow_pickle=False)
        self._lists = NeighbourLists.load(run.folder("neighbours") / "eval")
        self._folder, self._chain = run.folder("ranking"), chain_folder
        self._further = {s.name: s for s in spec.sources if (s.weight or s.quota) and s.name not in PLAIN}
        self._sources = run.folder("sources") / "serve"
        self._worth = np.load(chain_folder / WORTH_FILE) if spec.utility else None

    def inputs(self, user: int, context: Mapping[str, NDArray] | None = None) -> dict[str, NDArray]:
        """Encoded query features [1, ...] of a known user; context features [1, 1], all null where none are given."""
        history = self._features.history_codes(self._state.history[user : user + 1])
        return self._features.query_inputs(
            np.array([user]), self._features.null_context(1) if context is None else context, history
        )

    def query(self, inputs: dict[str, NDArray]) -> NDArray[np.float32]:
        """The query embedding, float32 [D]."""
        embedding: NDArray[np.float32] = self._tower.run(inputs)["query"][0]
        return embedding

    def scores(self, user: int, inputs: dict[str, NDArray]) -> dict[str, NDArray]:
        """Both sources' scores of every item, by the name of their pair feature, [N] each."""
        query = self.query(inputs)
        further = {name: self._further_scores(name, query) for name in self._further}
        return {
            TOWER_SCORE: np.asarray(self.embeddings @ query),
            NEIGHBOUR_SCORE: self._neighbour_scores(user),
            **further,
        }

    def _further_scores(self, name: str, query: NDArray) -> NDArray:
        """The scores of a source beside towers and lists, [N]; -inf for items that it never gives."""
        if name == PINNED:
            slates = self._spec.order and self._spec.order.slates
            pinned = np.full(len(self.embeddings), -np.inf)
            pinned[[pin.row for pin in slates.pins] if slates else []] = 0
            return pinned
        if name == "popularity":
            counts = np.asarray(self._state.popularity)
            return counts / max(float(counts.max()), 1.0)
        scores = np.full(len(self.embeddings), -np.inf)
        if name == "content":
            rows, vectors = (np.load(self._sources / name / f"{part}.npy") for part in ("rows", "vectors"))
            scores[rows] = vectors @ query
        else:
            order = np.load(self._sources / name / "order.npy")
            scores[order] = np.load(self._sources / name / "scores.npy")[order]
        return scores

    def merged(self, scores: dict[str, NDArray]) -> NDArray:
        """The score that orders the candidates, [N]."""
        weights = {source.name: source.weight for source in self._spec.sources}
        merged = weights["towers"] * scores[TOWER_SCORE] + weights["neighbours"] * scores[NEIGHBOUR_SCORE]
        for name, source in self._further.items():
            merged = merged + source.weight * np.where(np.isfinite(scores[name]), scores[name], 0)
        return merged

    def allowed(self, user: int) -> NDArray[np.bool_]:
        """Which items the user may be shown, bool [N]."""
        allowed = self._eligible.copy()
        if self._spec.filter_seen:
            allowed[self._state.seen(user)] = False
        return allowed

    def problem(self, user: int, rows: NDArray, probabilities: NDArray) -> str:
        """What is wrong with a slate of item rows and their probabilities; empty when nothing is."""
        inputs = self.inputs(user)
        scores, allowed = self.scores(user, inputs), self.allowed(user)
        if not allowed[rows].all() or len(np.unique(rows)) != len(rows):
            return "an item that may not be shown, or one twice"
        count = min(self._spec.num_candidates, int(allowed.sum()))
        if len(rows) != min(self._spec.slate_size, count):
            return f"{len(rows)} items instead of {min(self._spec.slate_size, count)}"
        if not count:
            return ""
        at_least, at_most = self._retrieved(scores, allowed, count)
        logits = np.full(len(allowed), np.nan)
        found = self.logits(inputs, at_most, {name: scores[name][at_most] for name in (TOWER_SCORE, NEIGHBOUR_SCORE)})
        logits[at_most] = found[:, 0]
        # Probabilities that float32 rounds to 0 or 1 have no logit to compare.
        with np.errstate(divide="ignore"):
            shown = np.log(probabilities.astype(np.float64)) - np.log1p(-probabilities.astype(np.float64))
        clear = np.abs(logits[rows]) < 8
        if not np.allclose(shown[clear], logits[rows][clear], atol=LOGIT_TOLERANCE, rtol=1e-3):
            return "a score differs"
        if self._spec.order is not None and self._spec.order.slates is not None:
            return ""  # which of the candidates a slate shows is the rules' to say
        if self._worth is None:
            return self._order_problem(logits, rows, at_least, at_most)
        utilities = np.full(len(allowed), np.nan)
        utilities[at_most] = self._utilities(found, at_most)
        return self._order_problem(utilities, rows, at_least, at_most, float(np.abs(self._worth).max()))

    def _utilities(self, logits: NDArray, rows: NDArray) -> NDArray[np.float64]:
        """What some items are worth on average, [C], of their logits [C, T]: every task's own way up multiplied out."""
        assert self._worth is not None
        chances = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        total: NDArray[np.float64] = self._worth[rows, 0].astype(np.float64)
        for place, task in enumerate(self._spec.ranker.tasks):
            happens, above = chances[:, place].copy(), task.parent
            while above >= 0:
                happens *= chances[:, above]
                above = self._spec.ranker.tasks[above].parent
            total += happens * self._worth[rows, 1 + place]
        return total

    def _neighbour_scores(self, user: int) -> NDArray[np.float64]:
        """The neighbour score of every item, float64 [N], summed item by item."""
        recent = [item for item in self._state.history[user].tolist() if item >= 0]
        counts = dict.fromkeys([*self._state.seen(user).tolist(), *recent], 1.0)
        for age, item in enumerate(reversed(recent)):
            counts[item] += self._spec.recency_boost * self._spec.recency_decay**age
        scores = np.zeros(len(self.embeddings))
        for item, count in counts.items():
            span = slice(int(self._lists.indptr[item]), int(self._lists.indptr[item + 1]))
            scores[self._lists.rows[span]] += count * self._lists.weights[span]
        return scores

    def _retrieved(self, scores: dict[str, NDArray], allowed: NDArray, count: int) -> tuple[NDArray, NDArray]:
        """Lower and upper bound of the candidates: item rows that must be there, and those that may be by rounding."""
        meant = {TOWER_SCORE: allowed, NEIGHBOUR_SCORE: allowed & (scores[NEIGHBOUR_SCORE] > 0)}
        meant |= {name: allowed & np.isfinite(scores[name]) for name in self._further}
        merged = self.merged(scores)

        def best(name: str, wanted: int, margin: float) -> NDArray[np.bool_]:
            """The items of a source that beat its last wanted score by the margin, which may be negative."""
            usable, found = meant[name], scores[name]
            if int(usable.sum()) <= wanted:
                return usable
            last = np.sort(found[usable])[-wanted]
            of_source: NDArray[np.bool_] = usable & (found > last + margin)
            return of_source

        def union(margin: float) -> NDArray[np.bool_]:
            found: NDArray[np.bool_] = np.any([best(name, count, margin) for name in meant], axis=0)
            return found

        quotas = {name: source.quota for name, source in self._further.items() if source.quota}
        kept = np.any([best(n, q, -RETRIEVAL_TOLERANCE) for n, q in quotas.items()], axis=0) if quotas else ~allowed
        left = max(count - sum(quotas.values()), 1)
        # The most that the cut can be, and the least.
        high = np.sort(merged[union(-RETRIEVAL_TOLERANCE)])[-left:][:1]
        low = np.sort(merged[union(RETRIEVAL_TOLERANCE)])[-count:][:1]
        low = low if int(union(RETRIEVAL_TOLERANCE).sum()) >= count else np.array([-np.inf])
        step = MERGED_TOLERANCE * max(1.0, float(np.abs(merged[np.isfinite(merged)]).max()))
        at_least = np.flatnonzero(union(RETRIEVAL_TOLERANCE) & (merged > high + step))
        at_most = np.flatnonzero(kept | (union(-RETRIEVAL_TOLERANCE) & (merged > low - step)))
        return at_least, at_most

    def _order_problem(
        self, logits: NDArray, rows: NDArray, at_least: NDArray, at_most: NDArray, scale: float = 1.0
    ) -> str:
        """Check that the score at each place of the slate lies between both bounds of what can be retrieved."""
        got = logits[rows]
        low, high = (np.sort(logits[found])[::-1][: len(rows)] for found in (at_least, at_most))
        tolerance = LOGIT_TOLERANCE * scale + 1e-3 * np.abs(got)
        in_bounds = (got[: len(low)] >= low - tolerance[: len(low)]).all() and (got <= high + tolerance).all()
        return "" if in_bounds else "a better item was left out"

    def logits(self, inputs: dict[str, NDArray], rows: NDArray, scores: dict[str, NDArray]) -> NDArray:
        """Ranking logits of some items, [C, T]; without tasks T is 1.

        Args:
            inputs: encoded query features [1, ...].
            rows: item rows [C].
            scores: both sources' scores of those items, [C] each.
        """
        scores = scores | self._shares(inputs[self._spec.history_feature][0], rows)
        columns = [self._pair(name, rows, scores) for name in self._spec.ranker.pair_inputs]
        pair = np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))
        pair = pair.astype(np.float32)  # (C, P)
        if not self._spec.ranker.factored:
            return PlainScorer(self._chain, self._spec).one(inputs, rows, pair).reshape(len(rows), -1)
        query = OnnxGraph(self._folder / "ranker_query.onnx").run(inputs)
        fields, hidden = load_items(self._folder, self._features.items)(rows)
        with np.load(self._folder / "top.npz", allow_pickle=False) as top:
            dots = np.einsum("cgd,fd->cgf", fields, query["fields"][0]).reshape(len(rows), -1)
            value = dots @ top["cross"] + hidden + query["hidden"] + pair @ top["pair"]
            for layer in range(1, sum(name.startswith("w") for name in top.files) + 1):
                value = np.maximum(value, 0) @ top[f"w{layer}"] + top[f"b{layer}"]
            logits: NDArray = value + (pair @ top["skip"]).reshape(len(rows), -1)
        return logits

    def _shares(self, history: NDArray, rows: NDArray) -> dict[str, NDArray]:
        """Shares of the history [L], codes, for some items: counted one by one."""
        codes = np.asarray(self._features.items["item_id"]).tolist()
        known = [codes.index(code) for code in history.tolist() if code >= FIRST and code in codes]
        found = {}
        for share in self._spec.ranker.shares:
            values = np.asarray(self._features.items[share.item_input])
            looked_at = [values[row] for row in known[-share.last :]]
            alike = [sum(value == values[row] for value in looked_at) for row in rows.tolist()]
            found[share.name] = np.array(alike, np.float32) / np.float32(max(len(looked_at), 1))
        return found

    def _pair(self, name: str, rows: NDArray, scores: dict[str, NDArray]) -> NDArray:
        if name in scores:
            return scores[name]
        if name == STREAM_KNOWN or name.startswith(STREAM):  # nothing live is known at an export
            return np.zeros(len(rows), np.float32)
        assert name == POPULARITY
        return np.asarray(np.load(self._folder / "item_popularity.npy")[rows])

"""Why an item is not in a slate, by brute force; shares no code with the runtime, nor with what is tested."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.ensemble.oracle import Oracle

__all__ = ["Reason", "WhyOracle"]


class Reason(NamedTuple):
    """Where the item is lost, its place, its ranks by source, in the union and among the candidates."""

    lost_at: str
    place: int | None = None
    by_source: dict[str, int] | None = None
    merged: int | None = None
    rank: int | None = None


class WhyOracle(Oracle):
    """Answers for one user and one item at a time."""

    def why(
        self,
        user: Any,
        row: int,
        context: dict | None = None,
        recent: Any = (),
        exclude: Any = (),
        size: int | None = None,
    ) -> Reason:
        who = self.users.index(user) if user in self.users else -1
        recent_rows = [self.items.index(item) if item in self.items else -1 for item in recent]
        known_recent = {item for item in recent_rows if item >= 0}
        seen = known_recent | (self.seen[who] if who >= 0 else set())
        excluded = {self.items.index(item) for item in exclude if item in self.items}
        if row not in self.eligible:
            return Reason("eligibility")
        if row in excluded:
            return Reason("excluded")
        if row in seen and self.chain.filter_seen:
            return Reason("seen")
        allowed = [i for i in self.eligible if i not in excluded and not (self.chain.filter_seen and i in seen)]
        size, count = size or self.chain.slate_size, self.chain.num_candidates
        if who < 0 and not known_recent and not context:
            rank = 1 + sorted(allowed, key=lambda i: (-self.popularity[i], i)).index(row)
            lost = "sources" if rank > count else "slate" if rank > size else ""
            return Reason(lost, None if lost else rank, {"popularity": rank}, None, rank if rank <= count else None)
        inputs = self.inputs(who, context or {}, recent_rows)
        query = self.tower.run(None, inputs)[0][0]
        similarity = {i: float(self.embeddings[i].astype("float64") @ query) for i in allowed}
        stored = [item for item in self.history[who].tolist() if item >= 0] if who >= 0 else []
        neighbours = self.neighbour_scores(seen, [*stored, *(item for item in recent_rows if item >= 0)][-6:])
        further: dict[str, dict] = {name: dict(enumerate(scores)) for name, scores in self.item_scores.items()}
        further["content"] = {i: float(vector @ query) for i, vector in zip(self.few, self.vectors, strict=True)}
        ranks = {"towers": self.rank(similarity, row)}
        if neighbours[row] > 0:
            ranks["neighbours"] = self.rank({i: neighbours[i] for i in allowed}, row)
        union, _ = self.union(allowed, similarity, neighbours, further)
        found = self.retrieve(allowed, similarity, neighbours, further)
        merged = 1 + union.index(row) if row in union else None
        if row not in found:
            return Reason("sources" if merged is None else "merge", None, ranks, merged)
        logits = {i: self.logit(inputs, i, similarity[i], neighbours[i]) for i in found}
        rank = 1 + sorted(found, key=lambda i: (-round(logits[i], 5), i)).index(row)
        return Reason("slate" if rank > size else "", rank if rank <= size else None, ranks, merged, rank)

    def rank(self, scores: dict[int, float], row: int) -> int:
        """The item's place by descending score, ties by row."""
        return 1 + sorted(scores, key=lambda i: (-round(scores[i], 6), i)).index(row)

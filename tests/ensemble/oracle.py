"""The whole chain by brute force: loops over the artefacts of a synthetic run; shares no code with the runtime."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq

from tests.ensemble.synthetic import DEVICES

DEVICE_CODES = dict(zip(sorted(DEVICES), (5, 3, 4), strict=True))


class Oracle:
    """Answers one user at a time.

    Args:
        root: the run directory.
        state: "eval" or "serve".
        rules: predicates on (category, price) that an item must meet.
    """

    def __init__(self, root: Path, chain: Any, state: str = "serve", rules: Any = ()) -> None:
        self.root, self.chain = root, chain
        self.items = np.load(root / "data/ids/items.npy").tolist()
        self.users = np.load(root / "data/ids/users.npy").tolist()
        folder = root / "data/state" / state
        self.history, self.popularity = np.load(folder / "history.npy"), np.load(folder / "popularity.npy")
        indptr, rows = np.load(folder / "seen_indptr.npy"), np.load(folder / "seen_rows.npy")
        self.seen = [set(rows[a:b].tolist()) for a, b in pairwise(indptr)]
        self.encoded_items = pq.read_table(root / "features/items/part_000.parquet").to_pydict()
        self.encoded_users = pq.read_table(root / "features/users/part_000.parquet").to_pydict()
        raw = pq.read_table(root / "data/items.parquet").to_pydict()
        self.prices = raw["price"]
        self.eligible = [
            row
            for row in range(len(self.items))
            if raw["in_stock"][row] and all(rule(raw["category"][row], raw["price"][row]) for rule in rules)
        ]
        self.embeddings = np.load(root / "retrieval/item_embeddings.npy")
        self.tower = onnxruntime.InferenceSession(str(root / "retrieval/query_tower.onnx"))
        self.meta = json.loads((root / "ranking/meta.json").read_text())
        lists = root / "neighbours/eval"
        indptr, rows, weights = (np.load(lists / f"{name}.npy").tolist() for name in ("indptr", "rows", "weights"))
        self.contributes_to = [list(zip(rows[a:b], weights[a:b], strict=True)) for a, b in pairwise(indptr)]
        self.merge = json.loads((root / "neighbours/meta.json").read_text())
        self.load_ranker(root / "ranking")
        self.sources = json.loads((root / "sources/meta.json").read_text())["sources"]
        folder = root / "sources" / state
        self.item_scores = {name: np.load(folder / name / "scores.npy").tolist() for name in ("trending", "latest")}
        self.few = np.load(folder / "content/rows.npy").tolist()
        self.vectors = np.load(folder / "content/vectors.npy").astype(np.float64)

    def load_ranker(self, folder: Path) -> None:
        name = "ranker_query.onnx" if self.meta["factored"] else "ranker.onnx"
        self.ranker = onnxruntime.InferenceSession(str(folder / name))
        self.pair_popularity = np.load(folder / "item_popularity.npy")
        if self.meta["factored"]:
            gathered = self.meta["item_parts"] == "gathered"
            self.fields, self.hidden = self.gather(folder / "item_tables") if gathered else self.stored(folder)
            self.top = dict(np.load(folder / "top.npz"))

    def stored(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        return np.load(folder / "item_fields.npy"), np.load(folder / "item_hidden.npy")

    def gather(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """The item parts of an item id, a category and a price, from their tables."""
        ids, categories, network = (np.load(folder / n) for n in ("item_id.npy", "category.npy", "network.npz"))
        fields, hidden = [], []
        columns = (self.encoded_items[name] for name in ("item_id", "category", "price"))
        for code, category, price in zip(*columns, strict=True):
            dense = np.maximum(price * network["w1"][0] + network["b1"], 0) @ network["w2"] + network["b2"]
            a, b = ids[code], categories[category]
            fields.append([a, b, dense])
            hidden.append(np.array([a @ b, a @ dense, b @ dense]) @ network["dots"] + dense @ network["last"])
        return np.array(fields), np.array(hidden)

    def slate(
        self, user: Any, context: dict | None = None, recent: Any = (), exclude: Any = (), size: int | None = None
    ) -> tuple[list, list[float], str]:
        """Raw item ids, scores and the path."""
        row = self.users.index(user) if user in self.users else -1
        recent_rows = [self.items.index(item) if item in self.items else -1 for item in recent]
        known_recent = {item for item in recent_rows if item >= 0}
        seen = known_recent | (self.seen[row] if row >= 0 else set())
        hidden = {self.items.index(item) for item in exclude if item in self.items}
        allowed = [i for i in self.eligible if i not in hidden and not (self.chain.filter_seen and i in seen)]
        size = size or self.chain.slate_size
        if row < 0 and not known_recent and not context:
            best = sorted(allowed, key=lambda i: (-self.popularity[i], i))[:size]
            most = max(self.popularity)
            return [self.items[i] for i in best], [self.popularity[i] / most for i in best], "popularity"
        inputs = self.inputs(row, context or {}, recent_rows)
        query = self.tower.run(None, inputs)[0][0]
        similarity = {i: float(np.dot(self.embeddings[i].astype(np.float64), query)) for i in allowed}
        stored = [item for item in self.history[row].tolist() if item >= 0] if row >= 0 else []
        neighbours = self.neighbour_scores(seen, [*stored, *(item for item in recent_rows if item >= 0)][-6:])
        further = {name: dict(enumerate(scores)) for name, scores in self.item_scores.items()}
        further["content"] = {i: float(vector @ query) for i, vector in zip(self.few, self.vectors, strict=True)}
        found = self.retrieve(allowed, similarity, neighbours, further)
        outputs = {i: self.outputs(inputs, i, similarity[i], neighbours[i]) for i in found}
        logits = {i: values[self.label_place] for i, values in outputs.items()}
        order = {i: self.utility(i, values) for i, values in outputs.items()} if self.meta.get("tasks") else logits
        best = sorted(found, key=lambda i: (-round(order[i], 5), i))[:size]
        path = "known_user" if row >= 0 else "history" if known_recent else "context"
        return [self.items[i] for i in best], [1 / (1 + np.exp(-logits[i])) for i in best], path

    def neighbour_scores(self, seen: set[int], recent: list[int]) -> list[float]:
        """What the user's items contribute to every item, the recent ones more the later they were."""
        scores, recency = [0.0] * len(self.items), self.merge["recency"]
        for item in seen | set(recent):
            ages = [age for age, other in enumerate(reversed(recent)) if other == item]
            count = 1 + sum(recency["boost"] * recency["decay"] ** age for age in ages)
            for other, weight in self.contributes_to[item]:
                scores[other] += count * weight
        return scores

    def retrieve(
        self, allowed: list[int], similarity: dict[int, float], neighbours: list[float], further: dict[str, dict]
    ) -> list[int]:
        """The C best of each source, then the C best of those by the merged score, and what quotas keep."""
        count = self.chain.num_candidates
        order, kept = self.union(allowed, similarity, neighbours, further)
        if len(order) <= count:
            return order
        return [*kept, *[i for i in order if i not in kept][: count - len(kept)]]

    def union(
        self, allowed: list[int], similarity: dict[int, float], neighbours: list[float], further: dict[str, dict]
    ) -> tuple[list[int], set[int]]:
        """The C best of each source, by the merged score; and those that quotas keep."""
        count = self.chain.num_candidates
        near = sorted(allowed, key=lambda i: (-round(similarity[i], 6), i))[:count]
        listed = sorted((i for i in allowed if neighbours[i] > 0), key=lambda i: (-round(neighbours[i], 6), i))[:count]
        merged = {
            i: self.merge["tower_weight"] * similarity[i] + self.merge["neighbour_weight"] * neighbours[i]
            for i in {*near, *listed}
        }
        kept: set[int] = set()
        for name, record in self.sources.items():
            if not (record["weight"] or record["quota"]):
                continue
            of_source = further[name]
            best = sorted((i for i in allowed if i in of_source), key=lambda i: (-round(of_source[i], 6), i))[:count]
            kept |= set(best[: round(record["quota"] * count)])
            for i in best:
                tower, neighbour = self.merge["tower_weight"], self.merge["neighbour_weight"]
                merged.setdefault(i, tower * similarity[i] + neighbour * neighbours[i])
        for name, record in self.sources.items():
            for i in merged:
                merged[i] += record["weight"] * further.get(name, {}).get(i, 0.0)
        order = sorted(merged, key=lambda i: (-round(merged[i], 5), i))
        return order, kept

    def inputs(self, row: int, context: dict, recent: list[int]) -> dict[str, np.ndarray]:
        known = row >= 0
        history = [item for item in self.history[row].tolist() if item >= 0] if known else []
        codes = [self.encoded_items["item_id"][i] if i >= 0 else 2 for i in [*history, *recent]][-6:]
        hour, temperature = context.get("hour"), context.get("temperature")
        device = context.get("device")
        values = {
            "user_id": self.encoded_users["user_id"][row] if known else 2,
            "age_group": self.encoded_users["age_group"][row] if known else 1,
            "spend": self.encoded_users["spend"][row] if known else 0.0,
            "device": 1 if device is None else DEVICE_CODES.get(device, 2),
            "hour": 1 if hour is None else 3 + sum(hour >= cut for cut in (6, 12, 18)),
            "temperature": 0.0 if temperature is None else (temperature - 15.0) / 8.0,
        }
        dtype = {name: np.float32 if isinstance(value, float) else np.int32 for name, value in values.items()}
        inputs = {name: np.array([[value]], dtype[name]) for name, value in values.items()}
        return {**inputs, "recent_item_ids": np.array([codes + [0] * (6 - len(codes))], np.int32)}

    @property
    def label_place(self) -> int:
        return [task["task"] for task in self.meta.get("tasks") or [{"task": "click"}]].index("click")

    def utility(self, item: int, outputs: list[float]) -> float:
        """0.1*click + buy*price - 0.3*like + 0.05, the last two after the click."""
        names = [task["task"] for task in self.meta["tasks"]]
        given = {name: 1 / (1 + np.exp(-logit)) for name, logit in zip(names, outputs, strict=True)}
        click = given["click"]
        return 0.1 * click + click * given["buy"] * self.prices[item] - 0.3 * click * given["like"] + 0.05

    def outputs(self, inputs: dict[str, np.ndarray], item: int, similarity: float, neighbour: float) -> list[float]:
        pair = self.pairs(item, similarity, neighbour)
        if not self.meta["factored"]:
            item_inputs = {name: np.array([[values[item]]]) for name, values in self.encoded_items.items()}
            item_inputs = {n: v.astype(np.float32 if v.dtype.kind == "f" else np.int32) for n, v in item_inputs.items()}
            return self.ranker.run(None, {**inputs, **item_inputs, "pair": pair[None]})[0][0].tolist()
        fields, query_hidden = self.ranker.run(None, inputs)
        dots = [np.dot(g, f) for g in self.fields[item] for f in fields[0]]
        value = query_hidden[0] + self.hidden[item] + np.dot(dots, self.top["cross"]) + pair @ self.top["pair"]
        for layer in (1, 2):
            value = np.maximum(value, 0) @ self.top[f"w{layer}"] + self.top[f"b{layer}"]
        return (value + pair @ self.top["skip"]).tolist()

    def logit(self, inputs: dict[str, np.ndarray], item: int, similarity: float, neighbour: float) -> float:
        return self.outputs(inputs, item, similarity, neighbour)[self.label_place]

    def pairs(self, item: int, similarity: float, neighbour: float) -> np.ndarray:
        return np.array([similarity, neighbour, self.pair_popularity[item]], np.float32)

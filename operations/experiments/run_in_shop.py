"""A run as a policy of the simulated shop: its exported chain is asked for the slate of every visit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ensemble.export.layouts import MODEL_NAME
from ensemble.request_columns import request_column
from ensemble.serving.repository import find_repository
from runtime.chain import Chain
from runtime.order_spec import DETERMINISTIC, SOFTMAX
from runtime.spec import FORCE_POLICY, SEED
from runtime.step import Arrays
from workflows.core.errors import ArtefactError, CascadeError
from workflows.shop.laboratory import Shop
from workflows.shop.truth import DEVICES
from workflows.shop.visits import Slates, Visits

__all__ = ["RunPolicy"]

Rows = NDArray[np.int64]


class RunPolicy:
    """Shows what a run would serve.

    Args:
        run: a run on the simulated shop, with an export.
        shop: the run's.
        draws: whether every slate is drawn at random (as [chain.order] explore = "softmax" draws a share of them), so
            that the log says what another policy would have earned; else every slate is the sorted one.

    Raises:
        ArtefactError: there is no export, or it cannot be opened.
        CascadeError: slates are to be drawn, and the export draws none.
    """

    def __init__(self, run: Path, shop: Shop, *, draws: bool) -> None:
        folder = find_repository(run) / MODEL_NAME / "1" / "chain"
        try:
            self._chain = Chain.load(folder)
            self._ids = np.load(folder / "ids/items.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{folder} cannot be opened ({error}); run cascade export again") from error
        order = self._chain.spec.order
        self._explore = None if order is None else order.explore
        if draws and self._explore is None:
            raise CascadeError(
                f'{run} draws no slates; set [chain.order] explore = "softmax" and run cascade export again'
            )
        self._run, self._shop, self._draws = run, shop, draws

    def __call__(self, rng: np.random.Generator, visits: Visits) -> Slates:
        """The slate of each visit."""
        size = self._chain.spec.max_batch_size
        parts = [slice(first, first + size) for first in range(0, len(visits), size)]
        seeds = rng.integers(2**62, size=len(visits))
        found = [self._ask(visits.take(part), seeds[part]) for part in parts]
        items, logs, rows, utilities = (_together(list(each)) for each in zip(*found, strict=True))
        slates = Slates(items.astype(np.int64), logs, np.zeros(len(visits), bool), str(self._run))
        if not self._draws:
            return slates
        assert self._explore is not None
        at = self._explore.temperature
        return replace(slates, candidates=rows.astype(np.int64), scores=utilities, temperature=at)

    def choices(self, visits: Visits, prefix: str = "visit") -> pa.Table:
        """What the run would have chosen from at these visits, as `cascade evaluate-policy --policy` reads it.

        Args:
            visits: of a log that `workflows.shop.slate_log` wrote, in its order.
            prefix: of its request ids.
        """
        slates = self(np.random.default_rng(0), visits)
        if slates.candidates is None or slates.scores is None:
            raise CascadeError(f"{self._run} says what it chooses from where it draws: RunPolicy(..., draws=True)")
        ids, told = self._shop.world.truth.item_ids, slates.candidates >= 0
        rows = list(zip(slates.candidates, slates.scores, told, strict=True))
        return pa.table(
            {
                "request_id": [f"{prefix}-{number:08d}" for number in range(len(visits))],
                "candidate_ids": [ids[places[has]] for places, _, has in rows],
                "candidate_scores": [scores[has].astype(np.float64) for _, scores, has in rows],
                "temperature": np.full(len(visits), slates.temperature),
            }
        )

    def _ask(self, visits: Visits, seeds: Rows) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Items, log propensities, candidates and utilities of visits that fit a batch."""
        answer = self._chain.recommend(self._request(visits, seeds))
        item_ids, truth = answer["item_id"], self._shop.world.truth
        items = np.full(item_ids.shape, -1, dtype=np.int64)
        shown = np.arange(item_ids.shape[1]) < answer["num_items"]
        items[shown] = truth.item_rows(item_ids[shown])
        if not self._draws:
            nothing = np.zeros((len(items), 0))
            return items, np.zeros(items.shape), nothing, nothing
        assert self._chain.sampled is not None
        rows, utilities = self._chain.sampled
        known = np.append(truth.item_rows(self._ids), -1)  # the last: no item
        return items, answer["log_propensity"].astype(np.float64), known[rows], utilities

    def _request(self, visits: Visits, seeds: Rows) -> Arrays:
        values = {
            "device": pa.array(np.array([*DEVICES, None], object)[visits.device], pa.string()),
            "hour": pa.array(visits.hour),
        }
        request: Arrays = {"user_id": self._shop.world.truth.user_ids[visits.users][:, None]}
        for column in self._chain.spec.context_columns:
            if column.name in values:  # of others the shop knows nothing
                request[column.name] = request_column(column, pa.chunked_array([values[column.name]]))[:, None]
        if self._explore is None:
            return request
        policy = SOFTMAX if self._draws else DETERMINISTIC
        forced = np.full((len(visits), 1), policy.encode(), object)
        return request | {SEED: seeds[:, None], FORCE_POLICY: forced}


def _together(parts: list[NDArray]) -> NDArray:
    """Rows of several batches, padded with -1 where one is narrower."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=-1) for part in parts])

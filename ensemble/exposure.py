"""Who is shown how much: the shares of the values of a column in the places of slates, with the rules and without."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.export.compile import STAGES_READ, compile_chain
from ensemble.export.eligibility import column_of, eligible_items
from ensemble.export.sample import sample_of
from ensemble.export.slate_files import codes_of
from models.dataset.features import load_features
from runtime.encoders import FIRST
from runtime.slate_spec import SlateSpec
from workflows.core.run import Run

__all__ = ["Exposure", "Group", "measure_exposure"]

Floats = NDArray[np.float64]
NUM_USERS = 2_000


class Group(msgspec.Struct, frozen=True):
    """One value of the column; shares are of what has a value, without rules and with them where there are two.

    Attributes:
        value: as text; null: none.
        items: share of the items that may be shown.
        taken: share of what the users took.
        candidates: share of the items that retrieval finds.
        places: share of the places.
        seen: the same where a place counts less by the logarithm of its number, as in NDCG.
        by_place: share of each place, the first one first.
    """

    value: str | None
    items: float
    taken: float
    candidates: float
    places: tuple[float, float]
    seen: tuple[float, float]
    by_place: tuple[list[float], list[float]]


class Exposure(msgspec.Struct, frozen=True):
    """What an audit found.

    Attributes:
        column: of the items.
        num_users: whose slates they are.
        slate_size: S.
        loss: share of what slates are worth by the models that the rules cost.
        groups: the most shown first, with the rules.
    """

    column: str
    num_users: int
    slate_size: int
    loss: float
    groups: list[Group]


def measure_exposure(run: Run, config: Config, column: str) -> Exposure:
    """Order the slates of some users with the rules of the config and by score alone.

    Args:
        run: whose stages up to ranking have finished.
        config: its config.
        column: of the items table.

    Raises:
        ArtefactError: a stage has not finished.
        ConfigError: the items lack the column, or a rule cannot be followed.
    """
    for stage in STAGES_READ:
        run.require(stage, check=False)
    items = run.folder("data") / "items.parquet"
    codes = codes_of(items, column, "--column")
    names = _names(items, column, codes)
    order = msgspec.structs.replace(config.chain.order, explore="none")
    config = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, order=order))
    with tempfile.TemporaryDirectory(prefix=".exposure-", dir=run.root) as scratch:
        folder = Path(scratch) / "chain"
        compile_chain(run, config, folder, "eval")
        sample = sample_of(run, folder, "cascade exposure", NUM_USERS)
        both = [sample.slates(spec, {}) for spec in (SlateSpec(), sample.spec)]
        worth = [sample.total_worth(places) for places in both]
        shown = [_coded(codes, sample.items(places)) for places in both]
        found, taken = _coded(codes, sample.rows), _taken(run, codes, sample.history)
        size = sample.size
    per_place = [np.stack([_shares(one[:, [n]], len(names)) for n in range(one.shape[1])]) for one in shown]
    discounts = 1 / np.log2(np.arange(shown[0].shape[1]) + 2)
    places = [_shares(one, len(names)) for one in shown]
    seen = [_shares(one, len(names), discounts) for one in shown]
    of_items = _shares(_coded(codes, np.flatnonzero(eligible_items(items, config))[None]), len(names))
    of_candidates, of_taken = _shares(found, len(names)), _shares(taken, len(names))
    groups = [
        Group(
            names[n],
            float(of_items[n]),
            float(of_taken[n]),
            float(of_candidates[n]),
            (float(places[0][n]), float(places[1][n])),
            (float(seen[0][n]), float(seen[1][n])),
            (per_place[0][:, n].tolist(), per_place[1][:, n].tolist()),
        )
        for n in np.lexsort((np.arange(len(names)), -places[0], -places[1])).tolist()
    ]
    return Exposure(column, len(found), size, 1 - worth[1] / worth[0] if worth[0] > 0 else 0.0, groups)


def _names(items: Path, column: str, codes: NDArray[np.int32]) -> list[str | None]:
    """The values by code, and null at the end where an item has none."""
    values = column_of(items, column, "--column").combine_chunks().dictionary_encode().dictionary
    texts: list[str | None] = pc.cast(values, pa.string()).to_pylist()
    return [*texts[: int(codes.max(initial=-1)) + 1], *([None] if (codes < 0).any() else [])]


def _coded(codes: NDArray[np.int32], rows: NDArray) -> NDArray[np.int64]:
    """Places in the names of item rows [U, M]: the last for items without a value, -1 for no item."""
    last = int(codes.max(initial=-1)) + 1
    own = codes[np.maximum(rows, 0)]
    return np.where(rows < 0, -1, np.where(own < 0, last, own))


def _taken(run: Run, codes: NDArray[np.int32], history: NDArray[np.int32]) -> NDArray[np.int64]:
    """The same of histories, which hold codes of items."""
    of_items = np.asarray(load_features(run).items["item_id"])
    rows = np.full(max(int(of_items.max(initial=0)), int(history.max(initial=0))) + 1, -1, np.int64)
    known = np.flatnonzero(of_items >= FIRST)
    rows[of_items[known]] = known
    return _coded(codes, rows[history])


def _shares(found: NDArray[np.int64], count: int, weights: Floats | None = None) -> Floats:
    """Shares of the groups in [U, M] places, of which each column weighs the same or as given; 0 where nothing is."""
    kept = found >= 0
    each = np.broadcast_to(1.0 if weights is None else weights, found.shape)[kept]
    totals = np.bincount(found[kept], each, count)
    shares: Floats = totals / max(float(totals.sum()), 1e-12)
    return shares

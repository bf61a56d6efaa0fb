"""What the request log and the feedback say of an experiment: values by user and variant, of each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.experiments.arms import Arm
from operations.experiments.record import Running
from operations.experiments.tables import coded, columns_of, numbers, read_requests, together, weights
from operations.feedback.schema import DAY_NS, JOINED, date_of, request_days
from workflows.core.errors import ArtefactError

__all__ = [
    "ANSWER_COLUMNS",
    "CLICK",
    "JOINED_COLUMNS",
    "REQUEST_COLUMNS",
    "Observed",
    "days_since",
    "label_of",
    "nanoseconds",
    "observed",
    "p95",
]

# The label of the metric "ctr".
CLICK = "click"
REQUEST_COLUMNS = ["slate_key", "user_key", "experiment", "model_version", "at", "attempt", "weight"]
ANSWER_COLUMNS = ["num_items", "service_us", "error"]
JOINED_COLUMNS = ["slate_key", "shown", "label"]
# The share of the control's answers that are slower than the limit of "p95_ms".
SLOW = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """Sums by variant, in the order of the experiment's.

    Attributes:
        users: distinct users of each.
        slates: that each gave.
        arms: of each metric.
        elsewhere: share of each variant's slates that another version than its own gave.
        p95_ms: of each.
        since_stage: slates of each since the present stage began.
        latest: nanoseconds since 1970 of the latest; 0 for none.
    """

    users: list[int]
    slates: list[int]
    arms: Mapping[str, list[Arm]]
    elsewhere: list[float]
    p95_ms: list[float]
    since_stage: list[int]
    latest: int


@dataclass(frozen=True)
class _Slates:
    """Rows of requests of an experiment, and what each user of them has, one entry a row."""

    variant: NDArray[np.int64]
    user: NDArray[np.int64]
    own: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    took_us: Floats
    at: NDArray[np.int64]
    keys: pa.Array


def observed(folder: Path, running: Running) -> Observed:
    """Read what there is of an experiment since its start.

    Args:
        folder: MON.
        running: the experiment.

    Raises:
        ArtefactError: there is no request log, or a file of it cannot be read.
    """
    slates = _slates(days_since(folder, running), running)
    variants = range(len(running.variants))
    # What another version answered says nothing of the variant's, but that it could not be asked.
    good = slates.own & ~slates.failed
    slow = [p95(slates.took_us[good & (slates.variant == each)]) for each in variants]
    arms = {
        "errors": _arms(slates, np.ones(len(good), bool), (~good).astype(float), len(variants)),
        "p95_ms": _arms(slates, good, (slates.took_us > slow[0]).astype(float), len(variants)),
        "empty_slates": _arms(slates, good, slates.empty.astype(float), len(variants)),
        **_feedback(folder, slates, good, running),
    }
    stage = slates.at >= nanoseconds(running.stage_since)
    counts = [int((slates.variant == each).sum()) for each in variants]
    return Observed(
        users=[len(np.unique(slates.user[slates.variant == each])) for each in variants],
        slates=counts,
        arms=arms,
        elsewhere=[_share(~slates.own[slates.variant == each]) for each in variants],
        p95_ms=[each / 1e3 for each in slow],
        since_stage=[int((stage & good & (slates.variant == each)).sum()) for each in variants],
        latest=int(slates.at.max()) if len(slates.at) else 0,
    )


def days_since(folder: Path, running: Running) -> list[Path]:
    """The folders of requests of the days since the start of an experiment.

    Raises:
        ArtefactError: there is no request log.
    """
    if not (folder / "requests").is_dir():
        raise ArtefactError(f"{folder} holds no collected requests; `cascade log collect LOG --out {folder}` makes it")
    started = nanoseconds(running.started_at)
    return [day for day in request_days(folder) if (date_of(day) + 1) * DAY_NS > started]


def label_of(metric: str) -> str:
    """The label of the feedback that a metric counts."""
    return CLICK if metric == "ctr" else metric


def _slates(days: Sequence[Path], running: Running) -> _Slates:
    started = nanoseconds(running.started_at)
    names = [side.name for side in running.variants]
    columns = [*REQUEST_COLUMNS, *ANSWER_COLUMNS]
    tables = [
        table for day in days for path in sorted(day.glob("[!.]*.parquet")) if (table := read_requests(path, columns))
    ]
    table = together(tables, columns)
    place = {f"{running.name}={name}": number for number, name in enumerate(names)}
    places, labels = coded(table["experiment"])
    variant = np.array([*(_variant(str(label), place) for label in labels), -1], np.int64)[places]
    at = numbers(table["at"].cast(pa.int64()))
    kept = (variant >= 0) & (at >= started) & (numbers(table["attempt"]) == 1) & (weights(table["weight"]) > 0)
    rows = table.filter(pa.array(kept))
    versions = np.array([side.version for side in running.variants])
    failed = np.asarray(pc.is_valid(rows["error"]).combine_chunks().to_numpy(zero_copy_only=False), bool)
    # A request that was refused names no user: each is one of its own.
    user, keys = coded(rows["user_key"])
    return _Slates(
        variant[kept],
        np.where(user < 0, len(keys) + np.arange(len(user)), user),
        numbers(rows["model_version"]) == versions[variant[kept]],
        failed,
        (numbers(rows["num_items"]) == 0) & ~failed,
        numbers(rows["service_us"]).astype(np.float64),
        at[kept],
        rows["slate_key"].combine_chunks(),
    )


def _variant(label: str, place: Mapping[str, int]) -> int:
    return next((place[each] for each in label.split(";") if each in place), -1)


def _arms(slates: _Slates, counted: NDArray[np.bool_], values: Floats, num_variants: int) -> list[Arm]:
    """Sums of values of the counted rows, by user."""
    return [
        _arm(slates, counted & (slates.variant == each), values, np.ones(len(values))) for each in range(num_variants)
    ]


def _arm(slates: _Slates, rows: NDArray[np.bool_], values: Floats, weights: Floats) -> Arm:
    _, place = np.unique(slates.user[rows], return_inverse=True)
    size = int(place.max()) + 1 if len(place) else 0
    y, x = (np.bincount(place, each[rows], minlength=size) for each in (values, weights))
    return Arm.of(y[x > 0], x[x > 0])


def _feedback(folder: Path, slates: _Slates, good: NDArray[np.bool_], running: Running) -> dict[str, list[Arm]]:
    """Labels by item shown, and opt-outs by slate, of the slates that feedback was joined to."""
    wanted = {
        name for name in (running.metric, *running.guardrails) if name not in ("errors", "p95_ms", "empty_slates")
    }
    if not wanted or not len(good):
        return {}
    paths = sorted((folder / JOINED).glob("chain=*/date=*/[!.]*.parquet"))
    first = int(slates.at.min()) // DAY_NS
    tables = [columns_of(path, JOINED_COLUMNS) for path in paths if date_of(path.parent) >= first]
    joined = together(tables, JOINED_COLUMNS)
    places = pc.index_in(joined["slate_key"].cast(pa.binary(16)), value_set=slates.keys.cast(pa.binary(16)))
    at, shown = numbers(places, -1), numbers(joined["shown"].cast(pa.int8())) > 0
    labels = joined["label"].cast(pa.string())
    impressions = np.bincount(at[(at >= 0) & shown], minlength=len(good)).astype(float)
    arms = {}
    for name in sorted(wanted):
        is_one = numbers(pc.equal(labels, label_of(name)).cast(pa.int8())) > 0
        counts = np.bincount(at[(at >= 0) & ~shown & is_one], minlength=len(good)).astype(float)
        per = (impressions > 0).astype(float) if name == "opt_out" else impressions
        arms[name] = [
            _arm(slates, good & (slates.variant == each), counts, per) for each in range(len(running.variants))
        ]
    return arms


def p95(took_us: Floats) -> float:
    """The limit that one answer in twenty is slower than."""
    return float(np.quantile(took_us, 1 - SLOW)) if len(took_us) else float("nan")


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0


def nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of an ISO text; 0 of an empty one."""
    return int(datetime.fromisoformat(text).timestamp() * 1_000) * 1_000_000 if text else 0

"""The candidate: a run with a report and an export, and what its users were given on its test split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import ChainConfig, Config
from ensemble.evaluation.config import EvaluateConfig
from ensemble.evaluation.metrics_file import read_metrics
from ensemble.evaluation.queries import Queries, load_queries, read_segment
from ensemble.evaluation.slices import user_slices
from models.dataset.features import load_state
from models.ranking.config import RankingConfig
from operations.replay.versions import Version, find_given
from workflows.core.artefacts import Manifest, read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.origins import check_origins
from workflows.core.run import Run
from workflows.tables.config import DataConfig

__all__ = ["Candidate", "open_candidate", "recorded_config", "slates_of"]

CHAIN = "chain"
# Keys of [evaluate] that decide nothing about the queries; "peers" is an older name.
OF_NO_QUERY = ("baselines", "peers", "targets")


@dataclass(frozen=True)
class Candidate:
    """What is known of the candidate.

    Attributes:
        run: its run directory.
        export: manifest of repo/.
        version: its export, to be asked.
        metrics: content of metrics.json.
        queries: Q of them, one a test user.
        slates: int32 [Q, K] item rows that the report has, -1 behind the last.
        scores: float32 [Q, K].
        user_ids, item_ids: raw ids by row, ascending.
        slices: name -> bool [Q].
    """

    run: Run
    export: Manifest
    version: Version
    metrics: dict[str, Any]
    queries: Queries
    slates: NDArray[np.int32]
    scores: NDArray[np.float32]
    user_ids: NDArray
    item_ids: NDArray
    slices: dict[str, NDArray[np.bool_]]


def open_candidate(run: Run) -> Candidate:
    """Read a run.

    Raises:
        ArtefactError: it has no report or no export, one is older than what it was made from, or one cannot be read.
    """
    for stage, command in (("report", "evaluate"), ("repo", "export")):
        if not run.folder(stage).is_dir():
            raise ArtefactError(f"{run.root} has no {stage}/: run cascade {command} --out {run.root} first")
    report, export = run.require("report"), run.require("repo")
    check_origins(run.root, ["report", "repo"])
    config = recorded_config(report)
    state = load_state(run, "eval")
    queries = load_queries(run, config, state)
    data = run.folder("data")
    user_ids, item_ids = (np.load(data / "ids" / f"{side}.npy", allow_pickle=False) for side in ("users", "items"))
    segments = {column: read_segment(data / "users.parquet", column) for column in config.evaluate.segments}
    slates, scores = slates_of(report, queries, user_ids, item_ids)
    return Candidate(
        run,
        read_manifest(export),
        find_given(run.root, "fused", "", None),
        read_metrics(report),
        queries,
        slates,
        scores,
        user_ids,
        item_ids,
        dict(user_slices(queries, state, segments)),
    )


def recorded_config(report: Path) -> Config:
    """The sections that made a report, as far as the queries depend on them.

    Raises:
        ArtefactError: there is a key that this Cascade does not know.
    """
    recorded = read_manifest(report).config
    asked = {key: value for key, value in recorded.get("evaluate", {}).items() if key not in OF_NO_QUERY}
    try:
        return Config(
            data=msgspec.convert(recorded["data"], DataConfig),
            evaluate=msgspec.convert(asked, EvaluateConfig),
            chain=msgspec.convert(recorded["chain"], ChainConfig),
            ranking=RankingConfig(label=recorded["label"]),
        )
    except (msgspec.ValidationError, KeyError) as error:
        raise ArtefactError(
            f"{report} was written with settings that this Cascade does not know ({error}); run cascade evaluate again "
            "with --force"
        ) from None


def slates_of(
    report: Path, queries: Queries, user_ids: NDArray, item_ids: NDArray
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The chain's slates of a report for some queries, by rows of these ids, and their scores.

    Raises:
        ArtefactError: the report cannot be read.
    """
    path = report / "recommendations.parquet"
    try:
        table = pq.read_table(path)
        table = table.filter(pc.equal(table["source"].cast("string"), CHAIN))
        users, items = _rows(table["user_id"].to_numpy(), user_ids), _rows(table["item_id"].to_numpy(), item_ids)
        rank, score = np.asarray(table["rank"].to_numpy(), np.int64), table["score"].to_numpy()
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run cascade evaluate again with --force") from None
    query = np.minimum(np.searchsorted(queries.user_rows, users), max(len(queries) - 1, 0))
    known = (users >= 0) & (queries.user_rows[query] == users) if len(queries) else np.zeros(len(users), bool)
    width = int(rank.max(initial=1))
    slates = np.full((len(queries), width), -1, np.int32)
    scores = np.zeros(slates.shape, np.float32)
    slates[query[known], rank[known] - 1] = items[known]
    scores[query[known], rank[known] - 1] = score[known]
    return slates, scores


def _rows(values: NDArray, ids: NDArray) -> NDArray[np.int64]:
    """Their places among the ids, -1 for one that is not there."""
    if ids.dtype.kind == "S":
        values = np.array([str(value).encode() for value in values])
    if not len(values) or not len(ids):
        return np.full(len(values), -1, np.int64)
    at = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    return np.where(ids[at] == values, at, -1)

"""How good both versions are for the same users, and how probable both call the same rows.

Where the served version comes from a run on the same tables, whose report is still there, the two reports have the same
test split, and neither model has seen it. Else the served version is asked again, and only users count of whom it knows
nothing of the test split: those whose first test event is after everything that it knows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.evaluation.gate_config import GateConfig
from ensemble.evaluation.queries import relevant_label
from ensemble.history import withdrawn_before
from models.metrics.ranking import per_user
from models.ranking.meta import RankingMeta
from operations.gate.asking import Answers, answers
from operations.gate.candidate import Candidate, recorded_config, slates_of
from operations.gate.rows import Quality, Scores
from operations.gate.served import ServedVersion
from operations.replay.process import started
from runtime.spec import PATHS, POPULARITY
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.origins import why_stale
from workflows.core.run import Run

__all__ = ["Compared", "compare", "had_since"]

IMPRESSIONS = "impressions"


class Compared(NamedTuple):
    """See `operations.gate.rows.Evidence`."""

    quality: Quality | str
    scores: Scores | str | None


def compare(candidate: Candidate, served: ServedVersion, limits: GateConfig) -> Compared:
    """Measure both.

    Raises:
        CascadeError: the served version cannot be asked, or either gives no slates as long as `limits.cutoff`.
    """
    if not len(candidate.queries):
        why = str(candidate.metrics.get("unmeasured") or "no test user has a relevant item")
        return Compared(why, why)
    if why := _why_not_again(candidate, served):
        return Compared(why, why)
    other = _same_tables(candidate, served)
    if other is not None:
        return _by_reports(candidate, other, limits)
    if not served.newest or not candidate.queries.at.any():
        return Compared(
            *("the served version does not say which event is its newest, or events have no timestamp",) * 2
        )
    part = np.flatnonzero(candidate.queries.at > served.newest)
    if not len(part):
        why = (
            f"the served version knows all of the {len(candidate.queries):,} test users' events: train on newer "
            "ones, or keep the run that it was published from"
        )
        return Compared(why, why)
    return _asked(candidate, served, part, limits)


def _why_not_again(candidate: Candidate, served: ServedVersion) -> str:
    """The sentence where this very export is served, or was and somebody took it back; else "".

    A run that `cascade retrain` has made of another one without new data holds the same export.
    """
    ours, theirs = candidate.export, served.manifest
    if (ours.fingerprint, ours.created_at) == (theirs.fingerprint, theirs.created_at):
        return f"this export is what version {served.version.number} already serves"
    if (line := withdrawn_before(served.repository, ours.content)) is not None:
        reason = f": {line.why}" if line.why else ""
        return f"version {line.version} had this very export, and it was withdrawn at {line.at}{reason}"
    return ""


def _same_tables(candidate: Candidate, served: ServedVersion) -> Run | None:
    """The run that the served version was published from, where its report can stand for it."""
    if served.run is None:
        return None
    other = Run(served.run)
    try:
        same = _tables(other) == _tables(candidate.run)
        as_published = read_manifest(other.folder("repo")).fingerprint == served.manifest.fingerprint
        fresh = why_stale(other.root, ["report", "repo"]) is None
        other.require("report")
    except (ArtefactError, OSError):
        return None
    return other if same and as_published and fresh else None


def _tables(run: Run) -> dict[str, str]:
    """The prepared tables, by their checksums; which of their columns the models read is in config.json alone."""
    files = read_manifest(run.folder("data")).files
    return {file.path: file.sha256 for file in files if file.path != "config.json"}


def _by_reports(candidate: Candidate, other: Run, limits: GateConfig) -> Compared:
    slates, _ = slates_of(other.folder("report"), candidate.queries, candidate.user_ids, candidate.item_ids)
    measured = (slates >= 0).any(axis=1)
    if _questions(candidate.run) == _questions(other):
        measured[:] = True  # an empty slate is an answer
    figures = _quality(candidate, candidate.slates, slates, np.flatnonzero(measured), limits)
    how = f"the report of {other.root}, on the same tables"
    return Compared(Quality(*figures, how), _scores_of_runs(candidate.run, other))


def _questions(run: Run) -> tuple[object, ...]:
    """What decides whom a report asks about."""
    config = recorded_config(run.folder("report"))
    return config.evaluate.num_users, config.evaluate.seed, relevant_label(config), config.chain.filter_seen


def _asked(candidate: Candidate, served: ServedVersion, part: NDArray[np.int64], limits: GateConfig) -> Compared:
    longest = min(candidate.slates.shape[1], served.spec.max_slate_size)
    told = had_since(candidate, served, part) if served.spec.live is not None else []
    with started(served.version) as process:
        found = answers(process, served.version, served.spec, candidate, part, longest, told=told)
    slates = np.full((len(candidate.queries), longest), -1, np.int32)
    slates[part] = found.rows
    figures = _quality(candidate, candidate.slates, slates, part, limits)
    how = f"version {served.version.number} asked again for users whose test events are all after what it knows"
    return Compared(Quality(*figures, how), _scores_of_slates(candidate, found, part))


def _quality(
    candidate: Candidate,
    ours: NDArray[np.int32],
    theirs: NDArray[np.int32],
    part: NDArray[np.int64],
    limits: GateConfig,
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, NDArray[np.bool_]]]:
    queries, k = candidate.queries, limits.cutoff
    if (shortest := min(ours.shape[1], theirs.shape[1])) < k:
        raise ArtefactError(
            f"slates of {shortest} items have no NDCG@{k}: lower gate.cutoff, or raise evaluate.cutoffs and "
            "chain.max_slate_size"
        )
    found = [
        per_user(np.maximum(slates, -1)[:, :k], queries.indptr, queries.rows, [k])[f"ndcg@{k}"][part]
        for slates in (ours, theirs)
    ]
    return found[0], found[1], {name: members[part] for name, members in candidate.slices.items()}


def _scores_of_runs(ours: Run, other: Run) -> Scores | str | None:
    """Of the test rows of both rankers, which are the same."""
    from models.ranking.scores import ranking_scores

    metas = [RankingMeta.load(run.folder("ranking")) for run in (ours, other)]
    if metas[0].training_examples != IMPRESSIONS:
        return None
    if metas[1].training_examples != IMPRESSIONS or metas[0].label != metas[1].label:
        return "the served version's ranker gives probabilities of something else"
    users, labels, given = ranking_scores(ours, "test")
    others, other_labels, other_given = ranking_scores(other, "test")
    if not len(labels):
        return "the test split has no row that can be scored"
    if not np.array_equal(users, others) or not np.array_equal(labels, other_labels):
        return "the two rankers were measured on other rows"
    return Scores(labels, given, other_given, users)


def _scores_of_slates(candidate: Candidate, found: Answers, part: NDArray[np.int64]) -> Scores | str | None:
    """Of the impressions of the test split whose items both slates hold."""
    meta = RankingMeta.load(candidate.run.folder("ranking"))
    config = recorded_config(candidate.run.folder("report"))
    if meta.training_examples != IMPRESSIONS or meta.label != relevant_label(config):
        return None
    user, item, label = _impressions(candidate, meta.label)
    pairs = _pairs(candidate.slates[part], candidate.scores[part], len(candidate.item_ids))
    # On the path popularity a score is no probability.
    known = found.paths != PATHS[POPULARITY]
    others = _pairs(np.where(known[:, None], found.rows, -1), found.scores, len(candidate.item_ids))
    both, ours, theirs = np.intersect1d(pairs[0], others[0], assume_unique=True, return_indices=True)
    query = np.searchsorted(candidate.queries.user_rows[part], user)
    inside = query < len(part)
    inside[inside] = candidate.queries.user_rows[part][query[inside]] == user[inside]
    keys = np.where(inside, query * len(candidate.item_ids) + item, -1)
    at = np.minimum(np.searchsorted(both, keys), max(len(both) - 1, 0))
    shown = (both[at] == keys) if len(both) else np.zeros(len(keys), bool)
    given = [scores[place][at[shown]].astype(np.float64) for scores, place in ((pairs[1], ours), (others[1], theirs))]
    labels = label[shown]
    if not 0 < labels.sum() < len(labels):
        return f"{len(labels):,} impressions of the test split are in slates of both versions, too few to compare"
    if any((scores < 0).any() or (scores > 1).any() for scores in given):
        return None
    return Scores(labels, given[0], given[1], user[shown])


def _impressions(candidate: Candidate, label: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    paths = sorted((candidate.run.folder("data") / "test").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path, columns=["user_row", "item_row", label]) for path in paths])
    user, item = (np.asarray(table[name].to_numpy(), np.int64) for name in ("user_row", "item_row"))
    known = (user >= 0) & (item >= 0)
    return user[known], item[known], np.asarray(table[label].to_numpy(), np.float64)[known]


def _pairs(slates: NDArray[np.int32], scores: NDArray[np.float32], num_items: int) -> tuple[NDArray, NDArray]:
    """Keys of the pairs of a query and an item, ascending, and their scores."""
    query, place = np.nonzero(slates >= 0)
    keys = query.astype(np.int64) * num_items + slates[query, place]
    order = np.argsort(keys)
    return keys[order], scores[query, place][order]


def had_since(candidate: Candidate, served: ServedVersion, part: NDArray[np.int64]) -> list[list[int]]:
    """What each user has had after everything that the served version knows and before the test split, oldest first.

    Where events are live, the served version knows them too.
    """
    data, labels = candidate.run.folder("data"), list(recorded_config(candidate.run.folder("report")).data.labels)
    paths = [path for split in ("train", "valid") for path in sorted((data / split).glob("*.parquet"))]
    table = pa.concat_tables([pq.read_table(path, columns=["user_row", "item_row", "at", *labels]) for path in paths])
    user, item, at = (np.asarray(table[name].to_numpy(), np.int64) for name in ("user_row", "item_row", "at"))
    had = np.zeros(len(user), bool) if labels else np.ones(len(user), bool)
    for label in labels:
        had |= np.asarray(table[label].to_numpy()) > 0.5
    kept = had & (at > served.newest) & (item >= 0) & np.isin(user, candidate.queries.user_rows[part])
    order = np.flatnonzero(kept)[np.argsort(at[kept], kind="stable")]
    lists: dict[int, list[int]] = {int(row): [] for row in candidate.queries.user_rows[part]}
    for row in order.tolist():
        lists[int(user[row])].append(int(item[row]))
    return list(lists.values())

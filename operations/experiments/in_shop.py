"""Experiments in the simulated shop: users meet the slates of a report, and each day is looked at.

What a day says goes through the look of `cascade experiment status`: the assignment by hash, the sample ratio, the
confidence sequence and the verdict are those that a served experiment has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cascade_client.assignment import read_experiments
from operations.experiments.arms import Arm
from operations.experiments.look import History, take
from operations.experiments.observed import Observed
from operations.experiments.record import Record, Running, Side
from workflows.core.errors import ArtefactError
from workflows.shop.laboratory import Shop, draw_visits
from workflows.shop.play import expect, play
from workflows.shop.visits import Policy, Slates, Visits
from workflows.shop.world import SECOND_NS

__all__ = ["DAY_NS", "GivenSlates", "between", "last_days", "play_days", "slates_of_report", "true_difference"]

Rows = NDArray[np.int64]
DAY_NS = 86_400 * SECOND_NS


@dataclass(frozen=True)
class GivenSlates:
    """A policy that shows each user the slate that was made for them.

    Attributes:
        name: of it.
        items: int64 [users of the shop, S], item rows; -1: none.
    """

    name: str
    items: Rows

    def __call__(self, rng: np.random.Generator, visits: Visits) -> Slates:
        """The slates of the users of these visits; nothing is left to chance."""
        items = self.items[visits.users]
        return Slates(items, np.zeros(items.shape), np.zeros(len(items), dtype=bool), self.name)

    @property
    def users(self) -> NDArray[np.bool_]:
        """Who has a slate, bool [users]."""
        return np.asarray(self.items[:, 0] >= 0)


def slates_of_report(folder: Path, source: str, shop: Shop, size: int) -> GivenSlates:
    """The first items of a source's slates in report/; nobody's where nothing was measured.

    Args:
        folder: report/ of a run on the shop.
        source: "chain" or "retrieval".
        shop: of the run.
        size: how many items.

    Raises:
        ArtefactError: they cannot be read.
    """
    path = folder / "recommendations.parquet"
    try:
        table = pq.read_table(path, filters=[("source", "==", source), ("rank", "<=", size)])
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run cascade evaluate again with --force") from error
    truth = shop.world.truth
    items = np.full((len(truth.user_ids), size), -1, dtype=np.int64)
    place = np.asarray(table["rank"].to_numpy(), np.int64) - 1
    items[truth.user_rows(table["user_id"].to_numpy()), place] = truth.item_rows(table["item_id"].to_numpy())
    return GivenSlates(source, items)


def last_days(shop: Shop, users: NDArray[np.bool_], days: int, seed: int) -> Visits:
    """Visits in the last days of the shop's log, as many as it has, but of these users alone."""
    config = shop.config
    visits = draw_visits(shop, config.num_impressions // config.impressions_per_session, seed)
    start = int(shop.world.truth.log_from_to[1]) - days * DAY_NS
    return visits.take(np.flatnonzero((visits.at >= start) & users[visits.users]))


def between(name: str, control: str, variant: str, started_at: int, *, users: int) -> Running:
    """An experiment that all users are in from its start, half of them in each variant.

    Args:
        name: of it.
        control: what there was.
        variant: what is new.
        started_at: nanoseconds since 1970.
        users: see ExperimentConfig.
    """
    since = _text(started_at)
    return Running(
        name=name,
        salt=f"{name}-1",
        layer="serving",
        start=0.0,
        end=1.0,
        variants=[Side(control, 0.0, 0.5, 0.5, "", 1), Side(variant, 0.5, 1.0, 1.0, "", 2)],
        metric="ctr",
        guardrails=[],
        tolerance=0.05,
        stages=[1.0],
        min_hours=0.0,
        min_exposures=0,
        users=users,
        alpha=0.05,
        stage=0,
        stage_since=since,
        started_at=since,
    )


def play_days(
    shop: Shop,
    running: Running,
    policies: Sequence[Policy],
    visits: Visits,
    seed: int,
    lost: Callable[[Visits], NDArray[np.bool_]] | None = None,
) -> History:
    """Play an experiment, and look at it each midnight.

    Args:
        shop: to play in.
        running: the experiment.
        policies: of its variants, in their order; each has a slate for every visit.
        visits: in order of time, from its start on, one at least.
        seed: of what users do.
        lost: which visits to the last variant never reach the log; None: all do.
    """
    logged = _play(shop, running, policies, visits, seed)
    if lost is not None:
        logged = logged.take(~(lost(visits) & (logged.variant == len(policies) - 1)))
    history = History(running.started_at)
    first, last = (int(at) // DAY_NS + 1 for at in (visits.at[0], visits.at[-1]))
    for midnight in range(first * DAY_NS, last * DAY_NS + 1, DAY_NS):
        seen = logged.take(logged.at < midnight)
        take(_observed(seen, running), running, history, _text(midnight))
    return history


def true_difference(shop: Shop, policies: Sequence[Policy], visits: Visits) -> float:
    """Expected clicks by item shown of the last policy minus those of the first, if each met all visits."""
    ratios = []
    for policy in (policies[0], policies[-1]):
        slates = policy(np.random.default_rng(0), visits)
        ratios.append(float(expect(shop, visits, slates).click.sum() / (slates.items >= 0).sum()))
    return ratios[1] - ratios[0]


@dataclass(frozen=True)
class _Logged:
    """Visits as a log has them: instants and users [B], the place of each one's variant, items shown and clicked."""

    at: Rows
    user: Rows
    variant: Rows
    shown: Rows
    clicked: Rows

    def take(self, which: NDArray[np.bool_]) -> _Logged:
        return _Logged(*(values[which] for values in vars(self).values()))


def _play(shop: Shop, running: Running, policies: Sequence[Policy], visits: Visits, seed: int) -> _Logged:
    variant = _assigned(running, shop, visits)
    shown, clicked = np.zeros(len(visits), np.int64), np.zeros(len(visits), np.int64)
    for place, policy in enumerate(policies):
        mine = np.flatnonzero(variant == place)
        played = play(shop, policy, visits.take(mine), seed + place)
        shown[mine] = (played.slates.items >= 0).sum(axis=1)
        clicked[mine] = played.click.sum(axis=1)
    return _Logged(visits.at, visits.users, variant, shown, clicked)


def _assigned(running: Running, shop: Shop, visits: Visits) -> Rows:
    """The place of each visit's variant, by the hash that the client has."""
    experiments = read_experiments(msgspec.to_builtins(Record([running])))
    place = {f"{running.name}={side.name}": number for number, side in enumerate(running.variants)}
    users, inverse = np.unique(visits.users, return_inverse=True)
    assigned = experiments.assign_many(shop.world.truth.user_ids[users].tolist())
    return np.array([place[each.label] for each in assigned], np.int64)[inverse]


def _observed(seen: _Logged, running: Running) -> Observed:
    variants = range(len(running.variants))
    counts = [int((seen.variant == each).sum()) for each in variants]
    return Observed(
        users=[len(np.unique(seen.user[seen.variant == each])) for each in variants],
        slates=counts,
        arms={running.metric: [_arm(seen.take(seen.variant == each)) for each in variants]},
        elsewhere=[0.0 for _ in variants],
        p95_ms=[float("nan") for _ in variants],
        since_stage=counts,
        latest=int(seen.at.max()) if len(seen.at) else 0,
    )


def _arm(seen: _Logged) -> Arm:
    place = np.unique(seen.user, return_inverse=True)[1]
    return Arm.of(np.bincount(place, seen.clicked), np.bincount(place, seen.shown))


def _text(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / SECOND_NS, timezone.utc).isoformat(timespec="milliseconds")

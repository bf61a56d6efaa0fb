"""The baselines of a run: tuned on valid, then fitted on the positives of train and valid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.baselines.base import Baseline
from models.baselines.choices import Choice, chosen_baselines, why_not
from models.baselines.config import BaselinesConfig
from models.baselines.tuning import METRIC, Params, Trial, Validation, search
from models.dataset.features import State, load_events, load_state, positive_label
from workflows.core import console
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["BaselineRecord", "fitted_baselines", "interaction_matrix", "load_validation"]


class BaselineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a baseline came about, for the report.

    Attributes:
        skipped: why there is no such source.
        picked: the parameters with the best `metric` on valid.
        metric: what decided, on valid with the model fitted on train; None where nothing was tuned.
        grid: parameter -> values that the search could choose from.
        trials: what was tried, in order.
        ended: whether the search ended by itself, not by its budget.
        tuning_seconds, fit_seconds: wall time of the search, and of the fit on train and valid.
    """

    skipped: str | None = None
    picked: Params = {}
    metric: str | None = None
    grid: dict[str, Sequence[Any]] = {}
    trials: list[Trial] = []
    ended: bool = True
    tuning_seconds: float = 0.0
    fit_seconds: float = 0.0


def interaction_matrix(state: State) -> csr_matrix:
    """The positives known as of a snapshot: 1.0 where the user had the item; float32 [U, N]."""
    from scipy.sparse import csr_matrix

    shape = (len(state.seen_indptr) - 1, len(state.popularity))
    ones = np.ones(len(state.seen_rows), np.float32)
    # Copies: the state is memory-mapped read-only, which the compiled models refuse.
    return csr_matrix((ones, np.array(state.seen_rows), np.array(state.seen_indptr)), shape=shape)


def fitted_baselines(
    run: Run, config: BaselinesConfig, knn_neighbours: Sequence[int], seed: int, segment: NDArray | None = None
) -> Iterator[tuple[str, Baseline | None, BaselineRecord]]:
    """Popularity, item-kNN and the baselines that are asked for, one at a time, so that only one is held in memory.

    Args:
        run: its data and features stages have finished.
        config: which baselines, and how long each may be tuned.
        knn_neighbours: sizes that item-kNN may have.
        seed: of the validation users drawn.
        segment: the segment of every user, [U], for popularity within it; None: there are none.

    Yields:
        The source's name, the model fitted on train and valid (None where it cannot be measured here), its record.
    """
    state = load_state(run, "eval")
    known, popularity = interaction_matrix(state), np.asarray(state.popularity)
    validation = load_validation(run, config.tuning_users, seed)
    for choice in chosen_baselines(config, knn_neighbours, segment):
        if reason := why_not(choice, config, known.shape[1]):
            console.say(f"evaluate: {reason}")
            yield choice.name, None, BaselineRecord(skipped=reason)
            continue
        record = _tuned(choice, validation, config.budget_s)
        started_at = time.perf_counter()
        model = choice.build(**record.picked)
        model.fit(known, popularity)
        fit_seconds = time.perf_counter() - started_at
        console.say(f"evaluate: {choice.name} {_words(record)}, fitted in {fit_seconds:.1f} s")
        yield choice.name, model, msgspec.structs.replace(record, fit_seconds=fit_seconds)


def load_validation(run: Run, num_users: int, seed: int) -> Validation:
    """The positives of train, and the new positives of valid of `num_users` drawn users (0: all)."""
    state = load_state(run, "train")
    seen = interaction_matrix(state)
    schema = FeatureSchema.load(run.folder("features") / "schema.json")
    label = positive_label(schema, "")
    events = load_events(run, "valid").select(positives_of=label, known_items_only=True).columns
    pairs = np.unique(events["user_row"].astype(np.int64) * seen.shape[1] + events["item_row"])
    user, item = np.divmod(pairs, seen.shape[1])
    new = np.asarray(seen[user, item]).ravel() == 0 if len(user) else np.zeros(0, bool)
    user, item = user[new], item[new]
    users = np.unique(user)
    if num_users and len(users) > num_users:
        users = np.sort(np.random.default_rng(seed).choice(users, num_users, replace=False))
        drawn = np.isin(user, users)
        user, item = user[drawn], item[drawn]
    indptr = np.searchsorted(user, np.append(users, seen.shape[0]))
    return Validation(seen, np.asarray(state.popularity), users, indptr, item)


def _tuned(choice: Choice, validation: Validation, budget_s: float) -> BaselineRecord:
    """Search the grid; where valid is empty or there is one point only, that or the first one is taken."""
    first = {name: values[0] for name, values in choice.grid.items()}
    if not len(validation.users) or all(len(values) == 1 for values in choice.grid.values()):
        return BaselineRecord(picked=first)
    started_at = time.perf_counter()
    with console.progress(f"evaluate: tuning {choice.name}", None, "trials") as bar:

        def measure(params: Params) -> float:
            value = validation.measure(choice.build(**params))
            bar.advance(bar.task_ids[0])
            return value

        found = search(choice.grid, measure, budget_s)
    return BaselineRecord(
        picked=found.best,
        metric=METRIC,
        grid=dict(choice.grid),
        trials=found.trials,
        ended=found.ended,
        tuning_seconds=time.perf_counter() - started_at,
    )


def _words(record: BaselineRecord) -> str:
    if not record.trials:
        return "as it is"
    picked = ", ".join(f"{name} {value}" for name, value in record.picked.items())
    stopped = "" if record.ended else ", stopped by its budget"
    return f"tuned in {record.tuning_seconds:.0f} s ({len(record.trials)} trials{stopped}: {picked})"

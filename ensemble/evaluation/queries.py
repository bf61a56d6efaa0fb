"""The queries of the evaluation, one a test user as of the start of the test split, and the relevant items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.off_policy import Places
from ensemble.evaluation.random_display import Displayed
from models.dataset.features import State
from workflows.core.errors import ArtefactError, DataError
from workflows.core.run import Run
from workflows.tables.split import OUTSIDE, PROPENSITY
from workflows.tables.values import has_texts, texts_of

__all__ = ["Queries", "load_queries", "read_segment", "relevant_label"]

UNKNOWN = "unknown"


class Queries(msgspec.Struct, frozen=True):
    """One query a user, ascending user_row.

    Attributes:
        user_rows: int64 [Q].
        indptr: int64 [Q + 1] offsets into `rows`.
        rows: int64, distinct relevant item rows, ascending within a user.
        at: int64 [Q], when the user's first test event happened.
        context: context column -> its raw values [Q] at that event.
        facts: counts for the report.
        outside: int64 [Q], how many distinct relevant items outside the catalogue each has beside them; None: none.
        displayed: what was positive among what chance displayed; None where data.propensity names no column.
        places: everything that chance displayed, to whomever; None as well.
    """

    user_rows: NDArray[np.int64]
    indptr: NDArray[np.int64]
    rows: NDArray[np.int64]
    at: NDArray[np.int64]
    context: dict[str, pa.Array]
    facts: dict[str, Any]
    outside: NDArray[np.int64] | None = None
    displayed: Displayed | None = None
    places: Places | None = None

    def __len__(self) -> int:
        return len(self.user_rows)

    def relevant(self, query: int) -> NDArray[np.int64]:
        """Relevant item rows of one query."""
        return self.rows[self.indptr[query] : self.indptr[query + 1]]


def relevant_label(config: Config) -> str:
    """The label that makes a test event relevant; empty where every event is."""
    return config.evaluate.relevant_label or config.ranking.label or next(iter(config.data.labels), "")


def load_queries(run: Run, config: Config, state: State) -> Queries:
    """Read the test split and work out what is relevant.

    A relevant item is one with a positive test event of the user, counted once. Items that the user had already had in
    train or valid are left out where the chain filters seen items: no source may show them. Events of items outside the
    catalogue are left out, and the pairs they make are counted. Users without a relevant item get no query;
    where nobody has one, there is no query (`ensemble.evaluation.unmeasured` says why).

    Args:
        run: its data stage has finished.
        config: of the run.
        state: what is known before the test split.
    """
    events = _read_test(run, config)
    num_items = len(state.popularity)
    user, item = (np.asarray(events[name].to_numpy(), np.int64) for name in ("user_row", "item_row"))
    label = relevant_label(config)
    positive = np.asarray(events[label].to_numpy()) > 0.5 if label else np.ones(len(user), bool)
    usable = positive & (item >= 0) & (user >= 0)
    keys = np.unique(user[usable] * num_items + item[usable])
    new = ~_is_seen(keys, state, num_items) if config.chain.filter_seen else np.ones(len(keys), bool)
    users, relevant = np.divmod(keys[new], num_items)
    queried = _draw(np.unique(users), config)
    chosen = np.isin(users, queried)
    outside_users, num_outside = _outside(events, positive)
    first_user, first = np.unique(user, return_index=True)
    at_first = first[np.searchsorted(first_user, queried)]
    return Queries(
        user_rows=queried,
        indptr=np.append(0, np.searchsorted(users[chosen], queried, side="right")),
        rows=relevant[chosen],
        at=np.asarray(events["at"].to_numpy(), np.int64)[at_first],
        context={name: events[name].combine_chunks().take(pa.array(at_first)) for name in config.data.context},
        facts={
            "num_test_events": len(user),
            "num_positive_test_events": int(positive.sum()),
            "num_positive_events_outside_catalogue": int((positive & (item < 0)).sum()),
            "num_repeated_pairs_left_out": int((~new).sum()),
            "num_users_with_relevant_items": len(np.unique(users)),
            "num_users_measured": len(queried),
            "num_relevant": int(chosen.sum()),
            "num_relevant_pairs": len(users),
            "num_relevant_pairs_outside_catalogue": int(num_outside.sum()),
            "num_users_with_relevant_items_only_outside": int((~np.isin(outside_users, users)).sum()),
            "relevant_label": label or None,
        },
        outside=_counts_of(queried, outside_users, num_outside),
        displayed=_displayed(events, positive, queried, state, config) if config.data.propensity else None,
        places=_places(events, positive, np.unique(users), queried, config) if config.data.propensity else None,
    )


def _outside(events: pa.Table, positive: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users with positive test events of items outside the catalogue, ascending, and of how many distinct ones."""
    if OUTSIDE not in events.column_names:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    number = np.asarray(pc.fill_null(events[OUTSIDE], -1).to_numpy(), np.int64)
    wanted = positive & (number >= 0)
    pairs = np.unique(np.stack([np.asarray(events["user_row"].to_numpy(), np.int64)[wanted], number[wanted]]), axis=1)
    return np.unique(pairs[0], return_counts=True)


def _counts_of(
    queried: NDArray[np.int64], users: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """The counts of `users` for the queried users, 0 for the others; None without any."""
    if not len(users):
        return None
    place = np.minimum(np.searchsorted(users, queried), len(users) - 1)
    return np.where(users[place] == queried, counts[place], 0)


def _displayed(
    events: pa.Table, positive: NDArray[np.bool_], queried: NDArray[np.int64], state: State, config: Config
) -> Displayed:
    """What chance displayed to the queried users, by the same rules as what is relevant.

    Args:
        events: the test split, R rows.
        positive: bool [R].
        queried: int64 [Q], ascending.
        state: what is known before the test split.
        config: whether seen items are left out.
    """
    user, item = (np.asarray(events[name].to_numpy(), np.int64) for name in ("user_row", "item_row"))
    propensity = np.asarray(events[PROPENSITY].to_numpy(), np.float64)
    by_chance = (propensity > 0) & np.isin(user, queried)  # NaN: a policy chose
    num_items = len(state.popularity)
    if config.chain.filter_seen:
        by_chance &= ~(_is_seen(user * num_items + item, state, num_items) & (item >= 0))
    rows = np.flatnonzero(by_chance & positive)
    rows = rows[np.argsort(user[rows], kind="stable")]
    return Displayed(np.searchsorted(queried, user[rows]), item[rows], 1.0 / propensity[rows], int(by_chance.sum()))


def _places(
    events: pa.Table, positive: NDArray[np.bool_], users: NDArray[np.int64], queried: NDArray[np.int64], config: Config
) -> Places:
    """What chance displayed to the queried users, and to those who have nothing to be queried about.

    Args:
        events: the test split, R rows.
        positive: bool [R].
        users: int64, ascending: who has a relevant item.
        queried: int64 [Q], those of them who were drawn; of the others as large a share is drawn.
        config: for the seed and the label.
    """
    user, item = (np.asarray(events[name].to_numpy(), np.int64) for name in ("user_row", "item_row"))
    propensity = np.asarray(events[PROPENSITY].to_numpy(), np.float64)
    by_chance = (propensity > 0) & (user >= 0)  # NaN: a policy chose
    others = np.setdiff1d(np.unique(user[by_chance]), users)
    size = round(len(others) * len(queried) / len(users)) if len(users) else 0
    drawn = np.sort(np.random.default_rng(config.evaluate.seed).choice(others, size, replace=False))
    asked = np.concatenate([queried, drawn])
    rows = np.flatnonzero(by_chance & np.isin(user, asked))
    order = np.argsort(asked)
    owner = order[np.searchsorted(asked[order], user[rows])]
    return Places(owner, item[rows], propensity[rows], positive[rows].astype(float), relevant_label(config))


def read_segment(users: Path, column: str) -> NDArray:
    """One column of the users table as text by user_row, object [U]; a null is "unknown".

    Args:
        users: data/users.parquet.
        column: its name.

    Raises:
        DataError: there is no such column, or its values are lists or structs.
    """
    names = pq.read_schema(users).names
    if column not in names:
        raise DataError(f"users: expected a column '{column}' (evaluate.segments), got the columns {', '.join(names)}")
    values = pq.read_table(users, columns=[column])[column]
    if not has_texts(values.type):
        raise DataError(
            f"users: '{column}' (evaluate.segments) holds values of type {values.type}; name a column of single values"
        )
    return texts_of(values, UNKNOWN)


def _read_test(run: Run, config: Config) -> pa.Table:
    folder = run.require("data", check=False) / "test"
    label = relevant_label(config)
    names = ["user_row", "item_row", "at", *([label] if label else []), *config.data.context]
    names += [PROPENSITY] if config.data.propensity else []
    parts = sorted(folder.glob("*.parquet"))
    if not parts:
        raise ArtefactError(f"{folder} holds no Parquet part; run cascade prepare again with --force")
    names += [OUTSIDE] if OUTSIDE in pq.read_schema(parts[0]).names else []
    return pa.concat_tables([pq.read_table(path, columns=list(dict.fromkeys(names))) for path in parts])


def _is_seen(keys: NDArray[np.int64], state: State, num_items: int) -> NDArray[np.bool_]:
    owner = np.repeat(np.arange(len(state.seen_indptr) - 1, dtype=np.int64), np.diff(state.seen_indptr))
    return np.isin(keys, owner * num_items + state.seen_rows)


def _draw(users: NDArray[np.int64], config: Config) -> NDArray[np.int64]:
    wanted = config.evaluate.num_users
    if not wanted or wanted >= len(users):
        return users
    return np.sort(np.random.default_rng(config.evaluate.seed).choice(users, wanted, replace=False))

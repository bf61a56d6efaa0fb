"""The columns of a decision log as they were read, and what is wrong with a row of them."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workflows.core.errors import DataError
from workflows.decisions.columns import Lists, coded, flat, ids_in, numbers_in

__all__ = ["NEEDED", "Raw", "problems", "read_columns", "read_temperature"]

NEEDED = ("request_id", "user_id", "item_ids", "rewards")
CHOSEN_FROM = ("candidate_ids", "candidate_scores")
LOG, PLAIN = "log_propensity", "propensity"
# A certain slot whose log was rounded on its way.
ROUNDING = 1e-6


class Raw(msgspec.Struct, frozen=True):
    """Columns of N rows.

    Attributes:
        request_ids: text [N]; None where it is null.
        users: int64 [N], places in `user_ids`; -1: null.
        user_ids: ascending.
        items: places in `item_ids`.
        item_ids: of shown items and of candidates, ascending.
        chances: log propensities.
        rewards: of each slot.
        candidates: places in `item_ids`.
        scores: of the candidates.
        temperature: float64 [N]; NaN where it is not said.
    """

    request_ids: NDArray
    users: NDArray[np.int64]
    user_ids: NDArray
    items: Lists
    item_ids: NDArray
    chances: Lists
    rewards: Lists
    candidates: Lists
    scores: Lists
    temperature: NDArray[np.float64]


def read_columns(table: pa.Table) -> Raw:
    """The columns of a log.

    Raises:
        DataError: one is missing, or is not what its name says.
    """
    has = set(table.column_names)
    missing = [name for name in NEEDED if name not in has] + ([] if has & {LOG, PLAIN} else [LOG])
    if missing:
        expected = ", ".join((*NEEDED, LOG))
        raise DataError(f"a decision log has the columns {expected}; this one has no {', '.join(missing)}")
    if len(has & set(CHOSEN_FROM)) == 1:  # the one says nothing without the other
        table = table.drop_columns([name for name in CHOSEN_FROM if name in has])
    items, candidates = ids_in(table, "item_ids"), ids_in(table, "candidate_ids")
    item_ids, (items.values, candidates.values) = coded(items.values, candidates.values)
    user_ids, (users,) = coded(flat(table, "user_id"))
    return Raw(
        request_ids=np.array(flat(table, "request_id").cast(pa.string()).to_pylist(), object),
        users=users,
        user_ids=user_ids,
        items=items,
        item_ids=item_ids,
        chances=_chances(table),
        rewards=numbers_in(table, "rewards"),
        candidates=candidates,
        scores=numbers_in(table, "candidate_scores"),
        temperature=read_temperature(table),
    )


def problems(raw: Raw) -> NDArray:
    """What is wrong with each row, in words; "" where nothing is."""
    why = np.full(len(raw.users), "", object)
    counts = raw.items.lengths
    again = np.ones(len(why), bool)
    again[np.unique(raw.request_ids.astype(str), return_index=True)[1]] = False
    chances, rewards, scores = raw.chances.values, raw.rewards.values, raw.scores.values
    for is_bad, text in (
        (np.array([name is None for name in raw.request_ids], bool), "it has no request_id"),
        (again, "another row has the same request_id"),
        (raw.users < 0, "it has no user_id"),
        (counts == 0, "it shows no item"),
        (raw.items.any_of(raw.items.values < 0), "an item is null"),
        (raw.chances.lengths != counts, "there are not as many propensities as items"),
        (raw.rewards.lengths != counts, "there are not as many rewards as items"),
        (raw.chances.any_of(np.isneginf(chances)), "a propensity is 0, and yet the item was shown"),
        (raw.chances.any_of(~np.isfinite(chances)), "a propensity is no number"),
        (raw.chances.any_of(chances > ROUNDING), "a propensity is above 1"),
        (raw.rewards.any_of(~np.isfinite(rewards)), "a reward is no number"),
        (_twice(raw.items), "it shows an item twice"),
        (raw.candidates.lengths != raw.scores.lengths, "there are not as many candidate_scores as candidate_ids"),
        (raw.scores.any_of(np.isnan(scores) | (scores == np.inf)), "a candidate's score is no number"),
        (_twice(raw.candidates), "a candidate comes twice"),
        (_not_among(raw.items, raw.candidates), "an item that it shows is none of its candidates"),
        (raw.temperature <= 0, "the temperature is not above 0"),
    ):
        why[is_bad & (why == "")] = text
    return why


def _chances(table: pa.Table) -> Lists:
    """Log propensities, from whichever column has them."""
    name = LOG if LOG in table.column_names else PLAIN
    found = numbers_in(table, name)
    known = found.values[np.isfinite(found.values)]
    if name == LOG:
        if (known > ROUNDING).mean() > 0.5 if len(known) else False:
            raise DataError(
                "propensity given where log_propensity is expected: most values are above 0, which no logarithm of a "
                "probability is; call the column propensity, or write its natural logarithm"
            )
        return found
    if (known < 0).mean() > 0.5 if len(known) else False:
        raise DataError(
            "log_propensity given where propensity is expected: most values are below 0, which no probability is; call "
            "the column log_propensity"
        )
    values = np.where(found.values >= 0, found.values, np.nan)
    with np.errstate(divide="ignore"):
        found.values = np.log(values)
    return found


def read_temperature(table: pa.Table) -> NDArray[np.float64]:
    """The column temperature, float64 [N]; NaN where it is not said.

    Raises:
        DataError: it is no column of numbers.
    """
    if "temperature" not in table.column_names:
        return np.full(table.num_rows, np.nan)
    try:
        column = table["temperature"].cast(pa.float64())
    except pa.ArrowException:
        raise DataError(f"column temperature is {table['temperature'].type}; expected numbers") from None
    return np.asarray(pc.fill_null(column, float("nan")).to_numpy(), np.float64)


def _twice(lists: Lists) -> NDArray[np.bool_]:
    """Rows that hold a value twice, bool [N]."""
    rows = lists.rows
    order = np.lexsort((lists.values, rows))
    same = (np.diff(rows[order]) == 0) & (np.diff(lists.values[order]) == 0)
    found = np.zeros(len(lists.given), bool)
    found[rows[order][1:][same]] = True
    return found


def _not_among(items: Lists, candidates: Lists) -> NDArray[np.bool_]:
    """Rows with candidates that lack a shown item, bool [N]."""
    base = int(max(items.values.max(initial=0), candidates.values.max(initial=0))) + 1
    pairs = [lists.rows * base + lists.values for lists in (items, candidates)]
    return items.any_of(~np.isin(*pairs)) & (candidates.lengths > 0)

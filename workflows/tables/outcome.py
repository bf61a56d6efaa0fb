"""What a split came to: refused where nothing could be learnt from it, said where a part of it is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.core import console
from workflows.core.errors import DataError
from workflows.tables.config import DataConfig, SplitConfig

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_outcome"]

NAMES = ("train", "valid", "test")
WITHOUT = {"valid": "settings keep their defaults and nothing stops training early", "test": "nothing will be measured"}


def check_outcome(con: duckdb.DuckDBPyConnection, data: DataConfig, split: SplitConfig) -> None:
    """Look at the table `placed`.

    Raises:
        DataError: there is no train event, or none of them is a positive.
    """
    found = con.execute("SELECT split, count(*), sum(positive::BIGINT) FROM placed GROUP BY 1").fetchall()
    counts = {NAMES[place]: int(count) for place, count, _ in found}
    positives = {NAMES[place]: int(count) for place, _, count in found}
    if not counts.get("train"):
        got = ", ".join(f"{counts.get(name, 0):,} {name}" for name in NAMES)
        raise DataError(f"events: expected train events after the split by {split.by}, got {got}; {_more_train(split)}")
    if not positives["train"]:
        label = next(iter(data.labels))
        others = ", ".join(f"{positives.get(name, 0):,} of {counts.get(name, 0):,} in {name}" for name in NAMES[1:])
        raise DataError(
            f"events: label '{label}' must be 1 somewhere in the train split, got 0 of {counts['train']:,} events "
            f"({others}); nothing can be learnt without a positive: correct data.labels, or let train have some"
        )
    for name in NAMES[1:]:
        if not counts.get(name):
            console.say(f"data: the {name} split is empty, since {_why_empty(con, split, name)}: {WITHOUT[name]}")


def _more_train(split: SplitConfig) -> str:
    if split.by == "column":
        return f"give events '{split.column}' = 'train'"
    if split.by == "files":
        return "give events in split.train"
    return (
        "too many events are of one instant to be cut there; name a finer data.timestamp, or use split.by = "
        "'leave_last_out'"
    )


def _why_empty(con: duckdb.DuckDBPyConnection, split: SplitConfig, name: str) -> str:
    if split.by == "leave_last_out":
        return "no user has three events"
    if split.by == "column":
        return f"no event has '{split.column}' = '{name}'{_not_held_out(split, name)}"
    if split.by == "files":
        return f"split.{name} has no events{_not_held_out(split, name)}"
    total = int(con.execute("SELECT count(*) FROM placed").fetchall()[0][0])
    share = split.valid_fraction if name == "valid" else split.test_fraction
    if not round(total * share):
        return f"split.{name}_fraction = {share:g} of {total:,} events is none"
    return "events of one instant stay together, and its events are of the instant at which the next split begins"


def _not_held_out(split: SplitConfig, name: str) -> str:
    if name != "valid":
        return ""
    if not split.valid_fraction:
        return " and split.valid_fraction = 0"
    return " and no user has train events enough to hold some out"

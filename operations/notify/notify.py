"""One batch: what was decided before is answered as it was, the rest is decided now and kept before it is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.send_gate.config import NotifyConfig
from models.send_gate.gate import SendGate
from operations.notify.candidates import Candidates
from operations.notify.decide import decide, within_room
from operations.notify.folder import (
    DECISIONS,
    FRESH,
    add_batch,
    batches,
    check_users,
    decided_before,
    latest_pace,
    sends_since,
    write_whole,
)
from operations.notify.pace import Pace, allowance, moved, price_of_batch
from operations.notify.rules import Clocks, is_quiet, local_day, room
from runtime.send_gate.coin import Decided
from workflows.core.disk import writing
from workflows.core.errors import DataError
from workflows.core.lock import hold

__all__ = ["ANSWER", "Notified", "lines", "notify"]

# What the file of answers holds of each candidate.
ANSWER = ("decision_id", "user_id", "send", "advantage", "propensity", "reason", "at")
OF_LOG = ("decision_id", "at", "user_id", "day", "policy", "advantage", "send_price", "propensity", "action", "reason")
POLICY = "send-gate"
ROWS_AT_ONCE = 100_000


class Notified(NamedTuple):
    """What became of a batch.

    Attributes:
        answer: the columns of ANSWER, in the order of the candidates.
        num_known: candidates that were decided before.
        pace: where the budget stands.
        batch: the file of the new decisions; None without any.
    """

    answer: pa.Table
    num_known: int
    pace: Pace | None
    batch: Path | None


def notify(
    gate: SendGate,
    candidates: Candidates,
    log: Path,
    config: NotifyConfig,
    now: datetime,
    opted_out: NDArray | None = None,
    out: Path | None = None,
) -> Notified:
    """Decide on a batch.

    Args:
        gate: learnt.
        candidates: the batch.
        log: folder of decisions, made where it is absent.
        config: budget, caps, quiet hours, the share that is explored.
        now: with its zone.
        opted_out: users whose notifications are off.
        out: Parquet file of the answer.

    Raises:
        DataError: `now` lies before the latest batch, or the candidates cannot be decided on.
        ArtefactError: another process decides, or the log is damaged.
        CascadeError: the disk is full; then nothing is decided.
    """
    if taken := sorted(set(gate.encoding.names) & set(OF_LOG)):
        raise DataError(f"the gate reads a column {taken[0]}, which the log of decisions keeps something else in")
    with writing("notify", log), hold(log, writes=[DECISIONS]):
        for left in (log / DECISIONS).glob(f".*{FRESH}"):
            left.unlink()
        pace, batch, new = latest_pace(log), None, None
        check_users(log, candidates.users)
        known = decided_before(log, candidates.ids)
        fresh = np.ones(len(candidates.ids), bool)
        if known is not None:
            fresh = ~np.isin(candidates.ids, np.asarray(known["decision_id"].to_pylist(), np.str_))
        if fresh.any():
            new, pace = _decided(gate, candidates.take(fresh), log, config, now, pace, opted_out)
            batch = add_batch(log, new, pace)
    answer = _answer(candidates, [table for table in (known, new) if table is not None])
    if out is not None:
        with writing("notify", out.parent):
            write_whole(out, answer)
    return Notified(answer, int((~fresh).sum()), pace, batch)


def lines(found: Notified, config: NotifyConfig) -> Iterator[str]:
    """What became of a batch, in sentences."""
    sent = np.asarray(found.answer["send"].to_pylist(), bool)
    reasons = np.asarray(found.answer["reason"].to_pylist(), np.str_)
    yield f"{len(sent):,} candidates, {int(sent.sum()):,} to send" + (
        f"; {found.num_known:,} of them were decided before and are answered as they were" if found.num_known else ""
    )
    for word, rows in (("sent", sent), ("held", ~sent)):
        if rows.any():
            counts = Counter(reasons[rows].tolist())
            yield f"{word}: " + ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
    if config.budget and found.pace is not None:
        yield (
            f"{found.pace.spent:,} of the budget of {config.budget:,} are spent in this period; the price of a push is "
            f"{found.pace.price or 0.0:.4f} discounted active days from now on"
        )


def _decided(
    gate: SendGate,
    candidates: Candidates,
    log: Path,
    config: NotifyConfig,
    now: datetime,
    pace: Pace | None,
    opted_out: NDArray | None,
) -> tuple[pa.Table, Pace]:
    """The decisions on candidates that are new, and where the budget stands after them."""
    at_us, today = int(now.timestamp() * 1_000_000), local_day(now, config)
    if pace is not None and at_us < pace.at_us:
        raise DataError(
            f"--now is {now.isoformat()}, and the latest batch in {log} is of "
            f"{datetime.fromtimestamp(pace.at_us / 1e6, now.tzinfo).isoformat()}; decide in the order of time. If "
            f"that one is wrong, move {batches(log)[-1]} away, and give none of its candidates again that was sent"
        )
    clocks = Clocks(now, candidates.zones, config)
    advantage = _advantage(gate, candidates)
    held = _held(candidates, clocks, log, config, advantage, opted_out)
    free = held == ""
    allowed = allowance(pace, config, at_us, today)
    price = price_of_batch(pace, config, allowed, advantage[free])
    decided = decide(candidates.ids, advantage, held, price, allowed, config.explore)
    after = moved(pace, config, allowed, at_us, today, price, advantage[free], int(decided.sent.sum()))
    return _table(candidates, clocks, at_us, advantage, price, decided), after


def _advantage(gate: SendGate, candidates: Candidates) -> NDArray[np.float64]:
    """By how many discounted active days sending each beats holding, float64 [N]."""
    parts = [
        gate.advantage({name: values[start : start + ROWS_AT_ONCE] for name, values in candidates.features.items()})
        for start in range(0, len(candidates.ids), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _held(
    candidates: Candidates,
    clocks: Clocks,
    log: Path,
    config: NotifyConfig,
    advantage: NDArray[np.float64],
    opted_out: NDArray | None,
) -> NDArray:
    """The hard rule that holds each candidate, "" for none."""
    is_off = candidates.opted_out
    if opted_out is not None and len(opted_out):
        if opted_out.dtype.kind != candidates.users.dtype.kind:
            raise DataError("user_id of those who opted out is of another kind than that of the candidates")
        is_off = is_off | np.isin(candidates.users, opted_out)
    held = np.where(is_off, "opted_out", np.where(is_quiet(clocks.minutes, config.quiet_hours), "quiet_hours", ""))
    longest = max((cap.days for cap in config.caps), default=0)
    sends = sends_since(log, int(clocks.days.min()) - longest, candidates.users)
    left = room(clocks.days, candidates.users, sends, config.caps)
    free = held == ""
    fits = within_room(candidates.users, left, advantage, free)
    return np.where(free & ~fits, "cap", held)


def _table(
    candidates: Candidates,
    clocks: Clocks,
    at_us: int,
    advantage: NDArray[np.float64],
    price: float,
    decided: Decided,
) -> pa.Table:
    """The decisions as they are logged."""
    size = len(candidates.ids)
    return pa.table(
        {
            "decision_id": pa.array(candidates.ids.tolist(), pa.string()),
            "at": pa.array(np.full(size, at_us), pa.timestamp("us", "UTC")),
            "user_id": pa.array(candidates.users.tolist()),
            "day": pa.array(clocks.days.astype(np.int32)).cast(pa.date32()),
            **{name: pa.array(values) for name, values in candidates.features.items()},
            "policy": pa.array([POLICY] * size),
            "advantage": pa.array(advantage),
            "send_price": pa.array(np.full(size, price)),
            "propensity": pa.array(decided.propensity),
            "action": pa.array(decided.sent.astype(np.int8)),
            "reason": pa.array(decided.reason.tolist()),
        }
    )


def _answer(candidates: Candidates, decided: list[pa.Table]) -> pa.Table:
    """What was decided of each candidate, whenever it was, in their order."""
    names = [name if name != "send" else "action" for name in ANSWER]
    table = pa.concat_tables([one.select(names).replace_schema_metadata(None) for one in decided])
    place = {one: row for row, one in enumerate(table["decision_id"].to_pylist())}
    table = table.take(pa.array([place[str(one)] for one in candidates.ids], pa.int64()))
    sends = table["action"].cast(pa.bool_())
    return table.set_column(names.index("action"), "send", sends)

"""Batches: decided once, whatever ends the command, and learnt from later."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.send_gate.config import NotifyConfig, PushCap
from models.send_gate.log import read_push_log
from operations.notify.candidates import read_candidates, read_opted_out
from operations.notify.folder import batches
from operations.notify.notify import ANSWER, Notified, lines, notify
from tests.holder import another
from tests.operations.log.ended import ended_at
from tests.operations.notify.made import GATE, NOON, advantage, write_candidates
from workflows.core.errors import ArtefactError, DataError

# A coin that decides next to nothing.
GREEDY = NotifyConfig(explore=1e-9)
SCORES = [2.0, -1.0, 1.0, 0.5]


def run(path: Path, log: Path, config: NotifyConfig = GREEDY, now: datetime = NOON, **options: object) -> Notified:
    return notify(GATE, read_candidates(path, GATE.encoding.names), log, config, now, **options)


def column(found: Notified, name: str) -> list:
    return found.answer[name].to_pylist()


def test_a_batch_says_what_is_sent_and_why(tmp_path):
    path = write_candidates(tmp_path / "today.parquet", SCORES, opted_out=[False, False, True, False])
    off = tmp_path / "off.parquet"
    pq.write_table(pa.table({"user_id": [4, 99]}), off)
    found = run(path, tmp_path / "log", opted_out=read_opted_out(off), out=tmp_path / "decided.parquet")
    assert found.answer.column_names == list(ANSWER)
    assert column(found, "send") == [True, False, False, False]
    assert column(found, "reason") == ["worth", "not_worth", "opted_out", "opted_out"]
    np.testing.assert_allclose(column(found, "advantage"), advantage(SCORES))
    np.testing.assert_allclose(column(found, "propensity"), [1, 0, 0, 0], atol=1e-8)
    assert pq.read_table(tmp_path / "decided.parquet").equals(found.answer)
    logged = pq.read_table(found.batch)
    assert logged["score"].to_pylist() == SCORES
    assert set(logged["at"].to_pylist()) == {NOON}
    assert list(lines(found, GREEDY)) == [
        "4 candidates, 1 to send",
        "sent: worth 1",
        "held: opted_out 2, not_worth 1",
    ]


def test_what_was_decided_is_answered_as_it_was_and_spent_once(tmp_path):
    config = NotifyConfig(budget=2, explore=1e-9)
    first = run(write_candidates(tmp_path / "a.parquet", SCORES), tmp_path / "log", config)
    assert column(first, "reason") == ["worth", "not_worth", "worth", "price"]
    later = NOON + timedelta(hours=1)
    # Better scores by now: nobody is asked twice. Of the last two, one is new, whom the day's budget has no push for.
    path = write_candidates(tmp_path / "b.parquet", [-9.0, 9, 9, 9, 9])
    again = run(path, tmp_path / "log", config, later)
    assert again.num_known == 4
    assert column(again, "send") == [*column(first, "send"), False]
    assert column(again, "reason")[4] == "budget"
    assert column(again, "at") == [NOON] * 4 + [later]
    whole = run(path, tmp_path / "log", config, later)
    assert whole.batch is None
    assert whole.answer.equals(again.answer)
    assert whole.pace == again.pace
    assert "5 of them were decided before" in " ".join(lines(whole, config))
    assert "2 of the budget of 2 are spent" in " ".join(lines(whole, config))
    tomorrow = run(write_candidates(tmp_path / "c.parquet", [9.0], 50), tmp_path / "log", config, NOON + timedelta(1))
    assert column(tomorrow, "send") == [True]
    with pytest.raises(DataError, match="decide in the order of time"):
        run(write_candidates(tmp_path / "d.parquet", [9.0], 60), tmp_path / "log", config, NOON)


def test_wherever_the_command_is_ended_the_next_one_decides_the_same(tmp_path, monkeypatch):
    config = NotifyConfig(budget=60, explore=0.3)
    scores = np.random.default_rng(0).normal(size=200)
    path = write_candidates(tmp_path / "today.parquet", scores)
    wanted = run(path, tmp_path / "whole", config)
    step, ended = 0, True
    while ended:
        log, out = tmp_path / f"log{step}", tmp_path / f"{step}.parquet"
        with ended_at(monkeypatch, step, ("replace",)):
            try:
                run(path, log, config, out=out)
                ended = False
            except KeyboardInterrupt:
                step += 1
        # Later, as the clock goes on: what had been decided keeps its instant.
        found = run(path, log, config, NOON + timedelta(hours=ended), out=out)
        for name in ("send", "propensity", "reason"):
            assert column(found, name) == column(wanted, name)
        assert found.pace.spent == wanted.pace.spent == sum(column(wanted, "send"))
        assert len(batches(log)) == 1
        assert pq.read_table(out).equals(found.answer)
        assert not list(tmp_path.rglob("*.new"))
    assert step == 2  # before the batch is there, and before its answer is


def test_caps_and_quiet_hours_go_by_the_users_calendars(tmp_path):
    config = NotifyConfig(explore=1e-9, caps=(PushCap(pushes=1), PushCap(pushes=2, days=3)), quiet_hours="22:00-08:00")
    zones = ["Europe/Berlin", "America/New_York"]
    sent = []
    for number in range(6):
        now = datetime(2026, 3, 2, 13, tzinfo=timezone.utc) + timedelta(hours=12 * number)
        path = write_candidates(tmp_path / "c.parquet", [3.0, 3.0], 2 * number, time_zone=zones)
        sent.append(column(run(path, tmp_path / "log", config, now), "reason"))
    # 14:00 and 02:00 in Berlin, 08:00 and 20:00 in New York.
    assert [one[0] for one in sent] == ["worth", "quiet_hours", "worth", "quiet_hours", "cap", "quiet_hours"]
    assert [one[1] for one in sent] == ["worth", "cap", "worth", "cap", "cap", "cap"]


def test_two_candidates_of_a_user_take_one_place(tmp_path):
    path = write_candidates(tmp_path / "c.parquet", [1.0, 2.0], user_id=["ann", "ann"])
    assert column(run(path, tmp_path / "log"), "reason") == ["cap", "worth"]
    with pytest.raises(DataError, match=r"are integers, and in .* they are string"):
        run(write_candidates(tmp_path / "d.parquet", [1.0], 9), tmp_path / "log")


def test_the_next_training_learns_from_what_was_decided(tmp_path):
    config = NotifyConfig(explore=0.5, caps=())
    rows = 0
    for day in range(3):
        path = write_candidates(tmp_path / "c.parquet", np.linspace(-1, 1, 50), 50 * day, user_id=np.arange(50) % 25)
        found = run(path, tmp_path / "log", config, NOON + timedelta(days=day))
        rows += len(found.answer)
    users = np.tile(np.arange(25), 5)
    dates = np.repeat(np.arange("2026-03-01", "2026-03-06", dtype="datetime64[D]"), 25)
    known = [f"push-{row}" for row in range(149, -1, -1)]  # the outcome of push-7 is not known yet
    known.remove("push-7")
    outcomes = {name: np.zeros(149, bool) for name in ("opened", "visited", "opted_out")}
    outcomes["opened"][known.index("push-30")] = True
    pq.write_table(pa.table({"decision_id": known, **outcomes}), tmp_path / "log/outcomes.parquet")
    days = {"user_id": users, "day": pa.array(dates), "active": users % 2 == 0, "reachable": np.ones(125, bool)}
    pq.write_table(pa.table(days), tmp_path / "log/activity.parquet")
    log = read_push_log(tmp_path / "log")
    assert list(log.features) == ["score"]
    assert len(log.day) == rows - 1
    assert sorted(set(log.day.tolist())) == [1, 2, 3]  # activity begins a day earlier
    np.testing.assert_allclose(np.unique(log.propensity), [0.25, 0.75])
    assert np.flatnonzero(log.opened).tolist() == [29]  # push-30, behind 7 that is left out
    assert log.active.shape == (25, 5)
    pq.write_table(pa.table({**days, "day": pa.array(dates + 2)}), tmp_path / "log/activity.parquet")
    with pytest.raises(DataError, match="begins after 49 of the decisions"):
        read_push_log(tmp_path / "log")
    pq.write_table(pa.table({"decision_id": ["x"], **{n: [0] for n in outcomes}}), tmp_path / "log/outcomes.parquet")
    with pytest.raises(DataError, match="has the outcome of no decision"):
        read_push_log(tmp_path / "log")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"decision_id": ["a", "a"]}, "decision_id 'a' is there 2 times"),
        ({"decision_id": ["a", None]}, "decision_id is missing in 1 rows"),
        ({"user_id": [1.5, 2.5]}, "user_id holds double, expected integers or texts"),
        ({"user_id": pa.array([2**63 + 1, 1], pa.uint64())}, "no 64-bit integer"),
        ({"score": ["high", "low"]}, "the gate reads numbers of score, which holds string"),
        ({"score": [1.0, np.nan]}, "score is no finite number in 1 rows"),
        ({"time_zone": [1, 2]}, "time_zone holds int64"),
        ({"opted_out": [True, None]}, "opted_out holds bool and 1 nulls"),
        ({"time_zone": ["Mars", None]}, "time_zone 'Mars' of a candidate"),
    ],
)
def test_candidates_that_cannot_be_decided_on_are_refused_and_nothing_is_kept(tmp_path, columns, expected):
    with pytest.raises(DataError, match=expected):
        run(write_candidates(tmp_path / "c.parquet", [1.0, 2.0], **columns), tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.parquet cannot be read"):
        run(tmp_path / "absent.parquet", tmp_path / "log")
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="lacks the columns decision_id, score"):
        run(tmp_path / "c.parquet", tmp_path / "log")
    with pytest.raises(DataError, match="has no row"):
        run(write_candidates(tmp_path / "c.parquet", []), tmp_path / "log")
    found = run(write_candidates(tmp_path / "c.parquet", SCORES), tmp_path / "log")
    found.batch.write_bytes(b"PAR1")
    with pytest.raises(ArtefactError, match="put a copy of it back"):
        run(write_candidates(tmp_path / "c.parquet", SCORES, 10), tmp_path / "log")


def test_two_commands_do_not_decide_at_once(tmp_path):
    path = write_candidates(tmp_path / "c.parquet", SCORES)
    with another(tmp_path / "log", writes="decisions"), pytest.raises(ArtefactError, match="run this command again"):
        run(path, tmp_path / "log")
    assert run(path, tmp_path / "log").batch is not None

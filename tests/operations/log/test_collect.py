"""Segments become rows, each request once, whatever ends the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from operations.decisions.mon import drawn_slates
from operations.folder import MISMATCHED, parquet_files, read_json
from operations.log.collect import collect, num_open
from operations.log.forget import forget
from operations.log.prune import prune
from operations.log.schema import schema_of
from operations.log.verify import verify
from operations.replay.replay import replay
from operations.signals.monitor import monitor_once
from operations.timeline.entries import timeline
from runtime.log.folder import LogSettings, make_log, read_salt, renew_salt
from runtime.log.record import ANSWER, COUNTS, REQUEST, frame
from runtime.stream.log.lock import FolderLock
from scripts.cli import app
from tests.ensemble.serving.processes import eventually
from tests.operations.log.ended import ended_at
from tests.runtime.log.made import HEADER_OF, Process, Request, ask, record, segment
from workflows.core.errors import ArtefactError

START = HEADER_OF["start_wall_ns"]


@pytest.fixture
def log(tmp_path):
    make_log(tmp_path / "LOG")
    return tmp_path / "LOG"


@pytest.fixture
def mon(tmp_path):
    return tmp_path / "MON"


def answered(log, asked, **settings):
    """Have requests answered and logged by a process."""
    process = Process(LogSettings(log, **{"share": 1.0, **settings}))
    for request, arrays in asked:
        process.answer([request], [arrays])
    process.close()


def rows(mon, *columns):
    """Values of the rows, sorted."""
    tables = [pq.ParquetFile(path).read(list(columns)) for path in parquet_files(mon)]
    return sorted(tuple(row.values()) for table in tables for row in table.to_pylist())


def counts(mon):
    return read_json(mon / "status.json", {})["counts"]


def test_a_row_a_request_and_user(log, mon):
    began = datetime.now(timezone.utc).date()
    answered(log, [ask(number, users=number + 1) for number in range(3)])
    assert collect(log, mon) == 6
    days = {began, datetime.now(timezone.utc).date()}  # two where midnight came between
    files = {path: pq.ParquetFile(path).read() for path in parquet_files(mon)}
    context = [("device", "BYTES"), ("hour", "INT64"), ("temperature", "FP64")]
    for path, rows_of_a_day in files.items():
        assert rows_of_a_day.schema.remove_metadata() == schema_of(context)
        (day,) = set(pc.cast(rows_of_a_day["at"], pa.date32()).to_pylist())
        assert day in days and path.parent.name == f"date={day}"
    assert len(files) <= len(days)
    table = pa.concat_tables(files.values())
    assert rows(mon, "request_id", "position") == [(f"request-{n}", u) for n in range(3) for u in range(n + 1)]
    assert len(set(rows(mon, "slate_key"))) == 6
    assert set(rows(mon, "weight", "reason", "replayable")) == {(1.0, "hash", True)}
    for items, scores, number in zip(
        *(table[n].to_pylist() for n in ("item_rows", "scores", "num_items")), strict=True
    ):
        assert len(items) == len(scores) == number
    assert not [*log.glob("ready/*")]
    assert collect(log, mon) == 0
    assert verify(mon) == 6


def test_a_sampled_row_stands_for_others_and_one_beside_the_sample_for_none(log, mon):
    requests = [Request(f"request-{number}", {"log": True}) for number in range(40)]
    answered(log, [(request, ask(0)[1]) for request in requests], share=0.25)
    collect(log, mon)
    assert set(rows(mon, "reason", "weight")) >= {("hash", 4.0), ("forced", 0.0)}
    assert len(rows(mon, "reason")) == 40


def test_a_refused_request_is_one_row_that_is_not_asked_again(log, mon):
    answered(log, [(Request("a"), {"user_id": np.array([[1], [2]]), "slate_size": np.array([[0], [1]], np.int32)})])
    collect(log, mon)
    assert rows(mon, "error", "user_row", "item_rows", "replayable") == [
        ("slate_size must be from 1 to 20, got 0", None, None, False)
    ]


def test_an_ended_collector_leaves_the_same_rows_once(log, mon, tmp_path, monkeypatch):
    """Ended at every step between the Parquet file and the end of the command."""
    answered(log, [ask(number) for number in range(5)])
    expected = [(f"request-{number}",) for number in range(5)]
    for step in range(20):
        here, there = tmp_path / f"log-{step}", tmp_path / f"mon-{step}"
        shutil.copytree(log, here)
        with ended_at(monkeypatch, step, ("replace", "unlink", "rename")):
            try:
                collect(here, there)
                finished = True
            except KeyboardInterrupt:
                finished = False
        assert all(pq.ParquetFile(path).metadata.num_rows for path in there.glob("requests/**/*.parquet"))
        collect(here, there)
        assert rows(there, "request_id") == expected
        if finished:
            break
    assert finished
    assert step >= 4


def test_a_killed_collector_is_taken_over_from(log, mon):
    answered(log, [ask(number) for number in range(5)])
    program = (
        "import os, sys; from pathlib import Path; import operations.folder as f; finish = f._finish;"
        # With the journal there, the changes not.
        "f._finish = lambda folder: os._exit(9) if (folder / 'journal.json').is_file() else finish(folder);"
        "from operations.log.collect import collect; collect(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program, str(log), str(mon)], env=environment, check=False)
    assert ended.returncode == 9
    assert not parquet_files(mon)
    # Not even where MON has moved.
    mon = mon.rename(mon.with_name("MOVED"))
    assert collect(log, mon) == 0
    assert rows(mon, "request_id") == [(f"request-{number}",) for number in range(5)]


@pytest.mark.parametrize("held", ["LOG/collector", "MON/lock"])
def test_two_collectors_are_one_too_many(log, mon, held, monkeypatch):
    monkeypatch.setattr("operations.folder.WAIT_S", 0.1)
    lock = FolderLock(log.parent / held, "collected")
    with pytest.raises(ArtefactError, match=r"is being collected( into)? by process .* only one can at a time"):
        collect(log, mon)
    lock.release()
    assert collect(log, mon) == 0


def test_a_collector_that_follows_waits_for_whoever_holds_mon(log, mon, monkeypatch, capsys):
    monkeypatch.setattr("operations.folder.WAIT_S", 0.0)
    monkeypatch.setattr("operations.log.collect.FOLLOW_EVERY_S", 0.0)
    segment(log / "ready/a.seg", [record(number) for number in range(3)])
    lock, asked = FolderLock(mon / "lock", "joined"), []

    def stopped():
        asked.append(None)
        if len(asked) == 3:
            lock.release()
        return len(asked) > 3

    assert collect(log, mon, follow=True, stopped=stopped) == 3
    said = capsys.readouterr().err
    assert said.count(f"is being joined by process {os.getpid()}") == 1 and "the log waits for it" in said


def test_what_is_no_log_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="is no request log; `cascade serve RUN --log"):
        collect(tmp_path, tmp_path / "MON")
    with pytest.raises(ArtefactError, match=r"is neither a request log, .* nor what `cascade log collect` made"):
        verify(tmp_path)
    with pytest.raises(ArtefactError, match="holds no collected requests; `cascade log collect LOG"):
        prune(tmp_path, 3)


def test_halves_become_a_request_and_wait_for_one_another(log, mon):
    asked = record(1, REQUEST, mono=1000, arrays={"user_row": np.array([3], np.int32)} | lists("recent", "exclude"))
    got = {"score": np.ones((1, 1), np.float32), "num_items": np.ones(1, np.int32), "path": np.array([b"x"], object)}
    answer = record(1, ANSWER, mono=5_000_000, arrays={"item_rows": np.array([[4]], np.int32), **got})
    segment(log / "ready/a.seg", [asked], layout="ensemble", step="features")
    assert collect(log, mon) == 0
    segment(log / "ready/b.seg", [answer], layout="ensemble", step="order")
    assert collect(log, mon) == 1
    assert rows(mon, "user_row", "item_rows", "service_us") == [(3, [4], 5004)]
    assert not [*mon.glob("pending/*")]


def lists(*names):
    return {name: np.zeros((1, 0), np.int32) for name in names} | {"slate_size": np.ones(1, np.int32)}


def test_a_half_without_the_other_one_is_counted_in_time(log, mon, monkeypatch):
    segment(log / "ready/a.seg", [record(1, REQUEST)])
    collect(log, mon)
    assert counts(mon).get("half", 0) == 0
    monkeypatch.setattr("operations.log.collect.HALF_WAITS_S", 0.0)
    collect(log, mon)
    assert counts(mon)["half"] == 1
    assert not [*mon.glob("pending/*")]


def test_the_same_id_again_is_another_attempt(log, mon):
    answered(log, [ask(1), ask(2), ask(1)])
    collect(log, mon)
    answered(log, [ask(1)])
    collect(log, mon)
    assert rows(mon, "request_id", "attempt") == [*(("request-1", n) for n in (1, 2, 3)), ("request-2", 1)]


def test_jumps_of_the_clock_are_corrected_and_counted(log, mon):
    hour = 3600 * 10**9
    jumps = (0, -3 * hour, 21 * hour)
    records = [record(n, mono=n * 10**9, wall=START + n * 10**9 + jump) for n, jump in enumerate(jumps)]
    segment(log / "ready/a.seg", records)
    collect(log, mon)
    tables = [pq.ParquetFile(path).read() for path in parquet_files(mon)]
    at = sorted(value for table in tables for value in table["at"].cast(pa.int64()).to_pylist())
    assert at == [START + number * 10**9 for number in range(3)]
    assert rows(mon, "request_id", "at_corrected") == [(f"request-{n}", n > 0) for n in range(3)]
    assert {path.parent.name for path in parquet_files(mon)} == {"date=2023-11-14"}
    assert counts(mon)["clock_jumps"] == 1


def test_what_servers_dropped_is_counted_once(log, mon):
    for number, dropped in enumerate((3, 5)):
        path = segment(log / f"ready/here-1-1-{number}.seg", [record(number)])
        path.write_bytes(path.read_bytes() + frame(COUNTS, b'{"written": %d, "dropped_queue": %d}' % (number, dropped)))
        collect(log, mon)
    assert counts(mon)["dropped_queue"] == 5


def test_a_damaged_segment_is_told_and_what_is_whole_of_it_collected(log, mon):
    path = segment(log / "ready/a.seg", [record(number) for number in range(3)])
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"request-1")] ^= 1
    path.write_bytes(packed)
    with pytest.raises(
        ArtefactError, match=r"1 segments are damaged, first a\.seg; what is whole of them is collected"
    ):
        verify(log)
    assert collect(log, mon) == 2
    assert counts(mon)["damaged"] == 1


def test_a_damaged_table_is_told(log, mon):
    answered(log, [ask(number) for number in range(50)])
    collect(log, mon)
    path = parquet_files(mon)[0]  # a second one where midnight came between
    packed = bytearray(path.read_bytes())
    packed[300] ^= 1
    path.write_bytes(packed)
    with pytest.raises(ArtefactError, match=r"is damaged .* put a copy of it back, or remove it"):
        verify(mon)
    readers = [
        lambda: replay(mon, last=5),
        lambda: replay(mon, request_id="request-7"),
        lambda: forget(mon, "1004"),
        lambda: drawn_slates(mon, "click", 10, asked_again=True),
    ]
    for read in readers:
        with pytest.raises(ArtefactError, match=f"{path} cannot be read .*; put a copy of it back, or remove it, and"):
            read()
    assert path.read_bytes() == packed


def test_a_user_is_forgotten_whatever_salt_the_rows_have(log, mon):
    asked = [ask(number) for number in range(30)]
    answered(log, asked)
    collect(log, mon)
    renew_salt(log)
    answered(log, [(Request(f"later-{request.id}"), arrays) for request, arrays in asked])
    before = rows(mon, "request_id")
    (mon / MISMATCHED).write_text('[["request-2", 1], ["request-3", 1]]')
    # Half of it is collected by `forget` itself.
    assert forget(mon, "1004") == 2
    left = rows(mon, "request_id", "user_row", "item_rows")
    assert [row[0] for row in left if not row[0].startswith("later")] == [
        row[0] for row in before if row[0] != "request-2"
    ]
    assert len(left) == 58
    assert not [row for row in left if row[1] == 2]
    assert forget(mon, "1004") == 0
    assert read_json(mon / MISMATCHED, None) == [["request-3", 1]]


def test_nobody_is_forgotten_without_the_salt(log, mon):
    answered(log, [ask(0)])
    collect(log, mon)
    (log / "salt").unlink()
    with pytest.raises(ArtefactError, match=r"salt is missing.* without it the rows of this user cannot be told"):
        forget(mon, "1000")


def test_no_raw_id_of_a_user_is_in_any_file(log, mon):
    process = Process(LogSettings(log, 1.0), "plain")
    users = np.array([[f"üser-{number:05d}".encode()] for number in range(12)] + [[b"a stranger"]], object)
    process.answer([Request("a")], [{"user_id": users}])
    process.close()
    for folder in (log, mon):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert not [path for path in files if "üser".encode() in path.read_bytes() or b"stranger" in path.read_bytes()]
        collect(log, mon)
    assert len(rows(mon, "user_key")) == 13


def test_days_long_past_are_pruned_with_their_salts(log, mon):
    old = read_salt(log).id
    segment(log / "ready/a.seg", [record(1)], salt_id=old)
    renew_salt(log)
    answered(log, [ask(1)])
    collect(log, mon)
    assert len(parquet_files(mon)) == 2
    assert prune(mon, 3) == 1
    assert [row[0] for row in rows(mon, "salt_id")] == [read_salt(log).id]
    assert not [*(log / "salts").iterdir()]
    assert len([*mon.glob("chains/*.json")]) == 1
    assert prune(mon, 3) == 0


def test_a_collector_that_follows_lets_others_read(log, mon):
    answered(log, [ask(1)])
    stop = threading.Event()
    follower = threading.Thread(target=collect, args=(log, mon), kwargs={"follow": True, "stopped": stop.is_set})
    follower.start()
    try:
        eventually(lambda: bool(parquet_files(mon)))
        assert verify(mon) == 1
        with pytest.raises(ArtefactError, match=r"is being collected by process .* only one can"):
            collect(log, mon)
        assert forget(mon, "1002") == 1
        answered(log, [ask(2)])
        eventually(lambda: bool(parquet_files(mon)))
    finally:
        stop.set()
        follower.join()
    assert rows(mon, "request_id") == [("request-2",)]


def test_what_is_still_being_written_is_told_and_collected_once_it_is_closed(log, mon):
    process = Process(LogSettings(log, 1.0))
    for place in range(3):
        request, arrays = ask(place)
        process.answer([request], [arrays])
    eventually(lambda: num_open(log) == 3)
    assert collect(log, mon) == 0
    with pytest.raises(ArtefactError, match="holds no requests yet: servers close what they write after a minute"):
        monitor_once(mon)
    said = CliRunner().invoke(app, ["log", "collect", str(log), "--out", str(mon)]).stderr
    assert "3 records are in segments that servers still write to" in said
    process.close()
    assert (collect(log, mon), num_open(log)) == (3, 0)
    assert timeline(mon).entries == []

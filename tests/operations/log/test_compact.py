"""Files of a day are merged, and every row is there once whatever ends the command."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operations.folder import REQUESTS, STATUS, Change, held, parquet_files
from operations.log.collect import collect
from operations.log.compact import MOST_SMALL, Compactor
from operations.log.rows import Logged, table_of
from operations.log.verify import verify
from operations.log.write import write_table
from runtime.log.folder import make_log
from tests.operations.log.ended import ended_at
from tests.runtime.log.made import HEADER_OF, record, segment

LONG_AGO = "2024-05-01"


@pytest.fixture
def mon(tmp_path):
    (tmp_path / STATUS).write_text('{"counts": {}, "logs": []}')
    return tmp_path


def table(number, **header):
    """Two rows, whose consumer has a dictionary of its own in each file."""
    records = [record(2 * number + place, consumer=f"consumer-{number % 3}-{place}") for place in range(2)]
    made = {**HEADER_OF, **header}
    return table_of([Logged(each, made, "e", each.wall, False, each.service_us) for each in records])


def place_files(mon, number, day, **header):
    place = mon / REQUESTS / f"chain={'a' * 16}" / f"date={day}"
    place.mkdir(parents=True, exist_ok=True)
    for file in range(number):
        write_table(table(file, **header), place / f"{10**18 + file}-0.parquet")
    return place


def rows(mon):
    """Rows of all files in the order of their names."""
    read = [pq.ParquetFile(path).read() for path in reversed(parquet_files(mon))]
    return [row for each in read for row in each.to_pylist()]


def test_many_small_files_of_today_become_one(mon):
    today = datetime.now(timezone.utc).date()  # once: midnight may come between the two
    place = place_files(mon, MOST_SMALL - 1, today)
    assert Compactor(mon).compact() == 0
    place_files(mon, MOST_SMALL, today)
    before, schema = rows(mon), pq.read_schema(next(place.iterdir()))
    assert Compactor(mon).compact() == MOST_SMALL - 1
    (path,) = place.iterdir()
    assert rows(mon) == before
    assert pq.read_schema(path).equals(schema, check_metadata=True)
    assert verify(mon) == 2 * MOST_SMALL
    assert Compactor(mon).compact() == 0


def test_all_files_of_a_day_that_is_over_become_one_a_schema(mon):
    place = place_files(mon, 3, LONG_AGO)
    write_table(table(7, context=[["hour", "INT64"]]), place / f"{10**18 + 1}-1.parquet")
    write_table(table(8, context=[["hour", "INT64"]]), place / f"{10**18 + 2}-1.parquet")
    before = rows(mon)
    assert Compactor(mon).compact() == 3
    assert len(parquet_files(mon)) == 2
    assert sorted(map(repr, rows(mon))) == sorted(map(repr, before))


def test_large_files_stay_as_they_are(mon, monkeypatch):
    place = place_files(mon, 4, LONG_AGO)
    monkeypatch.setattr("operations.log.compact.WHOLE_BYTES", 2 * next(place.iterdir()).stat().st_size + 100)
    assert Compactor(mon).compact() == 2
    assert len(parquet_files(mon)) == 2
    assert Compactor(mon).compact() == 0


@pytest.mark.parametrize("is_killed", [True, False])
def test_every_row_is_there_once_whatever_ends_it(mon, monkeypatch, is_killed):
    """Ended at every change of the folder, by a signal that nothing is done after, or by one that is tidied up."""
    place_files(mon, 3, LONG_AGO)
    before = rows(mon)
    for step in range(20):
        with ended_at(monkeypatch, step, ("replace", "unlink")) as patch:
            if is_killed:
                patch.setattr(Change, "abandon", lambda change: None)
            try:
                Compactor(mon).compact()
                finished = True
            except KeyboardInterrupt:
                finished = False
        with held(mon, "read"):
            assert rows(mon) == before
            assert not [*mon.rglob(".*.new")]
        if finished:
            break
        for path in parquet_files(mon):
            path.unlink()
        place_files(mon, 3, LONG_AGO)
    assert finished
    assert step >= 5


def test_a_collector_killed_between_the_new_file_and_the_old_ones_is_taken_over_from(tmp_path):
    log, mon = tmp_path / "LOG", tmp_path / "MON"
    make_log(log)
    for number in range(2):
        segment(log / "ready/a.seg", [record(number)])
        collect(log, mon)
    segment(log / "ready/a.seg", [record(2)])
    program = (
        "import os, sys; from pathlib import Path; from operations.log.collect import collect; unlink = Path.unlink;"
        "Path.unlink = lambda self, **o: os._exit(9) if self.suffix == '.parquet' else unlink(self, **o);"
        "collect(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program, str(log), str(mon)], env=environment, check=False)
    assert ended.returncode == 9
    # That of the first two, that of the last one, and that of all.
    assert len(parquet_files(mon)) == 3
    assert collect(log, mon) == 0
    assert len(parquet_files(mon)) == 1
    assert [row["request_id"] for row in rows(mon)] == [f"request-{number}" for number in range(3)]


def test_damage_leaves_the_files_of_its_day_and_is_told_once(mon, capsys):
    place_files(mon, 2, "2024-05-02")
    place = place_files(mon, 3, LONG_AGO)
    path = sorted(place.iterdir())[1]
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"request-2")] ^= 1
    path.write_bytes(packed)
    compactor = Compactor(mon)
    assert compactor.compact() == 1
    assert compactor.compact() == 0
    assert len([*place.iterdir()]) == 3
    said = capsys.readouterr()
    assert (said.out + said.err).count(f"the files of {place} stay as they are (") == 1


def test_a_collector_that_runs_for_long_leaves_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr("operations.log.compact.MOST_SMALL", 5)
    log, mon = tmp_path / "LOG", tmp_path / "MON"
    make_log(log)
    now = datetime.now(timezone.utc) - timedelta(days=1)
    start = int(now.timestamp()) * 10**9
    for number in range(20):
        day = number // 15
        segment(log / "ready/a.seg", [record(number, wall=start)], start_wall_ns=start + day * 86_400 * 10**9)
        assert collect(log, mon) == 1
        assert len(parquet_files(mon)) < 8
    assert sorted(row["request_id"] for row in rows(mon)) == sorted(f"request-{number}" for number in range(20))
    ids = pa.array([row["slate_key"] for row in rows(mon)])
    assert len(ids.unique()) == 20


def test_unfinished_files_of_others_in_the_folder_are_left(tmp_path):
    """`log collect --out .` in a folder where another command writes."""
    own = [tmp_path / f".{STATUS}.new", tmp_path / REQUESTS / "chain=a/date=2026-01-01/.1-0.parquet.new"]
    names = (".slates.parquet.new", "runs/shop/.metrics.json.new", "runs/.report.new/x")
    others = [tmp_path / name for name in names]
    for path in (*own, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with held(tmp_path, "collected into", made=True):
        pass
    assert not any(path.exists() for path in own) and all(path.read_text() == "half" for path in others)

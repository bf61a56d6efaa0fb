"""The monitor on a folder of collected requests, as a user has it: what changed, since when; and every bad input."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.signals.logged import log_rows, note_chain, write_day
from ensemble.export.stage import export
from ensemble.profile.ask import ask, open_chain
from ensemble.profile.profile import PROFILE_FILE
from operations.signals import monitor
from operations.signals.accepted import accept
from operations.signals.monitor import Found, alarms, current, date, monitor_once
from operations.signals.show import look_shown, show
from operations.signals.table import SIGNALS, load
from runtime.ids import UNKNOWN
from runtime.request import Parsed
from runtime.stream.log.lock import FolderLock
from scripts.cli import app
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ArtefactError
from workflows.core.shown import as_json

FIRST, NUM_DAYS, NUM = 20_000, 16, 400
DAY_S = 86_400


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export of both layouts."""
    run, config = make_run(tmp_path_factory.mktemp("signals") / "run", num_users=600)
    random = np.random.default_rng(0)
    events = {
        "user_row": np.arange(600),
        "item_row": random.integers(0, 300, 600),
        "at": np.full(600, FIRST * DAY_S * 10**9),
        "device": random.choice(["desktop", "phone"], 600).tolist(),
        "hour": random.integers(0, 24, 600),
        "temperature": random.normal(15, 8, 600),
    }
    path = run.folder("data") / "valid/part_000.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(events), path)
    export(run, config)
    return run.folder("repo")


class World:
    """A folder MON and what answers the requests that it is of."""

    def __init__(self, mon: Path, repo: Path, layout: str = "fused") -> None:
        self.mon, self.chain = mon, open_chain(repo / "fused/cascade/1/chain")
        self.key = note_chain(mon, repo / layout, layout)

    def requests(self, day: int, device: bytes | None = None) -> Parsed:
        random, num = np.random.default_rng(day), NUM
        devices, hours = np.empty(num, object), np.empty(num, object)
        devices[:] = [device or value for value in random.choice([b"desktop", b"phone"], num).tolist()]
        hours[:] = random.integers(0, 24, num).tolist()
        context = {"device": devices, "hour": hours, "temperature": random.normal(15, 8, num).astype(np.float32)}
        nothing, size = np.empty((num, 0), np.int32), np.full(num, 5, np.int32)
        return Parsed(random.integers(0, 600, num).astype(np.int32), nothing, nothing, size, context)

    def table(self, requests: Parsed) -> pa.Table:
        return log_rows(self.chain.spec, requests, ask(self.chain, requests), np.arange(NUM))

    def day(self, day: int, table: pa.Table | None = None) -> Path:
        return write_day(self.mon, self.table(self.requests(day)) if table is None else table, day, self.key)

    def days(self, num: int = NUM_DAYS) -> None:
        for day in range(FIRST, FIRST + num):
            self.day(day)

    def look(self, day: int = FIRST + 40) -> Found:
        return monitor_once(self.mon, day * DAY_S + 1000.0)


@pytest.fixture(scope="module")
def past(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MON after sixteen days, looked at."""
    mon = tmp_path_factory.mktemp("mon")
    world = World(mon, exported)
    world.days()
    world.look()
    return mon


@pytest.fixture
def world(past: Path, exported: Path, tmp_path: Path) -> World:
    shutil.copytree(past, tmp_path / "mon")
    return World(tmp_path / "mon", exported)


def values(found: Found) -> dict[str, float]:
    return {row.name: row.measured.value for row in current(found.rows)}


def test_a_large_window_is_measured_by_the_requests_of_the_lowest_keys(world: World, monkeypatch) -> None:
    whole = world.look()
    day = FIRST + NUM_DAYS
    table = world.table(world.requests(day))
    # Every request twice, the second time for another user of the same request; some were logged for their slowness.
    table = pa.concat_tables([table, table.set_column(1, "position", pa.array([1] * NUM, pa.int16()))])
    slow = pa.array([each.as_py() if row % 4 else "slow" for row, each in enumerate(table["reason"])])
    path = world.day(
        day, table.set_column(table.column_names.index("reason"), "reason", slow.cast(table["reason"].type))
    )
    monkeypatch.setattr(monitor, "MOST_ROWS", 201)
    read = monitor.read_window(world.mon, world.key, day)
    every = pq.read_table(path)
    of_sample = np.array([reason != "slow" for reason in every["reason"].to_pylist()])
    keys = every["key"].to_numpy()
    highest = np.sort(keys[of_sample])[200]
    assert sorted(read["key"].to_pylist()) == sorted(keys[keys <= highest].tolist())
    # Of a request all rows or none: 100 of them are whole, and the one that the limit falls into is whole as well.
    counts = Counter(read.filter(pa.array(np.isin(read["key"].to_numpy(), keys[of_sample])))["key"].to_pylist())
    assert len(read) < 300 and set(counts.values()) == {2}
    found = world.look()
    (rows,) = {row.num_rows for row in found.rows if row.day == day}
    assert rows == 2 * NUM and found.num_new == 1 and world.look().num_new == 0
    names = [name for name, value in values(whole).items() if math.isfinite(value)]
    assert {row.name for row in found.rows if row.day == day} >= set(names)


def test_days_without_a_change_are_quiet_and_replay_to_the_item(world: World) -> None:
    found = world.look()
    assert not alarms(found.rows)
    assert not found.notes
    latest = {row.name: row for row in current(found.rows)}
    assert latest["replay_mismatch"].measured.value == 0
    assert latest["replay_mismatch"].state == "ok"
    assert latest["path_share:known_user"].measured.value == 1
    assert {row.state for row in latest.values()} <= {"ok", "no_data"}
    assert {row.day for row in found.rows} == set(range(FIRST, FIRST + NUM_DAYS))
    assert latest["data_age_days"].measured.value == NUM_DAYS


def test_a_change_is_named_with_its_first_day_and_where_to_look(world: World) -> None:
    for day in (FIRST + NUM_DAYS, FIRST + NUM_DAYS + 1):
        world.day(day, world.table(world.requests(day, device=b"tablet")))
    out = alarms(world.look().rows)
    assert {"column_psi:device", "other_share:device", "feature_psi:device"} <= {row.name for row in out}
    assert out[0].name == "other_share:device"
    assert {row.since for row in out} == {FIRST + NUM_DAYS}
    assert world.mon.joinpath("ops/index.html").read_text().count("cascade monitor") >= 3
    lines = list(show(world.mon, "column_psi:device"))
    assert any(line.split() == ["0.00%", "100.00%", "other", "values"] for line in lines)
    assert any("other values" in line for line in show(world.mon, "other_share:device"))
    first = next(row for row in json.loads(as_json(look_shown(world.look())))["signals"] if row["name"] == out[0].name)
    assert (first["name"], first["value"], first["limit_low"]) == ("other_share:device", 1.0, None)
    assert first["since"] == date(FIRST + NUM_DAYS) and first["state"] == "high"


def test_a_server_that_does_not_say_what_its_files_say_comes_first(world: World) -> None:
    for day in (FIRST + NUM_DAYS, FIRST + NUM_DAYS + 1):
        table = world.table(world.requests(day))
        shifted = pa.array([row[::-1] for row in table["item_rows"].to_pylist()], table.schema.field("item_rows").type)
        world.day(day, table.set_column(table.column_names.index("item_rows"), "item_rows", shifted))
    assert alarms(world.look().rows)[0].name == "replay_mismatch"
    assert sum("cascade replay" in line for line in show(world.mon, "replay_mismatch")) == 10


def of_scores(table: pa.Table, change: Callable[[float], float]) -> pa.Table:
    """Rows of the log with the scores that a server made of those of its files."""
    changed = pa.array(
        [[change(score) for score in row] for row in table["scores"].to_pylist()], pa.list_(pa.float32())
    )
    place = table.column_names.index("scores")
    return table.set_column(place, "scores", changed.cast(table.schema.field("scores").type))


@pytest.mark.parametrize("change", [lambda score: min(2 * score, 1.0), lambda score: math.nan], ids=["doubled", "nan"])
def test_scores_that_the_files_do_not_give_page_on_the_first_day(world: World, change: Callable) -> None:
    day = FIRST + NUM_DAYS
    world.day(day, of_scores(world.table(world.requests(day)), change))
    # What CascadeReplayMismatch looks at, and no other page does.
    assert values(world.look())["replay_mismatch"] == 1
    assert len(list(show(world.mon, "replay_mismatch"))) > 10


def test_scores_of_another_machine_are_the_same_slates(world: World) -> None:
    day = FIRST + NUM_DAYS
    steps = lambda score: float(np.nextafter(np.float32(score), np.float32(2)))  # noqa: E731
    world.day(day, of_scores(world.table(world.requests(day)), steps))
    assert values(world.look())["replay_mismatch"] == 0


def test_another_path_with_the_same_items_is_a_mismatch(world: World) -> None:
    day, table = FIRST + NUM_DAYS, world.table(world.requests(FIRST + NUM_DAYS))
    place = table.column_names.index("path")
    paths = pa.array(["popularity"] * NUM).cast(table.schema.field("path").type)
    world.day(day, table.set_column(place, "path", paths))
    assert values(world.look())["replay_mismatch"] == 1


def test_what_it_finds_in_two_looks_is_what_it_finds_in_one(world: World, exported: Path, tmp_path: Path) -> None:
    other, days = World(tmp_path / "other", exported), range(FIRST, FIRST + 5)
    for day in days:
        other.day(day)
        if day == FIRST + 2:
            other.look(day + 1)
    other.look()
    # As text: what has no value is NaN, which nothing equals. Later days change nothing of earlier ones.
    assert repr(load(other.mon)) == repr([row for row in load(world.mon) if row.day in days])


def test_late_rows_are_counted_and_removed_ones_stay(world: World) -> None:
    before = world.look().rows
    path = world.day(FIRST)
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 50), path.with_name("late.parquet"))
    after = world.look().rows
    assert {row.num_rows for row in after if row.day == FIRST} == {NUM + 50}
    shutil.rmtree(path.parent)
    assert repr(world.look().rows) == repr(after)
    assert len(after) == len(before)


def test_accepted_values_teach_from_their_first_day(world: World) -> None:
    for day in range(FIRST + NUM_DAYS, FIRST + NUM_DAYS + 2):
        world.day(day, world.table(world.requests(day, device=b"tablet")))
    world.look()
    with pytest.raises(ArtefactError, match=r"^empty is within its limits; out of theirs are: .*column_psi:device"):
        accept(world.mon, "empty", "why not")
    with pytest.raises(ArtefactError, match=r"^nonsense is no signal"):
        accept(world.mon, "nonsense", "why not")
    with pytest.raises(ArtefactError, match="a reason is needed"):
        accept(world.mon, "column_psi:device", " ")
    assert accept(world.mon, "column_psi:device", "a new <app>") == "2024-10-20"
    found = world.look()
    assert "column_psi:device" not in {row.name for row in alarms(found.rows)}
    assert [row.state for row in found.rows if row.name == "column_psi:device"][-2:] == ["learning", "learning"]
    assert "a new &lt;app&gt;" in world.mon.joinpath("ops/index.html").read_text()


def test_no_log_at_all_and_an_empty_one(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(ArtefactError, match=r"holds no collected requests; `cascade log collect LOG --out"):
        monitor_once(tmp_path / "nothing")
    world = World(tmp_path / "mon", exported)
    assert world.look().rows == []
    assert "No day of requests has ended yet" in world.mon.joinpath("ops/index.html").read_text()


def test_one_day_is_learnt_from(tmp_path: Path, exported: Path) -> None:
    world = World(tmp_path / "mon", exported)
    world.days(1)
    states = {row.state for row in current(world.look().rows) if row.measured.signal[-4:] != "days"}
    assert states <= {"learning", "no_data"}


def test_a_day_that_has_not_ended_is_left_and_one_that_is_yet_to_come_is_said(tmp_path: Path, exported: Path) -> None:
    world = World(tmp_path / "mon", exported)
    world.days(3)
    found = monitor_once(world.mon, (FIRST + 1) * DAY_S + 100.0)
    assert {row.day for row in found.rows} == set()
    assert found.notes == ["requests of 2024-10-06, which is yet to come, are left out: a clock was wrong"]


def test_a_gap_in_the_log_is_said_and_counts_as_no_day(world: World) -> None:
    world.day(FIRST + NUM_DAYS + 3)
    found = world.look()
    assert not alarms(found.rows)
    page = world.mon.joinpath("ops/index.html").read_text()
    assert "No requests on 2024-10-20, 2024-10-21, 2024-10-22." in page
    assert "days old: nothing is logged or collected since then" in page


@pytest.mark.parametrize("damage", ["absent", "truncated", "of another version"])
def test_without_its_profile_a_version_is_compared_with_nothing_and_that_is_said(
    exported: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(exported, tmp_path / "repo")
    path = tmp_path / "repo/fused/cascade/1/chain" / PROFILE_FILE
    packed = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes(packed[:100] if damage == "truncated" else packed + b"\0")
    world = World(tmp_path / "mon", tmp_path / "repo")
    world.days(2)
    found = world.look()
    (note,) = found.notes
    assert note.startswith("without a comparison with training: ") and "export and publish again" in note
    again = world.look()
    assert (again.notes, again.num_new) == ([note], 0)
    assert "unknown_users" in values(found) and "column_psi:device" not in values(found)


def test_an_export_that_has_taken_the_versions_place_is_not_taken_for_it(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "repo")
    world = World(tmp_path / "mon", tmp_path / "repo")
    world.days(1)
    manifest = tmp_path / "repo/manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    (note,) = world.look().notes
    assert "is not the version that answered" in note


def test_the_layout_ensemble_is_asked_step_by_step(exported: Path, tmp_path: Path) -> None:
    world = World(tmp_path / "mon", exported, "ensemble")
    world.days(1)
    found = world.look()
    assert not found.notes
    assert values(found)["replay_mismatch"] == 0


def test_odd_rows_make_no_error(tmp_path: Path, exported: Path) -> None:
    world = World(tmp_path / "mon", exported)
    requests = world.requests(FIRST)
    requests.context["temperature"][:] = np.nan
    requests.context["device"][:] = None
    requests.user_row[:] = UNKNOWN
    table = world.table(requests)
    at = table.column_names.index("context_temperature")
    infinite = pa.array([float("inf")] * NUM, table.schema.field("context_temperature").type)
    world.day(FIRST, table)
    world.day(FIRST + 1, table.set_column(at, "context_temperature", infinite))
    refused = {"error": pa.array(["bad"] * NUM), "item_rows": pa.nulls(NUM, table.schema.field("item_rows").type)}
    for name, column in refused.items():
        table = table.set_column(table.column_names.index(name), name, column)
    world.day(FIRST + 2, table)
    world.day(FIRST + 3, table.slice(0, 0))
    found = {(row.day - FIRST, row.name): row for row in world.look().rows}
    assert found[0, "null_share:temperature"].measured.value == 1
    assert found[0, "column_psi:temperature"].state == "no_data"
    assert found[1, "column_psi:temperature"].state == "no_data"
    assert found[2, "errors"].measured.value == 1
    world.day(FIRST + 4, table)
    world.look()
    assert f"{NUM:10,}  bad" in list(show(world.mon, "errors"))[-1]


def test_two_at_once_and_damaged_files_are_refused_in_one_sentence(world: World) -> None:
    lock = FolderLock(world.mon / "ops/lock", "monitored")
    with pytest.raises(ArtefactError, match="is being monitored by process"):
        world.look()
    lock.release()
    path = world.day(FIRST)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtefactError, match="cannot be read"):
        world.look()
    path.unlink()
    world.look()
    (world.mon / SIGNALS).write_bytes(b"PAR1")
    with pytest.raises(ArtefactError, match=r"signals.parquet cannot be read .*; remove it"):
        world.look()


def test_the_command(world: World) -> None:
    for day in range(FIRST + NUM_DAYS, FIRST + NUM_DAYS + 2):
        world.day(day, world.table(world.requests(day, device=b"tablet")))
    run = CliRunner().invoke
    looked = run(app, ["monitor", str(world.mon), "--once"])
    assert looked.exit_code == 3
    shown = run(app, ["monitor", str(world.mon), "show", "column_psi:device"])
    assert shown.exit_code == 0 and "other values" in shown.stdout
    assert run(app, ["monitor", str(world.mon), "show"]).exit_code == 1
    assert run(app, ["monitor", str(world.mon), "accept", "column_psi:device"]).exit_code == 1
    for name in [row.name for row in alarms(load(world.mon))]:
        assert run(app, ["monitor", str(world.mon), "accept", name, "--reason", "a new app"]).exit_code == 0
    assert run(app, ["monitor", str(world.mon), "--once"]).exit_code == 0

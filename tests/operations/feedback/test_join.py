"""Events join the slates that they are of: once, whatever comes late, twice, early or in another order."""

from __future__ import annotations

import errno
import hashlib
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from operations.feedback.join import feedback
from operations.folder import REQUESTS
from operations.log.forget import forget
from operations.log.prune import prune
from operations.log.verify import verify
from runtime.log.folder import read_salt, renew_salt
from runtime.log.sampling import key_of, limit_of, user_bytes
from runtime.stream.ingest import Ingest
from runtime.stream.parse import EventParser
from runtime.stream.spec import StreamSpec
from scripts.cli import app
from tests.operations.feedback.made import DAY, DAY_NS, HOUR, MINUTE, START, World, joined
from workflows.core.errors import ArtefactError, CascadeError, ConfigError, DataError


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def labels(mon):
    """slate_key, rank, label, delay_s, how and num_events of the labels."""
    table = joined(mon)
    names = ("slate_key", "rank", "label", "delay_s", "how", "num_events")
    rows = [row for row in table.to_pylist() if not row["shown"]]
    return sorted(tuple(row[name] for name in names) for row in rows)


def num_shown(mon):
    return sum(joined(mon)["shown"].to_pylist())


def click(request_id, item, at, event_id="", **others):
    named = {"event_id": event_id} if event_id else {}
    asked = {"request_id": request_id} if request_id else {}
    return {**asked, **named, "item_id": item, "timestamp": at, "label": "click", **others}


def case_5(world):
    """A slate, and the events of the case."""
    slate = world.request("r", 7, [3, 1, 4, 5])
    world.collect(slate)
    once = click("r", 1, START + MINUTE, "a")
    return slate, [
        once,
        click("r", 3, START + DAY_NS, "b"),
        click("r", 4, START + 9 * DAY_NS, "c"),
        once,
        once,
        click("r", 9, START + MINUTE, "never shown"),
        click("r", 5, START - MINUTE, "early"),
        click("r", 3, START, "seen", label="impression"),
    ]


def test_late_repeated_foreign_and_early_events_count_as_they_should(world):
    """The case of the delayed, duplicate and foreign feedback, in exact numbers."""
    slate, events = case_5(world)
    first = feedback(world.mon, world.events(*events[:2], *events[3:]))
    assert +first.counts == {"read": 7, "new": 5, "copies": 2, "copied": 1}
    assert first.status.totals() == {"id": 2, "foreign": 1, "early": 1, "impressions": 1}
    (path,) = world.mon.glob("joined/*/*/*.parquet")
    assert path.name == "000001.parquet"
    # The late one changes a day that was joined before, as its next version.
    late = feedback(world.mon, world.events(events[2]))
    assert late.changed == {f"chain={world.key[:16]}/date={np.datetime64(DAY, 'D')}"}
    (path,) = world.mon.glob("joined/*/*/*.parquet")
    assert path.name == "000002.parquet"
    assert labels(world.mon) == [
        (slate["slate_key"], 1, "click", 86_400.0, "id", 1),
        (slate["slate_key"], 2, "click", 60.0, "id", 1),
        (slate["slate_key"], 3, "click", 9 * 86_400.0, "id", 1),
    ]
    assert late.status.totals() == {"id": 3, "foreign": 1, "early": 1, "impressions": 1}
    assert num_shown(world.mon) == 4


@pytest.mark.parametrize(("mode", "shown"), [("slate", 4), ("examined", 4), ("reported", 3)])
def test_an_impression_counts_once_however_it_is_known(world, mode, shown):
    """Ranks 1, 2, 3 have clicks and 1 is also reported; the item under the last click was examined too."""
    _, events = case_5(world)
    feedback(world.mon, world.events(*events), impressions=mode)
    assert num_shown(world.mon) == shown
    assert len(labels(world.mon)) == 3


def test_what_was_examined_ends_below_the_lowest_click(world):
    world.collect(world.request("r", 7, [3, 1, 4, 5, 6]), world.request("s", 8, [3, 1, 4]))
    feedback(world.mon, world.events(click("r", 1, START + 1)), impressions="examined")
    # Three of the slate with a click on its second item, and all of the one without.
    assert num_shown(world.mon) == 6


def test_another_way_to_count_impressions_has_to_be_asked_for(world):
    _, events = case_5(world)
    path = world.events(*events)
    feedback(world.mon, path, impressions="reported")
    with pytest.raises(ConfigError, match="impressions are counted as 'reported' here; --again joins all"):
        feedback(world.mon, path, impressions="slate")
    with pytest.raises(ConfigError, match="within 24 h here"):
        feedback(world.mon, attribution_h=3.0)
    assert num_shown(world.mon) == 3
    feedback(world.mon, impressions="slate", again=True)
    assert num_shown(world.mon) == 4
    assert feedback(world.mon).status.rules.impressions == "slate"


def test_without_a_request_the_latest_slate_before_it_that_holds_the_item_is_it(world):
    world.collect(
        world.request("old", 7, [3, 4], START - 2 * HOUR),
        world.request("right", 7, [3, 1], START),
        world.request("other item", 7, [1, 5], START + HOUR),
        world.request("later", 7, [3, 5], START + 3 * HOUR),
        world.request("other user", 8, [3, 5], START + HOUR),
    )
    found = feedback(
        world.mon,
        world.events(
            {"user_id": 7, "item_id": 3, "timestamp": START + 2 * HOUR},
            {"user_id": "7", "item_id": 4, "timestamp": START + 2 * HOUR},
            {"user_id": 7, "item_id": 8, "timestamp": START + 2 * HOUR},
            {"user_id": 7, "item_id": 5, "timestamp": START},
            {"user_id": 9, "item_id": 3, "timestamp": START},
            {"user_id": 7, "item_id": 1, "timestamp": START + 30 * HOUR},
        ),
    )
    keys = {world.request(name, 0, [])["slate_key"]: name for name in ("old", "right")}
    assert {(keys[key], rank, delay, how) for key, rank, _, delay, how, _ in labels(world.mon)} == {
        ("right", 1, 7200.0, "attributed"),
        ("old", 2, 4 * 3600.0, "attributed"),
    }
    assert found.status.totals() == {"attributed": 2, "foreign": 1, "early": 1, "no_slate": 2}


def test_an_event_that_names_a_request_is_of_no_other(world):
    """The request was not of the sample: the click is not given to an earlier slate that holds the item too."""
    world.collect(world.request("logged", 7, [3, 4]))
    found = feedback(world.mon, world.events(click("not logged", 3, START + MINUTE, user_id=7)))
    assert found.status.totals() == {"no_slate": 1}
    assert labels(world.mon) == []


def test_an_event_of_a_request_outside_the_sample_is_counted_and_not_kept(world):
    """A quarter of the requests is logged: those whose id hashes below it, as the server decides."""
    ids = [f"r{number}" for number in range(40)]
    sampled = [name for name in ids if key_of(name) < limit_of(0.25)]
    world.collect(*(world.request(name, 7, [3, 4], weight=4.0) for name in sampled))
    found = feedback(world.mon, world.events(*(click(name, 3, START + 1, user_id=7) for name in ids)))
    assert 0 < len(sampled) < 20
    assert +found.counts == {"read": 40, "new": len(sampled), "not_sampled": 40 - len(sampled)}
    assert found.status.totals() == {"id": len(sampled)}


def test_the_position_or_the_user_says_which_slate_of_a_request(world):
    users = {0: 7, 1: 8, 2: 9}
    world.collect(*(world.request("r", user, [3, 4 + place], position=place) for place, user in users.items()))
    found = feedback(
        world.mon,
        world.events(
            click("r", 3, START + 1, "place", position=1),
            click("r", 3, START + 1, "user", user_id=9),
            click("r", 4, START + 1, "only one holds it"),
            click("r", 3, START + 1, "nobody says"),
            click("r", 4, START + 1, "not in that one", position=2),
        ),
    )
    keys = [world.request("r", 0, [], position=place)["slate_key"] for place in users]
    assert sorted((keys.index(key), rank) for key, rank, *_ in labels(world.mon)) == [(0, 2), (1, 1), (2, 1)]
    assert found.status.totals() == {"id": 3, "foreign": 2}


def test_labels_of_one_item_are_told_apart_and_each_counts_once(world):
    world.collect(world.request("r", 7, [3, 4]))
    feedback(
        world.mon,
        world.events(
            click("r", 3, START + 3, "1"), click("r", 3, START + 2, "2"), click("r", 3, START + 9, "3", label="buy")
        ),
    )
    key = world.request("r", 7, [])["slate_key"]
    assert labels(world.mon) == [(key, 1, "buy", 9e-9, "id", 1), (key, 1, "click", 2e-9, "id", 2)]


def simulated(world, seed, num=600):
    """Slates of two days, and what users did: (slates, events, the right slate of each event by its id)."""
    chance = random.Random(seed)
    slates, events, right = [], [], {}
    for number in range(num):
        user, at = chance.randrange(60), START + chance.randrange(2 * DAY_NS)
        slate = world.request(f"r{number}", user, chance.sample(range(len(world.ids)), 8), at)
        slates.append(slate)
        for item in slate["item_rows"]:
            if chance.random() < 0.2:
                event = f"{number}-{item}"
                delay = int(chance.expovariate(1 / (20 * MINUTE))) + 1
                named = {"request_id": slate["request_id"], "position": 0} if chance.random() < 0.5 else {}
                events.append({"event_id": event, "user_id": user, "item_id": item, "timestamp": at + delay, **named})
                right[event] = (slate["slate_key"], item, bool(named))
    repeated = [event for event in events for _ in range(1 + (chance.random() < 0.3))]
    chance.shuffle(repeated)
    return slates, repeated, right


def outcome_of(world, right):
    """Event id -> slate and item that it was joined with."""
    names = {hashlib.blake2b(json.dumps(["id", name]).encode(), digest_size=16).digest(): name for name in right}
    files = [pq.ParquetFile(path).read() for path in sorted(world.mon.glob("feedback/date=*/*.parquet"))]
    rows = [row for table in files for row in table.to_pylist()]
    assert len({row["event_key"] for row in rows}) == len(rows) == len(right)
    return {names[row["event_key"]]: (row["slate_key"], row["item_row"]) for row in rows}


def test_every_named_event_and_nearly_all_others_find_their_slate_once(world):
    slates, events, right = simulated(world, 1)
    world.collect(*slates)
    found = feedback(world.mon, world.events(*events))
    assert found.counts["new"] == len(right)
    joined_with = outcome_of(world, right)
    named = [event for event, (_, _, by_id) in right.items() if by_id]
    assert all(joined_with[event] == right[event][:2] for event in named)
    others = [event for event in right if event not in set(named)]
    share = np.mean([joined_with[event] == right[event][:2] for event in others])
    assert share >= 0.99, share
    assert sum(row[5] for row in labels(world.mon)) == len(right)


def test_the_order_of_arrival_changes_nothing(world, tmp_path):
    """Slates and events in parts, in any order, some of them again: the same rows as all at once."""
    slates, events, right = simulated(world, 2)
    other = tmp_path / "other"
    shutil.copytree(world.mon, other)
    world.collect(*slates)
    feedback(world.mon, world.events(*events))
    expected, shown = outcome_of(world, right), joined(world.mon).num_rows
    shutil.rmtree(world.mon)
    shutil.move(other, world.mon)
    chance = random.Random(3)
    parts = [(slates[place::5], events[place::5]) for place in range(5)]
    for some, of_them in sorted(parts, key=lambda _: chance.random()):
        feedback(world.mon, world.events(*of_them, *chance.sample(events, 20)))
        world.collect(*some)
    feedback(world.mon)
    assert outcome_of(world, right) == expected
    assert joined(world.mon).num_rows == shown
    before = {path: path.read_bytes() for path in world.mon.rglob("*.parquet")}
    again = feedback(world.mon, world.events(*events))
    assert again.counts["new"] == 0 and again.counts["copies"] == len(events)
    assert {path: path.read_bytes() for path in world.mon.rglob("*.parquet")} == before


def test_ended_at_any_step_the_same_command_goes_on(world, tmp_path, monkeypatch):
    slates, events, right = simulated(world, 4, num=60)
    world.collect(*slates[:30])
    feedback(world.mon, world.events(*events[:20]))
    world.collect(*slates[30:])
    path = world.events(*events)
    finished, step = False, 0
    while not finished:
        mon, left = tmp_path / f"mon-{step}", step
        shutil.copytree(world.mon, mon)

        def ending(call, *arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return call(*arguments, **options)

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink"):
                call = getattr(Path, name)
                patch.setattr(Path, name, lambda *a, call=call, **o: ending(call, *a, **o))
            try:
                feedback(mon, path)
                finished = True
            except KeyboardInterrupt:
                pass
        feedback(mon, path)
        assert len(labels(mon)) == len(right)
        assert len([*mon.glob("joined/*/*/*.parquet")]) == len([*mon.glob("joined/*/*")])
        step += 1
    assert step > 6


def test_no_raw_user_id_is_kept_and_a_new_salt_still_finds_the_slates_of_before(world):
    user = 8_123_456_789
    world.collect(world.request("r", user, [3, 4]))
    renew_salt(world.log)
    world.collect(world.request("s", user, [5, 6], START + 30 * DAY_NS))
    found = feedback(
        world.mon,
        world.events(
            {"user_id": user, "item_id": 3, "timestamp": START + MINUTE},
            {"user_id": user, "item_id": 5, "timestamp": START + 30 * DAY_NS + MINUTE},
        ),
    )
    assert found.status.totals() == {"attributed": 2}
    written = b"".join(path.read_bytes() for path in world.mon.rglob("*") if path.is_file())
    tables = [pq.ParquetFile(path).read() for path in world.mon.glob("feedback/*/*.parquet")]
    keys = [key for table in tables for row in table["user_keys"].to_pylist() for key in row]
    # A number and its text; keys of one salt alone, so that the new one still sets apart.
    assert len(keys) == 4
    assert str(user).encode() not in written and user.to_bytes(8, "little") not in written
    assert read_salt(world.log).user_key(user_bytes(user)) in keys


def test_who_is_forgotten_leaves_no_feedback_and_is_not_read_again(world):
    world.collect(world.request("r", 7, [3, 4]), world.request("s", 8, [3, 4]))
    path = world.events(
        click("r", 3, START + 1, "1"), click("s", 3, START + 1, "2", user_id=8), click("s", 4, START + 1)
    )
    feedback(world.mon, path)
    forget(world.mon, "8")
    assert [key for key, *_ in labels(world.mon)] == [world.request("r", 7, [])["slate_key"]]
    assert num_shown(world.mon) == 2
    kept = [row for file in world.mon.glob("feedback/*/*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    assert len(kept) == 1
    feedback(world.mon, path)
    assert [key for key, *_ in labels(world.mon)] == [world.request("r", 7, [])["slate_key"]]


def test_pruning_takes_feedback_along(world):
    _, events = case_5(world)
    feedback(world.mon, world.events(*events))
    prune(world.mon, 1)
    assert not [*world.mon.glob("joined/*")] and not [*world.mon.glob("feedback/date=*")]
    assert not [*(world.mon / REQUESTS).glob("*")]
    assert feedback(world.mon).status.totals() == {}


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("e.ndjson", '{"item_id": 1, "timestamp": 5}', "row 1: neither request_id nor user_id is there"),
        ("e.ndjson", '{"user_id": 1, "timestamp": 5}', "row 1: item_id is missing"),
        ("e.ndjson", '{"user_id": 1, "item_id": 2}', "row 1: timestamp is missing"),
        ("e.ndjson", '{"user_id": 1, "item_id": 2, "timestamp": "2026-01-01T00:00:00"}', "row 1: .* has no zone"),
        ("e.ndjson", '{"user_id": 1, "item_id": 2, "timestamp": 5, "position": -2}', "row 1: position must be"),
        ("e.ndjson", '{"user_id": 1, "item_id": 2, "timestamp": 5, "value": "x"}', "row 1: value must be"),
        ("e.ndjson", "[1, 2]", "row 1: it is no JSON object"),
        ("e.csv", "user_id,item_id\n1", "row 2: it has 1 columns, its head has 2"),
        ("e.csv", "who,what\n1,2\n", "has no column of an event"),
        ("e.parquet", "PAR1", "cannot be read"),
        ("e.xlsx", "", "is no file of events"),
    ],
)
def test_what_is_no_feedback_is_one_sentence_and_changes_nothing(world, name, text, sentence):
    world.collect(world.request("r", 7, [3, 4]))
    (world.folder / name).write_text(text)
    with pytest.raises(DataError, match=sentence):
        feedback(world.mon, world.folder / name)
    assert not (world.mon / "feedback").exists()


def test_bad_rows_among_good_ones_are_told_and_left_out(world):
    world.collect(world.request("r", 7, [3, 4]))
    path = world.events(click("r", 3, START + 1), click("r", 4, "yesterday"))
    done = CliRunner().invoke(app, ["feedback", str(world.mon), "--events", str(path)])
    assert done.exit_code == 0, done.output
    assert "row 2 is left out: at 'yesterday' is no time" in done.output
    assert "1 are joined by request id and 0 by user; 0 are unmatched" in done.output


def test_parquet_and_csv_say_the_same_as_ndjson(world):
    world.collect(world.request("r", 7, [3, 4]), world.request("s", 8, [3, 4]))
    columns = {"request_id": ["r", None], "user_id": [7, 8], "item_id": [world.ids[3], world.ids[4]]}
    at = pa.array([START + MINUTE, START + MINUTE], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({**columns, "timestamp": at}), world.folder / "e.parquet")
    lines = ["request_id,user_id,item_id,timestamp,label", f"r,7,{world.ids[3]},2024-10-04T12:01:00Z,click"]
    (world.folder / "e.csv").write_text("\n".join([*lines, f",8,{world.ids[4]},2024-10-04T14:01:00+02:00,"]) + "\n")
    assert feedback(world.mon, world.folder / "e.parquet").counts["new"] == 2
    assert feedback(world.mon, world.folder / "e.csv").counts["new"] == 0
    assert sorted(how for *_, how, _ in labels(world.mon)) == ["attributed", "id"]


def test_no_mon_and_a_version_that_is_gone_are_said(world, tmp_path):
    with pytest.raises(CascadeError, match="holds no collected requests"):
        feedback(tmp_path / "nowhere")
    world.collect(world.request("r", 7, [3, 4]))
    shutil.rmtree(world.folder / "repository")
    found = feedback(world.mon, world.events(click("r", 3, START + 1)))
    assert found.status.totals() == {"no_version": 1}
    assert num_shown(world.mon) == 2


def test_a_log_of_live_events_is_read_on_from_where_it_was_left(world):
    spec = StreamSpec("INT64", "INT64", ("click", "buy"))
    folder, now = world.folder / "events", START + HOUR
    world.collect(world.request("r", 7, [3, 4]), world.request("s", 8, [3, 4]))
    ingest = Ingest(folder, spec)

    def send(**columns):
        texts = {name: np.array(values, object) for name, values in columns.items() if isinstance(values[0], bytes)}
        numbers = {name: np.array(values) for name, values in columns.items() if name not in texts}
        parsed = EventParser(spec).parse({**texts, **numbers}, now)
        assert not parsed.reasons
        ingest.accept(parsed.events, now)

    named = b'{"request_id": "r", "position": 0}'
    items = [world.ids[3], world.ids[4]]
    at = [str(START + MINUTE).encode()] * 2
    send(user_id=[7, 8], item_id=items, at=at, label=[b"click", b"buy"], extra=[named, b""])
    assert feedback(world.mon, folder).counts["read"] == 2
    send(user_id=[7, 7], item_id=items, at=at, kind=[b"impression", b""], event_id=[b"", b"x"])
    ingest.close()
    again = feedback(world.mon, folder)
    assert (again.counts["read"], again.counts["new"]) == (2, 2)
    assert feedback(world.mon, folder).counts["read"] == 0
    assert sorted((label, how, number) for *_, label, _, how, number in labels(world.mon)) == [
        ("buy", "attributed", 1),
        ("click", "attributed", 1),
        ("click", "id", 1),
    ]
    assert again.status.totals() == {"id": 1, "attributed": 2, "impressions": 1}


def test_damage_is_found_and_said(world):
    _, events = case_5(world)
    path = world.events(*events)
    feedback(world.mon, path)
    verify(world.mon)
    (kept,) = world.mon.glob("joined/*/*/*.parquet")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-20])
    with pytest.raises(ArtefactError, match="is damaged"):
        verify(world.mon)
    kept.write_bytes(whole)
    (events_of_day, *_) = sorted(world.mon.glob("feedback/*/*.parquet"))
    events_of_day.write_bytes(b"PAR1")
    with pytest.raises(ArtefactError, match="put a copy of it back, or remove it"):
        feedback(world.mon, path)


def test_two_at_once_take_turns_and_a_full_disk_is_one_sentence(world, monkeypatch):
    _, events = case_5(world)
    path = world.events(*events)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("operations.log.write.pq.write_table", full)
        with pytest.raises(CascadeError, match=r"^feedback: the disk of .*/MON is full"):
            feedback(world.mon, path)
    assert not [*world.mon.glob("joined/*/*/*")]
    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(lambda _: feedback(world.mon, path), range(2))]
    assert sorted(each.counts["new"] for each in found) == [0, 6]
    assert len(labels(world.mon)) == 3


def test_events_come_by_a_pipe_and_twice_are_nothing_new(world):
    world.collect(world.request("r", 7, [3, 4]))
    text = world.events(click("r", 3, START + 1)).read_text()
    for new in (1, 0):
        done = CliRunner().invoke(app, ["feedback", str(world.mon), "--events", "-"], input=text)
        assert done.exit_code == 0, done.output
        assert f"1 rows read, {new} events are new" in done.output
    missing = CliRunner().invoke(app, ["feedback", str(world.mon), "--events", str(world.folder / "none.csv")])
    assert missing.exit_code == 1 and "none.csv is not there" in missing.output

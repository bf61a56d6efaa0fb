"""`cascade stream compact`, `forget` and `rebuild` on folders that no server writes."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.stream.events import FORGET
from runtime.stream.folder import state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.keys import user_keys
from runtime.stream.log.errors import CompactedError
from runtime.stream.log.log import EventLog
from runtime.stream.record import pack_users, unpack, user_record
from runtime.stream.set_aside import set_aside_offsets
from runtime.stream.spec import StreamSpec
from runtime.stream.store import USER, LmdbStore
from runtime.stream.windows import Window
from scripts.stream import stream
from tests.runtime.stream.log.made import events_of
from workflows.stream.history import read_events

SPEC = StreamSpec("INT64", "INT64", ("click", "buy"), segment_bytes=2_000)


def run(*words: object) -> tuple[int, str]:
    """Status and output of `cascade stream`."""
    done = CliRunner().invoke(stream, [str(word) for word in words])
    return done.exit_code, done.output.replace("\n", " ")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    ingest = Ingest(tmp_path / "events", SPEC)
    for number in range(10):
        ingest.accept(events_of([number % 3] * 40, range(40 * number, 40 * number + 40)), number)
    ingest.close()
    return tmp_path / "events"


def num_events(events: Path, spec: StreamSpec, user: int) -> int:
    store = LmdbStore(state_folder(events, spec.state_version), writable=False)
    with store.read() as reading:
        value = reading.get([USER + user_keys(events_of([user]).user)[0]])[0]
    store.close()
    return 0 if value is None else int.from_bytes(value[24:28], "little")


def test_compact_says_what_it_did(events):
    status, said = run("compact", events)
    assert (status, "; the checkpoint has the events up to offset 400" in said) == (0, True)
    assert run("replay", "--check", events)[0] == 0
    assert "Parquet files that were too old: 5" in run("compact", events, "--keep-days", "1")[1]
    status, said = run("replay", "--check", events)
    assert status == 1
    assert "no longer has the events before offset 400" in said
    assert run("compact", events, "--keep-days", "0")[0] == 2


def test_a_user_is_forgotten_where_no_server_runs(events):
    run("compact", events)
    status, said = run("forget", "1", events)
    assert status == 0
    assert "user 1 is forgotten: 120 of its events are removed" in said
    assert (num_events(events, SPEC, 0), num_events(events, SPEC, 1)) == (160, 0)
    users = [user for batch in read_events(events) for user in batch.events.user.tolist()]
    assert (users.count(0), users.count(1), users.count(2)) == (160, 1, 120)
    assert run("replay", "--check", events)[0] == 0
    assert "forgotten: 0 of its events" in run("forget", "1", events)[1]


def test_checks_leave_out_what_windows_of_items_still_count_of_forgotten_users(tmp_path):
    spec = replace(SPEC, item_windows=(Window("any", 3600),))
    ingest = Ingest(tmp_path / "events", spec)
    for number in range(10):
        ingest.accept(events_of([number % 3] * 40, range(40)), number)
    ingest.close()
    for command in (("replay", "--check"), ("audit",)):
        assert "of items" not in run(*command, tmp_path / "events")[1]
    run("forget", "1", tmp_path / "events")
    for command, said in (
        (("replay", "--check"), "items are not compared"),
        (("audit",), "windows of items are left out"),
    ):
        assert (found := run(*command, tmp_path / "events"))[0] == 0
        assert said in found[1]
    assert run("rebuild", tmp_path / "events")[0] == 0


def test_users_who_did_nothing_for_long_leave_the_state_and_the_checks_say_so(tmp_path):
    folder, day = tmp_path / "events", 86_400 * 10**9
    ages = [(1, 40), (1, 30), (2, 40), (2, 1), (3, 20), (4, 0)]
    now = time.time_ns()
    ingest = Ingest(folder, SPEC)
    users, at = [user for user, _ in ages], [now - days * day for _, days in ages]
    ingest.accept(events_of(users, range(6), at=at), now)
    ingest.close()
    status, said = run("compact", folder, "--idle-days", 10)
    assert status == 0 and "did nothing for 10 days and are out of the state: 2" in said
    assert [num_events(folder, SPEC, user) for user in (1, 2, 3, 4)] == [0, 2, 0, 1]
    ingest = Ingest(folder, SPEC)
    ingest.accept(events_of([3], [7], at=[now]), now)
    ingest.close()
    assert num_events(folder, SPEC, 3) == 1
    for command in (("replay", "--check"), ("audit",)):
        status, said = run(*command, folder)
        assert status == 0 and "2 users were removed for having done nothing, and are left out" in said, said
    store = LmdbStore(state_folder(folder, SPEC.state_version), writable=True)
    (key,) = user_keys(events_of([4]).user)
    with store.read() as reading:
        record = unpack(reading.get([USER + key]), user_record(SPEC))
    record["slots"]["item"][:, 0] += 1
    store.commit([(USER + key, pack_users(record)[0])], 7)
    store.close()
    assert run("replay", "--check", folder)[0] == run("audit", folder)[0] == 1


def test_what_was_set_aside_counts_nowhere_for_as_long_as_it_is_in_the_log(tmp_path):
    folder = tmp_path / "events"
    ingest = Ingest(folder, SPEC)
    for number, user in enumerate([1, 2, 1]):
        made = events_of([user] * 3, range(3 * number, 3 * number + 3))
        ingest.accept(replace(made, label=np.array([1, 77, 1], np.uint8)), number)
        if number == 1:
            ingest.accept(events_of([1], [0], kind=[FORGET]), number)
    ingest.close()
    assert set_aside_offsets(folder).tolist() == [1, 4, 8]
    assert "events of forgotten users removed: 3" in run("compact", folder)[1]
    # The first of user 1 has left the log; the one after the order to forget it is there, as is that of user 2.
    assert set_aside_offsets(folder).tolist() == [4, 8]
    for command in (("audit",), ("replay", "--check"), ("status",)):
        status, said = run(*command, folder)
        assert status == 0, said


def test_a_state_of_another_release_is_named_with_the_way_out(events):
    state = state_folder(events, SPEC.state_version)
    state.rename(state.with_name("of_another"))
    for words in (("audit",), ("replay", "--check"), ("compact",), ("compact", "--idle-days", 1)):
        status, said = run(*words, events)
        assert status == 1, said
        assert "has the state of_another, of another release or another [stream], and not" in " ".join(said.split())
    assert "of an earlier [stream] or another release" in " ".join(run("status", events)[1].replace("│", "").split())
    assert run("rebuild", events)[0] == run("audit", events)[0] == 0
    shutil.rmtree(events / "state")
    assert "does not have" in run("audit", events)[1]


def test_no_number_and_no_folder_are_one_sentence(events, tmp_path):
    status, said = run("forget", "seven", events)
    assert (status, "the users of this product are whole numbers, got 'seven'" in said) == (1, True)
    for words in (("compact",), ("forget", "7"), ("rebuild",)):
        status, said = run(*words, tmp_path / "nothing")
        assert (status, "holds no live events" in said) == (1, True)


def test_another_state_is_made_from_parquet_when_the_log_no_longer_has_all(events):
    run("compact", events)
    longer = replace(SPEC, history_length=99)
    with pytest.raises(CompactedError, match=r"begins with event 400, expected 0: .*`cascade stream rebuild"):
        Ingest(events, longer)
    status, said = run("rebuild", events)
    assert (status, "knows all events up to offset 400" in said) == (0, True)
    ingest = Ingest(events, longer)
    ingest.accept(events_of([1], [9999]), 11)
    ingest.close()
    assert num_events(events, longer, 1) == 121
    assert run("replay", "--check", events)[0] == 0


def test_a_state_that_is_lost_with_its_checkpoint_is_made_anew(events):
    run("compact", events)
    for lost in ("state", "checkpoints"):
        shutil.rmtree(events / lost)
    assert run("rebuild", events)[0] == 0
    Ingest(events, SPEC).close()
    assert num_events(events, SPEC, 0) == 160


def test_rebuild_waits_for_no_server(events):
    log = EventLog(events, sync=False, segment_bytes=1)
    status, said = run("rebuild", events)
    assert (status, "is being written by process" in said) == (1, True)
    log.close()

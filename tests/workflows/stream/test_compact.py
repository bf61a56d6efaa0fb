"""Housekeeping loses no event, frees what it may, and forgets whom it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.stream.events import FORGET, INTERACTION, ITEM, Events
from runtime.stream.folder import checkpoints, state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.log.lock import FolderLock
from runtime.stream.log.reader import first_offset
from runtime.stream.log.segments import list_segments
from runtime.stream.recovery import catch_up
from runtime.stream.spec import StreamSpec
from runtime.stream.store import LmdbStore
from tests.runtime.stream.log.made import events_of
from tests.small_disk import small_disk
from workflows.core.errors import CascadeError, DataError
from workflows.stream import compact as compact_module
from workflows.stream.checkpoint import make_checkpoint
from workflows.stream.compact import compact
from workflows.stream.history import first_event, read_events
from workflows.stream.parquet import list_files, read_file

SPEC = StreamSpec("INT64", "INT64", ("click", "buy"), segment_bytes=2_000)
VERSION = SPEC.state_version
DAY_NS = 86_400 * 10**9


def serve(folder: Path, *parts: Events, spec: StreamSpec = SPEC, received_at: int = 0) -> None:
    """What a server does between its start and its end."""
    ingest = Ingest(folder, spec)
    for events in parts:
        ingest.accept(events, received_at)
    ingest.close()


def clicks(start: int, count: int = 40, users: int = 7) -> Events:
    """Clicks of some users, on items that are their own offsets."""
    places = range(start, start + count)
    return events_of([place % users for place in places], list(places))


def items_of(folder: Path) -> list[int]:
    return [item for batch in read_events(folder, first_event(folder)) for item in batch.events.item.tolist()]


def state_of(folder: Path) -> dict:
    store = LmdbStore(folder, writable=False)
    with store.read() as reading:
        found = {"position": reading.position, **dict(reading.scan(b""))}
    store.close()
    return found


def texts_below(folder: Path, text: bytes) -> list[str]:
    """The files that hold some bytes anywhere."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()
    )


def test_the_log_moves_to_parquet_and_the_server_goes_on(tmp_path):
    serve(tmp_path, *[clicks(40 * number) for number in range(10)])
    before = state_of(state_folder(tmp_path, VERSION))
    done = compact(tmp_path, VERSION)
    assert (done.is_sealed, done.position, done.num_expired, done.num_forgotten) == (True, 400, 0, 0)
    assert done.num_converted == done.num_removed > 2
    assert [(segment.first_offset, segment.path.stat().st_size) for segment in list_segments(tmp_path)] == [(400, 0)]
    assert items_of(tmp_path) == list(range(400))
    again = compact(tmp_path, VERSION)
    assert (again.num_converted, again.num_removed, again.position) == (0, 0, 400)
    serve(tmp_path, clicks(400))
    assert items_of(tmp_path) == list(range(440))
    # The state from the checkpoint and what is left of the log, after a crash of the machine.
    subprocess.run(["rm", "-r", state_folder(tmp_path, VERSION)], check=True)
    serve(tmp_path)
    fresh = LmdbStore(tmp_path / "fresh", writable=True)
    catch_up(tmp_path, SPEC, fresh, batches=read_events)
    fresh.close()
    assert state_of(state_folder(tmp_path, VERSION)) == state_of(tmp_path / "fresh") != before


def test_two_checkpoints_are_kept(tmp_path):
    for number in range(4):
        serve(tmp_path, clicks(40 * number))
        compact(tmp_path, VERSION)
    assert [position for position, _ in checkpoints(tmp_path, VERSION)] == [160, 120]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [f"{VERSION}-120", f"{VERSION}-160"]


def test_beside_a_server_the_latest_segment_stays_and_is_sealed_with_its_next_event(tmp_path):
    ingest = Ingest(tmp_path, SPEC)
    for number in range(4):
        ingest.accept(clicks(40 * number), 0)
    last = list_segments(tmp_path)[-1].first_offset
    done = in_another_process(tmp_path)
    assert (done["is_sealed"], done["position"]) == (False, 160)
    assert [segment.first_offset for segment in list_segments(tmp_path)] == [last]
    ingest.accept(clicks(160), 0)
    assert list_segments(tmp_path)[-1].first_offset == 200
    ingest.accept(clicks(200), 0)
    assert not (tmp_path / "seal").exists()
    assert in_another_process(tmp_path)["num_converted"] >= 1
    assert [segment.first_offset for segment in list_segments(tmp_path)] == [200]
    ingest.close()
    assert items_of(tmp_path) == list(range(240))


def in_another_process(folder: Path) -> dict:
    """Compact beside a server: one process opens a state once."""
    code = (
        "import sys, pathlib, msgspec; from workflows.stream.compact import compact; "
        "print(msgspec.json.encode(compact(pathlib.Path(sys.argv[1]), sys.argv[2])).decode())"
    )
    found = subprocess.run([sys.executable, "-c", code, folder, VERSION], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def test_old_events_are_removed_when_it_is_asked_for_and_only_in_parquet(tmp_path):
    now = time.time_ns()
    for number, days in enumerate((40, 20, 1)):
        serve(tmp_path, clicks(40 * number), received_at=now - days * DAY_NS)
        compact(tmp_path, VERSION)
    assert first_event(tmp_path) == 0
    assert compact(tmp_path, VERSION, keep_days=30).num_expired == 1
    assert (first_event(tmp_path), items_of(tmp_path)) == (40, list(range(40, 120)))
    serve(tmp_path, clicks(120), received_at=now - 9 * DAY_NS)
    assert compact(tmp_path, VERSION, keep_days=5).num_expired == 1
    # A younger file before an older one keeps it, so that no gap opens.
    assert (first_event(tmp_path), items_of(tmp_path)) == (80, list(range(80, 160)))


def test_a_folder_without_its_state_keeps_its_log(tmp_path):
    serve(tmp_path, clicks(0))
    with pytest.raises(DataError, match=f"has the state {VERSION}, of another release .* and not another"):
        compact(tmp_path, "another")
    (state_folder(tmp_path, VERSION) / "boot").write_text("an earlier boot of the machine")
    with pytest.raises(DataError, match="was open when the machine stopped; start the server once"):
        compact(tmp_path, VERSION)
    assert first_offset(tmp_path) == 0
    serve(tmp_path)
    assert compact(tmp_path, VERSION).num_removed == 1


def test_one_process_at_a_time(tmp_path):
    serve(tmp_path, clicks(0))
    lock = FolderLock(tmp_path / "compact.lock", "compacted")
    with pytest.raises(DataError, match=f"is being compacted by process {os.getpid()}"):
        compact(tmp_path, VERSION)
    lock.release()


def text_events(users: list[bytes], kind: int = INTERACTION) -> Events:
    return events_of(users, [b"item"] * len(users), kind=[kind] * len(users), extra=[b'{"of":"%s"}' % u for u in users])


TEXT = StreamSpec("BYTES", "BYTES", ("click", "buy"), segment_bytes=1_500)


def forgetting(folder: Path) -> None:
    """A user with events in Parquet, in sealed segments, before and after the order to forget it."""
    users = [b"anna", b"victor-who-leaves", b"zoe"]
    serve(folder, *[text_events(users) for _ in range(40)], spec=TEXT)
    compact(folder, TEXT.state_version)
    (folder / "rejected.ndjson").write_text(
        '{"event": {"user_id": "victor-who-leaves"}}\n{"event": {"user_id": "zoe"}}\nno JSON\n'
    )
    order = events_of([b"victor-who-leaves"], [b""], kind=[FORGET])
    serve(folder, *[text_events(users) for _ in range(40)], order, text_events(users), spec=TEXT)


def test_a_forgotten_user_is_in_no_file_but_for_the_order_and_what_came_after_it(tmp_path):
    forgetting(tmp_path)
    done = compact(tmp_path, TEXT.state_version)
    assert done.num_forgotten == 80
    history = [
        (offset, user, int(kind))
        for batch in read_events(tmp_path)
        for offset, user, kind in zip(batch.offsets.tolist(), batch.events.user, batch.events.kind, strict=True)
    ]
    assert [(offset, kind) for offset, user, kind in history if user == b"victor-who-leaves"] == [
        (240, FORGET),
        (242, INTERACTION),
    ]
    # The others are where they were.
    others = [offset for offset, user, _ in history if user != b"victor-who-leaves"]
    assert others == [offset for offset in range(240) if offset % 3 != 1] + [241, 243]
    assert (tmp_path / "rejected.ndjson").read_text() == '{"event": {"user_id": "zoe"}}\nno JSON\n'
    assert [position for position, _ in checkpoints(tmp_path, TEXT.state_version)] == [244]
    # A state made anew from what is left is the state.
    fresh = LmdbStore(tmp_path / "fresh", writable=True)
    catch_up(tmp_path, TEXT, fresh, batches=read_events)
    fresh.close()
    assert state_of(tmp_path / "fresh") == state_of(state_folder(tmp_path, TEXT.state_version))
    assert compact(tmp_path, TEXT.state_version).num_forgotten == 0


def test_states_of_other_versions_do_not_know_a_forgotten_user_either(tmp_path):
    earlier, later = (replace(TEXT, history_length=length) for length in (9, 11))
    for spec in (TEXT, earlier):
        serve(tmp_path, text_events([b"anna", b"victor-who-leaves"]), spec=spec)
    make_checkpoint(tmp_path, earlier.state_version)
    serve(tmp_path, events_of([b"victor-who-leaves"], [b""], kind=[FORGET]), spec=TEXT)
    serve(tmp_path, spec=later)
    compact(tmp_path, TEXT.state_version)
    there = {path.name for path in (tmp_path / "state").iterdir()}
    assert there == {TEXT.state_version, later.state_version}
    assert checkpoints(tmp_path, earlier.state_version) == []
    assert [position for position, _ in checkpoints(tmp_path, TEXT.state_version)] == [5]


def test_sealed_segments_forget_too_and_are_read_with_their_gaps(tmp_path):
    forgetting(tmp_path)
    version = TEXT.state_version
    # A checkpoint that lags behind keeps the segments in the log.
    before = state_of(state_folder(tmp_path, version))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compact_module, "_remove_segments", lambda folder, position: 0)
        compact(tmp_path, version)
    start = first_offset(tmp_path)
    assert start == 120 and len(list_segments(tmp_path)) > 2
    assert texts_below(tmp_path / "log", b"victor-who-leaves") == [list_segments(tmp_path)[-2].path.name]
    offsets = [offset for batch in read_events(tmp_path, start) for offset in batch.offsets.tolist()]
    assert offsets == [offset for offset in range(120, 240) if offset % 3 != 1] + [240, 241, 242, 243]
    serve(tmp_path, spec=TEXT)
    assert state_of(state_folder(tmp_path, version)) == before


def test_integer_users_and_items_of_the_same_number_are_not_confused(tmp_path):
    stock = events_of([0], [7], kind=[ITEM])
    serve(tmp_path, clicks(0), stock, events_of([0], [0], kind=[FORGET]))
    assert compact(tmp_path, VERSION).num_forgotten == 6
    kinds = [int(kind) for batch in read_events(tmp_path) for kind in batch.events.kind]
    assert (kinds.count(INTERACTION), kinds.count(ITEM), kinds.count(FORGET)) == (34, 1, 1)


STEPS = ("_remove_leftovers", "_seal", "_convert", "forget_users", "make_checkpoint", "remove_checkpoints",
         "note_forgotten", "_remove_segments")  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_stopped_before_or_after_any_step_the_next_call_goes_on(tmp_path, monkeypatch, step):
    forgetting(tmp_path)
    expected = None
    for after in (False, True):
        real = getattr(compact_module, step)

        def stopping(*arguments, after=after, real=real):
            if after:
                real(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(compact_module, step, stopping)
            with pytest.raises(KeyboardInterrupt):
                compact(tmp_path, TEXT.state_version)
        expected = [offset for offset in range(240) if offset % 3 != 1] + [240, 241, 242, 243]
    compact(tmp_path, TEXT.state_version)
    assert [offset for batch in read_events(tmp_path) for offset in batch.offsets.tolist()] == expected
    assert first_offset(tmp_path) == 244
    serve(tmp_path, text_events([b"zoe"]), spec=TEXT)


def test_killed_again_and_again_it_loses_nothing(tmp_path):
    serve(tmp_path, *[clicks(40 * number) for number in range(60)])
    code = "import sys, pathlib; from workflows.stream.compact import compact; print(1, flush=True); "
    code += "compact(pathlib.Path(sys.argv[1]), sys.argv[2])"
    for wait in (0.0, 0.01, 0.03, 0.06, 0.1):
        with subprocess.Popen([sys.executable, "-c", code, tmp_path, VERSION], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(wait)
            process.kill()
        assert items_of(tmp_path) == list(range(2400))
    compact(tmp_path, VERSION)
    assert items_of(tmp_path) == list(range(2400))
    assert all(len(list(read_file(file.path))) for file in list_files(tmp_path))
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(tmp_path):
    with small_disk(tmp_path / "disk", 200 << 10, lazy=True) as folder:
        serve(folder / "events", *[clicks(40 * number) for number in range(10)])
        free = os.statvfs(folder)
        (folder / "ballast").write_bytes(bytes(max(free.f_bavail * free.f_bsize - 8192, 0)))
        with pytest.raises(
            CascadeError, match=r"the disk of .* is full; free some space and run the same command again"
        ):
            compact(folder / "events", VERSION)
        assert items_of(folder / "events") == list(range(400))
        (folder / "ballast").unlink()
        serve(folder / "events", clicks(400))


def test_values_of_one_kind_survive_a_rewrite(tmp_path):
    nothing = events_of([5], [1])
    nothing = Events(**{**nothing.__dict__, "value": np.array([np.nan], np.float32)})
    serve(tmp_path, nothing, events_of([6], [2]), events_of([6], [0], kind=[FORGET]))
    compact(tmp_path, VERSION)
    batches = list(read_events(tmp_path))
    assert np.isnan(batches[0].events.value[0])
    assert [int(user) for batch in batches for user in batch.events.user] == [5, 6]

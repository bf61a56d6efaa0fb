"""The writer of a folder of live events: nothing acknowledged is lost or counted twice, whatever fails in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.stream import poison, recovery
from runtime.stream.events import INTERACTION, Events
from runtime.stream.folder import FolderError, is_held, state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import read_log
from runtime.stream.record import unpack, user_record
from runtime.stream.spec import StreamSpec
from runtime.stream.store import SEEN, USER, LmdbStore, StoreError

SPEC = StreamSpec("INT64", "INT64", ("click",), history_length=5, dedupe_last=8)
ARRIVAL = 1_800_000_000 * 10**9


def events(start: int, count: int, users: int = 3) -> Events:
    """Events number `start` to `start + count`, each under an id of its own."""
    numbers = np.arange(start, start + count)
    names = np.empty(count, object)
    names[:] = [f"event {number}".encode() for number in numbers.tolist()]
    return Events(
        kind=np.full(count, INTERACTION, np.uint8),
        user=numbers % users,
        item=numbers,
        at=ARRIVAL + numbers,
        label=np.zeros(count, np.uint8),
        value=np.ones(count, np.float32),
        event_id=names,
        extra=np.full(count, b"", object),
        labels=("click",),
    )


def records(folder: Path, spec: StreamSpec = SPEC) -> dict[bytes, bytes]:
    """Everything in a state, and its position."""
    store = LmdbStore(state_folder(folder, spec.state_version), writable=False)
    with store.read() as reading:
        found = {key: value for prefix in (USER, SEEN) for key, value in reading.scan(prefix)}
        found[b"position"] = str(reading.position).encode()
    store.close()
    return found


def histories(found: dict[bytes, bytes]) -> list[tuple[int, list[int]]]:
    """How many events of each user counted, and the items of the latest."""
    users = unpack([value for key, value in sorted(found.items()) if key[:1] == USER], user_record(SPEC))
    return [(int(user["num_events"]), user["slots"]["item"][: user["num_history"]].tolist()) for user in users]


def made_of(tmp_path: Path, *batches: Events) -> dict[bytes, bytes]:
    """The state that an undisturbed writer makes of these."""
    undisturbed = Ingest(tmp_path / "undisturbed", SPEC)
    for batch in batches:
        undisturbed.accept(batch, ARRIVAL)
    undisturbed.close()
    return records(tmp_path / "undisturbed")


def test_offsets_and_statuses_and_a_second_life(tmp_path: Path) -> None:
    first = Ingest(tmp_path / "live", SPEC)
    status, offsets = first.accept(events(0, 5), ARRIVAL)
    assert (status.tolist(), offsets.tolist()) == ([1] * 5, [0, 1, 2, 3, 4])
    first.close()
    second = Ingest(tmp_path / "live", SPEC)
    assert second.replayed == 0
    status, offsets = second.accept(events(3, 4), ARRIVAL)
    assert (status.tolist(), offsets.tolist()) == ([0, 0, 1, 1], [5, 6, 7, 8])
    second.close()
    assert records(tmp_path / "live") == made_of(tmp_path, events(0, 5), events(3, 4))


def test_one_process_writes(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "live")
    held = Ingest(tmp_path / "live", SPEC)
    assert is_held(tmp_path / "live")
    with pytest.raises(LogError, match="is being written by process"):
        Ingest(tmp_path / "live", SPEC)
    held.close()
    assert not is_held(tmp_path / "live")
    Ingest(tmp_path / "live", SPEC).close()


def test_a_fold_that_fails_behind_the_log_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Ingest(tmp_path / "live", SPEC)
    live.accept(events(0, 4), ARRIVAL)

    def full(*given: Any) -> None:
        raise StoreError("the state cannot be written (no space)")

    with monkeypatch.context() as patch:
        patch.setattr(poison, "apply_at", full)
        with pytest.raises(StoreError, match="no space"):
            live.accept(events(4, 4), ARRIVAL)
        # As long as the state cannot be written, the log does not grow either.
        with pytest.raises(StoreError, match="no space"):
            live.accept(events(4, 4), ARRIVAL)
    status, offsets = live.accept(events(4, 5), ARRIVAL)
    assert (status.tolist(), offsets.tolist()) == ([0, 0, 0, 0, 1], [8, 9, 10, 11, 12])
    live.close()
    assert records(tmp_path / "live") == made_of(tmp_path, events(0, 4), events(4, 4), events(4, 5))


def test_a_log_that_failed_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Ingest(tmp_path / "live", SPEC)
    live.accept(events(0, 4), ARRIVAL)

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(LogError, match="Input/output error"):
            live.accept(events(4, 4), ARRIVAL)
    status, offsets = live.accept(events(4, 4), ARRIVAL)
    assert (status.tolist(), offsets.tolist()) == ([1] * 4, [4, 5, 6, 7])
    live.close()
    assert records(tmp_path / "live") == made_of(tmp_path, events(0, 4), events(4, 4))


WRITER = """
import sys
from pathlib import Path
from runtime.stream.ingest import Ingest
from tests.runtime.stream.test_ingest import ARRIVAL, SPEC, events
live = Ingest(Path(sys.argv[1]), SPEC)
start = int(sys.argv[2])
print(live.replayed, flush=True)
while True:
    live.accept(events(start, 7), ARRIVAL)
    start += 7
    print(start, flush=True)
"""


def test_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    acknowledged = 0
    rng = np.random.default_rng(0)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "live"), str(acknowledged)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        with writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(int(rng.integers(2, 30)))]
            writer.send_signal(signal.SIGKILL)
            # The first number is how many were made up for at the start.
            acknowledged = max([acknowledged, *map(int, [*lines, *writer.stdout.read().split()][1:])])
    live = Ingest(tmp_path / "live", SPEC)
    live.close()
    found = records(tmp_path / "live")
    logged = [int(i[6:]) for frame in read_log(tmp_path / "live") for i in frame.events.event_id.tolist()]
    assert found[b"position"] == str(len(logged)).encode()
    # Every acknowledged event is there; of a request that was sent again, the log has both and the state the first.
    assert set(range(acknowledged)) <= set(logged)
    assert histories(found) == histories(made_of(tmp_path, events(0, len(set(logged)))))
    # Rebuilt from the log alone, every byte is the same.
    shutil.rmtree(tmp_path / "live/state")
    Ingest(tmp_path / "live", SPEC).close()
    assert records(tmp_path / "live") == found


def test_after_a_crash_of_the_machine_the_state_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "live"
    live = Ingest(folder, SPEC)
    live.accept(events(0, 9), ARRIVAL)
    state = state_folder(folder, SPEC.state_version)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)  # as a crash leaves it: not closed
    live.close()
    expected = records(folder)
    assert not (state / "boot").exists()
    damaged = state_folder(copy, SPEC.state_version)
    (damaged / "data.mdb").write_bytes(b"what a disk without sync may hold")
    with pytest.raises(StoreError, match="cannot be opened"):
        Ingest(copy, SPEC)
    boot = tmp_path / "boot_id"
    boot.write_text("another boot\n")
    monkeypatch.setattr(recovery, "BOOT_ID", boot)
    again = Ingest(copy, SPEC)
    assert again.replayed == 9
    again.close()
    assert records(copy) == expected


def test_a_checkpoint_saves_the_way_through_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    live = Ingest(folder, SPEC)
    live.accept(events(0, 6), ARRIVAL)
    live.close()
    store = LmdbStore(state_folder(folder, SPEC.state_version), writable=False)
    checkpoint = folder / "checkpoints" / f"{SPEC.state_version}-6"
    checkpoint.mkdir(parents=True)
    store.copy(checkpoint)
    store.close()
    live = Ingest(folder, SPEC)
    live.accept(events(6, 5), ARRIVAL)
    live.close()
    expected = records(folder)
    # One that is not whole and one that the log does not reach are passed over.
    for position, content in ((8, b"broken"), (99, b"")):
        other = folder / "checkpoints" / f"{SPEC.state_version}-{position}"
        other.mkdir()
        (other / "data.mdb").write_bytes(content)
    shutil.rmtree(folder / "state")
    again = Ingest(folder, SPEC)
    assert again.replayed == 5
    again.close()
    assert records(folder) == expected


def test_another_state_version_is_made_beside_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    live = Ingest(folder, SPEC)
    live.accept(events(0, 6), ARRIVAL)
    live.close()
    before = records(folder)
    shorter = StreamSpec("INT64", "INT64", ("click",), history_length=1, dedupe_last=8)
    Ingest(folder, shorter).close()
    assert records(folder, shorter) != before == records(folder)


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    live = Ingest(folder, SPEC)
    live.accept(events(0, 6), ARRIVAL)
    live.close()
    with pytest.raises(FolderError, match=r"holds INT64 users and INT64 items, .* another product's"):
        Ingest(folder, StreamSpec("BYTES", "INT64", ("click",)))
    shutil.rmtree(folder / "log")
    with pytest.raises(FolderError, match="ends at offset 0, and the state knows events up to 6: files of the log are"):
        Ingest(folder, SPEC)
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"cannot be written .*; make it writable, or give another one with --events"):
        Ingest(tmp_path / "file" / "live", SPEC)

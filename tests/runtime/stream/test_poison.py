"""Events of the log that the fold cannot take: they are set aside, and everything else goes on and counts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.stream.answer import answers_of, read_requests
from runtime.stream.ingest import Ingest
from runtime.stream.log.log import EventLog
from runtime.stream.parse import EventParser
from runtime.stream.poison import SET_ASIDE
from runtime.stream.set_aside import SetAsideEvents, set_aside_file, set_aside_offsets
from tests.runtime.stream.test_ingest import ARRIVAL, SPEC, events, histories, records


def poisoned(start: int, count: int, *places: int) -> object:
    """Events of which some have a label that is none."""
    made = events(start, count)
    label = made.label.copy()
    label[list(places)] = 77
    return replace(made, label=label)


def plant(folder: Path, *batches: object) -> None:
    """Frames in a log, past all checks."""
    log = EventLog(folder, sync=False, segment_bytes=1 << 20)
    for batch in batches:
        log.append(batch, ARRIVAL)
    log.close()


def set_aside(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "set_aside.ndjson").read_text().splitlines()]


def test_a_planted_frame_neither_blocks_the_start_nor_what_comes(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    first = Ingest(folder, SPEC)
    first.accept(events(0, 5), ARRIVAL)
    first.close()
    plant(folder, poisoned(5, 9, 3, 4), events(14, 3))
    live = Ingest(folder, SPEC)
    assert (live.replayed, live.set_aside.num_met) == (12, 2)
    status, offsets = live.accept(events(17, 3), ARRIVAL)
    assert (status.tolist(), offsets.tolist()) == ([1] * 3, [17, 18, 19])
    live.close()
    assert [line["offset"] for line in set_aside(folder)] == [8, 9] == set_aside_offsets(folder).tolist()
    (line, _) = set_aside(folder)
    assert line["reason"].startswith("it could not be folded into the state (IndexError: ")
    assert (line["event"]["user_id"], line["event"]["item_id"], line["event"]["kind"]) == (8 % 3, 8, "interaction")
    # Without these two events the state is the same but for offsets.
    others = Ingest(tmp_path / "others", SPEC)
    kept = np.setdiff1d(np.arange(20), [8, 9])
    others.accept(events(0, 20).take(kept), ARRIVAL)
    others.close()
    assert histories(records(folder)) == histories(records(tmp_path / "others"))
    # And a replay makes the same state, to the byte.
    before = records(folder)
    assert before[b"position"] == b"20"
    shutil.rmtree(folder / "state")
    again = Ingest(folder, SPEC)
    assert again.set_aside.num_met == 2
    again.close()
    assert records(folder) == before
    assert [line["offset"] for line in set_aside(folder)] == [8, 9]


def test_of_what_comes_the_poisoned_event_alone_is_refused(tmp_path: Path) -> None:
    live = Ingest(tmp_path / "live", SPEC)
    status, offsets = live.accept(poisoned(0, 6, 2), ARRIVAL)
    assert (status.tolist(), offsets.tolist()) == ([1, 1, SET_ASIDE, 1, 1, 1], list(range(6)))
    assert live.accept(events(6, 2), ARRIVAL)[1].tolist() == [6, 7]
    live.close()
    assert live.set_aside.num_met == 1


def test_its_sender_is_told(tmp_path: Path) -> None:
    live = Ingest(tmp_path / "live", SPEC)
    request = {"user_id": np.array([[1], [2]]), "item_id": np.array([[5], [6]])}
    groups, _ = read_requests(EventParser(SPEC), [request], ARRIVAL, print)
    taken = replace(groups[0].parsed.events, label=np.array([0, 77], np.uint8))
    answers, status = answers_of(groups, lambda _: live.accept(taken, ARRIVAL), print)
    live.close()
    assert answers[0]["status"].tolist() == [[1], [-1]] == status[:, None].tolist()
    assert answers[0]["offset"].tolist() == [[0], [-1]]
    assert answers[0]["reason"].tolist()[0] == [b""]
    assert b"could not be folded into the state; set_aside.ndjson says why" in answers[0]["reason"][1, 0]


def test_a_key_that_the_store_cannot_have_is_poison_and_no_fault_of_the_store(tmp_path: Path) -> None:
    spec = replace(SPEC, user_id_dtype="BYTES")
    made = events(0, 4)
    users = np.array([b"a", b"b" * 600, b"a", b"c"], object)
    live = Ingest(tmp_path / "live", spec)
    status, _ = live.accept(replace(made, user=users), ARRIVAL)
    assert status.tolist() == [1, SET_ASIDE, 1, 1]
    live.close()
    assert "longer than the state can have" in set_aside(tmp_path / "live")[0]["reason"]


def test_what_cannot_be_kept_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Ingest(tmp_path / "live", SPEC)

    def full(self: SetAsideEvents, *of: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SetAsideEvents, "keep", full)
        with pytest.raises(OSError, match="No space left"):
            live.accept(poisoned(0, 3, 1), ARRIVAL)
    assert live.accept(events(3, 1), ARRIVAL)[0].tolist() == [1]
    live.close()
    assert [line["offset"] for line in set_aside(tmp_path / "live")] == [1]


def test_half_a_line_of_a_full_disk_hides_no_other(tmp_path: Path) -> None:
    kept = SetAsideEvents(tmp_path)
    kept.keep(events(0, 1), 7, "why")
    with set_aside_file(tmp_path).open("a") as file:
        file.write('{"offset": 8, "rea')
    kept.keep(events(1, 1), 8, "why")
    kept.keep(events(1, 1), 8, "again")
    assert set_aside_offsets(tmp_path).tolist() == [7, 8]
    assert len(set_aside_file(tmp_path).read_text().splitlines()) == 3

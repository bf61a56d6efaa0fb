"""The Events page: the end of a log as brute force has it, what is new, and every reason why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
import pytest

from console.latest_events import latest_events
from ensemble.config import ChainConfig, Config
from ensemble.export.stage import export
from runtime.stream.events import FORGET, IMPRESSION, INTERACTION, ITEM, KINDS
from runtime.stream.log.log import EventLog
from runtime.stream.log.reader import read_log
from tests.console.running import running, text_of
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.runtime.stream.log.made import events_of
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

pytestmark = pytest.mark.service("console")
ROW = re.compile(r"<tr[^>]*>(<td>.*?)</tr>", re.DOTALL)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    chain = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, instances=1)
    run, config = make_run(tmp_path_factory.mktemp("events") / "run", chain=chain, text_ids=True, num_users=20)
    config = msgspec.structs.replace(config, stream=StreamConfig())
    export(run, config)
    return run, config


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    made = EventLog(tmp_path / "EVENTS", sync=False, segment_bytes=1 << 13)
    yield made
    made.close()


def send(log: EventLog, *said: tuple[int, int, int], kind: int = INTERACTION) -> None:
    """Events of (user row, item row, second)."""
    users, items = [user_id(row, True) for row, _, _ in said], [item_id(row, True) for _, row, _ in said]
    log.append(events_of(users, items, kind=[kind] * len(said)), 10**9 * (1_700_000_000 + said[-1][2]))


def offsets(body: str) -> list[int]:
    return [int(re.sub(r".*<td>|</td>$|,", "", found, flags=re.DOTALL)) for found in ROW.findall(body)]


def test_the_end_is_that_of_the_whole_log_over_many_files_and_a_half_written_frame(
    log: EventLog, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for second in range(120):
        send(log, *((int(user), int(item), second) for user, item in rng.integers(0, 20, (rng.integers(1, 40), 2))))
    assert len(list((tmp_path / "EVENTS/log").glob("*.log"))) > 3
    every = [
        (int(offset), user.decode(), item.decode(), frame.received_at)
        for frame in read_log(tmp_path / "EVENTS")
        for offset, user, item in zip(frame.offsets, frame.events.user, frame.events.item, strict=True)
    ][::-1]
    last = max((tmp_path / "EVENTS/log").glob("*.log"))
    for cut in (b"", b"\xffEV\xfe half a frame"):
        with last.open("ab") as file:
            file.write(cut)
        for count in (1, 30, 2_000):
            found = latest_events(tmp_path / "EVENTS", count)
            assert [(e.offset, e.user, e.item, e.received_at) for e in found.events] == every[:count]
            assert found.next_offset == log.next_offset
        user = user_id(7, True).decode()
        found = latest_events(tmp_path / "EVENTS", 30, user)
        assert [e.offset for e in found.events] == [offset for offset, who, *_ in every if who == user][:30]
    assert latest_events(tmp_path / "nothing", 30).events == []


def test_a_frame_longer_than_what_is_read_first_is_read(log: EventLog, tmp_path: Path) -> None:
    send(log, *((row % 20, row % 300, 0) for row in range(30_000)))
    found = latest_events(tmp_path / "EVENTS", 30)
    assert [event.offset for event in found.events] == list(range(29_999, 29_969, -1))


def test_the_page_shows_the_events_and_what_is_new(streamed: tuple[Run, Config], log: EventLog, tmp_path: Path) -> None:
    with running(streamed[0].root, events=tmp_path / "EVENTS") as asks:
        send(log, (9, 3, 0), (8, 400, 1))
        first = asks.get("/events")
        assert first.status == 200 and offsets(first.body) == [1, 0]
        assert 'class="new"' not in first.body and "2 events in" in text_of(first.body)
        again = next(link for link in re.findall(r'hx-get="([^"]*)"', first.body))
        assert again == "/events?after=2" and asks.get(again).status == 204
        send(log, (9, 5, 2))
        later = asks.get(again)
        assert later.body.count('class="new"') == 1 and "1 new event" in text_of(later.body)
        # What the item does to the user's slate, of an item of the catalogue alone.
        without = f"/user?user={quote(user_id(9, True))}&without={item_id(5, True).decode()}"
        assert without in later.links and asks.get(without).status == 200
        assert f"without={item_id(400, True).decode()}" not in later.body and "not in the catalogue" in later.body
        of_one = asks.get(f"/events?user={quote(user_id(8, True))}")
        assert offsets(of_one.body) == [1] and f"user={quote(user_id(8, True), safe='')}&amp;after=3" in of_one.body


def test_each_kind_says_what_it_is(streamed: tuple[Run, Config], log: EventLog, tmp_path: Path) -> None:
    for kind in range(len(KINDS)):
        send(log, (2, 3, kind), kind=kind)
    with running(streamed[0].root, events=tmp_path / "EVENTS") as asks:
        rows = dict(zip(offsets(body := asks.get("/events").body), ROW.findall(body), strict=True))
    assert "click" in rows[INTERACTION] and "Slate without" in rows[INTERACTION]
    assert "impression" in rows[IMPRESSION] and "Slate without" not in rows[IMPRESSION]
    assert "item: in stock" in rows[ITEM] and "/user?" not in rows[ITEM]
    assert "forget" in rows[FORGET] and "/item?" not in rows[FORGET]


def test_where_there_is_none_one_sentence_says_why(streamed: tuple[Run, Config], tmp_path: Path) -> None:
    run, config = streamed
    with running(run.root) as asks:
        assert "No event has come yet" in text_of(asks.get("/events").body)
        # The first event comes while the console is open.
        made = EventLog(run.root / "events", sync=False, segment_bytes=1 << 20)
        send(made, (9, 3, 0))
        made.close()
        assert offsets(asks.get("/events").body) == [0]
        (run.root / "events/log/strange.log").touch()
        damaged = asks.get("/events")
        assert damaged.status == 503 and "is no segment of the log" in text_of(damaged.body)
        # What looks again goes on looking.
        assert "data-live" in damaged.body
    plain = make_run(tmp_path / "run", chain=config.chain, num_users=20)
    export(*plain)
    with running(plain[0].root) as asks:
        body = asks.get("/events").body
        assert "without [stream]" in text_of(body) and "data-live" not in body

"""What ends or breaks without a server: collector, monitor, the clock, and Parquet that was collected."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.failures.stage import LAYOUT, Theatre
from benchmarks.faults.serving import Named, recorder_of
from benchmarks.signals.logged import note_chain, write_day
from ensemble.publish import publish
from ensemble.stream.event_files import read_rows
from operations.folder import STATUS, parquet_files, read_json
from operations.log.collect import collect
from operations.log.verify import verify
from operations.replay.replay import replay
from operations.signals.monitor import monitor_once
from operations.signals.table import load
from runtime.chain import Chain
from runtime.log.folder import LogSettings, make_log
from runtime.log.identity import Served, chain_key
from runtime.stream.live import without_live_state
from workflows.core.errors import CascadeError

__all__ = ["OFFLINE", "Came", "rows_in"]

SEGMENTS, A_SEGMENT = 160, 5
# How long a command may go on, and by what that grows each time until one comes to its end.
FIRST_S, GROWTH, MOST_KILLS = 0.3, 1.25, 30
NUM_DAYS, FIRST_DAY, DAY_S = 6, 20_000, 86_400
HOUR_NS, FLUSHED_S = 3_600 * 10**9, 0.2


class Came(NamedTuple):
    """What came of it.

    Attributes:
        answered: requests.
        wrong: that are answered otherwise when they are asked again, or whose time is wrong.
        missing: of them, in what was collected.
        twice: rows that are there already.
        is_well: whether it goes on in the end.
        said: in words.
    """

    answered: int
    wrong: int
    missing: int
    twice: int
    is_well: bool
    said: str


def rows_in(mon: Path) -> pa.Table:
    """All rows of MON; none where nothing was collected."""
    tables = [pq.ParquetFile(path).read().unify_dictionaries() for path in parquet_files(mon)]
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries() if tables else pa.table({})


def kill_collector(theatre: Theatre, scratch: Path) -> Came:
    """`kill -9` of a collector again and again; then one that is let be."""
    names, log, mon = _logged(theatre, scratch, SEGMENTS), scratch / "LOG", scratch / "MON"
    words = ["scripts.log", "collect", str(log), "--out", str(mon)]
    killed = _kill_all(words)
    collect(log, mon)
    return _came(names, mon, f"killed {killed} times, each a little later, until one came to its end")


def kill_monitor(theatre: Theatre, scratch: Path) -> Came:
    """`kill -9` of a monitor again and again; the last look finds what an undisturbed one does."""
    names, mon = _logged(theatre, scratch, SEGMENTS), scratch / "MON"
    collect(scratch / "LOG", mon)
    days = [scratch / name for name in ("killed", "whole")]
    for folder in days:
        key = note_chain(folder, theatre.run.require("repo") / LAYOUT)
        for day in range(FIRST_DAY, FIRST_DAY + NUM_DAYS):
            write_day(folder, rows_in(mon), day, key)
        (folder / STATUS).write_text('{"counts": {}}')
    killed = _kill_all(["scripts.monitor", str(days[0]), "--once"])
    for folder in days:
        monitor_once(folder)
    found, whole = ([repr(row) for row in load(folder)] for folder in days)
    differ = len(set(whole) ^ set(found))
    said = f"killed {killed} times until one came to its end; {len(whole)} values, {differ} differ"
    return _came(names, mon, said)._replace(is_well=bool(whole) and not differ)


def jump_in_time(theatre: Theatre, scratch: Path) -> Came:
    """The clock of a server goes three hours back, then a day forth, while it answers."""
    began_ns, jumped = time.time_ns(), [0]
    with _clock(lambda ns: ns + jumped[0]):
        names = _logged(theatre, scratch, 1, lambda place: _jump(jumped, place))
    ended_ns, mon = time.time_ns(), scratch / "MON"
    collect(scratch / "LOG", mon)
    at = rows_in(mon)["at"].cast(pa.int64()).to_numpy()
    off = int(((at < began_ns) | (at > ended_ns)).sum())
    counted = read_json(mon / STATUS, {})["counts"].get("clock_jumps", 0)
    came = _came(names, mon, f"{counted} jumps counted, {off} rows with a wrong time")
    return came._replace(wrong=came.wrong + off, is_well=came.is_well and counted > 0)


def corrupt_parquet(theatre: Theatre, scratch: Path) -> Came:
    """A file of MON and a file of events that are no longer what was written."""
    names, mon = _logged(theatre, scratch, SEGMENTS), scratch / "MON"
    collect(scratch / "LOG", mon)
    path = next(iter(parquet_files(mon)))
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 3 : len(broken) // 3 + 64] = bytes(64)
    events = scratch / "events.parquet"
    events.write_bytes(broken)
    path.write_bytes(broken)
    readers: dict[str, Callable[[], object]] = {
        "verify": lambda: verify(mon),
        "monitor": lambda: monitor_once(mon, time.time() + 2 * DAY_S),
        "replay": lambda: replay(mon, last=len(names)),
        "events": lambda: list(read_rows(events, {"user_id": "INT64", "item_id": "INT64"})),
    }
    refused = [name for name, read in readers.items() if _is_refused(read)]
    path.write_bytes(whole)
    came = _came(names, mon, f"refused with the file's name by {', '.join(refused)}; whole again from a copy")
    return came._replace(is_well=came.is_well and len(refused) == len(readers))


OFFLINE: dict[str, Callable[[Theatre, Path], Came]] = {
    "kill -9 of the collector": kill_collector,
    "kill -9 of the monitor": kill_monitor,
    "the clock goes back and forth": jump_in_time,
    "corrupt Parquet": corrupt_parquet,
}


def _logged(
    theatre: Theatre, scratch: Path, num_segments: int, before: Callable[[int], None] = lambda place: None
) -> list[str]:
    """Have the chain's code answer and log into LOG, in segments that are ready; the ids of the requests."""
    publish(theatre.run, theatre.config, scratch / "published", LAYOUT)
    folder = scratch / "published/cascade/1"
    settings = LogSettings(scratch / "LOG", 1.0)
    make_log(settings.folder)
    with without_live_state():
        chain = Chain.load(folder / "chain")
    served, names = Served(chain_key(folder), 1, scratch / "published"), []
    asked, a_segment = [question.arrays for question in theatre.questions], A_SEGMENT if num_segments > 1 else SEGMENTS
    for segment in range(num_segments):
        recorder = recorder_of(chain, folder / "chain", settings, served)
        for place in range(segment * a_segment, (segment + 1) * a_segment):
            before(place)
            arrays = asked[place % len(asked)]
            recorder.answer(partial(chain.recommend_many, [arrays]), [Named(f"request-{place}")], [arrays])
            names.append(f"request-{place}")
        recorder.close()
    return names


def _came(names: Sequence[str], mon: Path, said: str) -> Came:
    found = rows_in(mon)["request_id"].to_pylist()
    again = replay(mon, last=len(names))
    missing = len(set(names) - set(found))
    return Came(len(names), len(again.differing), missing, len(found) - len(set(found)), not missing, said)


def _kill_all(words: Sequence[str]) -> int:
    """Start a command again and again and kill it, each time later, until it ends by itself; how often it was."""
    for killed in range(MOST_KILLS):
        process = subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.DEVNULL)
        try:
            process.wait(FIRST_S * GROWTH**killed)
            return killed
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return MOST_KILLS


@contextmanager
def _clock(change: Callable[[int], int]) -> Iterator[None]:
    """Let this process see another wall clock."""
    real = time.time_ns
    time.time_ns = lambda: change(real())
    try:
        yield
    finally:
        time.time_ns = real


def _jump(jumped: list[int], place: int) -> None:
    """After a third of the requests, three hours back; after two thirds, a day forth."""
    if place and place % (SEGMENTS // 3) == 0:
        # What was answered until now is written, with the clock of then.
        time.sleep(FLUSHED_S)
        jumped[0] = {1: -3, 2: 21}.get(place // (SEGMENTS // 3), 21) * HOUR_NS


def _is_refused(read: Callable[[], object]) -> bool:
    try:
        read()
    except CascadeError:
        return True
    return False

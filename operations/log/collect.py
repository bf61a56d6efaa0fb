"""`cascade log collect`: the segments of a log become Parquet, each request once, whatever ends the command."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.kept_versions import claim, is_published
from operations.folder import CHAINS, FORGOTTEN, PENDING, RECENT, REQUESTS, STATUS, Change, HeldError, held, read_json
from operations.log.chains import keys_in
from operations.log.compact import Compactor
from operations.log.halves import join_halves
from operations.log.rows import Logged, table_of
from operations.log.status import Status
from operations.log.views import write_view
from operations.log.write import write_table
from runtime.log.folder import OPEN, OPEN_SUFFIX
from runtime.log.record import HEADER, Record, frame
from runtime.log.segments import Segment, adopt, read_segment, ready_segments
from runtime.stream.log.errors import LogError
from runtime.stream.log.lock import FolderLock
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError

__all__ = ["collect", "collect_once", "num_open"]

FOLLOW_EVERY_S = 5.0
MOST_SEGMENTS = 64
# How long half a request waits for the other one: two times as long as a segment is written.
HALF_WAITS_S = 120.0
# The same id again within this time is another attempt at the same request.
ATTEMPTS_NS = 600 * 10**9
JUMP_NS = 10**9
DAY_NS = 86_400 * 10**9
RECENT_TYPE = np.dtype([("key", "<u8"), ("at", "<i8"), ("attempts", "<i8")])
LOCK = "collector"


def collect(
    log: Path,
    out: Path,
    *,
    follow: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    views: Sequence[str] = (),
) -> int:
    """Collect what is ready.

    Args:
        log: LOG, of any number of servers.
        out: MON; made.
        follow: go on until `stopped`, looking every few seconds.
        stopped: asked in between.
        views: of VIEWS, written at the beginning.

    Returns:
        The number of rows.

    Raises:
        ArtefactError: there is no log, another process collects it or, where it does not follow, holds MON; or a
            segment cannot be read.
        CascadeError: the disk is full; what is not collected stays in the log.
    """
    if not (log / OPEN).is_dir():
        raise ArtefactError(f"{log} is no request log; `cascade serve RUN --log {log}` writes one")
    num_rows = 0
    try:
        lock = FolderLock(log / LOCK, "collected")
    except LogError as error:
        raise ArtefactError(str(error)) from error
    compactor = Compactor(out)
    try:
        if views:
            with writing("log collect", out), held(out, "collected into", made=True):
                for name in views:
                    write_view(out, name)
        held_by = ""
        while True:
            try:
                with writing("log collect", out), held(out, "collected into", made=True):
                    num_new = _collect_ready(log, out)
                    if num_new or not num_rows:
                        compactor.compact()
                    num_rows += num_new
                held_by = ""
            except HeldError as error:
                # What servers write waits in the log; a collector that ended would not come back by itself.
                if not follow:
                    raise
                if str(error) != held_by:
                    console.say(f"log collect: {error}; the log waits for it")
                held_by = str(error)
            if not follow or stopped():
                return num_rows
            _wait(FOLLOW_EVERY_S, stopped)
    except LogError as error:
        raise ArtefactError(str(error)) from error
    finally:
        lock.release()


def num_open(log: Path) -> int:
    """Records in segments that are being written, which are collected once these are closed."""
    found = 0
    for path in (log / OPEN).glob(f"*{OPEN_SUFFIX}"):
        with suppress(LogError, OSError):  # it has just been closed
            found += len(read_segment(path).records)
    return found


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        time.sleep(0.1)


def _collect_ready(log: Path, out: Path) -> int:
    num_rows = 0
    while True:
        adopt(log)
        found = ready_segments(log)
        num_rows += collect_once(log, out, found[:MOST_SEGMENTS])
        if len(found) <= MOST_SEGMENTS:
            return num_rows


def collect_once(log: Path, out: Path, ready: Sequence[Path]) -> int:
    """Turn some segments, and what waits for its other half, into rows; all of it or nothing. The caller holds MON.

    Returns:
        The number of rows.
    """
    waiting = sorted((out / PENDING).glob("*.seg"))
    status = Status.load(out)
    if not ready and not waiting:
        status.note_log(log)
        change = Change(out)
        change.place_json(out / STATUS, status.record())
        change.commit()
        return 0
    segments = [read_segment(path) for path in (*waiting, *ready)]
    for segment in segments[len(waiting) :]:
        status.take(segment)
    segments = [segment for segment in segments if segment.header]
    joined = join_halves(segments)
    change = Change(out)
    try:
        _keep_waiting(change, out, segments, joined.left, status)
        logged = _count_attempts(change, out, _logged(joined.whole))
        num_rows = _write_rows(change, out, logged)
        _note_chains(change, out, logged)
        status.done(log, logged, num_rows)
        change.place_json(out / STATUS, status.record())
        for path in ready:
            change.remove(path)
        change.commit()
    except BaseException:
        change.abandon()
        raise
    return num_rows


def _keep_waiting(
    change: Change, out: Path, segments: Sequence[Segment], left: Mapping[int, Sequence[Record]], status: Status
) -> None:
    """Halves wait in a segment of their own, with the header of theirs; what has waited for long is counted."""
    now = time.time()
    for number, segment in enumerate(segments):
        header = {"waiting_since": now, **segment.header}
        path = out / PENDING / segment.path.name
        halves = left.get(number, ())
        if halves and now - header["waiting_since"] < HALF_WAITS_S:
            packed = [frame(HEADER, json.dumps(header).encode()), *(record.pack() for record in halves)]
            change.place(path).write_bytes(b"".join(packed))
        else:
            status.counts["half"] += len(halves)
            if segment.path.parent == path.parent:
                change.remove(path)


def _logged(whole: Sequence[tuple[Record, Segment, int]]) -> list[Logged]:
    """When each was answered by the clock with which its segment began, and the machine's since; the oldest first."""
    environments: dict[int, str] = {}
    logged = []
    for record, segment, took_us in whole:
        header = segment.header
        env_id = environments.get(id(header)) or environments.setdefault(id(header), _env_id(header))
        at = header["start_wall_ns"] + record.mono - header["start_mono_ns"]
        logged.append(Logged(record, header, env_id, at, abs(at - record.wall) > JUMP_NS, took_us))
    return sorted(logged, key=lambda each: each.at)


def _env_id(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header["env"], sort_keys=True).encode()).hexdigest()[:12]


def _count_attempts(change: Change, out: Path, logged: list[Logged]) -> list[Logged]:
    """Number the requests of one id that have come within the last minutes, in place."""
    path = out / RECENT
    known = np.load(path, allow_pickle=False) if path.is_file() else np.zeros(0, RECENT_TYPE)
    fresh = np.ones(len(logged), RECENT_TYPE)
    fresh["key"], fresh["at"] = [each.record.key for each in logged], [each.at for each in logged]
    # Few ids come again; those alone are counted one by one.
    keys, numbers = np.unique(np.concatenate([known["key"], fresh["key"]]), return_counts=True)
    again = keys[numbers > 1]
    attempts = {key: (at, number) for key, at, number in known[np.isin(known["key"], again)].tolist()}
    for place in np.flatnonzero(np.isin(fresh["key"], again)).tolist():
        key, now, _ = fresh[place].tolist()
        at, number = attempts.get(key, (now, 0))
        number = number + 1 if now - at < ATTEMPTS_NS else 1
        attempts[key] = now, number
        logged[place] = logged[place]._replace(attempt=number)
    once = [each[~np.isin(each["key"], again)] for each in (known, fresh)]
    latest = np.concatenate([*once, np.array([(key, *value) for key, value in attempts.items()], RECENT_TYPE)])
    with change.place(path).open("wb") as file:
        np.save(file, latest[latest["at"] > latest["at"].max(initial=0) - ATTEMPTS_NS])
    return logged


def _write_rows(change: Change, out: Path, logged: Sequence[Logged]) -> int:
    """A file for each day and chain; without the rows of users who were forgotten after they asked."""
    forgotten = {bytes.fromhex(key): at for key, at in read_json(out / FORGOTTEN, {}).items()}
    groups: dict[tuple[str, int, str], list[Logged]] = defaultdict(list)
    contexts: dict[int, str] = {}
    for each in logged:
        header = each.header
        context = contexts.get(id(header))
        if context is None:
            context = contexts[id(header)] = json.dumps([header["context"], header["is_live"]])
        groups[header["chain_key"], each.at // DAY_NS, context].append(each)
    num_rows, now = 0, time.time_ns()
    for number, ((key, day, _), members) in enumerate(sorted(groups.items(), key=lambda group: group[0])):
        table = table_of(members)
        if forgotten:
            pairs = zip(table["user_key"].to_pylist(), table["at"].cast("int64").to_pylist(), strict=True)
            table = table.filter([user is None or at > forgotten.get(user, 0) for user, at in pairs])
        if table.num_rows:
            date = np.datetime64(day, "D")
            folder = out / REQUESTS / f"chain={key[:16]}" / f"date={date}"
            write_table(table, change.place(folder / f"{now}-{number}.parquet"))
            num_rows += table.num_rows
    return num_rows


def _note_chains(change: Change, out: Path, logged: Sequence[Logged]) -> None:
    """Remember what each chain is and where its files are, and have its version kept there."""
    by_key: dict[str, list[Logged]] = defaultdict(list)
    for each in logged:
        by_key[each.header["chain_key"]].append(each)
    repositories = defaultdict(set)
    for key, members in by_key.items():
        path = out / CHAINS / f"{key[:16]}.json"
        first, last = members[0], members[-1]
        before = read_json(path, {"repositories": {}, "environments": {}, "first_at": first.at})
        found = {each.header["layout"]: each.header["repository"] for each in members}
        environments = {each.env_id: each.header["env"] for each in members}
        record = {
            "chain_key": key,
            "model_version": last.header["model_version"],
            "repositories": {**before["repositories"], **found},
            "environments": {**before["environments"], **environments},
            "first_at": min(before["first_at"], first.at),
            "last_at": last.at,
            # Of a model that drafts slates from those of two versions: it has no steps of its own.
            **({"teams": last.header["teams"]} if "teams" in last.header else {}),
        }
        change.place_json(path, record)
        for repository in found.values():
            repositories[repository].add(key)
    for repository, keys in repositories.items():
        place = Path(repository)
        if is_published(place) and not claim(place, out, keys_in(out, repository) | keys):
            console.say(f"log collect: {repository} cannot be written, so publish may remove what {out} names")

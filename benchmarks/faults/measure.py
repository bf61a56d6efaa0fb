"""`python -m benchmarks faults`: each fault is planted, served, logged and collected, and the operations look at it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.faults.exports import OfRun, config_of, sign_again
from benchmarks.faults.kinds import ALTERED, FAULTS, RELEASED, Fault
from benchmarks.faults.serving import asked_of, rows_of
from benchmarks.signals.logged import note_chain, write_day
from benchmarks.signals.traffic import NUM_GROUPS, Pool, days_of, requests_of
from ensemble.evaluation.gate_config import GateConfig
from ensemble.export.stage import export
from ensemble.profile.ask import Answers
from ensemble.profile.make import newest_event, write_profile
from ensemble.profile.profile import PROFILE_FILE
from operations.folder import REQUESTS, STATUS
from operations.gate.candidate import open_candidate
from operations.gate.decide import decide
from operations.gate.exported_rows import compare_exports, exported_rows
from operations.gate.requests import request_rows
from operations.gate.rows import Evidence
from operations.gate.rows import Row as GateRow
from operations.gate.served import ServedVersion
from operations.replay.replay import replay
from operations.replay.versions import find_given
from operations.shadow.shadow import shadow
from operations.signals.kinds import KINDS
from operations.signals.monitor import alarms, monitor_once
from operations.signals.table import Row
from runtime.spec import ChainSpec
from workflows.core import console
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["Outcome", "Settings", "outcomes"]

# Days without a fault, and the most that one is looked for; what pages leaves its limits too on the second.
FIRST_DAY, HISTORY, MOST_DAYS, IN_A_ROW = 20_000, 28, 4, 2
DAY_S, SETTLED_S = 86_400, 3_600
CHAIN = "fused/cascade/1/chain"
TWIN = Fault("nothing", "", "")
# A version of its own with the files of the one before.
HEALTHY = Fault("nothing, in a new version", "", "", version=lambda chain: None, is_released=True)
PAGE = "replay_mismatch"
LIMITS = GateConfig(min_requests=1)


@dataclass(frozen=True)
class Settings:
    """How much is served.

    Attributes:
        pool: requests that the days of the history are drawn from.
        each: requests of each fault.
        day: requests a day.
        twins: times that nothing is planted, and as often again in a new version.
        replays: requests of the log that are asked again.
    """

    pool: int = 6_000
    each: int = 3_000
    day: int = 3_000
    twins: int = 5
    replays: int = 200


class Outcome(NamedTuple):
    """What the operations say of a fault.

    Attributes:
        fault: which; TWIN: none.
        names: signals out of their limits, those to look at first are first.
        days: after how many it was found; 0: it was not.
        pages: whether somebody is called.
        replayed: what `cascade replay` says of the latest requests.
        gate: rows of the gate that a candidate with these files breaks; None: it was not asked.
        gate_family: where the first of them is to be sought.
    """

    fault: Fault
    names: list[str]
    days: int
    pages: bool
    replayed: str
    gate: list[str] | None
    gate_family: str = ""

    @property
    def family(self) -> str:
        """That the gate names, which comes first; else of what pages, or of the first signal; "" where none is out."""
        if self.gate:
            return self.gate_family
        if self.pages:
            return KINDS[PAGE].family
        return KINDS[self.names[0].partition(":")[0]].family if self.names else ""

    @property
    def command(self) -> str:
        """That says more, as the gate, the page and the alerts name it."""
        if self.gate and self.gate_family:
            return f"cascade gate RUN --against REPOSITORY --show {self.gate_family}"
        if self.pages:
            return "cascade replay MON --last 200"
        return f"cascade monitor MON show {self.names[0]}" if self.names else ""


def outcomes(
    run: Run, settings: Settings, faults: Sequence[Fault] = (*FAULTS, *RELEASED, *ALTERED)
) -> Iterator[Outcome]:
    """Plant nothing twice a twin, the second time in a new version; then each fault.

    Args:
        run: of configs/shop.toml, exported.
        settings: how much is served.
        faults: to plant.

    Raises:
        ArtefactError: the run has no export with a profile.
    """
    export = run.require("repo")
    if not (export / CHAIN / PROFILE_FILE).is_file():
        raise ArtefactError(f"{export / CHAIN} has no {PROFILE_FILE}; export the run again, with the layout 'fused'")
    with tempfile.TemporaryDirectory(prefix="benchmark-faults-", dir=run.root) as scratch:
        world = _World(run, export, Path(scratch), settings)
        for number in range(settings.twins):
            yield world.outcome(TWIN, seed=1_000 + number)
            yield world.outcome(HEALTHY, seed=1_500 + number)
        for number, fault in enumerate(faults):
            yield world.outcome(fault, seed=2_000 + number)


class _World:
    """A history of days, and what a fault makes of those after it."""

    def __init__(self, run: Run, export: Path, scratch: Path, settings: Settings) -> None:
        self._run, self._export, self._scratch, self._settings = run, export, scratch, settings
        self._spec = ChainSpec.load(export / CHAIN)
        self._candidate = open_candidate(run)
        version = find_given(export / "fused", "fused", "", None)
        self._served = ServedVersion(export, version, read_manifest(export), newest_event(run), self._spec)
        self._past = scratch / "past"
        key = note_chain(self._past, export / "fused")
        (self._past / STATUS).write_text('{"counts": {}}')
        # What the whole version answered, and a candidate is asked again.
        self._healthy = scratch / "healthy"
        shutil.copytree(self._past, self._healthy)
        pool = self._pool(TWIN, export, settings.pool, 0, (key, export / "fused"))
        random = np.random.default_rng(0)
        self._write(self._healthy, pool, FIRST_DAY, random, key)
        for day in range(FIRST_DAY, FIRST_DAY + HISTORY):
            self._write(self._past, pool, day, random, key)
        monitor_once(self._past, (FIRST_DAY + HISTORY) * DAY_S + SETTLED_S)
        # Days that are gone keep their values, and a copy of MON is small without them.
        shutil.rmtree(self._past / REQUESTS)

    def outcome(self, fault: Fault, seed: int) -> Outcome:
        """Have a fault served until it is found, and look after each day."""
        console.say(f"faults: {fault.name}{', released' if fault.is_released else ''}")
        damaged = self._damaged(fault)
        mon, random = self._scratch / "mon", np.random.default_rng(seed)
        shutil.copytree(self._past, mon)
        # What is changed in one server alone is whole where the version is kept.
        kept = self._export if fault.version is None and fault.run is None else damaged
        key = note_chain(mon, kept / "fused")
        pool = self._pool(fault, damaged, self._settings.each, seed, (key, kept / "fused"))
        names, days, pages, first = [], 0, False, FIRST_DAY + HISTORY
        for day in range(first, first + MOST_DAYS):
            self._write(mon, pool, day, random, key)
            rows = monitor_once(mon, (day + 1) * DAY_S + SETTLED_S).rows
            pages = pages or any(row.day == day and _pages(row) for row in rows)
            names = [row.name for row in alarms(rows)]
            days = days or (day - first + 1 if pages or names else 0)
            if days and day - first + 1 >= IN_A_ROW:
                break
        replayed = self._replayed(mon)
        shutil.rmtree(mon)
        gate = self._gate(damaged) if fault.is_released or fault is TWIN else None
        shutil.rmtree(self._scratch / "damaged", ignore_errors=True)
        named = None if gate is None else [row.name for row in gate]
        return Outcome(fault, names, days, pages, replayed, named, gate[0].family if gate else "")

    def _replayed(self, mon: Path) -> str:
        try:
            found = replay(mon, last=self._settings.replays)
        except ArtefactError as error:
            name = str(error).partition(" does not match")[0].rpartition("/chain/")[2]
            return f"refused: {name} is altered"
        return f"{len(found.differing)} of {found.num_requests} differ"

    def _damaged(self, fault: Fault) -> Path:
        """An export with the fault in its files; the export itself where they have none."""
        change = fault.version or fault.copy
        if fault.run is not None:
            return self._exported_anew(fault.run)
        if change is None:
            return self._export
        shutil.copytree(self._export, self._scratch / "damaged")
        change(self._scratch / "damaged" / CHAIN)
        if fault.is_released:
            # As its export would have made it, on that day, with the profile of what these files answer.
            write_profile(self._run, self._scratch / "damaged" / CHAIN)
            _sign(self._scratch / "damaged")
        return self._scratch / "damaged"

    def _exported_anew(self, change: OfRun) -> Path:
        run = Run(self._scratch / "damaged")
        shutil.copytree(self._run.root, run.root, ignore=shutil.ignore_patterns(self._scratch.name))
        config = change(run, config_of(run))
        sign_again(run)
        export(run, config, force=True)
        _sign(run.folder("repo"))
        return run.folder("repo")

    def _pool(self, fault: Fault, export: Path, number: int, seed: int, served: tuple[str, Path]) -> Pool:
        requests, users = requests_of(self._run, self._spec, number, seed)
        requests = requests if fault.requests is None else fault.requests(requests)
        asked = asked_of(requests, users, self._export / CHAIN, self._spec)
        answer = list if fault.memory is None else fault.memory(export / CHAIN)
        table = rows_of(
            asked,
            export / "fused",
            served,
            self._scratch / "served",
            answer=answer,
            slow=fault.slow,
            num_times=fault.num_times,
        )
        nothing = np.empty((0, 0))
        answers = Answers({}, nothing.astype(np.int32), nothing.astype(np.float32), np.empty(0, object))
        return Pool(table, answers, _groups(table))

    def _write(self, mon: Path, pool: Pool, day: int, random: np.random.Generator, key: str) -> None:
        """A day of requests, each with an id of its own."""
        at = days_of(pool, day, self._settings.day, random)
        table = pool.table.take(pa.array(at))
        keys = random.integers(0, 2**63, len(at)).astype(np.uint64)
        names = [f"{day}-{place}" for place in range(len(at))]
        for name, values in (("key", pa.array(keys)), ("request_id", pa.array(names))):
            table = table.set_column(table.column_names.index(name), name, values)
        write_day(mon, table, day, key)

    def _gate(self, damaged: Path) -> list[GateRow]:
        """What of the gate says no to a candidate, asked what the whole version was asked and had answered."""
        is_anew = damaged.name == "repo"
        candidate = replace(
            self._candidate,
            run=Run(damaged.parent) if is_anew else self._run,
            export=read_manifest(damaged),
            version=find_given(damaged / "fused", "fused", "", None),
        )
        newest = (newest_event(candidate.run), self._served.newest)
        exported = exported_rows(compare_exports(candidate, self._served), "", ())
        evidence = Evidence(newest, [], "not measured", None, 1, 0, exported=tuple(exported))
        found = shadow(self._healthy, damaged / "fused", 2 * self._settings.replays)
        rows = [*decide(evidence, LIMITS).rows, *request_rows(found, LIMITS)]
        return [row for row in rows if row.met is False]


def _sign(folder: Path) -> None:
    """As an export of the first day after the history."""
    made_at = datetime.fromtimestamp((FIRST_DAY + HISTORY) * DAY_S, timezone.utc).isoformat()
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), created_at=made_at))


def _groups(table: pa.Table) -> NDArray[np.int64]:
    """Users who come at the same times, by their keys."""
    keys = table["user_key"].to_pylist()
    return np.array([int.from_bytes(key[:4], "little") % NUM_GROUPS for key in keys], np.int64)


def _pages(row: Row) -> bool:
    """As the rule CascadeReplayMismatch does, at once."""
    return row.measured.signal == PAGE and row.measured.value > 0

"""How fast events fold, how much room they take, and how long a state takes to be made again; in this process."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import INTERACTION, Events
from runtime.stream.folder import state_folder
from runtime.stream.ingest import Ingest
from runtime.stream.log.reader import next_offset
from runtime.stream.spec import StreamSpec
from workflows.stream.parquet import write_file

__all__ = ["Folding", "drawn_events", "measure_folding"]

BATCH = 4096
TEN_DAYS_NS = 10 * 86_400 * 10**9


class Folding(NamedTuple):
    """Figures of a log that is filled in batches.

    Attributes:
        events_per_cpu_s: logged, folded and in the store, a second of one core.
        refold_s_per_million: wall seconds to make the state anew from the log, for a million events.
        log_bytes, parquet_bytes: an event.
        record_bytes: of the state, a user.
    """

    events_per_cpu_s: float
    refold_s_per_million: float
    log_bytes: float
    parquet_bytes: float
    record_bytes: float


def measure_folding(spec: StreamSpec, ids: dict[str, NDArray], folder: Path, num_events: int) -> Folding:
    """Fill a folder of live events, then make its state again.

    Args:
        spec: of the stream.
        ids: raw ids of users and items, drawn evenly.
        folder: of live events; empty.
        num_events: without event ids, in order of time.
    """
    random = np.random.default_rng(11)
    ingest = Ingest(folder, spec)
    used_s = 0.0
    for first in range(0, num_events, BATCH):
        events = drawn_events(ids, spec.labels, min(BATCH, num_events - first), first, num_events, random)
        started_at = time.process_time()
        ingest.accept(events, int(events.at[-1]))
        used_s += time.process_time() - started_at
    ingest.close()
    log_bytes = sum(path.stat().st_size for path in (folder / "log").iterdir() if path.is_file())
    state = state_folder(folder, spec.state_version)
    state_bytes = sum(512 * path.stat().st_blocks for path in state.iterdir())
    parquet = write_file(folder, 0, next_offset(folder))
    shutil.rmtree(state)
    started_at = time.perf_counter()
    Ingest(folder, spec).close()
    refold_s = time.perf_counter() - started_at
    return Folding(
        num_events / used_s,
        refold_s / num_events * 1e6,
        log_bytes / num_events,
        parquet.path.stat().st_size / num_events,
        state_bytes / len(ids["user"]),
    )


def drawn_events(
    ids: dict[str, NDArray], labels: tuple[str, ...], num: int, first: int, total: int, random: np.random.Generator
) -> Events:
    """Some of `total` interactions of ten days, the `first`-th and those after it."""
    nothing = np.full(num, b"", object)
    drawn = {side: random.choice(known, num) for side, known in ids.items()}
    text = {side: values.astype(object) if values.dtype.kind == "S" else values for side, values in drawn.items()}
    step = TEN_DAYS_NS // total
    at = time.time_ns() - TEN_DAYS_NS + (first + np.arange(num)) * step
    label = random.integers(0, len(labels), num).astype(np.uint8)
    kind, value = np.full(num, INTERACTION, np.uint8), np.ones(num, np.float32)
    return Events(kind, text["user"], text["item"], at, label, value, nothing, nothing, labels)

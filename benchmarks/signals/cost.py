"""What a day of very many requests costs: processor time and memory of a monitor of its own process."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.signals.logged import note_chain, write_day
from benchmarks.signals.traffic import Pool
from operations.folder import CHAINS, read_json

__all__ = ["LargeDay", "measure_large_day"]

DAY = 20_000


class LargeDay(NamedTuple):
    """What one look at a day took.

    Attributes:
        num_rows: of the log.
        num_measured: of them.
        num_signals: that were measured.
        cpu_s: of all threads, to read the rows and measure.
        before_bytes: of memory at most before, with all that is imported.
        peak_bytes: of memory at most.
    """

    num_rows: int
    num_measured: int
    num_signals: int
    cpu_s: float
    before_bytes: int
    peak_bytes: int


def measure_large_day(repository: Path, pool: Pool, num: int, scratch: Path) -> LargeDay:
    """Measure a day in a process that does nothing else.

    Args:
        repository: of the version that answered, in the layout fused.
        pool: answered requests that the day's are drawn from.
        num: requests of the day.
        scratch: folder that is made and removed.
    """
    random = np.random.default_rng(0)
    table = pool.table.take(pa.array(random.integers(0, len(pool), num)))
    keys = pa.array(random.integers(0, 2**63, num).astype(np.uint64))
    table = table.set_column(table.column_names.index("key"), "key", keys)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        key = note_chain(scratch, repository)
        write_day(scratch, table, DAY, key)
        del table
        with multiprocessing.get_context("spawn").Pool(1) as process:
            return process.apply(_measured, (scratch, key, num))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _measured(folder: Path, key: str, num: int) -> LargeDay:
    from operations.signals.measure import measure
    from operations.signals.monitor import read_window
    from operations.signals.version import find_version

    version = find_version(read_json(folder / CHAINS / f"{key[:16]}.json", {}))
    before, started = _peak_bytes(), time.process_time()
    table = read_window(folder, key, DAY)
    assert table is not None
    found = measure(table, version, DAY)
    return LargeDay(num, table.num_rows, len(found), time.process_time() - started, before, _peak_bytes())


def _peak_bytes() -> int:
    """Of this process so far; what getrusage says is at least its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

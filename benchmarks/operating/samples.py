"""What the processes and folders of operations hold, seen every few seconds."""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.serving.usage import cpu_seconds, num_threads, open_files, private_bytes

__all__ = ["FIGURES", "Sample", "Watched", "quarters", "sampled"]

SCRAPE_TIMEOUT_S = 10.0


class Watched(NamedTuple):
    """What is looked at.

    Attributes:
        programs: process id by name.
        log: LOG.
        mon: MON.
        url: of the monitor's page.
    """

    programs: Mapping[str, int]
    log: Path
    mon: Path
    url: str


class Sample(NamedTuple):
    """What was seen at one instant.

    Attributes:
        at_s: seconds since the load began.
        memory: private bytes by program and process.
        files: open ones, by program.
        threads: by program.
        cpu_s: CPU-seconds so far of all.
        log_bytes: of LOG.
        log_files: of it.
        mon_bytes: of MON.
        mon_files: of it.
        series: of the monitor's page; 0: it was not answered.
        scrape_ms: time of that.
    """

    at_s: float
    memory: Mapping[str, int]
    files: Mapping[str, int]
    threads: Mapping[str, int]
    cpu_s: float
    log_bytes: int
    log_files: int
    mon_bytes: int
    mon_files: int
    series: int
    scrape_ms: float


# Name and unit -> what it is of a sample.
FIGURES: Mapping[str, Callable[[Sample], float]] = {
    "private memory, MiB": lambda s: sum(s.memory.values()) / 2**20,
    "open files": lambda s: sum(s.files.values()),
    "threads": lambda s: sum(s.threads.values()),
    "LOG, MiB": lambda s: s.log_bytes / 2**20,
    "files of LOG": lambda s: s.log_files,
    "MON, MiB": lambda s: s.mon_bytes / 2**20,
    "files of MON": lambda s: s.mon_files,
    "series of the monitor": lambda s: s.series,
    "a scrape, ms": lambda s: s.scrape_ms,
}


def sampled(watched: Watched, began_at: float) -> Sample:
    """Look once.

    Args:
        watched: at what.
        began_at: instant of the monotonic clock at which the load began.
    """
    series, scrape_ms = _scraped(watched.url)
    memory = {
        f"{name}: {process}": size
        for name, pid in watched.programs.items()
        for process, size in private_bytes(pid).items()
    }
    files = {name: open_files(pid) for name, pid in watched.programs.items()}
    threads = {name: num_threads(pid) for name, pid in watched.programs.items()}
    cpu_s = sum(map(cpu_seconds, watched.programs.values()))
    at_s = time.monotonic() - began_at
    return Sample(at_s, memory, files, threads, cpu_s, *_held(watched.log), *_held(watched.mon), series, scrape_ms)


def quarters(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> list[float]:
    """Medians of a figure, one a quarter of the time."""
    values = np.array([figure(sample) for sample in samples])
    return [float(np.median(quarter)) for quarter in np.array_split(values, 4)]


def _scraped(url: str) -> tuple[int, float]:
    began_at = time.perf_counter()
    try:
        with urllib.request.urlopen(url, timeout=SCRAPE_TIMEOUT_S) as response:
            page = response.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, 1000 * SCRAPE_TIMEOUT_S
    num = sum(bool(line) and not line.startswith("#") for line in page.splitlines())
    return num, 1000 * (time.perf_counter() - began_at)


def _held(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files of a folder."""
    sizes = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                sizes.append(path.stat().st_size)
        except OSError:  # gone meanwhile
            continue
    return sum(sizes), len(sizes)

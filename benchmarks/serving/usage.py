"""What a server costs: processor time, memory and open files of its whole process tree, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_seconds", "num_threads", "open_files", "private_bytes", "resident_bytes"]

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name in parentheses, counted from the state.
PARENT, UTIME, STIME, THREADS = 1, 11, 12, 17


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its living descendants, seconds."""
    stats = _all_stats()
    return sum(sum(map(int, (stats[p][UTIME], stats[p][STIME]))) for p in _tree(pid, stats)) / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Proportional set size of the tree: a page that n processes share counts 1/n in each."""
    return sum(_memory(member, "Pss:") for member in _tree(pid, _all_stats()))


def private_bytes(pid: int) -> dict[str, int]:
    """Memory that is no file's, of the tree by process: heaps, stacks, and pages of libraries that were written to.

    What is mapped from a file is not counted, even where the kernel calls it private and dirty: pages of the state of
    live events are, until they are on disk, and the kernel may drop them when it needs room.

    Returns:
        Bytes by name: of the model for a Python process of Triton, of the script for another one, else of the program.
        Processes of one name count together.
    """
    found: dict[str, int] = {}
    for member in _tree(pid, _all_stats()):
        name = _name(member)
        found[name] = found.get(name, 0) + _memory(member, "Anonymous:")
    return found


def open_files(pid: int) -> int:
    """File descriptors of the tree."""
    return sum(_num_files(member) for member in _tree(pid, _all_stats()))


def num_threads(pid: int) -> int:
    """Threads of the tree."""
    stats = _all_stats()
    return sum(int(stats[member][THREADS]) for member in _tree(pid, stats))


def _all_stats() -> dict[int, list[str]]:
    stats = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
    return stats


def _tree(pid: int, stats: dict[int, list[str]]) -> list[int]:
    members = [pid] if pid in stats else []
    for member in members:
        members += [child for child, fields in stats.items() if int(fields[PARENT]) == member]
    return members


def _name(pid: int) -> str:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # ended meanwhile
        words = [""]
    script = next((Path(word) for word in words if word.endswith(".py")), None)
    if script is None:
        return Path(words[0]).name
    return script.parent.parent.name if script.name == "model.py" else script.stem  # MODEL/VERSION/model.py


def _memory(pid: int, kind: str) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def _num_files(pid: int) -> int:
    try:
        return sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0

"""Starting `cascade serve` as a process, and finding every process that belongs to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

READY = re.compile(
    r"READY http=(http://127\.0\.0\.1:\d+) grpc=(grpc://127\.0\.0\.1:\d+) metrics=(http://\S+/metrics)\n"
)
SCRATCH = "_scratch"
FREE_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
ROLES = {
    "command": "scripts.serve",
    "supervisor": "supervisor.py",
    "server": "bin/tritonserver",
    "model": "backend_stub",
}


@contextmanager
def serving(path: Path, *options: str, python: str = sys.executable) -> Iterator[subprocess.Popen[str]]:
    """The command on `path`; killed at the end: no process, folder or shared memory of it may be left then."""
    command = [python, "-m", "scripts.serve", str(path), *FREE_PORTS, *options]
    scratch = path.parent / f"{path.name}{SCRATCH}"
    scratch.mkdir()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(scratch)}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        eventually(lambda: not processes_of(path))
        eventually(lambda: all(left.suffix == ".log" for left in scratch.iterdir()))


def processes_of(path: Path, words: str = "") -> dict[str, int]:
    """Pid by role of the living processes with `path` on their command line, one a role.

    Args:
        path: the repository of `serving`, beside which their workspaces are, or the workspace of a TritonServer.
        words: only those with this on their command line too.
    """
    return dict(_roles(path, words))


def next_process(path: Path, role: str, *, after: Collection[int]) -> int:
    """Pid of the process that took the place of those in `after`, waited for: a killed process is seen for a while."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [pid for name, pid in _roles(path) if name == role and pid not in after]
        return bool(found)

    eventually(is_there)
    return found[0]


def _roles(path: Path, more: str = "") -> Iterator[tuple[str, int]]:
    # Not a folder that is called as this one and more, as repository1 and repository10.
    own = re.compile(re.escape(str(path)) + rf"({SCRATCH})?(/|$)")
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text().split("\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if any(own.search(word) for word in words) and any(more in word for word in words):
            roles = [role for role, name in ROLES.items() if any(name in word for word in words[:5])]
            yield roles[0] if roles else entry.name, int(entry.name)


def eventually(holds: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)


def ready_urls(process: subprocess.Popen[str]) -> tuple[str, str, str]:
    """The URLs of the READY line, which must be the first line on standard output."""
    assert process.stdout is not None
    line = process.stdout.readline()
    match = READY.fullmatch(line)
    if match is None:
        process.kill()
        raise AssertionError(f"not a READY line: {line!r}; {process.communicate()[1]}")
    return match[1], match[2], match[3]

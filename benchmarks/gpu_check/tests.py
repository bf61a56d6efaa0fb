"""The tests that need a GPU, by pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu_check.parts import Settings

__all__ = ["measure"]

FILE = "tests/runtime/device/test_on_gpu.py"
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|errors?)")


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """How many passed; a failure ends the part with pytest's own words."""
    # The project's own settings name packages that a bare machine lacks.
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-c", "/dev/null", "--rootdir", ".", FILE]
    rehearsal = {"CASCADE_REHEARSAL": "1"} if settings["device"] == "numpy" else {}
    command += ["-p", "no:cacheprovider", "-W", "ignore"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **rehearsal})
    counts = {what: int(count) for count, what in COUNTS.findall(done.stdout)}
    yield {"counts": counts}
    if done.returncode:
        print(done.stdout[-6000:], file=sys.stderr)
        raise SystemExit(f"pytest ended with {done.returncode}: {counts}")

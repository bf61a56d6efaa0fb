"""Another process that uses a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOLDER = """
import sys
from pathlib import Path
from workflows.core.lock import hold
root, writes, reads = sys.argv[3:]
sys.argv[:] = ["/usr/bin/cascade", "train-ranking", "--out", root]
with hold(Path(root), writes=writes.split(), reads=reads.split()):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(root: Path, writes: str = "", reads: str = "") -> Iterator[subprocess.Popen]:
    """Another process that uses these parts of the folder while the body runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "", "", str(root), writes, reads],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(300)
        process.stdout.close()

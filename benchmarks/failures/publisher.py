"""A process that publishes, to be killed while it does: `python -m benchmarks.failures.publisher CONFIG RUN TARGET`."""

from __future__ import annotations

import sys
from pathlib import Path

from ensemble.config_file import load_config
from ensemble.publish import publish
from workflows.core.run import Run

__all__: list[str] = []

if __name__ == "__main__":
    config, run, target = map(Path, sys.argv[1:])
    loaded = load_config(config)
    print("begins", flush=True)
    publish(Run(run), loaded, target, "fused")
    print("done", flush=True)

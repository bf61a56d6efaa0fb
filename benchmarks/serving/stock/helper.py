"""Builds and exports stock in a process of its own, then runs the patched one there in a loop.

Started as `python -m benchmarks.serving.stock.helper RUN CONFIG QUESTIONS FOLDER`. TensorFlow, pandas and what
they do to a process stay in it: among others, Merlin's operator switches protobuf to its slow Python implementation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.serving.loop import timed_loop
from benchmarks.serving.questions import Questions
from benchmarks.serving.worker import answer_jobs
from ensemble.config import Config
from workflows.core.quiet import quiet
from workflows.core.run import Run

__all__ = ["REPOSITORY"]

REPOSITORY = "repository"


def main(run_root: str, config_path: str, questions_path: str, folder: str) -> None:
    """Answer jobs: {"export": true} writes FOLDER/repository, {"batch", "seconds"} loops over the patched graph."""
    quiet()
    run, config = Run(Path(run_root)), msgspec.json.decode(Path(config_path).read_bytes(), type=Config)
    questions = Questions.load(Path(questions_path))
    from benchmarks.serving.stock.graph import export_stock, patched_chain, stock_ensemble
    from ensemble.serving.repository import MODEL_NAME

    export_stock(stock_ensemble(run, config, questions, Path(folder)), Path(folder) / REPOSITORY, MODEL_NAME)
    patched = patched_chain(run, config, questions, Path(folder))

    def answer(job: dict[str, Any]) -> Any:
        if "export" in job:
            return REPOSITORY
        return timed_loop(patched, questions, job["batch"], job["seconds"])

    answer_jobs(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])

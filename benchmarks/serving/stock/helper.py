"""Exports stock and the layout `merlin` in a process of its own, then runs the patched graph there in a loop.

Started as `python -m benchmarks.serving.stock.helper RUN CONFIG CHAIN QUESTIONS FOLDER`. TensorFlow, pandas and what
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

__all__ = ["MERLIN_REPOSITORY", "STOCK_REPOSITORY"]

STOCK_REPOSITORY, MERLIN_REPOSITORY = "stock", "merlin"


def main(run_root: str, config_path: str, chain: str, questions_path: str, folder: str) -> None:
    """Answer jobs: {"export": true} waits for FOLDER/stock and FOLDER/merlin, {"batch", "seconds"} loops in process."""
    quiet()
    run, config = Run(Path(run_root)), msgspec.json.decode(Path(config_path).read_bytes(), type=Config)
    questions = Questions.load(Path(questions_path))
    from benchmarks.serving.stock.patched import patched_chain
    from ensemble.merlin.artefacts import prepare
    from ensemble.merlin.export import STOCK, export_graph, write_merlin
    from ensemble.merlin.graph import stock_ensemble

    artefacts = Path(folder) / "artefacts"
    prepare(run, config, Path(chain), artefacts)
    export_graph(stock_ensemble(run, artefacts), Path(folder) / STOCK_REPOSITORY, STOCK)
    write_merlin(run, config, Path(chain), Path(folder) / MERLIN_REPOSITORY)
    patched = patched_chain(run, artefacts)

    def answer(job: dict[str, Any]) -> Any:
        if "export" in job:
            return [STOCK_REPOSITORY, MERLIN_REPOSITORY]
        return timed_loop(patched, questions, job["batch"], job["seconds"])

    answer_jobs(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])

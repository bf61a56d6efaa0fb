"""A chain in a plain loop, no server, in a process of its own.

Started as `python -m ensemble.benchmark.serving.loop CHAIN QUESTIONS`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ensemble.benchmark.serving.questions import Questions
from ensemble.benchmark.serving.worker import Slice, answer_jobs

__all__ = ["timed_loop"]


def timed_loop(answer: Callable[[dict[str, Any]], Any], questions: Questions, batch: int, seconds: float) -> Slice:
    """Ask one request after the other for a while, prepared beforehand."""
    requests = [questions.batch(start, batch) for start in range(0, len(questions.user_rows), batch)]
    latencies: list[float] = []
    cpu_at, started_at = time.process_time(), time.perf_counter()
    before = started_at
    while before - started_at < seconds:
        answer(requests[len(latencies) % len(requests)])
        after = time.perf_counter()
        latencies.append((after - before) * 1e3)
        before = after
    return Slice(latencies, len(latencies) * batch, before - started_at, time.process_time() - cpu_at)


def main(chain_folder: str, questions_path: str) -> None:
    """Answer jobs {"batch": users a request, "seconds": how long}."""
    from ensemble.runtime.chain import Chain

    chain, questions = Chain.load(Path(chain_folder)), Questions.load(Path(questions_path))
    answer_jobs(lambda job: timed_loop(chain.recommend, questions, job["batch"], job["seconds"]))


if __name__ == "__main__":
    main(*sys.argv[1:])

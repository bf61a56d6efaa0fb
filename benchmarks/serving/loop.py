"""A chain in a plain loop, no server, in a process of its own.

Started as `python -m benchmarks.serving.loop CHAIN QUESTIONS`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.questions import Questions
from benchmarks.serving.worker import Slice, answer_jobs

__all__ = ["timed_loop", "timed_steps"]


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


def timed_steps(steps: Sequence[Any], questions: Questions, batch: int, count: int) -> dict[str, float]:
    """Ask the steps of a chain one after the other, as the chain does.

    Args:
        steps: the nodes of a chain, opened.
        questions: the users and contexts of the requests.
        batch: users a request.
        count: requests.

    Returns:
        Median milliseconds a user by the name of the step.
    """
    times = np.empty((count, len(steps)))
    for number in range(count):
        found = dict(questions.batch(number * batch, batch))
        for place, step in enumerate(steps):
            before = time.perf_counter()
            step.run(found)
            times[number, place] = time.perf_counter() - before
    medians = np.median(times, axis=0) * 1e3 / batch
    return {step.name: float(median) for step, median in zip(steps, medians, strict=True)}


def main(chain_folder: str, questions_path: str) -> None:
    """Answer jobs {"batch": users a request, "seconds": how long}, or {"batch": ..., "steps": requests}."""
    from runtime.chain import Chain

    folder, questions = Path(chain_folder), Questions.load(Path(questions_path))
    chain = Chain.load(folder)

    def answer(job: dict[str, Any]) -> Any:
        if "steps" in job:
            return timed_steps(chain.nodes, questions, job["batch"], job["steps"])
        return timed_loop(chain.recommend, questions, job["batch"], job["seconds"])

    answer_jobs(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])

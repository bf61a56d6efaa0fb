"""Processor time that logging adds to a request of one user, beside the chain's own, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.questions import Questions
from runtime.chain import Chain, Shown
from runtime.log.folder import LogSettings, make_log
from runtime.log.identity import Served
from runtime.log.recorder import Recorder
from runtime.log.sampling import key_of, limit_of

__all__ = ["SHARES", "Added", "measure_added"]

SHARES = (0.0, 0.05, 1.0)
BLOCKS, BLOCK = 15, 300


class Added(NamedTuple):
    """Processor microseconds of a request, all threads together: the chain's, and what each of SHARES adds."""

    chain_us: float
    added_us: tuple[float, ...]


class _Request:
    """What Triton's object says of a request."""

    def __init__(self, request_id: str) -> None:
        self._id = request_id

    def request_id(self) -> str:
        return self._id

    def parameters(self) -> str:
        return "{}"


def _requests(share: float, block: int) -> list[_Request]:
    """A block of requests of which a sample has exactly its share, at even distances."""
    found: list[_Request] = []
    number, limit = block << 32, limit_of(share)
    for place in range(BLOCK):
        is_sampled = int((place + 1) * share) > int(place * share)
        while (key_of(f"{number:032x}") < limit) != is_sampled:
            number += 1
        found.append(_Request(f"{number:032x}"))
        number += 1
    return found


def measure_added(chain_folder: Path, questions: Questions, scratch: Path) -> Added:
    """Time blocks of requests in turn, and take the fastest of each.

    Args:
        chain_folder: a compiled chain.
        questions: users and contexts.
        scratch: an empty folder.
    """
    chain = Chain.load(chain_folder)
    asked = [questions.batch(number, 1) for number in range(BLOCK)]
    answers, parsed, shown = [], [], []
    for request in asked:
        answers.append(chain.recommend_many([request]))
        parsed.append(chain.parsed)
        shown.append(chain.shown)
    rows: list[Shown | None] = [None]
    recorders = [_recorder(chain, chain_folder, scratch / str(share), share, rows) for share in SHARES]
    times: list[list[float]] = [[] for _ in range(1 + len(SHARES))]
    for block in range(BLOCKS):

        def log(recorder: Recorder, requests: list[_Request]) -> None:
            for request, arrays, checked, answer, known in zip(requests, asked, parsed, answers, shown, strict=True):
                chain.parsed, rows[0] = checked, known
                recorder.answer(lambda answer=answer: answer, [request], [arrays])  # type: ignore[misc]

        times[0].append(_cpu_us(lambda: [chain.recommend_many([arrays]) for arrays in asked]))
        for place, (recorder, share) in enumerate(zip(recorders, SHARES, strict=True)):
            requests = _requests(share, block)
            times[1 + place].append(_cpu_us(lambda r=recorder, of=requests: log(r, of), wait_s=0.1))  # type: ignore[misc]
    for recorder in recorders:
        recorder.close()
    return Added(min(times[0]), tuple(min(values) for values in times[1:]))


def _recorder(chain: Chain, folder: Path, log: Path, share: float, rows: list[Shown | None]) -> Recorder:
    make_log(log)
    return Recorder(
        LogSettings(log, share),
        Served("", 1, folder),
        folder,
        chain.spec,
        request_step=chain.request_step,
        parsed=lambda: chain.parsed,
        shown=lambda: rows[0],
        answer_names={tensor.name: tensor.name for tensor in chain.spec.response},
        layout="fused",
        step="chain",
        say=lambda what: None,
    )


def _cpu_us(call: Callable[[], Any], wait_s: float = 0.0) -> float:
    """Processor microseconds a request of a block, with what a thread does until `wait_s` later."""
    before = time.process_time()
    call()
    time.sleep(wait_s)
    return 1e6 * (time.process_time() - before) / BLOCK

"""All steps in one process: what the `fused` layout serves and what evaluation calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import NDArray

from runtime.errors import BadRequest
from runtime.request import Parsed, join
from runtime.spec import ChainSpec
from runtime.step import Arrays, Step
from runtime.steps.features import EncodeRequest
from runtime.steps.order import Order
from runtime.steps.query import QueryTower
from runtime.steps.rank import Rank
from runtime.steps.retrieve import Retrieve

__all__ = ["STEPS", "Chain"]

# In the order in which they run.
STEPS: tuple[type[Step], ...] = (EncodeRequest, QueryTower, Retrieve, Rank, Order)


class Chain:
    """A compiled chain.

    Args:
        folder: what `ensemble.export.compile.compile_chain` wrote.
        spec: instead of its chain.json.
    """

    def __init__(self, folder: Path, spec: ChainSpec | None = None) -> None:
        self.spec = spec or ChainSpec.load(folder)
        self._encode = EncodeRequest(folder, self.spec)
        self._steps = [step(folder, self.spec) for step in STEPS[1:]]

    @classmethod
    def load(cls, folder: Path) -> Chain:
        """Open a compiled chain.

        Raises:
            ValueError: an artefact has another format version.
            OSError: an artefact is missing.
        """
        return cls(Path(folder))

    def recommend(self, request: Mapping[str, NDArray]) -> Arrays:
        """Answer one request.

        Args:
            request: user_id [B, 1], int64 or bytes as in the data, and the optional inputs: each context column [B, 1],
                recent_item_ids [B, R] oldest first, exclude_item_ids [B, X], slate_size [B, 1].

        Returns:
            item_id [B, S], descending score, ties by id, padded with -1 or b""; score float32 [B, S], the probability,
            padded with 0; num_items int32 [B, 1]; path [B, 1] of bytes, one of PATHS.

        Raises:
            BadRequest: the request cannot be answered; the sentence says why.
        """
        return self._run(self._encode.parse(request))

    def recommend_many(self, requests: Sequence[Mapping[str, NDArray]]) -> list[Arrays | BadRequest]:
        """Answer requests together, each as if it were alone; a bad one gets its own error."""
        parsed = [self._try_parse(request) for request in requests]
        good = [request for request in parsed if isinstance(request, Parsed)]
        answers = iter(split(self._run(join(good)), good) if good else [])
        return [request if isinstance(request, BadRequest) else next(answers) for request in parsed]

    def _try_parse(self, request: Mapping[str, NDArray]) -> Parsed | BadRequest:
        try:
            return self._encode.parse(request)
        except BadRequest as error:
            return error

    def _run(self, parsed: Parsed) -> Arrays:
        batch = self._encode.encode(parsed)
        for step in self._steps:
            batch.update(step(batch))
        return {tensor.name: batch[tensor.name] for tensor in self.spec.response}


def split(response: Arrays, requests: Sequence[Parsed]) -> list[Arrays]:
    """Cut a joint response into one per request, each as wide as the largest slate that it asked for."""
    answers, start = [], 0
    for request in requests:
        stop, width = start + len(request.user_row), int(request.slate_size.max())
        answers.append({name: values[start:stop, :width] for name, values in response.items()})
        start = stop
    return answers

"""The chain and its retriever as sources: one pass of the real steps over all queries, in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries
from ensemble.request_columns import request_column
from runtime.chain import Chain
from runtime.plan import Plan
from runtime.sources.base import Source
from runtime.spec import ChainSpec
from runtime.step import Arrays
from workflows.core.console import progress
from workflows.core.errors import ConfigError

__all__ = ["check_measurable", "first_givers", "query_chain", "request_of"]

# What the retriever alone is judged by: its candidates, best first.
CANDIDATES, SCORES = "candidates", "retrieval_score"


def query_chain(
    folder: Path, queries: Queries, user_ids: NDArray, item_ids: NDArray, longest: int, further: Sequence[Source] = ()
) -> list[Slates]:
    """Run a compiled chain on every query.

    Args:
        folder: a compiled chain whose largest slate is at least `longest`.
        queries: Q queries; the context of the chain's request is taken from them.
        user_ids: raw ids by user_row.
        item_ids: raw ids by item_row, ascending.
        longest: K.
        further: sources that the chain does not serve.

    Returns:
        Every retrieval source alone under its name, K items each, "retrieval": the first K candidates by retrieval
        score, and "chain": the slates of K ranked items.
    """
    chain = Chain.load(folder)
    spec, arrays, last = chain.spec, first_givers(chain.plan), chain.plan.nodes[-1]
    num_queries = len(queries)
    sources = [*_served(chain), *_opened(further, folder, spec, arrays)]
    alone = {source.name: _Alone(num_queries, longest) for source in sources}
    retrieved = np.full((num_queries, longest), -1, np.int32)
    slates = retrieved.copy()
    retrieval_scores, scores = (np.zeros((num_queries, longest), np.float32) for _ in range(2))
    seconds = dict.fromkeys((node.name for node in chain.nodes), 0.0)
    with progress("evaluate: query the chain", num_queries, "users") as bar:
        for start in range(0, num_queries, spec.max_batch_size):
            part = np.arange(start, min(start + spec.max_batch_size, num_queries))
            batch: Arrays = request_of(queries, part, spec, user_ids, longest)
            for node in chain.nodes:
                started_at = time.perf_counter()
                node.run(batch)
                seconds[node.name] += time.perf_counter() - started_at
            for source in sources:
                source.query(batch, part, alone[source.name])
            found, found_scores = batch[arrays[CANDIDATES]], batch[arrays[SCORES]]
            num_candidates = min(longest, found.shape[1])
            retrieved[part, :num_candidates] = found[:, :num_candidates]
            retrieval_scores[part, :num_candidates] = found_scores[:, :num_candidates]
            # The answer is what the last step gives; an earlier one may give arrays of the same names.
            slate = {name: batch[array] for name, array in last.gives.items()}
            shown = np.arange(slate["item_id"].shape[1]) < slate["num_items"]
            rows = np.searchsorted(item_ids, slate["item_id"].astype(item_ids.dtype))
            slates[part, : rows.shape[1]] = np.where(shown, rows, -1)
            scores[part, : rows.shape[1]] = slate["score"]
            bar.advance(bar.task_ids[0], len(part))
    merged = next(place for place, node in enumerate(chain.plan.nodes) if CANDIDATES in node.gives)
    retrieval_seconds = sum(seconds[node.name] for node in chain.nodes[: merged + 1])
    return [
        *(Slates(name, kept.rows, kept.scores, kept.seconds) for name, kept in alone.items()),
        Slates("retrieval", retrieved, retrieval_scores, retrieval_seconds),
        Slates("chain", slates, scores, sum(seconds.values())),
    ]


def first_givers(plan: Plan) -> dict[str, str]:
    """The chain's array of every output of a step, the first step's where several give one of that name."""
    arrays: dict[str, str] = {}
    for node in plan.nodes:
        for name, array in node.gives.items():
            arrays.setdefault(name, array)
    return arrays


def check_measurable(folder: Path, graph: str, further: Sequence[Source]) -> None:
    """Whether a chain has what it is measured by.

    Args:
        folder: the compiled chain.
        graph: the name of its graph.
        further: sources that the chain does not serve.

    Raises:
        ConfigError: no step of the graph gives an array that is measured or that a source reads.
    """
    spec, arrays = ChainSpec.load(folder), first_givers(Plan.load(folder))
    read = [(tensor.name, f"the source '{s.name}' alone") for s in further for tensor in s.inputs(spec)]
    for name, what in [(CANDIDATES, "retrieval alone"), (SCORES, "retrieval alone"), *read]:
        if name not in arrays:
            raise ConfigError(
                f"cascade evaluate measures {what} by '{name}', and no step of chain.graph = '{graph}' gives that "
                "(the standard graph's does); give it from one of the steps, or leave evaluate out"
            )


class _Alone:
    """What one source found, K items a query by its own score."""

    def __init__(self, num_queries: int, longest: int) -> None:
        self.rows = np.full((num_queries, longest), -1, np.int32)
        self.scores, self.seconds = np.zeros((num_queries, longest), np.float32), 0.0

    def keep(self, part: NDArray[np.int64], rows: NDArray, scores: NDArray) -> None:
        """Keep the best of [B, M] rows, -1 where there is none, and their scores; ties by row."""
        values = np.where(rows >= 0, -scores.astype(np.float64), np.inf)
        order = np.lexsort((rows, values), axis=1)[:, : self.rows.shape[1]]
        width = order.shape[1]
        self.rows[part, :width] = np.take_along_axis(rows, order, axis=1)
        self.scores[part, :width] = np.take_along_axis(scores, order, axis=1)


class _QueriedSource:
    """A source of the chain, or one beside it, as the evaluation queries it."""

    def __init__(self, source: Source, arrays: tuple[str, str] | None, reads: Mapping[str, str] | None = None) -> None:
        self.name, self._source, self._arrays, self._reads = source.name, source, arrays, reads or {}

    def query(self, batch: Arrays, part: NDArray[np.int64], kept: _Alone) -> None:
        started_at = time.perf_counter()
        if self._arrays is not None:
            rows, scores = (batch[name] for name in self._arrays)
        else:
            found = self._source({name: batch[array] for name, array in self._reads.items()})
            rows, scores = found[f"{self.name}_items"], found[f"{self.name}_scores"]
        kept.seconds += time.perf_counter() - started_at
        kept.keep(part, rows, scores)


def _served(chain: Chain) -> Iterator[_QueriedSource]:
    """The sources whose arrays the chain holds already, without one that serves unknown users alone."""
    for node, planned in zip(chain.nodes, chain.plan.nodes, strict=True):
        if isinstance(node.step, Source) and not node.step.only_unknown:
            items, scores = (planned.gives[f"{node.step.name}_{what}"] for what in ("items", "scores"))
            yield _QueriedSource(node.step, (items, scores))


def _opened(
    further: Sequence[Source], folder: Path, spec: ChainSpec, arrays: Mapping[str, str]
) -> Iterator[_QueriedSource]:
    for source in further:
        source.open(folder, spec)
        yield _QueriedSource(source, None, {tensor.name: arrays[tensor.name] for tensor in source.inputs(spec)})


def request_of(
    queries: Queries, part: NDArray[np.int64], spec: ChainSpec, user_ids: NDArray, longest: int
) -> dict[str, NDArray]:
    """The request of some queries.

    Args:
        queries: Q queries.
        part: their numbers [B].
        spec: of the chain.
        user_ids: raw ids by user_row.
        longest: the slate that is wanted.
    """
    ids = user_ids[queries.user_rows[part]]
    request = {
        "user_id": (ids.astype(object) if ids.dtype.kind == "S" else ids)[:, None],
        "slate_size": np.full((len(part), 1), longest, np.int32),
    }
    for column in spec.context_columns:
        values = pa.chunked_array([queries.context[column.name].take(pa.array(part))])
        request[column.name] = request_column(column, values)[:, None]
    return request

"""A check before the layout `merlin` is written: its slates must match the compiled chain's, for sampled users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from merlin.systems.dag.ensemble import Ensemble
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.merlin.executor import MemoExecutor
from ensemble.merlin.request import null_input
from runtime.chain import Chain
from runtime.index.settings import EXACT
from workflows.core.errors import ArtefactError

__all__ = ["NUM_USERS", "TOLERANCE", "ask", "check_parity", "difference"]

NUM_USERS = 8
# Of a probability. TensorFlow and ONNX Runtime add the same float32 terms in another order, and ours rounds a logit to
# 2**-18: logits differ by some 1e-6 times their terms, probabilities by a quarter of that at most. 3e-7 was seen.
TOLERANCE = 1e-5

Answer = Mapping[str, NDArray]


def ask(graph: Ensemble, request: Mapping[str, NDArray]) -> Answer:
    """The graph's answer in this process, each node once.

    Args:
        graph: of `ensemble.merlin.graph`.
        request: every input, [1, 1] each.
    """
    answer = MemoExecutor().transform(TensorTable(dict(request)), [graph.graph.output_node])
    return {name: answer[name].values for name in answer}


def check_parity(graph: Ensemble, chain_folder: Path) -> int:
    """Compare the graph with the chain for known users without context, spread over the table.

    Args:
        graph: the layout's.
        chain_folder: the compiled chain.

    Returns:
        How many users were compared.

    Raises:
        ArtefactError: a slate differs.
    """
    chain = Chain.load(chain_folder)
    ids = np.load(chain_folder / "ids/users.npy", mmap_mode="r", allow_pickle=False)
    rows = np.unique(np.linspace(0, len(ids) - 1, min(NUM_USERS, len(ids))).astype(np.int64)).tolist()
    exact = chain.spec.index.kind == EXACT
    for row in rows:
        user = {"user_id": np.array([[ids[row]]], object if ids.dtype.kind == "S" else np.int64)}
        nulls = {tensor.name: null_input(tensor.numpy_dtype) for tensor in chain.spec.context_columns}
        problem = difference(ask(graph, {**user, **nulls}), chain.recommend(user), exact=exact)
        if problem:
            raise ArtefactError(
                f"export: the layout 'merlin' and the compiled chain disagree for the user in row {row} ({problem}); "
                "the artefacts do not belong together: run the stages again with --force"
            )
    return len(rows)


def difference(got: Answer, wanted: Answer, *, exact: bool) -> str:
    """What is different in the slates of one user beyond TOLERANCE; empty where nothing is.

    Items may stand in another order, or give way to another one, where their probabilities are that near.

    Args:
        got: the answer of the layout.
        wanted: the chain's.
        exact: whether both have searched every item; an index may be left with other items, whose places differ.
    """
    ours, theirs = _scores(got), _scores(wanted)
    for item in ours.keys() & theirs.keys():
        if abs(ours[item] - theirs[item]) > TOLERANCE:
            return f"item {item!r} has the probability {ours[item]:.6f} instead of {theirs[item]:.6f}"
    if not exact:
        return ""
    if len(ours) != len(theirs):
        return f"{len(ours)} items instead of {len(theirs)}"
    places = np.abs(np.array([*ours.values()]) - np.array([*theirs.values()]))
    if places.max(initial=0.0) > TOLERANCE:
        return f"place {int(places.argmax()) + 1} has another item"
    return ""


def _scores(answer: Answer) -> dict[str | int, float]:
    """Probability by raw id, in the slate's order."""
    count = int(answer["num_items"][0, 0])
    ids = [value.decode() if isinstance(value, bytes) else value for value in answer["item_id"][0, :count].tolist()]
    return dict(zip(ids, answer["score"][0, :count].tolist(), strict=True))

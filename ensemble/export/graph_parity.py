"""A check before a graph of one's own is exported: its plan must answer as Merlin does with the graph itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ensemble.export.graph import find_graph
from ensemble.export.parity import NUM_USERS
from runtime.chain import Chain
from runtime.order_spec import SOFTMAX
from runtime.spec import FORCE_POLICY, SEED
from runtime.stream.live import without_live_state
from workflows.core.errors import ArtefactError
from workflows.core.quiet import quiet
from workflows.core.run import Run

__all__ = ["check_graph"]


def check_graph(run: Run, folder: Path, graph: str) -> int:
    """Compare the plan with the graph on users spread over the table.

    Args:
        run: whose users are queried.
        folder: the compiled chain.
        graph: "module:function".

    Returns:
        How many users were compared.

    Raises:
        ArtefactError: an answer differs.
    """
    quiet()
    # What live events change would differ between the two answers.
    with without_live_state():
        return _compare(run, folder, graph)


def _compare(run: Run, folder: Path, graph: str) -> int:
    from ensemble.graph import request_table
    from ensemble.operators.runtime import RepositoryRuntime

    chain, drawn = Chain.load(folder), find_graph(graph)(folder)
    ids = np.load(run.folder("data") / "ids/users.npy", mmap_mode="r", allow_pickle=False)
    users = np.unique(np.linspace(0, len(ids) - 1, min(NUM_USERS, len(ids))).astype(np.int64))
    for user in users.tolist():
        request = {"user_id": np.array([[ids[user]]], object if ids.dtype.kind == "S" else np.int64)}
        if chain.spec.explores:
            request |= {SEED: np.array([[user]]), FORCE_POLICY: np.array([[SOFTMAX.encode()]], object)}
        answer = chain.recommend(request)
        table = drawn.transform(request_table(chain.spec, request), runtime=RepositoryRuntime())
        if different := [name for name, values in answer.items() if not np.array_equal(values, table[name].values)]:
            raise ArtefactError(
                f"export: the plan and the graph '{graph}' disagree for the user in row {user} in {different}: a step "
                "must give the same for the same arrays, and change none that it is given"
            )
    return len(users)

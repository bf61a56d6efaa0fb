"""The chain on one screen: retrieve, filter, rank and order as a Merlin Systems graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from merlin.dag import ColumnSelector
from merlin.systems.dag.ensemble import Ensemble
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.operators.base import schema_of
from ensemble.operators.steps import EncodeRequest, Order, QueryTower, Rank, Retrieve
from runtime.spec import FLOATS, ChainSpec, Tensor

__all__ = ["chain_ensemble", "request_table"]


def chain_ensemble(chain: Path) -> Ensemble:
    """The graph over a compiled chain; run it or export it with `ensemble.operators.runtime.RepositoryRuntime`."""
    spec = ChainSpec.load(chain)
    request = ColumnSelector([tensor.name for tensor in spec.request])

    features = request >> EncodeRequest(chain)  # ids -> rows, codes, histories
    query = features >> QueryTower(chain)  # (B, D), and the ranker's query part
    candidates = query + features >> Retrieve(chain)  # (B, C), filtered inside the search
    scores = candidates + query + features >> Rank(chain)  # (B, C)
    slate = candidates + scores + features >> Order(chain)  # (B, S)

    return Ensemble(slate, schema_of(spec.request))


def request_table(spec: ChainSpec, request: Mapping[str, NDArray]) -> TensorTable:
    """A request with every input present, as a graph needs it: empty lists, nulls and the default slate size."""
    num_users = len(request["user_id"])
    return TensorTable({t.name: request.get(t.name, _absent(spec, t, num_users)) for t in spec.request})


def _absent(spec: ChainSpec, tensor: Tensor, num_users: int) -> NDArray:
    if tensor.length == -1:
        return np.empty((num_users, 0), tensor.numpy_dtype)
    if tensor.name == "slate_size":
        return np.full((num_users, 1), spec.slate_size, np.int32)
    if tensor.dtype in FLOATS:
        return np.full((num_users, 1), np.nan, tensor.numpy_dtype)
    return np.full((num_users, 1), None, object)

"""The chain on one screen, the only list of its steps: encode, embed, retrieve, rank, order, as a Merlin graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce
from operator import add
from pathlib import Path

import numpy as np
from merlin.dag import ColumnSelector
from merlin.systems.dag.ensemble import Ensemble
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.operators.operator import ChainOperator, schema_of
from runtime.request import new_seeds
from runtime.sources.chosen import chosen_sources, merge_of
from runtime.spec import FLOATS, SEED, ChainSpec, Tensor
from runtime.steps.features import EncodeRequest
from runtime.steps.order import Order
from runtime.steps.query import QueryTower
from runtime.steps.rank import Rank

__all__ = ["chain", "request_table"]


def chain(folder: Path) -> Ensemble:
    """The graph over a compiled chain. `chain.graph` of the config may name another function like this one.

    Args:
        folder: whose chain.json holds the sizes; what the steps open need not be there yet.
    """
    spec = ChainSpec.load(folder)
    step = partial(ChainOperator, chain=folder)
    request = ColumnSelector([tensor.name for tensor in spec.request])

    features = request >> step(EncodeRequest())  # ids -> rows, codes, histories
    query = features >> step(QueryTower())  # (B, D), and the ranker's query part
    found = [query + features >> step(source) for source in chosen_sources(spec)]  # (B, K) each, nothing blocked
    candidates = reduce(add, found) + query + features >> step(merge_of(spec))  # (B, C)
    scores = candidates + query + features >> step(Rank())  # (B, C)
    slate = candidates + scores + features >> step(Order())  # (B, S)

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
    if tensor.name == SEED:
        return new_seeds(num_users)[:, None]
    if tensor.name == "min_offset":
        return np.zeros((num_users, 1), np.int64)
    if tensor.dtype in FLOATS:
        return np.full((num_users, 1), np.nan, tensor.numpy_dtype)
    return np.full((num_users, 1), None, object)

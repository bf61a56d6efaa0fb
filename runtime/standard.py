"""The plan of the standard graph without Merlin: for chains of the first format, which had none, and light exports.

`ensemble.graph.chain` is the definition; a test holds this plan against it.
"""

from __future__ import annotations

from runtime.plan import Node, Plan, wire
from runtime.sources.chosen import chosen_sources, merge_of
from runtime.spec import ChainSpec
from runtime.step import Step, path_of
from runtime.steps.features import EncodeRequest
from runtime.steps.order import Order
from runtime.steps.query import QueryTower
from runtime.steps.rank import Rank

__all__ = ["standard_plan"]


def standard_plan(spec: ChainSpec) -> Plan:
    """The plan that `ensemble.graph.chain` compiles to.

    Args:
        spec: the sizes and the sources of the chain.
    """
    sources = chosen_sources(spec)
    names = tuple(source.name for source in sources)
    steps: list[tuple[Step, tuple[str, ...]]] = [
        (EncodeRequest(), ()),
        (QueryTower(), ("features",)),
        *((source, ("query", "features")) for source in sources),
        (merge_of(spec), (*names, "query", "features")),
        (Rank(), ("merge", "query", "features")),
        (Order(), ("merge", "rank", "features")),
    ]
    return wire([Node(s.name, path_of(s), dict(s.settings), parents) for s, parents in steps], spec)

"""The chain of the first format, which was written without a plan: its steps were the code's."""

from __future__ import annotations

from runtime.plan import Node, Plan, wire
from runtime.spec import ChainSpec

__all__ = ["plan_of_format_1"]

# Name -> (step, parents), in order.
STEPS = {
    "features": ("runtime.steps.features:EncodeRequest", ()),
    "query": ("runtime.steps.query:QueryTower", ("features",)),
    "retrieve": ("runtime.steps.retrieve:Retrieve", ("query", "features")),
    "rank": ("runtime.steps.rank:Rank", ("retrieve", "query", "features")),
    "order": ("runtime.steps.order:Order", ("retrieve", "rank", "features")),
}


def plan_of_format_1(spec: ChainSpec) -> Plan:
    """The plan of a chain that has none."""
    return wire([Node(name, step, {}, parents) for name, (step, parents) in STEPS.items()], spec)

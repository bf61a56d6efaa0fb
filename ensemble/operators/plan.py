"""The Merlin graph compiled into a plan: what is drawn is what every way to run the chain runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from merlin.dag import Node as MerlinNode
from merlin.dag import postorder_iter_nodes
from merlin.dag.ops.concat_columns import ConcatColumns
from merlin.dag.ops.selection import SelectionOp
from merlin.systems.dag.ensemble import Ensemble

from ensemble.operators.operator import ChainOperator
from runtime.errors import PlanError
from runtime.plan import Node, Plan, wire
from runtime.spec import ChainSpec
from runtime.step import path_of

__all__ = ["compile_plan", "own_files"]

# What Merlin puts between operators: `a + b`, and the selection of the request's columns.
EDGES = (ConcatColumns, SelectionOp)


def compile_plan(graph: Ensemble, spec: ChainSpec) -> Plan:
    """The plan of a graph.

    Args:
        graph: of `ChainOperator`s.
        spec: the sizes of the chain.

    Raises:
        PlanError: the operators do not fit together, or one of them cannot be served.
    """
    nodes = [
        Node(
            name=node.op.name,
            step=path_of(node.op.step),
            settings=dict(node.op.step.settings),
            parents=tuple(dict.fromkeys(parent.op.name for parent in _operators_before(node))),
            files=tuple(node.op.own_files),
        )
        for node in _operators(graph)
    ]
    if not nodes:
        raise PlanError("the graph has no operator")
    return wire(nodes, spec)


def own_files(graph: Ensemble) -> dict[str, Path]:
    """The files that operators bring along, by their name in the chain."""
    return {name: path for node in _operators(graph) for name, path in node.op.own_files.items()}


def _operators(graph: Ensemble) -> list[MerlinNode]:
    """Every node with an operator of ours, once, after the nodes that it reads."""
    nodes = list(dict.fromkeys(postorder_iter_nodes(graph.graph.output_node)))
    for node in nodes:
        if not isinstance(node.op, (ChainOperator, *EDGES)):
            raise PlanError(f"the operator '{node.op.label}' is none that a chain can serve: write it as a step")
    return [node for node in nodes if isinstance(node.op, ChainOperator)]


def _operators_before(node: MerlinNode) -> Iterator[MerlinNode]:
    """The nodes whose results a node reads."""
    for parent in node.parents_with_dependencies:
        if isinstance(parent.op, ChainOperator):
            yield parent
        else:
            yield from _operators_before(parent)

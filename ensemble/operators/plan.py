"""Compile the Merlin graph into a plan, which every way to run the chain then runs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from merlin.dag import Node as MerlinNode
from merlin.dag import postorder_iter_nodes
from merlin.dag.ops.concat_columns import ConcatColumns
from merlin.dag.ops.selection import SelectionOp
from merlin.systems.dag.ensemble import Ensemble

from ensemble.operators.operator import ChainOperator
from runtime.errors import PlanError
from runtime.plan import Node, Plan, wire
from runtime.spec import ChainSpec
from runtime.step import make_step, path_of

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
    if not isinstance(graph, Ensemble):
        raise PlanError(f"the function returns {type(graph).__name__}, not a merlin.systems.dag.ensemble.Ensemble")
    nodes = [
        Node(
            name=node.op.name,
            step=path_of(node.op.step),
            settings=_settings(node.op),
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


def _settings(operator: ChainOperator) -> dict[str, Any]:
    """The settings of a step, by which the server makes the same step again.

    Raises:
        PlanError: it cannot.
    """
    step = operator.step
    settings = getattr(step, "settings", None)
    if not isinstance(settings, dict):
        raise PlanError(f"the step of '{operator.name}' does not call super().__init__(), which keeps its settings")
    arguments = inspect.signature(type(step)).parameters.values()
    if unsaid := [p.name for p in arguments if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in settings]:
        raise PlanError(
            f"the step of '{operator.name}' does not hand its argument '{unsaid[0]}' to super().__init__(), so that "
            "the server could not make it again"
        )
    try:
        stored: dict[str, Any] = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PlanError(f"the settings of '{operator.name}' are no JSON values ({error}): {settings}") from error
    try:
        again = make_step(path_of(step), stored).settings
    except Exception as error:  # the constructor is the user's: whatever it raises, the server cannot make the step
        raise PlanError(
            f"the step of '{operator.name}' cannot be made again from its settings {stored} ({error}); they reach the "
            "server as JSON, and it finds the class by its name at the top of its file"
        ) from error
    if json.loads(json.dumps(again)) != stored:
        raise PlanError(f"the step of '{operator.name}' made again has the settings {again}, not {stored}")
    return stored

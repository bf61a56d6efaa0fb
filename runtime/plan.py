"""plan.json: the nodes of a chain in the order in which they run, and which array goes from where to where.

Export compiles the graph into it; every way to run the chain, here or in a server, runs the plan.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.errors import PlanError
from runtime.records import from_record, read_versioned
from runtime.spec import ChainSpec, Tensor
from runtime.step import RequestStep, Step, make_step

__all__ = ["PLAN_FILE", "WIDTH", "Node", "Plan", "wire"]

PLAN_FILE = "plan.json"
FORMAT_VERSION = 1
# A node's name becomes a folder of the repository and the name of a Triton model.
NODE_NAME = re.compile(r"[a-z0-9_]{1,60}")
# The array in which the first step gives each user's slate size; the step that gives the slate reads it.
WIDTH = "num_wanted"


@dataclass(frozen=True)
class Node:
    """One step at its place in a plan.

    Attributes:
        name: unique in the plan.
        step: "module:class".
        settings: of the step's constructor.
        parents: names of the nodes that it reads; empty for the first, which reads the request.
        model: the Triton model of the ensemble layout that runs it, perhaps together with its neighbours.
        reads: the step's input -> the chain's array.
        gives: the step's output -> the chain's array.
        files: files and folders of the chain that it opens.
    """

    name: str
    step: str
    settings: dict[str, Any]
    parents: tuple[str, ...]
    model: str = ""
    reads: dict[str, str] = field(default_factory=dict)
    gives: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def make(self) -> Step:
        """The step, not opened."""
        return make_step(self.step, self.settings)


@dataclass(frozen=True)
class Plan:
    """The nodes of a chain.

    Attributes:
        nodes: a node after those that it reads; the last one gives the answer.
    """

    nodes: tuple[Node, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The Triton models of the ensemble layout, in order."""
        return tuple(dict.fromkeys(node.model for node in self.nodes))

    def of_model(self, model: str) -> tuple[Node, ...]:
        """The nodes that a model runs."""
        return tuple(node for node in self.nodes if node.model == model)

    def response(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The outputs of a request."""
        return self.nodes[-1].make().outputs(spec)

    def files(self, nodes: Sequence[Node] | None = None) -> tuple[str, ...]:
        """Files and folders that some nodes open, of all nodes where none are given; none of them inside another."""
        names = dict.fromkeys(name for node in (self.nodes if nodes is None else nodes) for name in node.files)
        return tuple(name for name in names if not any(name.startswith(f"{other}/") for other in names))

    def boundary(self, model: str, spec: ChainSpec) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What a model of the ensemble layout reads from others and gives to others, by the chain's names."""
        inside = self.of_model(model)
        made = {name for node in inside for name in node.gives.values()}
        wanted = {name for node in self.nodes if node.model != model for name in node.reads.values()}
        wanted |= set(self.nodes[-1].gives.values())
        reads, gives = {}, {}
        for node in inside:
            step = node.make()
            for tensor in step.inputs(spec):
                # A column of the request may be called like an array in between.
                if (name := node.reads[tensor.name]) not in made or not node.parents:
                    reads[name] = replace(tensor, name=name)
            for tensor in step.outputs(spec):
                if (name := node.gives[tensor.name]) in wanted:
                    gives[name] = replace(tensor, name=name)
        return tuple(reads.values()), tuple(gives.values())

    def save(self, folder: Path) -> None:
        """Write `folder`/plan.json."""
        record = {"format_version": FORMAT_VERSION, **asdict(self)}
        (folder / PLAN_FILE).write_text(json.dumps(record, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read `folder`/plan.json.

        Raises:
            ValueError: written in another format version, or a key is missing, unknown or of another type.
            OSError: the file is missing.
        """
        _, record = read_versioned(folder / PLAN_FILE, (FORMAT_VERSION,))
        return from_record(cls, record, PLAN_FILE)


def wire(nodes: Sequence[Node], spec: ChainSpec) -> Plan:
    """Find for every input of every node the array that it reads.

    Args:
        nodes: with name, step, settings and parents, a node after its parents.
        spec: the sizes of the chain.

    Raises:
        PlanError: an input that no parent gives or two give, or whose type differs; two nodes of one name, or a name
            that cannot be one; a node that gives nothing; a file outside the chain; a first or last node that
            cannot be one.
    """
    if odd := [node.name for node in nodes if not NODE_NAME.fullmatch(node.name)]:
        raise PlanError(
            f"the operator '{odd[0]}' needs another name: it becomes a folder of the repository, so that it holds 1 to "
            "60 lower-case letters, digits and '_'"
        )
    if repeated := [name for name, count in Counter(node.name for node in nodes).items() if count > 1]:
        raise PlanError(f"the graph has two operators called '{repeated[0]}'; give one of them another name")
    steps = {node.name: node.make() for node in nodes}
    given = {node.name: {tensor.name: tensor for tensor in steps[node.name].outputs(spec)} for node in nodes}
    if silent := [name for name, outputs in given.items() if not outputs]:
        raise PlanError(f"the operator '{silent[0]}' gives nothing; leave it out")
    names = Counter(name for outputs in given.values() for name in outputs)
    _check_ends(nodes, steps, given, spec)
    wired: list[Node] = []
    models = _models(nodes, steps)
    for node in nodes:
        step, reads = steps[node.name], {}
        for tensor in step.inputs(spec):
            parent = _giver(node, tensor, given) if node.parents else ""
            reads[tensor.name] = tensor.name if not parent else _array(parent, tensor.name, names)
        gives = {name: _array(node.name, name, names) for name in given[node.name]}
        files = tuple(dict.fromkeys([*step.files(spec), *node.files]))
        if odd := [name for name in files if name.startswith("/") or ".." in name.split("/")]:
            raise PlanError(
                f"the operator '{node.name}' opens '{odd[0]}'; a file has its place inside the chain's folder"
            )
        wired.append(replace(node, model=models[node.name], reads=reads, gives=gives, files=files))
    return Plan(tuple(wired))


def _check_ends(
    nodes: Sequence[Node], steps: dict[str, Step], given: dict[str, dict[str, Tensor]], spec: ChainSpec
) -> None:
    """Check that the first node alone reads the request and that the last one gives a slate."""
    first, *others = nodes
    if not isinstance(steps[first.name], RequestStep):
        raise PlanError(f"the first operator, '{first.name}', is no step that checks requests, as EncodeRequest is")
    for node in others:
        if not node.parents:
            raise PlanError(f"the operator '{node.name}' reads the request, which '{first.name}' alone may")
    last = nodes[-1]
    if missing := [tensor.name for tensor in spec.response if given[last.name].get(tensor.name) != tensor]:
        raise PlanError(f"the last operator, '{last.name}', does not give {missing}, which an answer must hold")
    if WIDTH not in {tensor.name for tensor in steps[last.name].inputs(spec)}:
        raise PlanError(f"the last operator, '{last.name}', does not read '{WIDTH}', the size of each user's slate")


def _giver(node: Node, wanted: Tensor, given: dict[str, dict[str, Tensor]]) -> str:
    """The parent that gives an input."""
    givers = [name for name in node.parents if wanted.name in given[name]]
    if not givers:
        offered = sorted({name for parent in node.parents for name in given[parent]})
        raise PlanError(f"the operator '{node.name}' needs '{wanted.name}', its parents give {offered}")
    if len(givers) > 1:
        raise PlanError(f"the operator '{node.name}' gets '{wanted.name}' from {givers}; leave one of the edges out")
    found = given[givers[0]][wanted.name]
    if (found.dtype, found.length) != (wanted.dtype, wanted.length):
        raise PlanError(
            f"the operator '{node.name}' needs '{wanted.name}' as {wanted.dtype} [B, {wanted.length}], "
            f"'{givers[0]}' gives {found.dtype} [B, {found.length}]"
        )
    return givers[0]


def _array(node: str, output: str, names: Counter[str]) -> str:
    """The chain's name of an output: its own where it is the only one of that name."""
    return output if names[output] == 1 else f"{node}/{output}"


def _models(nodes: Sequence[Node], steps: dict[str, Step]) -> dict[str, str]:
    """The Triton model of each node; one that comes back after others gets another name: none waits for itself."""
    models: dict[str, str] = {}
    last, used = "", Counter[str]()
    for node in nodes:
        wanted = steps[node.name].model or node.name
        if wanted != last:
            used[wanted] += 1
            last = wanted
        models[node.name] = wanted if used[wanted] == 1 else f"{wanted}_{used[wanted]}"
    return models

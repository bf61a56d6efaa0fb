"""Run a plan in one process: for the `fused` layout and evaluation; a step model runs a part of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from numpy.typing import NDArray

from runtime.blocked import BlockedItems
from runtime.errors import BadRequest
from runtime.plan import PLAN_FILE, Node, Plan
from runtime.request import Parsed, join
from runtime.spec import ChainSpec
from runtime.standard import standard_plan
from runtime.step import Arrays, RequestStep, Step

__all__ = ["Chain", "OpenNode", "Place", "Sampled", "Shown", "open_nodes", "parse_all"]

# Item rows and utilities, int32 and float32 [B, C].
Sampled = tuple[NDArray, NDArray]
# Item rows and where they are in a slate, int32 and bool [B, S].
Shown = tuple[NDArray, NDArray]
# The nodes and the steps that run in their place on another device, not opened; see `runtime.device.plan`.
Place = Callable[[Sequence[Node], ChainSpec], Sequence[tuple[Node, Step]]]


class OpenNode:
    """A node whose step has opened its files.

    Args:
        node: of a plan.
        folder: a compiled chain, or the part of it that the node's files are in.
        spec: its chain.json.
        step: not opened, in the place of the node's own.
    """

    def __init__(self, node: Node, folder: Path, spec: ChainSpec, step: Step | None = None) -> None:
        self.name, self.step = node.name, step or node.make()
        self.step.open(folder, spec)
        self._reads, self._gives = tuple(node.reads.items()), tuple(node.gives.items())

    def run(self, arrays: Arrays) -> None:
        """Add what the step gives to the arrays of a batch, by the chain's names."""
        self._add(arrays, self.step({name: arrays[array] for name, array in self._reads if array in arrays}))

    def encode(self, arrays: Arrays, parsed: Parsed) -> None:
        """The same for the node that reads the request."""
        assert isinstance(self.step, RequestStep)
        self._add(arrays, self.step.encode(parsed))

    def _add(self, arrays: Arrays, results: Arrays) -> None:
        for name, array in self._gives:
            arrays[array] = results[name]


def open_nodes(nodes: Sequence[Node], folder: Path, spec: ChainSpec, place: Place | None = None) -> list[OpenNode]:
    """Open nodes of a plan, in their order.

    Args:
        nodes: of the whole plan, or of one of its models.
        folder: what they open.
        spec: the chain's sizes.
        place: where they run; None: on the CPU.
    """
    steps = [(node, None) for node in nodes] if place is None else place(nodes, spec)
    return [OpenNode(node, folder, spec, step) for node, step in steps]


class Chain:
    """A compiled chain. Threads may share one: it answers one batch at a time, since its steps mark items in place.

    Args:
        folder: what `ensemble.export.compile.compile_chain` wrote.
        spec: instead of its chain.json.
        place: where its steps run; None: on the CPU.

    Attributes:
        blocked: items that `recommend_many` never shows; a server has them, nobody else.
        parsed: the requests of the last `recommend_many`, checked.
    """

    blocked: BlockedItems | None = None
    parsed: Sequence[Parsed | BadRequest] = ()

    def __init__(self, folder: Path, spec: ChainSpec | None = None, place: Place | None = None) -> None:
        self.spec = spec or ChainSpec.load(folder)
        self.plan = Plan.load(folder) if (folder / PLAN_FILE).exists() else standard_plan(self.spec)
        self.nodes = open_nodes(self.plan.nodes, folder, self.spec, place)
        self._response = [(t.name, self.plan.nodes[-1].gives[t.name]) for t in self.plan.response(self.spec)]
        self._one_at_a_time = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> Chain:
        """Open a compiled chain.

        Raises:
            ValueError: an artefact has another format version.
            OSError: an artefact is missing.
        """
        return cls(Path(folder))

    def recommend(self, request: Mapping[str, NDArray]) -> Arrays:
        """Answer one request.

        Args:
            request: user_id [B, 1], int64 or bytes as in the data, and the optional inputs: each context column [B, 1],
                recent_item_ids [B, R] oldest first, exclude_item_ids [B, X], slate_size [B, 1].

        Returns:
            What the last node gives; of the standard chain item_id [B, S], descending score, ties by id, padded with -1
            or b""; score float32 [B, S], the probability, padded with 0; num_items int32 [B, 1]; path [B, 1] of bytes,
            one of PATHS.

        Raises:
            BadRequest: the request cannot be answered; the sentence says why.
        """
        return self.run(self.request_step.parse(request))

    def recommend_many(self, requests: Sequence[Mapping[str, NDArray]]) -> list[Arrays | BadRequest]:
        """Answer requests together, each as if it were alone; a bad one gets its own error."""
        self.parsed = parsed = parse_all(self.request_step, requests, self.blocked)
        good = [request for request in parsed if isinstance(request, Parsed)]
        answers = iter(split(self.run(join(good)), good) if good else [])
        return [request if isinstance(request, BadRequest) else next(answers) for request in parsed]

    @property
    def sampled(self) -> Sampled | None:
        """What the last slates were drawn from, see `runtime.steps.order.Order`."""
        return getattr(self.nodes[-1].step, "sampled", None)

    @property
    def shown(self) -> Shown | None:
        """The rows of the last slates, see `runtime.steps.order.Order`."""
        return getattr(self.nodes[-1].step, "shown", None)

    @property
    def request_step(self) -> RequestStep:
        """The first step."""
        step: Step = self.nodes[0].step
        assert isinstance(step, RequestStep)
        return step

    def run(self, parsed: Parsed) -> Arrays:
        """Answer checked requests; see `recommend`."""
        first, *others = self.nodes
        arrays: Arrays = {}
        with self._one_at_a_time:
            first.encode(arrays, parsed)
            for node in others:
                node.run(arrays)
        return {name: arrays[array] for name, array in self._response}


def parse_all(
    step: RequestStep, requests: Sequence[Mapping[str, NDArray]], blocked: BlockedItems | None = None
) -> list[Parsed | BadRequest]:
    """Check requests one by one; a bad one becomes its error, a good one excludes the blocked items too."""
    parsed: list[Parsed | BadRequest] = []
    if blocked is not None:
        blocked.rows()  # one look for all
    for request in requests:
        try:
            good = step.parse(request)
            parsed.append(good if blocked is None else blocked.leave_out(good))
        except BadRequest as error:
            parsed.append(error)
    return parsed


def split(response: Arrays, requests: Sequence[Parsed]) -> list[Arrays]:
    """Cut a joint response into one per request, each as wide as the largest slate that it asked for."""
    answers, start = [], 0
    for request in requests:
        stop, width = start + len(request.user_row), int(request.slate_size.max())
        answers.append({name: values[start:stop, :width] for name, values in response.items()})
        start = stop
    return answers

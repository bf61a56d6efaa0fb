"""Which steps of a plan a device takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from runtime.device.device import Device, NoDevice, cupy_device
from runtime.device.kernels import MOST_SELECTED
from runtime.device.memory import DoesNotFit, missing
from runtime.device.order import DeviceOrder
from runtime.device.rank import DeviceRank
from runtime.device.retrieve import ON_DEVICE, Retrieve
from runtime.device.search import MARGIN
from runtime.plan import Node
from runtime.spec import ChainSpec
from runtime.step import Step, path_of
from runtime.steps.merge import Merge
from runtime.steps.order import Order
from runtime.steps.rank import Rank

__all__ = ["Taken", "on_device", "place_on"]

TOWERS = "runtime.sources.towers:TwoTowers"
# The sources that it knows.
SOURCES = {
    TOWERS,
    "runtime.sources.neighbours:Neighbours",
    "runtime.sources.content:Content",
    "runtime.sources.pinned:Pinned",
    *(f"runtime.sources.item_scores:{name}" for name in ("Popularity", "Trending", "Latest")),
}
WAYS_OUT = (
    "a lower neighbours.longest_list, fewer instances or versions there, or an export with chain.device = 'cpu' help"
)
HALVES = "chain.device_precision = 'float16', "
# A step and the node at whose place it runs.
Taken = tuple[Node, Step]


def place_on(
    number: int, folder: Path, say: Callable[[str], None]
) -> Callable[[Sequence[Node], ChainSpec], list[Taken]] | None:
    """Where a served chain runs that was exported for a GPU.

    Args:
        number: of the GPU.
        folder: what the nodes open.
        say: takes a sentence for the server's log.

    Returns:
        What `runtime.chain.open_nodes` takes; it raises DoesNotFit where the GPU's memory is too small, unless the
        chain's device was chosen by "auto": then the CPU answers. None where there is no such GPU: the CPU answers the
        same.
    """
    try:
        device = cupy_device(number)
    except NoDevice as error:
        say(f"the chain was exported for a GPU and runs on the CPU: {error}")
        return None

    def place(nodes: Sequence[Node], spec: ChainSpec) -> list[Taken]:
        taken, reasons = on_device(nodes, spec, device)
        heavy = [step for _, step in taken if isinstance(step, Retrieve | DeviceRank)]
        needed = sum(step.device_bytes(folder, spec) for step in heavy)
        if reason := missing(needed, device.free_bytes(), device.name):
            if not spec.device_or_cpu:
                halves = HALVES if spec.device_precision == "float32" else ""
                raise DoesNotFit(f"{reason}: {halves}{WAYS_OUT}")
            say(f"the chain was exported for a GPU and runs on the CPU: {reason}")
            return [(node, node.make()) for node in nodes]
        for reason in reasons:
            say(f"on {device.name}: {reason}")
        return taken

    return place


def on_device(nodes: Sequence[Node], spec: ChainSpec, device: Device) -> tuple[list[Taken], list[str]]:
    """The steps of some nodes of a plan, those that a device can run made to run there.

    Args:
        nodes: of a plan, or of one of its models.
        spec: the chain's sizes.
        device: what computes.

    Returns:
        The steps, not opened; and a sentence for each that stays on the host though it takes long.
    """
    taken: list[Taken] = [(node, node.make()) for node in nodes]
    reasons = []
    for place, (node, step) in enumerate(taken):
        if type(step) is Merge:
            if reason := _no_retrieval(step, spec):
                reasons.append(f"the candidates are found on the CPU: {reason}")
        elif type(step) is Rank:
            if spec.ranker.factored:
                taken[place] = node, _made(DeviceRank, node, device)
            else:
                reasons.append("candidates are ranked on the CPU: this ranker is not factored")
        elif type(step) is Order:
            taken[place] = node, _made(DeviceOrder, node, device)
    merges = [node for node, step in taken if type(step) is Merge and not _no_retrieval(step, spec)]
    for node in merges:
        taken = _with_retrieval(taken, node, device, spec)
    return taken, reasons


def _no_retrieval(merge: Merge, spec: ChainSpec) -> str:
    """Why a device cannot find the candidates of a merge; empty where it can."""
    paths = [path_of(source) for source in merge.sources]
    if others := [path for path in paths if path not in SOURCES]:
        return f"the source {others[0]} has no counterpart there"
    if TOWERS not in paths:
        return "the chain has no towers"
    if merge.settings["fallback"] in ON_DEVICE:
        return f"'{merge.settings['fallback']}' is the source for users of whom nothing is known"
    if spec.num_candidates > MOST_SELECTED - MARGIN:
        return f"{spec.num_candidates} candidates are more than the {MOST_SELECTED - MARGIN} that it selects"
    if spec.embedding_dim % 8:
        return f"embeddings have {spec.embedding_dim} dimensions, which is no multiple of 8"
    return ""


def _with_retrieval(taken: Sequence[Taken], merge: Node, device: Device, spec: ChainSpec) -> list[Taken]:
    """The steps with retrieval in the place of a merge and of the sources that it takes over."""
    replaced = [node for node, step in taken if node.name in merge.parents and step.name in ON_DEVICE]
    step = _made(Retrieve, merge, device)
    reads = {name: array for node in (*replaced, merge) for name, array in node.reads.items()}
    wanted = {tensor.name for tensor in step.inputs(spec)}
    node = replace(merge, reads={name: array for name, array in reads.items() if name in wanted})
    return [(node, step) if other is merge else (other, of_other) for other, of_other in taken if other not in replaced]


def _made(kind: type[Step], node: Node, device: Device) -> Step:
    step = kind(**node.settings)
    step.device = device  # type: ignore[attr-defined]
    return step

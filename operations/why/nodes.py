"""The opened nodes of a chain: run them, see which of them are known, and open some anew with other files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from numpy.typing import NDArray

from operations.why.overlay import overlay
from runtime.chain import Chain, OpenNode
from runtime.plan import Node
from runtime.request import Parsed
from runtime.sources.base import Source
from runtime.spec import ChainSpec
from runtime.step import Arrays, load_array
from runtime.steps.features import AsksLive, EncodeRequest
from runtime.steps.merge import Merge
from runtime.steps.order import Order
from runtime.steps.query import QueryTower
from runtime.steps.rank import Rank

__all__ = ["Nodes", "Places", "changed", "live_as_before", "nodes_of"]

# Steps that open the same whatever the number of candidates and whether seen items are shown.
SIZELESS = (EncodeRequest, QueryTower, Rank, Order)


class Places:
    """Where the known steps are in a plan.

    Args:
        opened: its nodes.

    Attributes:
        sources: of the retrieval sources.
        merge, rank, order: of these steps; None in a graph without one.
    """

    def __init__(self, opened: Sequence[OpenNode]) -> None:
        steps = [node.step for node in opened]
        self.sources = [place for place, step in enumerate(steps) if isinstance(step, Source)]
        self.merge = next((place for place, step in enumerate(steps) if isinstance(step, Merge)), None)
        self.rank = next((place for place, step in enumerate(steps) if isinstance(step, Rank)), None)
        self.order = next((place for place, step in enumerate(steps) if isinstance(step, Order)), None)


@dataclass(frozen=True)
class Nodes:
    """The nodes of a plan, in order.

    Attributes:
        plan: the planned ones.
        opened: the same, opened.
        folder: the compiled chain that they opened.
        spec: its sizes.
        places: where the known steps are.
    """

    plan: tuple[Node, ...]
    opened: tuple[OpenNode, ...]
    folder: Path
    spec: ChainSpec
    places: Places

    def run(self, parsed: Parsed) -> Arrays:
        """All arrays of a batch, by the chain's names."""
        arrays: Arrays = {}
        self.opened[0].encode(arrays, parsed)
        return self.run_from(1, arrays)

    def run_from(self, first: int, arrays: Mapping[str, NDArray], stop: int | None = None) -> Arrays:
        """The arrays after the nodes from one on have run once more, up to another one where it is given."""
        copied = dict(arrays)
        for node in self.opened[first:stop]:
            node.run(copied)
        return copied

    def batch(self, place: int, arrays: Mapping[str, NDArray]) -> Arrays:
        """What the step of a node is called with."""
        return {name: arrays[array] for name, array in self.plan[place].reads.items() if array in arrays}

    def given(self, place: int, arrays: Mapping[str, NDArray]) -> Arrays:
        """What the step of a node has given, by its own names."""
        return {name: arrays[array] for name, array in self.plan[place].gives.items()}

    def answer(self, arrays: Mapping[str, NDArray]) -> Arrays:
        """What the chain answers."""
        return self.given(len(self.plan) - 1, arrays)

    def raw_id(self, row: int) -> int | bytes:
        """The raw id of an item row."""
        found: int | bytes = load_array(self.folder / "ids/items.npy")[row].item()
        return found

    def source(self, place: int) -> Source:
        """The retrieval source at a place."""
        step = self.opened[place].step
        assert isinstance(step, Source)
        return step

    def merge(self) -> Merge:
        """The merge; only where `places.merge` says that there is one."""
        assert self.places.merge is not None
        step = self.opened[self.places.merge].step
        assert isinstance(step, Merge)
        return step

    def ranker(self) -> Rank:
        """The ranker; only where `places.rank` says that there is one."""
        assert self.places.rank is not None
        step = self.opened[self.places.rank].step
        assert isinstance(step, Rank)
        return step

    def asking(self, live: AsksLive | None) -> Nodes:
        """The same nodes, the first one asking `live`; of a chain without a live state, these."""
        first = self.opened[0].step
        if live is not None and isinstance(first, EncodeRequest):
            first.live = live
        return self


@contextmanager
def live_as_before(nodes: Nodes) -> Iterator[None]:
    """What the first node asks the live state with is the same after the block: a question puts its own there."""
    first = nodes.opened[0].step
    live = first.live if isinstance(first, EncodeRequest) else None
    try:
        yield
    finally:
        nodes.asking(live)


def nodes_of(chain: Chain, folder: Path) -> Nodes:
    """The nodes of an opened chain."""
    return Nodes(tuple(chain.plan.nodes), tuple(chain.nodes), folder, chain.spec, Places(chain.nodes))


@contextmanager
def changed(nodes: Nodes, files: Mapping[str, NDArray], spec: ChainSpec | None = None) -> Iterator[Nodes]:
    """The chain as if some of its files, or its sizes, were others; for the time of a with block.

    Args:
        nodes: of the chain as it is.
        files: arrays by the name of their file; the nodes that open one of them are opened anew.
        spec: other sizes; the nodes that find and merge, and those of the user's own, are opened anew.
    """
    wanted = [
        _opens(node, files) or (spec is not None and not isinstance(nodes.opened[place].step, SIZELESS))
        for place, node in enumerate(nodes.plan)
    ]
    with overlay(nodes.folder, files) if files else nullcontext(nodes.folder) as folder:
        sizes = spec or nodes.spec
        opened = tuple(
            OpenNode(node, folder, sizes) if anew else nodes.opened[place]
            for place, (node, anew) in enumerate(zip(nodes.plan, wanted, strict=True))
        )
        yield replace(nodes, opened=opened, folder=folder, spec=sizes)


def _opens(node: Node, files: Mapping[str, NDArray]) -> bool:
    """Whether a node opens one of the files, by itself or in a folder."""
    return any(name == file or name.startswith(f"{file}/") for file in node.files for name in files)

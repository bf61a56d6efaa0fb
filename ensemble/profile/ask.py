"""Ask the steps of a chain and look at what passes between them: what the profile counts, and later its signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.chain import Chain, OpenNode
from runtime.ids import IdMap
from runtime.plan import Plan
from runtime.request import Drawn, LiveRequest, Parsed, pad_columns
from runtime.spec import ENCODED, ChainSpec
from runtime.step import Arrays
from runtime.stream.live import without_live_state

__all__ = ["QUERY", "Answers", "OpenChain", "ask", "open_chain"]

BATCH = 32
QUERY = "query"


class Answers(NamedTuple):
    """What came of n requests of one user each.

    Attributes:
        arrays: the query embedding and the encoded features, by the chain's names, [n, ...] each.
        rows: int32 [n, S], item rows of the slates, padded with -1.
        scores: float32 [n, S], padded likewise.
        paths: [n] of bytes.
    """

    arrays: Arrays
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    paths: NDArray


@dataclass(frozen=True)
class OpenChain:
    """A chain whose steps can be asked one by one.

    Attributes:
        spec: its sizes and names.
        plan: what its steps read and give.
        nodes: the steps, open.
        items: of the answers.
    """

    spec: ChainSpec
    plan: Plan
    nodes: Sequence[OpenNode]
    items: IdMap


def open_chain(folder: Path) -> OpenChain:
    """Open a compiled chain, whole; it will know no live events.

    Raises:
        OSError, ValueError: it is not whole, or of another release.
    """
    with without_live_state():
        chain = Chain(folder)
    items = IdMap(np.load(folder / "ids/items.npy", mmap_mode="r", allow_pickle=False), padded=True)
    return OpenChain(chain.spec, chain.plan, chain.nodes, items)


def ask(chain: OpenChain, requests: Parsed) -> Answers:
    """Answer requests of one user each, in batches."""
    num, width = len(requests.user_row), chain.spec.slate_size
    parts = [_ask_batch(chain, requests, slice(at, at + BATCH)) for at in range(0, num, BATCH)]
    if not parts:
        nothing = np.empty((0, width))
        return Answers({}, nothing.astype(np.int32), nothing.astype(np.float32), np.empty(0, object))
    return Answers(
        {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays},
        pad_columns([part.rows for part in parts]),
        pad_columns([part.scores for part in parts]),
        np.concatenate([part.paths for part in parts]),
    )


def _ask_batch(chain: OpenChain, requests: Parsed, at: slice) -> Answers:
    arrays: Arrays = {}
    first, *others = chain.nodes
    users, recent = requests.user_row[at], requests.recent[at]
    live = None
    if chain.spec.live is not None:
        live = LiveRequest((b"",) * len(users), recent.astype(np.int64), np.zeros(len(users), np.int64))
    context = {name: values[at] for name, values in requests.context.items()}
    drawn = requests.drawn and Drawn(requests.drawn.seeds[at], requests.drawn.policy[at])
    first.encode(arrays, Parsed(users, recent, requests.exclude[at], requests.slate_size[at], context, live, drawn))
    for node in others:
        node.run(arrays)
    gives = chain.plan.nodes[-1].gives
    rows = chain.items.rows("item_id", arrays[gives["item_id"]])
    kept = {name: values for name, values in arrays.items() if name == QUERY or name.startswith(ENCODED)}
    return Answers(kept, rows, arrays[gives["score"]], arrays[gives["path"]][:, 0])

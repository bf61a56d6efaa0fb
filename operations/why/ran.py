"""One request answered with every array between its steps kept, perhaps as if the user had a shorter history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operations.why.asking import users_without
from operations.why.live import AskedOnce, Repeated
from operations.why.nodes import Nodes, changed
from operations.why.question import without_items
from runtime.request import Parsed
from runtime.step import Arrays
from runtime.steps.features import EncodeRequest
from runtime.stream.recent import LiveRecent

__all__ = ["Ran", "ran", "shortened"]


class Ran(NamedTuple):
    """One request of one user, answered.

    Attributes:
        nodes: that ran.
        arrays: what they gave.
        parsed: the request.
        live: what live events added; None where the chain has no live state.
        blocked: rows of the items that are blocked for all.
    """

    nodes: Nodes
    arrays: Arrays
    parsed: Parsed
    live: LiveRecent | None
    blocked: NDArray


@contextmanager
def shortened(nodes: Nodes, parsed: Parsed, removed: NDArray) -> Iterator[tuple[Nodes, Parsed]]:
    """The chain and a request as if the user had had nothing to do with some items, for the time of the block.

    Args:
        nodes: of the chain; what asks its live state is another one in the block.
        parsed: of one user.
        removed: item rows; none: both as they are.
    """
    if not len(removed):
        yield nodes, parsed
        return
    first, row = nodes.opened[0].step, int(parsed.user_row[0])
    live = first.live.of(parsed) if isinstance(first, EncodeRequest) and first.live is not None else None
    files = users_without(nodes.folder, row, [removed]) if row >= 0 else {}
    known = np.zeros(1, np.int32) if row >= 0 else parsed.user_row
    with changed(nodes, files) as used:
        used.asking(None if live is None else Repeated(live, [removed]))
        yield used, without_items(replace(parsed, user_row=known), [removed])


def ran(nodes: Nodes, parsed: Parsed, blocked: NDArray) -> Ran:
    """Answer a request.

    Args:
        nodes: of the chain.
        parsed: of one user.
        blocked: rows of the items that are blocked for all.
    """
    first = nodes.opened[0].step
    once = AskedOnce(first.live) if isinstance(first, EncodeRequest) and first.live is not None else None
    nodes.asking(once)
    excluded = np.concatenate([parsed.exclude, blocked[None].astype(np.int32)], axis=1)
    arrays = nodes.run(replace(parsed, exclude=excluded))
    return Ran(nodes, arrays, parsed, None if once is None else once.of(parsed), blocked)

"""Launches kernels.cu; `runtime.device.stand_in` does the same with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.index.rounding import SCORE_STEP

__all__ = [
    "CHUNK",
    "GROUP",
    "MOST_SELECTED",
    "SOURCE",
    "TILE_USERS",
    "CudaKernels",
    "Kernels",
    "Pinned",
    "ScoredItems",
    "options",
]

SOURCE = Path(__file__).with_name("kernels.cu")
# As kernels.cu names them: items of a group, of a tile and of a chunk, users of a tile.
GROUP, TILE_ITEMS, TILE_USERS = 32, 256, 32
CHUNK = 1 << 16
# Pairs of a block of `row_scores`.
ROW_PAIRS = 32
# The most places that `best` finds: their keys and places fit into shared memory.
MOST_SELECTED = 2048
THREADS, TILE_THREADS, ROW_THREADS, SELECT_THREADS = 256, 128, 128, 1024
STEP = np.float32(SCORE_STEP)
# Makes the function of a kernel of its name: called with the grid, the block, the arguments and bytes of shared memory.
Compile = Callable[[str], Callable[..., None]]


class ScoredItems(NamedTuple):
    """What a search reads, arrays of the device.

    Attributes:
        embeddings: float32 or float16 [K, D, M], chunks of M items, zeros after the last item.
        bitmap: uint8 [K * M / 8], one bit an item that may be shown, lowest first.
        starts: int64 [B + 1]; what user b must not see is at starts[b] : starts[b + 1].
        blocked: int32 [T], item rows, ascending for each user.
    """

    embeddings: Any
    bitmap: Any
    starts: Any
    blocked: Any

    @property
    def num_groups(self) -> int:
        """G, groups of GROUP items."""
        return int(self.embeddings.shape[0] * self.embeddings.shape[2]) // GROUP


class Pinned(NamedTuple):
    """Embeddings in the host's memory that a device reads in place.

    Attributes:
        array: float32 [N, D] by item_row, contiguous.
    """

    array: NDArray[np.float32]


class Kernels(Protocol):
    """What is computed on a device, over its arrays; scores are multiples of SCORE_STEP, -inf: must not be shown."""

    def maxima_of_scores(self, scores: Any, items: ScoredItems, first: int, out: Any) -> None:
        """The best score of each group of some items, whoever asks.

        Args:
            scores: float32 [B, M], inner products with the items from `first` on, not rounded.
            items: what may be shown.
            first: item row, a multiple of GROUP.
            out: float32 [B, G]; the columns of these groups are written.
        """

    def maxima_of_tiles(self, queries: Any, items: ScoredItems, out: Any) -> None:
        """The same of all items, from float32 [B, D] queries of at most TILE_USERS users."""

    def refresh_maxima(self, queries: Any, items: ScoredItems, users: Any, groups: Any, out: Any) -> None:
        """Compute maxima again without what a user must not see; users and groups int32 [P], distinct pairs."""

    def group_scores(self, queries: Any, items: ScoredItems, groups: Any) -> tuple[Any, Any]:
        """The items of groups int32 [B, K], -1: no group; rows int32 and scores float32 [B, K * GROUP]."""

    def pick(self, places: Any, rows: Any, scores: Any) -> tuple[Any, Any]:
        """Rows int32 and scores float32 at places int32 [B, C] of those [B, M]; -1 and -inf at a negative place."""

    def pair_scores(self, queries: Any, embeddings: Any, users: Any, rows: Any) -> Any:
        """Scores float32 [P] of items for users of the batch, int32 [P] each."""

    def row_scores(self, queries: Any, table: Pinned, users: Any, rows: Any) -> Any:
        """The same from float32 embeddings of the host, added up in the same order."""

    def segment_sums(self, values: Any, starts: Any) -> Any:
        """float32 [S]: sums of float64 values [V] from each start, int64 [S] ascending, to the next, left to right."""

    def best(self, values: Any, count: int, ties: Any = None) -> Any:
        """Places of the best.

        Args:
            values: float32 [B, M]; -inf is never chosen.
            count: at most MOST_SELECTED.
            ties: int32 [B, M], not negative where a value is finite; of equal values the lower comes first. None: the
                places themselves.

        Returns:
            int32 [B, count], best first, -1 after the last.
        """


def options(dim: int, chunk: int, is_half: bool) -> tuple[str, ...]:
    """The macros of kernels.cu."""
    return (f"-DDIM={dim}", f"-DCHUNK={chunk}", *(("-DHALF",) if is_half else ()))


class CudaKernels:
    """The kernels of kernels.cu.

    Args:
        xp: CuPy.
        compile_kernel: gives a function by its name.
    """

    def __init__(self, xp: Any, compile_kernel: Compile) -> None:
        self._xp = xp
        names = ("group_maxima", "tile_maxima", "refreshed_maxima", "group_scores", "pick", "pair_scores")
        more = ("row_scores", "segment_sums", "select_best")
        self._run = {name: compile_kernel(name) for name in (*names, *more)}

    def maxima_of_scores(self, scores: Any, items: ScoredItems, first: int, out: Any) -> None:
        """See Kernels."""
        users, width = scores.shape
        args = (scores, items.bitmap, np.int32(width), np.int64(first), STEP, np.int32(users), _groups(out), out)
        self._launch("group_maxima", users * (width // GROUP), args)

    def maxima_of_tiles(self, queries: Any, items: ScoredItems, out: Any) -> None:
        """See Kernels."""
        args = (queries, items.embeddings, items.bitmap, STEP, np.int32(len(queries)), _groups(out), out)
        self._run["tile_maxima"]((items.num_groups * GROUP // TILE_ITEMS,), (TILE_THREADS,), args)

    def refresh_maxima(self, queries: Any, items: ScoredItems, users: Any, groups: Any, out: Any) -> None:
        """See Kernels."""
        if len(users):
            args = (queries, items.embeddings, users, groups, *items[1:], STEP, _groups(out), out)
            self._run["refreshed_maxima"]((len(users),), (GROUP,), args)

    def group_scores(self, queries: Any, items: ScoredItems, groups: Any) -> tuple[Any, Any]:
        """See Kernels."""
        users, width = groups.shape
        rows, out = (self._xp.empty((users, width * GROUP), dtype) for dtype in (np.int32, np.float32))
        args = (queries, items.embeddings, groups, *items[1:], np.int32(width), np.int32(users), STEP, rows, out)
        self._launch("group_scores", out.size, args)
        return rows, out

    def pick(self, places: Any, rows: Any, scores: Any) -> tuple[Any, Any]:
        """See Kernels."""
        users, count = places.shape
        found = tuple(self._xp.empty((users, count), dtype) for dtype in (np.int32, np.float32))
        args = (places, rows, scores, np.int32(users), np.int32(count), np.int32(rows.shape[1]), *found)
        self._launch("pick", users * count, args)
        return found[0], found[1]

    def pair_scores(self, queries: Any, embeddings: Any, users: Any, rows: Any) -> Any:
        """See Kernels."""
        out = self._xp.empty(len(rows), np.float32)
        self._launch("pair_scores", len(rows), (queries, embeddings, users, rows, np.int64(len(rows)), STEP, out))
        return out

    def row_scores(self, queries: Any, table: Pinned, users: Any, rows: Any) -> Any:
        """See Kernels."""
        count = len(rows)
        out = self._xp.empty(count, np.float32)
        args = (queries, np.uint64(table.array.ctypes.data), users, rows, np.int64(count), STEP, out)
        if count:
            self._run["row_scores"]((-(-count // ROW_PAIRS),), (ROW_THREADS,), args)
        return out

    def segment_sums(self, values: Any, starts: Any) -> Any:
        """See Kernels."""
        out = self._xp.empty(len(starts), np.float32)
        self._launch("segment_sums", len(starts), (values, starts, np.int64(len(starts)), np.int64(len(values)), out))
        return out

    def best(self, values: Any, count: int, ties: Any = None) -> Any:
        """See Kernels."""
        users, width = values.shape
        out = self._xp.empty((users, count), np.int32)
        padded = 1 << max(count - 1, 1).bit_length()
        args = (values, np.uint64(0) if ties is None else ties, np.int32(width), np.int32(count), np.int32(padded), out)
        threads = min(SELECT_THREADS, max(GROUP, 1 << (width - 1).bit_length()))
        if users:
            self._run["select_best"]((users,), (threads,), args, shared_mem=2 * 8 * padded)
        return out

    def _launch(self, name: str, num_threads: int, args: tuple[Any, ...]) -> None:
        if num_threads:
            self._run[name]((-(-num_threads // THREADS),), (THREADS,), args)


def _groups(out: Any) -> np.int64:
    return np.int64(out.shape[1])

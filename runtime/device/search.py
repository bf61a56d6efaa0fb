"""Exact search over all items on a device, for a batch of users at once, filters included.

The C best items, ties by row, lie in the C groups of neighbouring items whose best items are best, ties by group: each
group before another holds an item before all of the other's. So one pass finds the best score of each group, and the
items of the best groups alone are told apart.

Embeddings that are float16 on the device find a few more items than are wanted; these are scored again from float32
embeddings in the host's memory, and the best of them are the answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.device.device import Device
from runtime.device.kernels import CHUNK, GROUP, MOST_SELECTED, TILE_ITEMS, TILE_USERS, Pinned, ScoredItems
from runtime.index.allowed import pack_rows

__all__ = ["MARGIN", "DeviceSearch", "Found", "Hidden", "blocks", "chunking"]

# Groups beyond the wanted ones: the maxima may be added up in another order than the scores.
MARGIN = 16
# Up to so many users, tiles are computed without writing their scores.
TILED_USERS = 2 * TILE_USERS
# Bytes that the scores of one chunk, or of the groups, may take: larger batches are cut.
WORKSPACE = 1 << 30


class Hidden(NamedTuple):
    """Items that users of a batch must not see, arrays of the host.

    Attributes:
        starts: int64 [B + 1].
        rows: int32 [T]; those of user b are at starts[b] : starts[b + 1], ascending, distinct.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]

    def of(self, start: int, stop: int) -> Hidden:
        """Those of some users in a row."""
        first, last = self.starts[start], self.starts[stop]
        return Hidden(self.starts[start : stop + 1] - first, self.rows[first:last])


class Found(NamedTuple):
    """The best items of each user, arrays of the device.

    Attributes:
        rows: int32 [B, C], best first, ties by row, -1 after the last.
        scores: float32 [B, C], -inf after the last.
    """

    rows: Any
    scores: Any


class DeviceSearch:
    """The best items for queries, among those that may be shown.

    Args:
        device: what computes.
        embeddings: as `blocks` gives them, D a multiple of 8.
        eligible: uint8 [ceil(N / 8)], one bit an item, lowest first; copied.
        exact: the embeddings of the host from which what was found is scored again; None: scores are of `embeddings`.

    Attributes:
        bitmap: what may be shown, an array of the device.
        kernels: for embeddings of this shape.

    Raises:
        ValueError: D is no multiple of 8.
    """

    def __init__(
        self, device: Device, embeddings: Any, eligible: NDArray[np.uint8], exact: Pinned | None = None
    ) -> None:
        chunks, dim, size = embeddings.shape
        if dim % 8:
            raise ValueError(f"embeddings of {dim} dimensions: the kernels of a GPU take multiples of 8")
        self.device, self._blocks, self._exact = device, embeddings, exact
        self._bitmap = np.zeros(chunks * size // 8, np.uint8)
        self._bitmap[: len(eligible)] = eligible
        self.bitmap = device.put(self._bitmap)
        self.kernels = device.kernels(dim, size, embeddings.dtype == np.float16)

    def flip(self, rows: NDArray[np.int64]) -> None:
        """Let items be shown that were not, and the other way round; rows distinct, ascending."""
        places, bits = pack_rows(rows)
        self._bitmap[places] ^= bits
        self.bitmap[self.device.put(places)] = self.device.put(self._bitmap[places])

    def nearest(self, queries: NDArray[np.float32], hidden: Hidden, count: int) -> Found:
        """Search.

        Args:
            queries: float32 [B, D].
            hidden: what each user must not see.
            count: C, how many items are wanted.

        Returns:
            Fewer than C only where no more may be shown.

        Raises:
            ValueError: C is larger than MOST_SELECTED - MARGIN.
        """
        if count > MOST_SELECTED - MARGIN:
            raise ValueError(f"{count} candidates: a GPU selects at most {MOST_SELECTED - MARGIN}")
        if self._exact is None:
            return self._by_embeddings(queries, hidden, count)
        found = self._by_embeddings(queries, hidden, min(count + MARGIN, MOST_SELECTED - MARGIN))
        return self._scored_again(self.device.put(queries, np.float32), found.rows, count)

    def _by_embeddings(self, queries: NDArray[np.float32], hidden: Hidden, count: int) -> Found:
        xp, step = self.device.xp, self._batch(count)
        parts = [
            self._nearest(queries[start : start + step], hidden.of(start, min(start + step, len(queries))), count)
            for start in range(0, len(queries), step)
        ]
        if len(parts) == 1:
            return parts[0]
        empty = Found(xp.empty((0, count), np.int32), xp.empty((0, count), np.float32))
        return Found(*(xp.concatenate(arrays) for arrays in zip(*(parts or [empty]), strict=True)))

    def scores(self, queries: Any, users: Any, rows: Any) -> Any:
        """Scores of some items, arrays of the device.

        Args:
            queries: float32 [B, D].
            users: places in the batch, [B, 1].
            rows: item rows [B, M].

        Returns:
            float32 [B, M].
        """
        xp = self.device.xp
        flat = (xp.ascontiguousarray(xp.broadcast_to(users, rows.shape)).ravel(), rows.ravel())
        pairs = [array.astype(np.int32) for array in flat]
        if self._exact is not None:
            return self.kernels.row_scores(queries, self._exact, *pairs).reshape(rows.shape)
        return self.kernels.pair_scores(queries, self._blocks, *pairs).reshape(rows.shape)

    def _scored_again(self, queries: Any, rows: Any, count: int) -> Found:
        """The best of item rows int32 [B, M], -1 padded, by the exact embeddings."""
        xp = self.device.xp
        items = xp.maximum(rows, 0)
        scores = self.scores(queries, xp.arange(len(rows), dtype=np.int32)[:, None], items)
        scores = xp.where(rows >= 0, scores, np.float32(-np.inf))
        return Found(*self.kernels.pick(self.kernels.best(scores, count, items), items, scores))

    def _batch(self, count: int) -> int:
        """Users computed at once."""
        chunks, _, size = self._blocks.shape
        widest = max(size, chunks * size // GROUP, (count + MARGIN) * GROUP)
        return max(WORKSPACE // (4 * int(widest)), 1)

    def _nearest(self, queries: NDArray[np.float32], hidden: Hidden, count: int) -> Found:
        device, xp, kernels = self.device, self.device.xp, self.kernels
        asked = device.put(queries, np.float32)
        items = ScoredItems(self._blocks, self.bitmap, device.put(hidden.starts), device.put(hidden.rows, np.int32))
        maxima = xp.empty((len(queries), items.num_groups), np.float32)
        self._maxima(asked, items, maxima)
        users, of_users = _touched(hidden, items.num_groups)
        kernels.refresh_maxima(asked, items, device.put(users), device.put(of_users), maxima)
        groups = kernels.best(maxima, min(count + MARGIN, items.num_groups))
        rows, scores = kernels.group_scores(asked, items, groups)
        return Found(*kernels.pick(kernels.best(scores, count, rows), rows, scores))

    def _maxima(self, queries: Any, items: ScoredItems, out: Any) -> None:
        if len(queries) <= TILED_USERS:
            for start in range(0, len(queries), TILE_USERS):
                part = slice(start, start + TILE_USERS)
                self.kernels.maxima_of_tiles(queries[part], items, out[part])
            return
        for number, chunk in enumerate(self._blocks):
            scores = self.device.xp.ascontiguousarray(queries @ chunk.astype(np.float32, copy=False))
            self.kernels.maxima_of_scores(scores, items, number * chunk.shape[1], out)


def blocks(device: Device, embeddings: NDArray[np.float32], dtype: Any = np.float32) -> Any:
    """Embeddings as the kernels read them.

    Args:
        device: where they are copied to.
        embeddings: float32 [N, D] by item_row; may be memory-mapped.
        dtype: float32, or float16 for half of the memory; products are added up in float32 either way.

    Returns:
        [K, D, M] on the device: chunks of M items, zeros after the last item.
    """
    num_items, dim = embeddings.shape
    chunks, size = chunking(num_items)
    out = device.xp.zeros((chunks, dim, size), dtype)
    for number in range(chunks):
        part = device.put(embeddings[number * size : (number + 1) * size], np.float32)
        out[number, :, : len(part)] = part.T
    return out


def chunking(num_items: int) -> tuple[int, int]:
    """K and M of the chunks of N items."""
    size = min(CHUNK, -(-max(num_items, 1) // TILE_ITEMS) * TILE_ITEMS)
    return -(-max(num_items, 1) // size), size


def _touched(hidden: Hidden, num_groups: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs of a user and a group that holds an item which the user must not see."""
    users = np.repeat(np.arange(len(hidden.starts) - 1), np.diff(hidden.starts))
    pairs = users * num_groups + hidden.rows // GROUP
    is_first = np.ones(len(pairs), bool)
    np.not_equal(pairs[1:], pairs[:-1], out=is_first[1:])
    users, groups = np.divmod(pairs[is_first], num_groups)
    return users.astype(np.int32), groups.astype(np.int32)

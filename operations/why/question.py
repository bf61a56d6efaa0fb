"""What is asked: one item, and the request of one user as the chain has checked it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operations.why.request import RawRequest, id_bytes, whole
from runtime.chain import Chain
from runtime.ids import NO_ITEM
from runtime.request import Drawn, LiveRequest, Parsed
from runtime.spec import ChainSpec
from workflows.core.errors import RequestError

__all__ = ["Question", "RawQuestion", "UnknownItem", "removing", "repeated", "row_of", "without_items"]


class UnknownItem(RequestError):
    """An item that the catalogue lacks."""


@dataclass(frozen=True)
class RawQuestion:
    """A question as people put it, in raw ids.

    Attributes:
        item: whose way through the chain is wanted.
        user: of the request.
        context: values by context column; a text is read in the column's type.
        recent: recent_item_ids, oldest first.
        excluded: exclude_item_ids.
        slate_size: None: the chain's own.
    """

    item: int | str
    user: int | str
    context: Mapping[str, Any]
    recent: Sequence[int | str] = ()
    excluded: Sequence[int | str] = ()
    slate_size: int | None = None

    def checked(self, chain: Chain, ids: NDArray) -> Question:
        """The question as the chain's first step reads it.

        Args:
            chain: that answers.
            ids: its raw item ids by row.

        Raises:
            UnknownItem: the catalogue lacks the item.
            RequestError: a value is not of its type, or the chain refuses the request.
        """
        request = RawRequest(self.user, self.context, self.recent, self.excluded, self.slate_size)
        parsed = request.checked(chain)
        return Question(row_of(self.item, chain.spec, ids), parsed)


@dataclass(frozen=True)
class Question:
    """One item and one checked request: a logged request is one as it is.

    Attributes:
        row: of the item.
        parsed: of one user.
    """

    row: int
    parsed: Parsed


def repeated(parsed: Parsed, count: int, user_rows: NDArray) -> Parsed:
    """A request several times, each with its own user row.

    Args:
        parsed: of one user.
        count: V.
        user_rows: int [V].
    """
    live = parsed.live
    if live is not None:
        live = LiveRequest(live.users * count, live.recent.repeat(count, axis=0), live.min_offset.repeat(count))
    drawn = parsed.drawn
    if drawn is not None:
        drawn = Drawn(drawn.seeds.repeat(count), drawn.policy.repeat(count))
    return Parsed(
        user_row=np.asarray(user_rows, np.int32),
        recent=parsed.recent.repeat(count, axis=0),
        exclude=parsed.exclude.repeat(count, axis=0),
        slate_size=parsed.slate_size.repeat(count),
        context={name: values.repeat(count) for name, values in parsed.context.items()},
        live=live,
        drawn=drawn,
    )


def without_items(parsed: Parsed, removed: Sequence[NDArray]) -> Parsed:
    """A batch whose requests do not name some items; removed: rows by place."""
    return replace(parsed, recent=removing(parsed.recent, removed))


def removing(rows: NDArray[np.int32], removed: Sequence[NDArray]) -> NDArray[np.int32]:
    """Item rows [B, R] in which some of each user's are padding."""
    kept = rows.copy()
    for row, absent in zip(kept, removed, strict=True):
        row[np.isin(row, absent)] = NO_ITEM
    return kept


def row_of(item: int | str, spec: ChainSpec, ids: NDArray) -> int:
    """The row of an item.

    Args:
        item: raw id.
        spec: of the chain.
        ids: its raw item ids by row.

    Raises:
        UnknownItem: the catalogue lacks it.
    """
    is_text = spec.item_id_dtype == "BYTES"
    try:
        wanted = id_bytes(item) if is_text else whole(item)
    except (TypeError, ValueError, OverflowError):
        kind = "texts" if is_text else "integers"
        raise UnknownItem(f"the item {item!r} is unknown: the ids of this catalogue are {kind}") from None
    found = np.flatnonzero(ids == wanted) if _fits(wanted, ids) else np.zeros(0, np.int64)
    if not len(found):
        alike = _alike(wanted, ids) if isinstance(wanted, bytes) else ""
        remedy = f"is {alike!r} meant?" if alike else "export again with a table of items that holds it"
        raise UnknownItem(
            f"the item {item!r} is unknown: it is not among the {len(ids):,} items that this chain was exported with; "
            f"{remedy}"
        )
    return int(found[0])


def _alike(wanted: bytes, ids: NDArray) -> str:
    """The first id that differs in leading zeros, blanks or capitals alone; "" where none does."""
    plain = _plain(wanted)
    return next((one.decode("utf-8", "replace") for one in ids.tolist() if _plain(one) == plain), "")


def _plain(text: bytes) -> bytes:
    return text.strip().lower().lstrip(b"0")


def _fits(wanted: int | bytes, ids: NDArray) -> bool:
    """Whether the type of the ids can hold the value: comparing with another would cut it, or fail."""
    if isinstance(wanted, bytes):
        return 0 < len(wanted) <= ids.dtype.itemsize and b"\0" not in wanted
    return -(2**63) <= wanted < 2**63

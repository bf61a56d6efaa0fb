"""One request's arrays, checked and turned into rows; and several of them as one batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import NULL_INT
from runtime.errors import BadRequest
from runtime.ids import NO_ITEM, UNKNOWN, IdMap, as_bytes
from runtime.order_spec import DETERMINISTIC, POLICIES
from runtime.spec import FLOATS, FORCE_POLICY, SEED, ChainSpec, Tensor
from runtime.stream.keys import MAX_ID_BYTES, item_keys, user_keys

__all__ = [
    "Drawn",
    "LiveRequest",
    "Parsed",
    "RequestParser",
    "context_column",
    "join",
    "never_drawn",
    "new_seeds",
    "pad_columns",
]

LARGEST = (1 << 63) - 1
KINDS = {"INT64": "iu", "INT32": "iu", "FP32": "fiu", "FP64": "fiu", "BYTES": "OSU"}


@dataclass(frozen=True)
class LiveRequest:
    """What a chain with a live state asks it for.

    Attributes:
        users: B keys, see `runtime.stream.keys`; b"" for an id that no event can have.
        recent: int64 [B, R], a name of each of the request's recent items: integer ids themselves; of text ids the
            item's row, or its key where the catalogue lacks it.
        min_offset: int64 [B], events below it should be in the slate.
    """

    users: tuple[bytes, ...]
    recent: NDArray[np.int64]
    min_offset: NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """How the slates of a request may be drawn at random.

    Attributes:
        seeds: int64 [B], those of the request, or new ones.
        policy: int32 [B], place in `runtime.order_spec.POLICIES` that the request asks for.
    """

    seeds: NDArray[np.int64]
    policy: NDArray[np.int32]


@dataclass(frozen=True)
class Parsed:
    """A checked request, or several joined.

    Attributes:
        user_row: int32 [B]; -1 or -2 is an unknown user.
        recent: int32 [B, R] item rows, oldest first; -1 padding, -2 unknown.
        exclude: int32 [B, X] item rows; negative ones mean nothing.
        slate_size: int32 [B].
        context: raw column -> [B] of floats (NaN: not given) or objects (None: not given).
        live: of a chain with a live state.
        drawn: of a chain that explores; None: nothing is to be drawn.
    """

    user_row: NDArray[np.int32]
    recent: NDArray[np.int32]
    exclude: NDArray[np.int32]
    slate_size: NDArray[np.int32]
    context: dict[str, NDArray]
    live: LiveRequest | None = None
    drawn: Drawn | None = None


class RequestParser:
    """Checks requests against a chain's inputs.

    Args:
        spec: names, dtypes and limits.
        users: id map of the users.
        items: id map of the catalogue.
    """

    def __init__(self, spec: ChainSpec, users: IdMap, items: IdMap) -> None:
        self._spec, self._users, self._items = spec, users, items
        self._tensors = {tensor.name: tensor for tensor in spec.request}

    def parse(self, request: Mapping[str, NDArray]) -> Parsed:
        """Check one request.

        Args:
            request: input name -> array; user_id [B, 1] (or [B]), the others as in `ChainSpec.request`.

        Raises:
            BadRequest: an unknown or missing input, a wrong dtype or shape, a limit passed, an id that is no text.
        """
        num_users = self._num_users(request)
        checked = {name: self._check(name, values, num_users) for name, values in request.items()}
        recent_ids = self._recent_ids(checked.get("recent_item_ids"), num_users)
        recent = self._items.rows("recent_item_ids", recent_ids)
        user_row = self._users.rows("user_id", checked["user_id"])[:, 0]
        return Parsed(
            user_row=user_row,
            recent=recent,
            exclude=self._exclude(checked.get("exclude_item_ids"), num_users),
            slate_size=self._slate_size(checked.get("slate_size"), num_users),
            context={c.name: context_column(c, checked.get(c.name), num_users) for c in self._spec.context_columns},
            live=None if self._spec.live is None else _live(checked, recent_ids, recent),
            drawn=_drawn(checked, num_users) if self._spec.explores else None,
        )

    def _num_users(self, request: Mapping[str, NDArray]) -> int:
        if "user_id" not in request:
            raise BadRequest(f"user_id is missing; the inputs are {', '.join(self._tensors)}")
        num_users = len(request["user_id"])
        if not 1 <= num_users <= self._spec.max_batch_size:
            raise BadRequest(f"a request holds 1 to {self._spec.max_batch_size} users, got {num_users}")
        return num_users

    def _check(self, name: str, values: NDArray, num_users: int) -> NDArray:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise BadRequest(f"unknown input {name[:100]!r}; the inputs are {', '.join(self._tensors)}")
        # A context column with nulls is one of objects; Triton itself never sends that for a number.
        with_nulls = values.dtype == object and tensor in self._spec.context_columns
        if values.dtype.kind not in KINDS[tensor.dtype] and not with_nulls:
            raise BadRequest(f"{name} must be {tensor.dtype}, got {values.dtype}")
        matrix = values[:, None] if values.ndim == 1 and tensor.length == 1 else values
        fits = matrix.ndim == 2 and len(matrix) == num_users and tensor.length in (-1, matrix.shape[1])
        if not fits:
            columns = "any number" if tensor.length == -1 else tensor.length
            raise BadRequest(f"{name} must have the shape [{num_users}, {columns}], got {list(values.shape)}")
        return matrix

    def _recent_ids(self, values: NDArray | None, num_users: int) -> NDArray:
        """The raw ids [B, R], cut to the latest."""
        if values is None:
            return np.empty((num_users, 0), self._tensors["recent_item_ids"].numpy_dtype)
        limit = self._spec.max_list_length
        return _latest_of_each(values, limit) if values.shape[1] > limit else values

    def _exclude(self, values: NDArray | None, num_users: int) -> NDArray[np.int32]:
        if values is None:
            return np.empty((num_users, 0), np.int32)
        if values.shape[1] > self._spec.max_list_length:
            raise BadRequest(
                f"exclude_item_ids holds at most {self._spec.max_list_length} items a user, got {values.shape[1]}"
            )
        return self._items.rows("exclude_item_ids", values)

    def _slate_size(self, values: NDArray | None, num_users: int) -> NDArray[np.int32]:
        if values is None:
            return np.full(num_users, self._spec.slate_size, np.int32)
        outside = (values < 1) | (values > self._spec.max_slate_size)
        if outside.any():
            raise BadRequest(f"slate_size must be from 1 to {self._spec.max_slate_size}, got {int(values[outside][0])}")
        return values[:, 0].astype(np.int32)


def join(requests: Sequence[Parsed]) -> Parsed:
    """Several requests as one batch, in order; lists are padded right with -1."""
    if len(requests) == 1:
        return requests[0]
    return Parsed(
        user_row=np.concatenate([r.user_row for r in requests]),
        recent=pad_columns([r.recent for r in requests]),
        exclude=pad_columns([r.exclude for r in requests]),
        slate_size=np.concatenate([r.slate_size for r in requests]),
        context={name: np.concatenate([r.context[name] for r in requests]) for name in requests[0].context},
        live=_join_live([r.live for r in requests if r.live is not None]),
        drawn=_join_drawn([r.drawn for r in requests if r.drawn is not None]),
    )


def _join_live(parts: Sequence[LiveRequest]) -> LiveRequest | None:
    if not parts:
        return None
    return LiveRequest(
        users=tuple(key for part in parts for key in part.users),
        recent=pad_columns([part.recent for part in parts]),
        min_offset=np.concatenate([part.min_offset for part in parts]),
    )


def _join_drawn(parts: Sequence[Drawn]) -> Drawn | None:
    if not parts:
        return None
    return Drawn(np.concatenate([part.seeds for part in parts]), np.concatenate([part.policy for part in parts]))


def pad_columns(blocks: Sequence[NDArray]) -> NDArray:
    """Stack [b, R] blocks of different R into [sum of b, max R], padded right with -1."""
    width = max(block.shape[1] for block in blocks)
    padded = np.full((sum(map(len, blocks)), width), NO_ITEM, blocks[0].dtype)
    start = 0
    for block in blocks:
        padded[start : start + len(block), : block.shape[1]] = block
        start += len(block)
    return padded


def _live(checked: Mapping[str, NDArray], recent_ids: NDArray, recent: NDArray[np.int32]) -> LiveRequest:
    """What the live state is asked for, of checked inputs and the rows of the recent items."""
    users = checked["user_id"][:, 0]
    min_offset = checked.get("min_offset")
    return LiveRequest(
        users=tuple(_user_keys(users)),
        recent=_names(recent_ids, recent),
        min_offset=np.zeros(len(users), np.int64) if min_offset is None else min_offset[:, 0].astype(np.int64),
    )


def never_drawn(spec: ChainSpec, num_users: int) -> dict[str, NDArray]:
    """The input by which a request is answered as a chain that does not explore would; nothing of such a chain."""
    return {FORCE_POLICY: np.full((num_users, 1), DETERMINISTIC.encode(), object)} if spec.explores else {}


def new_seeds(num_users: int) -> NDArray[np.int64]:
    """Seeds that nobody has asked for, 0 and up."""
    return np.frombuffer(os.urandom(8 * num_users), np.int64) & LARGEST


def _drawn(checked: Mapping[str, NDArray], num_users: int) -> Drawn:
    """The seed and the policy that a request asks for, or a new seed and none."""
    seeds, wanted = checked.get(SEED), checked.get(FORCE_POLICY)
    if seeds is not None and seeds.dtype.kind == "u" and (seeds > LARGEST).any():
        raise BadRequest(f"{SEED} must fit INT64, got {int(seeds.max())}")
    policy = np.zeros(num_users, np.int32)
    for user, name in enumerate([] if wanted is None else wanted[:, 0].tolist()):
        text = as_bytes(name or b"").decode("utf-8", "replace")
        if text not in POLICIES:
            allowed = " or ".join(map(repr, POLICIES[1:]))
            raise BadRequest(
                f"{FORCE_POLICY} must be {allowed}, or empty for what the chain does of itself, got {text!r:.100}"
            )
        policy[user] = POLICIES.index(text)
    return Drawn(new_seeds(num_users) if seeds is None else seeds[:, 0].astype(np.int64), policy)


def _user_keys(users: NDArray) -> list[bytes]:
    if users.dtype.kind in "OSU":
        texts = map(as_bytes, users.tolist())
        return [text if len(text) <= MAX_ID_BYTES else b"" for text in texts]
    keys = user_keys(users.astype(np.int64))
    if users.dtype.kind == "i":
        return keys
    return [key if user <= LARGEST else b"" for key, user in zip(keys, users.tolist(), strict=True)]


def _names(ids: NDArray, rows: NDArray[np.int32]) -> NDArray[np.int64]:
    """See `LiveRequest.recent`."""
    if ids.dtype.kind not in "OSU":
        return ids.astype(np.int64)
    names, unknown = rows.astype(np.int64), rows == UNKNOWN
    if unknown.any():
        names[unknown] = item_keys(_objects([as_bytes(value) for value in ids[unknown].tolist()]))
    return names


def _latest_of_each(values: NDArray, limit: int) -> NDArray:
    """The last `limit` values of each row, its padding left out first; [B, R] -> [B, limit]."""
    if values.dtype.kind == "u":  # holds no -1, so nothing of it is padding
        return values[:, -limit:]
    is_text = values.dtype.kind in "OSU"
    padding = b"" if is_text else -1
    latest = np.full((len(values), limit), padding, object if is_text else values.dtype)
    for row, out in zip(values, latest, strict=True):
        kept = row[(row != b"") & (row != "")] if is_text else row[row != -1]
        kept = kept[-limit:]
        out[: len(kept)] = kept
    return latest


def context_column(column: Tensor, values: NDArray | None, num_users: int) -> NDArray:
    """An input of a request as the encoder takes it; "", the smallest int64 and NaN are the nulls of a request.

    Args:
        column: the input.
        values: [B, 1] as Triton sends them; None: not given.
        num_users: B.

    Returns:
        [B] floats (NaN: null), or objects, integers or bytes (None: null).

    Raises:
        BadRequest: they are no numbers where numbers are meant.
    """
    is_float = column.dtype in FLOATS
    if values is None:
        return np.full(num_users, np.nan if is_float else None, column.numpy_dtype if is_float else object)
    values = values[:, 0]
    if column.dtype == "BYTES":
        texts = (None if value is None else as_bytes(value) for value in values.tolist())
        return _objects([text or None for text in texts])
    if values.dtype == object and not all(
        value is None or isinstance(value, (int, float)) for value in values.tolist()
    ):
        raise BadRequest(f"{column.name} must hold {column.dtype} numbers or None")
    if not is_float:
        return _objects([None if value == NULL_INT else value for value in values.tolist()])
    numbers = values.astype(column.numpy_dtype)
    return np.where(np.isfinite(numbers), numbers, column.numpy_dtype(np.nan))


def _objects(values: list) -> NDArray[np.object_]:
    made = np.empty(len(values), object)
    made[:] = values
    return made

"""Step 1: raw request -> model inputs of the query side, from the request and what is stored of known users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import NULL, OOV, PADDING, Encoder, latest
from runtime.ids import NO_ITEM, UNKNOWN, IdMap
from runtime.order_spec import DETERMINISTIC, POLICIES
from runtime.request import Parsed, RequestParser
from runtime.spec import (
    CONTEXT,
    DRAW_POLICY,
    DRAW_SEED,
    FLOATS,
    HISTORY,
    KNOWN_USER,
    LIVE_AGE,
    LIVE_AT,
    LIVE_OFFSET,
    LIVE_SEEN,
    POPULARITY,
    ChainSpec,
    Tensor,
    encoded,
)
from runtime.step import Arrays, RequestStep, load_array
from runtime.stream.items import key_files
from runtime.stream.recent import LiveRecent, RecentItems

__all__ = ["AsksLive", "EncodeRequest"]

_DRAW = (Tensor(DRAW_SEED, "INT64"), Tensor(DRAW_POLICY, "INT32"))
_LIVE = (*(Tensor(name, "INT64") for name in (LIVE_OFFSET, LIVE_AGE, LIVE_AT)), Tensor(LIVE_SEEN, "INT32", -1))
# Contexts, a few hundred bytes each.
MOST_REMEMBERED = 10_000


class AsksLive(Protocol):
    """What says what live events add to requests."""

    def of(self, parsed: Parsed) -> LiveRecent:
        """The recent items of checked requests, those of live events before their own."""


class EncodeRequest(RequestStep):
    """Look the user up, append the request's recent items to the stored history, encode the context.

    The history is the stored one followed by `recent_item_ids`; its latest L items are kept. An unknown recent item is
    out of vocabulary. An unknown user has code 2 as user_id, 1 (null) elsewhere, nothing in lists and 0.0 for numbers.
    Where the chain has a live state, the user's interactions in it come between the two, as if the request named them.

    Attributes:
        live: asks the live state; None where the chain has none.
    """

    name = "features"
    live: AsksLive | None = None

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._spec = spec
        users = IdMap(load_array(folder / "ids/users.npy"), padded=False)
        items = IdMap(load_array(folder / "ids/items.npy"), padded=True)
        self._parser = RequestParser(spec, users, items)
        self._history = load_array(folder / "state/history.npy")
        self._item_codes = load_array(folder / "items/item_id.npy")
        self._users = [(t.name, load_array(folder / "users" / f"{t.name}.npy")) for t in spec.user_features]
        live = [] if spec.live is None else [feature.name for feature in spec.live.user_features]
        context = Encoder.load(folder / "encoders", "context") if spec.context_features else None
        self._context = context.part(live, without=True) if context and spec.context_columns else None
        self._of_users = context.part(live) if context and live else None
        # Numbers seldom repeat; nor would one that is not a number be found again.
        self._memoise = all(column.dtype not in FLOATS for column in spec.context_columns)
        self._memo: dict[tuple, tuple[Arrays, NDArray[np.bool_]]] = {}
        self.live = None if spec.live is None else RecentItems(folder, spec)

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """A request."""
        return spec.request

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The encoded query features; user_row (-1: unknown); path_code; item rows padded with -1; the slate's size."""
        return (
            *spec.features([tensor.name for tensor in spec.query_features]),
            Tensor("user_row", "INT32"),
            Tensor("path_code", "INT32"),
            Tensor("recent_rows", "INT32", -1),
            Tensor("excluded_rows", "INT32", -1),
            Tensor("num_wanted", "INT32"),
            *(_LIVE if spec.live is not None else ()),
            *(_DRAW if spec.explores else ()),
        )

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """Ids, the stored history, encoded users, item id codes and the context encoder."""
        context = ("encoders",) if spec.context_features else ()
        keys = () if spec.live is None else key_files(spec)
        return ("ids/users.npy", "ids/items.npy", "state/history.npy", "items/item_id.npy", "users", *context, *keys)

    def parse(self, request: Mapping[str, NDArray]) -> Parsed:
        """Check one request; several checked ones can be joined and encoded together."""
        return self._parser.parse(request)

    def encode(self, parsed: Parsed) -> Arrays:
        """Encode checked requests."""
        user_row = np.maximum(parsed.user_row, NO_ITEM)
        unknown = np.flatnonzero(user_row < 0)
        context, context_given = self._encode_context(parsed)
        live = None if self.live is None else self.live.of(parsed)
        recent = parsed.recent if live is None else live.recent
        path_code = np.full(len(user_row), KNOWN_USER, np.int32)
        if len(unknown):
            given = (recent[unknown] >= 0).any(axis=1)
            path_code[unknown] = np.where(given, HISTORY, np.where(context_given[unknown], CONTEXT, POPULARITY))
        users = {encoded(name): self._user_feature(name, values, user_row, unknown) for name, values in self._users}
        return {
            **users,
            **context,
            **self._lately(live.columns if live else {}, len(user_row)),
            encoded(self._spec.history_feature): self._history_codes(user_row, unknown, recent),
            "user_row": user_row[:, None],
            "path_code": path_code[:, None],
            "recent_rows": _rows(recent),
            "excluded_rows": _rows(parsed.exclude),
            "num_wanted": parsed.slate_size[:, None],
            **({} if live is None else _passed_on(live)),
            **(_draw(parsed) if self._spec.explores else {}),
        }

    def _lately(self, columns: Mapping[str, NDArray], num_users: int) -> Arrays:
        """The encoded stream features of the users, [B, 1]."""
        if self._of_users is None:
            return {}
        return _encode(self._of_users, columns, num_users)[0]

    def _user_feature(self, name: str, values: NDArray, user_row: NDArray, unknown: NDArray) -> NDArray:
        rows: NDArray = values[user_row]
        if len(unknown):
            # A list without values is all padding, as its encoder has it.
            is_code = values.dtype.kind == "i" and values.ndim == 1
            rows[unknown] = (OOV if name == "user_id" else NULL) if is_code else 0
        return _columns(rows)

    def _history_codes(self, user_row: NDArray, unknown: NDArray, recent: NDArray) -> NDArray[np.int32]:
        """int32 [B, L] item id codes, oldest first, padded right with 0."""
        rows = self._history[user_row]
        rows[unknown] = NO_ITEM
        if not recent.shape[1]:
            codes: NDArray[np.int32] = np.where(rows == NO_ITEM, PADDING, self._item_codes[rows])
            return codes
        rows = np.concatenate([rows, recent], axis=1)
        present = rows != NO_ITEM
        codes = np.where(rows == UNKNOWN, OOV, self._item_codes[np.maximum(rows, 0)])
        return latest(codes[present].astype(np.int32), present.sum(axis=1), self._spec.history_length, from_end=True)

    def _encode_context(self, parsed: Parsed) -> tuple[Arrays, NDArray[np.bool_]]:
        """The context features [B, 1] and whether any was given, bool [B]."""
        if self._context is None:
            return {}, np.zeros(len(parsed.user_row), bool)
        if not self._memoise:
            return _encode(self._context, parsed.context, len(parsed.user_row))
        keys = list(zip(*(values.tolist() for values in parsed.context.values()), strict=True))
        if any(key not in self._memo for key in keys):
            self._remember(keys, parsed)
        known = [self._memo[key] for key in keys]
        if len(known) == 1:
            return known[0]
        names = known[0][0]
        return {n: np.concatenate([one[n] for one, _ in known]) for n in names}, np.concatenate([g for _, g in known])

    def _remember(self, keys: list[tuple], parsed: Parsed) -> None:
        """Encode a batch and keep the rows: most requests repeat one of a few contexts."""
        if len(self._memo) > MOST_REMEMBERED:
            self._memo.clear()
        features, given = _encode(self._context, parsed.context, len(keys))
        for at, key in enumerate(keys):
            row = slice(at, at + 1)
            self._memo[key] = {name: values[row].copy() for name, values in features.items()}, given[row].copy()


def _draw(parsed: Parsed) -> Arrays:
    """The seed and the policy of each slate; whoever says nothing of them wants nothing drawn."""
    if parsed.drawn is None:
        nothing = np.zeros((len(parsed.user_row), 1), np.int64)
        return {DRAW_SEED: nothing, DRAW_POLICY: np.full(nothing.shape, POLICIES.index(DETERMINISTIC), np.int32)}
    return {DRAW_SEED: parsed.drawn.seeds[:, None], DRAW_POLICY: parsed.drawn.policy[:, None]}


def _passed_on(live: LiveRecent) -> Arrays:
    """What later steps read of the live state."""
    return {LIVE_OFFSET: live.offset, LIVE_AGE: live.age_ms, LIVE_AT: live.at, LIVE_SEEN: live.seen}


def _encode(context: Encoder | None, columns: Mapping[str, NDArray], num_rows: int) -> tuple[Arrays, NDArray[np.bool_]]:
    """Context columns [B] -> encoded features [B, 1], and whether any was given, bool [B]."""
    assert context is not None
    given = np.zeros(num_rows, bool)
    for values in columns.values():
        is_null = [value is None for value in values.tolist()] if values.dtype == object else np.isnan(values)
        given |= ~np.asarray(is_null)
    features = context.encode(columns, num_rows)
    return {encoded(name): values[:, None] for name, values in features.items()}, given


def _columns(values: NDArray) -> NDArray:
    """[U] or [U, L] -> [U, 1] or [U, L]."""
    return values[:, None] if values.ndim == 1 else values


def _rows(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Unknown items become -1; never without a column: Triton treats empty tensors between models apart."""
    if rows.shape[1] == 0:
        return np.full((len(rows), 1), NO_ITEM, np.int32)
    return np.maximum(rows, NO_ITEM)

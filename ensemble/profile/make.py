"""The profile of an export: its valid events counted, and the compiled chain asked for slates of their users."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.profile.ask import QUERY, Answers, ask, open_chain
from ensemble.profile.bins import Bins, Histogram, ValueBins, number_bins, value_bins
from ensemble.profile.profile import NO_EVENTS, NUM_DECILES, Profile, ProfileInfo
from ensemble.request_columns import parsed_column, request_values
from models.dataset.features import State, load_features, load_state
from runtime.encoders import FIRST, NULL, OOV, Encoder
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.request import Parsed
from runtime.spec import FLOATS, PATHS, ChainSpec, encoded
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.run import Run
from workflows.features.schema import ITEM_ID, PADDING

__all__ = [
    "HISTORY_LENGTH",
    "LEAST_OF_CODE",
    "NUM_DIRECTIONS",
    "NUM_QUERIES",
    "held_out_events",
    "make_profile",
    "newest_event",
    "write_profile",
]

# Events whose contexts are counted; users asked for slates as known ones, and on each other path.
MOST_EVENTS, NUM_QUERIES, NUM_OF_PATH = 200_000, 1_000, 200
NUM_DIRECTIONS, NUM_SCORE_BINS = 16, 20
# Slates in which a code must be for a bin of its own.
LEAST_OF_CODE = 10
HISTORY_LENGTH = "history_length"
ALL = "all"


def write_profile(run: Run, chain: Path) -> None:
    """Write profile.npz into a compiled chain.

    Args:
        run: whose valid events are counted.
        chain: compiled from it with the state "serve".
    """
    start = time.perf_counter()
    profile = make_profile(run, chain)
    profile.save(chain)
    console.say(
        f"export: counted {profile.info.num_events} events and {profile.info.num_queries} slates as the reference of "
        f"signals in {time.perf_counter() - start:.1f} s"
    )


def make_profile(run: Run, folder: Path) -> Profile:
    """Count what the valid split and the slates of its users look like.

    Args:
        run: whose data/ is read.
        folder: a compiled chain.
    """
    chain = open_chain(folder)
    spec = chain.spec
    split, events = held_out_events(run, [column.name for column in spec.context_columns])
    state = load_state(run, "serve")
    queries = _queries(spec, events, state)
    known = ask(chain, queries)
    others = [ask(chain, other) for other in _other_paths(spec, queries, state)]
    item_decile = _deciles(state.popularity)
    shown = known.rows[known.rows != NO_ITEM]
    vectors = known.arrays.get(QUERY, np.empty((0, 0), np.float32))
    directions = _directions(vectors.shape[1])
    num_queries = len(queries.user_row)
    return Profile(
        info=ProfileInfo(split, events.num_rows, num_queries, spec.num_items, spec.slate_size, newest_event(run)),
        columns=_columns(folder, spec, events),
        features=_features(spec, known),
        items=_items(run),
        scores=dict(_scores([known, *others])),
        projections=_projections(vectors @ directions),
        directions=directions,
        centroid=vectors.mean(axis=0) if len(vectors) else np.empty(0, np.float32),
        item_decile=item_decile,
        shown_deciles=np.bincount(item_decile[shown], minlength=NO_EVENTS + 1).astype(np.float64),
        popular=others[-1].rows[0][others[-1].rows[0] != NO_ITEM],
    )


def held_out_events(run: Run, columns: list[str]) -> tuple[str, pa.Table]:
    """At most MOST_EVENTS events, evenly spaced over the first split of valid and train that has any."""
    for split in ("valid", "train"):
        paths = sorted((run.folder("data") / split).glob("*.parquet"))
        num_rows = [pq.read_metadata(path).num_rows for path in paths]
        if sum(num_rows):
            break
    step = max(1, -(-sum(num_rows) // MOST_EVENTS))
    parts = [
        pq.read_table(path, columns=["user_row", *columns]).take(pa.array(np.arange(-start % step, count, step)))
        for path, start, count in zip(paths, np.cumsum(num_rows) - num_rows, num_rows, strict=True)
    ]
    return split, pa.concat_tables(parts).combine_chunks()


def newest_event(run: Run) -> int:
    """Nanoseconds since 1970 of the latest event of all splits; 0 where events have no timestamp."""
    if not read_manifest(run.require("data")).info["has_timestamp"]:
        return 0
    paths = [path for split in ("train", "valid", "test") for path in (run.folder("data") / split).glob("*.parquet")]
    latest = [pc.max(pq.read_table(path, columns=["at"])["at"]).as_py() for path in paths]
    return max((at for at in latest if at is not None), default=0)


def _queries(spec: ChainSpec, events: pa.Table, state: State) -> Parsed:
    """The first of these events of each of some users, evenly spaced."""
    users, first = np.unique(events["user_row"].to_numpy(), return_index=True)
    first = np.sort(first[users >= 0])
    at = first[np.unique(np.linspace(0, len(first) - 1, min(NUM_QUERIES, len(first))).astype(np.int64))]
    asked = events.take(pa.array(at))
    context = {column.name: parsed_column(column, asked[column.name]) for column in spec.context_columns}
    return _requests(spec, events["user_row"].to_numpy()[at].astype(np.int32), None, context)


def _requests(
    spec: ChainSpec, users: NDArray[np.int32], recent: NDArray[np.int32] | None, context: dict[str, NDArray]
) -> Parsed:
    nothing = np.empty((len(users), 0), np.int32)
    size = np.full(len(users), spec.slate_size, np.int32)
    return Parsed(users, nothing if recent is None else recent, nothing, size, context)


def _other_paths(spec: ChainSpec, known: Parsed, state: State) -> Iterator[Parsed]:
    """The same as unknown users: with their history, with their context alone, and once with nothing."""
    few = slice(NUM_OF_PATH)
    context = {name: values[few] for name, values in known.context.items()}
    users = np.full(len(known.user_row[few]), UNKNOWN, np.int32)
    history = np.asarray(state.history[known.user_row[few]], np.int32)
    has_one = (history != NO_ITEM).any(axis=1)
    yield _requests(spec, users[has_one], history[has_one], {name: values[has_one] for name, values in context.items()})
    yield _requests(spec, users, None, context)
    yield _requests(spec, users[:1], None, {name: _nothing(values) for name, values in context.items()})


def _columns(folder: Path, spec: ChainSpec, events: pa.Table) -> dict[str, Histogram]:
    """Of each raw context column: codes where its feature takes codes, numbers where it takes numbers."""
    if not spec.context_columns:
        return {}
    kinds = {f["column"]: f["kind"] for f in Encoder.load(folder / "encoders", "context").features}
    found = {}
    for column in spec.context_columns:
        values = request_values(column, events[column.name]).combine_chunks()
        is_code = column.dtype not in FLOATS and kinds.get(column.name) in ("categorical", "hashed")
        is_code |= column.dtype == "BYTES"
        bins: Bins
        if is_code:
            values = values.cast(pa.string() if column.dtype == "BYTES" else pa.int64())
            bins = value_bins(values)
        else:
            bins = number_bins(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        found[column.name] = Histogram.of(bins, values)
    return found


def _features(spec: ChainSpec, known: Answers) -> dict[str, Histogram]:
    """Of each encoded query feature that is no list, and of the history's length."""
    found = {}
    for tensor in spec.query_features:
        values = known.arrays[encoded(tensor.name)]
        if tensor.name == spec.history_feature:
            lengths = np.count_nonzero(values, axis=1)
            found[HISTORY_LENGTH] = Histogram.of(number_bins(lengths), lengths)
        elif tensor.length == 1 and tensor.dtype == "INT32":
            codes = values[:, 0]
            held, times = np.unique(codes[codes >= FIRST], return_counts=True)
            held = value_bins(pa.array(np.repeat(held, times * (times >= LEAST_OF_CODE)).astype(np.int64))).values
            # Null and out of vocabulary always have a bin of their own.
            bins = ValueBins(np.array([NULL, OOV, *held.tolist()], np.int64))
            found[tensor.name] = Histogram.of(bins, codes.astype(np.int64))
        elif tensor.length == 1:
            found[tensor.name] = Histogram.of(number_bins(values[:, 0]), values[:, 0])
    return found


def _items(run: Run) -> dict[str, Histogram]:
    """Of each encoded feature of the catalogue; of a list every value counts, and an item without one is a null."""
    features, found = load_features(run), {}
    for feature in features.schema.side("item"):
        values = features.items[feature.name]
        if feature.kind == "continuous":
            found[feature.name] = Histogram.of(number_bins(values), values)
        elif feature.name != ITEM_ID:
            codes = np.append(values[values != PADDING], np.full(_num_without(values), NULL)).astype(np.int64)
            bins = value_bins(pa.array(codes[codes >= FIRST]))
            bins = ValueBins(np.array([NULL, OOV, *bins.values.tolist()], np.int64))
            found[feature.name] = Histogram.of(bins, codes, float(features.num_items))
    return found


def _num_without(values: NDArray) -> int:
    """Lists without any value."""
    return int((values == PADDING).all(axis=1).sum()) if values.ndim == 2 else 0


def _scores(asked: list[Answers]) -> Iterator[tuple[str, Histogram]]:
    """Of each path that some slate rests on, and of the known users' slates together; a slate counts as one value."""
    paths = np.concatenate([part.paths for part in asked])
    rows, scores = (np.concatenate([getattr(part, name) for part in asked]) for name in ("rows", "scores"))
    for name in (ALL, *PATHS):
        of_path = np.arange(len(paths)) < len(asked[0].paths) if name == ALL else paths == name.encode()
        shown = rows[of_path] != NO_ITEM
        if shown.any():
            values = scores[of_path][shown]
            yield name, Histogram.of(number_bins(values, NUM_SCORE_BINS), values, float(shown.any(axis=1).sum()))


def _projections(values: NDArray) -> dict[str, Histogram]:
    """Of each direction; values [n, directions]."""
    columns = values.T if values.size else np.empty((0, 0))
    return {f"{at}": Histogram.of(number_bins(column), column) for at, column in enumerate(columns)}


def _directions(dim: int) -> NDArray[np.float32]:
    """[D, NUM_DIRECTIONS] of length 1, always the same; [0, 0] for no dimension."""
    if not dim:
        return np.empty((0, 0), np.float32)
    drawn = np.random.default_rng(0).normal(size=(dim, NUM_DIRECTIONS))
    directions: NDArray[np.float32] = (drawn / np.linalg.norm(drawn, axis=0)).astype(np.float32)
    return directions


def _deciles(popularity: NDArray) -> NDArray[np.uint8]:
    """See `Profile.item_decile`."""
    counts = np.asarray(popularity, np.float64)
    order = np.lexsort((np.arange(len(counts)), -counts))
    before = np.cumsum(counts[order]) - counts[order]
    decile = np.full(len(counts), NO_EVENTS, np.uint8)
    decile[order] = np.minimum(before / max(counts.sum(), 1.0) * NUM_DECILES, NUM_DECILES - 1).astype(np.uint8)
    decile[counts == 0] = NO_EVENTS
    return decile


def _nothing(values: NDArray) -> NDArray:
    return np.full(1, np.nan if values.dtype.kind == "f" else None, values.dtype)

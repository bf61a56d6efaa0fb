"""A check before a chain is exported: the live state gives the stream features that the models were trained with.

It is made here and not by the server, because here are the rows of the training and the code that goes into the server;
a container that serves has neither.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.dataset as ds
from numpy.typing import NDArray

from ensemble.stream.fed import FedState, at_one_instant
from models.ranking.live import LiveItems
from runtime.ranker.pairs import STREAM
from runtime.spec import LIVE_AT, LIVE_OFFSET, ChainSpec, encoded
from runtime.step import Arrays
from runtime.steps.features import EncodeRequest
from runtime.stream.item_windows import ItemWindows
from runtime.stream.live import at_instant, events_in
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema
from workflows.stream.backfill import TableEvents
from workflows.tables.info import DataInfo

__all__ = ["NUM_ROWS", "check_stream", "steps_of_check"]

NUM_ROWS = 1000
SECOND_NS = 1_000_000_000


class _Rows(NamedTuple):
    """Training rows.

    Attributes:
        user, item: int [n], rows; an item of -1 is outside the catalogue.
        at: int64 [n], nanoseconds.
        trained: what the models were trained with: model inputs of users and pair features of items by name, [n].
    """

    user: NDArray
    item: NDArray
    at: NDArray[np.int64]
    trained: dict[str, NDArray]


def steps_of_check(run: Run) -> tuple[EncodeRequest, ...]:
    """The steps whose files `check_stream` opens."""
    return (EncodeRequest(),) if _has_columns(run) else ()


def check_stream(run: Run, chain: Path) -> int:
    """Compare stream features of training examples with what a server would have read at their instants.

    The state is the one that a backfill makes of the events of data/: the fold, the store and the steps of the server,
    at each row's instant and with the events that were known before it.

    Args:
        run: whose stages have finished.
        chain: compiled from it, with the files of `steps_of_check`.

    Returns:
        How many rows were compared; 0 where there are no stream features.

    Raises:
        ArtefactError: a value differs; names the first.
    """
    spec = ChainSpec.load(chain)
    if spec.live is None or not _has_columns(run):
        return 0
    rows = _sampled(run)
    events = TableEvents(run, of=(np.unique(rows.user), np.unique(rows.item)))
    with tempfile.TemporaryDirectory(prefix=".stream-", dir=chain.parent) as scratch:
        state = FedState(spec.live.stream, Path(scratch))
        try:
            with (
                events_in(Path(scratch)),
                console.progress("export: stream features of training examples", len(rows.at), "rows") as bar,
            ):
                served = _Served(run, chain, spec)
                fed = 0
                for part in at_one_instant(rows.at, spec.max_batch_size):
                    fed = state.feed_until(events, fed, int(rows.at[part[0]]))
                    _compare(rows, part, served.read(rows, part), served.user_ids)
                    bar.advance(bar.task_ids[0], len(part))
        finally:
            state.close()
    return len(rows.at)


class _Served:
    """The server's steps on a state.

    Args:
        run: whose users are asked for.
        chain: its compiled chain.
        spec: of the chain.
    """

    def __init__(self, run: Run, chain: Path, spec: ChainSpec) -> None:
        self.user_ids: NDArray = np.load(run.folder("data") / "ids/users.npy", mmap_mode="r", allow_pickle=False)
        self._encode = EncodeRequest()
        self._encode.open(chain, spec)
        has_items = spec.live is not None and bool(spec.live.item_features)
        self._windows = ItemWindows(chain, spec) if has_items else None

    def read(self, rows: _Rows, part: NDArray[np.int64]) -> dict[str, NDArray]:
        """The stream features of rows of one instant, by name, [n]."""
        ids = self.user_ids[rows.user[part]]
        asked = {"user_id": ids.astype(object if ids.dtype.kind == "S" else np.int64)[:, None]}
        with at_instant(int(rows.at[part[0]])):
            arrays: Arrays = self._encode.encode(self._encode.parse(asked))
        found = {name.removeprefix(encoded("")): values[:, 0] for name, values in arrays.items()}
        if self._windows is not None:
            position = int(arrays[LIVE_OFFSET].max())
            of_items = self._windows.values(rows.item[part][:, None], arrays[LIVE_AT][:, 0], position)
            found |= {name: values[:, 0] for name, values in of_items.items()}
        return found


def _has_columns(run: Run) -> bool:
    return any(column.key in ("user", "item") for column in DataInfo.load(run.folder("data")).stream)


def _sampled(run: Run) -> _Rows:
    """Rows of the train split, spread over it."""
    folder, columns = run.folder("features"), DataInfo.load(run.folder("data")).stream
    of_users = {column.name for column in columns if column.key == "user"}
    schema = FeatureSchema.load(folder / "schema.json")
    inputs = [f.name for f in schema.side("context") if (f.column or f.name) in of_users]
    try:
        parts = ds.dataset([str(path) for path in sorted((folder / "train").glob("*.parquet"))], format="parquet")
        num = parts.count_rows()
        places = np.unique(np.linspace(0, max(num - 1, 0), min(NUM_ROWS, num)).astype(np.int64))
        table = parts.take(places, columns=["user_row", "item_row", "at", *inputs])
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(
            f"{folder / 'train'} cannot be read ({error}); run cascade prepare again with --force"
        ) from None
    read = {name: table[name].to_numpy() for name in table.column_names}
    trained = {name: read[name] for name in inputs}
    items = LiveItems.of_run(run)
    if items is not None:
        values = items.values(read["item_row"][:, None], read["at"])
        trained |= {name: column[:, 0] for name, column in values.items() if name.startswith(STREAM)}
    return _Rows(read["user_row"], read["item_row"], read["at"], trained)


def _compare(rows: _Rows, part: NDArray[np.int64], served: Mapping[str, NDArray], user_ids: NDArray) -> None:
    for name, values in rows.trained.items():
        right, found = values[part], served[name]
        differ = (right != found) & ((rows.item[part] >= 0) | (not name.startswith(STREAM)))
        if differ.any():
            first = int(np.flatnonzero(differ)[0])
            user, at = user_ids[rows.user[part[first]]], int(rows.at[part[first]])
            when = datetime.fromtimestamp(at // SECOND_NS, timezone.utc).isoformat()
            raise ArtefactError(
                f"export: the stream feature '{name}' of the row of user {_shown(user)} at {when} was {right[first]} "
                f"in training and is {found[first]} by the live state at that instant; data/ and features/ do not "
                "belong to this release or to each other: run the stages again from `cascade prepare --force`"
            )


def _shown(user: Any) -> str:
    return repr(user.decode("utf-8", "replace")) if isinstance(user, bytes) else str(user)

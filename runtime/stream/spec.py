"""stream.json: what events of one product look like and what their state holds. Written by export."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.records import from_record, read_versioned
from runtime.stream.windows import Window
from runtime.tensor import Tensor

__all__ = ["STREAM_FILE", "StreamSpec"]

STREAM_FILE = "stream.json"
FORMAT_VERSION = 1
# Changes when the fold makes other records of the same events: the state is then made anew from the log.
FOLD_VERSION = 2


@dataclass(frozen=True)
class StreamSpec:
    """The events of one product.

    Attributes:
        user_id_dtype, item_id_dtype: INT64 or BYTES.
        labels: of interactions; the first is that of an event that names none. An event with one of them and a value
            above 0 is an interaction: its item is seen and in the user's history.
        stock: the column of the items whose false means out of stock; empty: an item event has no stock.
        context: columns that an event may carry beside its own, with their types.
        history_length: H, the interactions that a user's record keeps by time; older ones are seen and no more.
        dedupe_last: event ids that a user's record remembers.
        max_future_s: an event further ahead of its arrival than this is set to its arrival.
        ack: "log": an event is acknowledged once it is on disk; "memory": once it is written, which a crash of the
            machine may lose.
        segment_bytes: size at which the log begins its next file.
        user_windows: counts of a user's events that the user's record keeps.
        since: labels (or `runtime.stream.windows.ANY`) of which a user's record keeps when one last came.
        item_windows: counts of the events with an item that the item's record keeps.
        max_staleness_s: a state on Redis that is further behind its topic than this gives no stream features.
        audit_share: of users in requests, those of whom EVENTS/served keeps what they were given of the live state.
    """

    user_id_dtype: str
    item_id_dtype: str
    labels: tuple[str, ...]
    stock: str = ""
    context: tuple[Tensor, ...] = ()
    history_length: int = 50
    dedupe_last: int = 64
    max_future_s: float = 5.0
    ack: str = "log"
    segment_bytes: int = 64 << 20
    user_windows: tuple[Window, ...] = ()
    since: tuple[str, ...] = ()
    item_windows: tuple[Window, ...] = ()
    max_staleness_s: float = 60.0
    audit_share: float = 0.0

    @property
    def state_version(self) -> str:
        """Equal for specs that make the same records of the same events."""
        names = ("user_id_dtype", "item_id_dtype", "labels", "history_length", "dedupe_last")
        record = asdict(self)
        kept = [record[name] for name in (*names, "user_windows", "since", "item_windows")]
        return hashlib.sha256(json.dumps([FOLD_VERSION, *kept]).encode()).hexdigest()[:12]

    def save(self, folder: Path) -> None:
        """Write `folder`/stream.json."""
        record = {"format_version": FORMAT_VERSION, **asdict(self)}
        (folder / STREAM_FILE).write_text(json.dumps(record, indent=1))

    @classmethod
    def load(cls, folder: Path) -> StreamSpec:
        """Read `folder`/stream.json.

        Raises:
            ValueError: written in another format version, or a key is missing, unknown or of another type.
            OSError: the file is missing.
        """
        _, record = read_versioned(folder / STREAM_FILE, (FORMAT_VERSION,))
        return from_record(cls, record, STREAM_FILE)

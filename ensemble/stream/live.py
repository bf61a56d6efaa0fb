"""What a chain is exported with to take in live events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ensemble.config import Config
from runtime.spec import LiveSpec, Tensor
from runtime.stream.spec import StreamSpec
from workflows.core.run import Run
from workflows.stream.features import ONLY_LABEL, since_labels, windows_of
from workflows.tables.info import DataInfo
from workflows.tables.split import SPLITS

__all__ = ["live_spec"]

ID_DTYPES = {"int64": "INT64", "string": "BYTES"}
# Units of timestamps that say an order and no time.
NO_INSTANTS = ("order", "rows")
DAY_NS = 86_400 * 10**9


def live_spec(
    run: Run, config: Config, info: DataInfo, context: Sequence[Tensor], state: Literal["eval", "serve"]
) -> LiveSpec | None:
    """The live part of chain.json; None where the config has no [stream].

    Args:
        run: whose data stage has finished.
        config: of it.
        info: of data/.
        context: the raw context columns of a request.
        state: what the chain's files know: the events before the test split, or all.
    """
    stream = config.stream
    if stream is None:
        return None
    spec = StreamSpec(
        user_id_dtype=ID_DTYPES[info.id_type["user"]],
        item_id_dtype=ID_DTYPES[info.id_type["item"]],
        labels=info.labels or (ONLY_LABEL,),
        stock=config.data.stock or "",
        context=tuple(context),
        history_length=info.history_length,
        dedupe_last=stream.dedupe_last,
        max_future_s=stream.max_future_s,
        ack=stream.ack,
        segment_bytes=stream.segment_mb << 20,
        user_windows=windows_of(info.stream, "user"),
        since=since_labels(info.stream),
        item_windows=windows_of(info.stream, "item"),
        max_staleness_s=stream.max_staleness_s,
        audit_share=stream.audit_share,
    )
    return LiveSpec(
        spec,
        known_log=info.log_id if state == "serve" else "",
        known_offset=max(info.log_offset, 0) if state == "serve" else 0,
        known_at=_known_at(run, info, SPLITS if state == "serve" else SPLITS[:2]),
        user_features=tuple(column.feature for column in info.stream if column.key == "user"),
        item_features=tuple(column.feature for column in info.stream if column.key == "item"),
        popular_by=next((column.feature for column in info.stream if column.name == stream.popular_by), None),
    )


def _known_at(run: Run, info: DataInfo, splits: Sequence[str]) -> int:
    """The instant up to which the tables hold the events; the smallest where an offset says it, or nothing does."""
    latest = LiveSpec.known_at
    if info.log_offset >= 0 and splits == SPLITS:
        return latest
    if not info.has_timestamp or info.timestamp_unit in NO_INSTANTS:
        return latest
    for path in sorted(path for split in splits for path in (run.folder("data") / split).glob("part_*.parquet")):
        with pq.ParquetFile(path) as file:
            groups = (file.read_row_group(number, columns=["at"]) for number in range(file.num_row_groups))
            latest = max([latest, *(pc.max(group["at"]).as_py() for group in groups if len(group))])
    # A date stands for its day. What has an instant of the future is in the tables, and what comes until then is not.
    return min(latest + (DAY_NS - 1 if info.timestamp_unit == "date" else 0), time.time_ns())

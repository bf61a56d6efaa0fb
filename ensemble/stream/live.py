"""What a chain is exported with to take in live events."""

from __future__ import annotations

from collections.abc import Sequence

from ensemble.config import Config
from runtime.spec import LiveSpec, Tensor
from runtime.stream.spec import StreamSpec
from workflows.tables.info import DataInfo

__all__ = ["live_spec"]

ID_DTYPES = {"int64": "INT64", "string": "BYTES"}
# The label of events where the tables have none: each of them is a positive.
ONLY_LABEL = "interaction"


def live_spec(config: Config, info: DataInfo, context: Sequence[Tensor]) -> LiveSpec | None:
    """The live part of chain.json; None where the config has no [stream].

    Args:
        config: of the run.
        info: of data/.
        context: the raw context columns of a request.
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
    )
    return LiveSpec(spec)

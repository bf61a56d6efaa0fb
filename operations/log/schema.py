"""The columns of collected requests: one row a request and user, in MON/requests/chain=K/date=D/*.parquet.

Of a refused request there is one row, whose columns of users are null. Rows of the item and user lists of the version
(`chain_key`) stand for ids: no raw id of a user is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from runtime.log.record import REASONS
from runtime.log.rows import CONTEXT

__all__ = [
    "ANSWERED",
    "ASKED",
    "CONTEXT",
    "DRAFTED",
    "EXPLORED",
    "IDENTITY",
    "LIVE",
    "NAME",
    "REASONS",
    "SERVED",
    "TYPES",
    "schema_of",
]

NAME = pa.dictionary(pa.int32(), pa.string())
ROWS = pa.list_(pa.int32())

# Which slate it is, when it was made, by what and for whom.
IDENTITY: Mapping[str, pa.DataType] = {
    "request_id": pa.string(),
    "position": pa.int16(),  # of the user in the request
    "slate_key": pa.binary(16),  # names request_id and position
    "key": pa.uint64(),  # of request_id, by which it is sampled
    "at": pa.timestamp("ns", "UTC"),
    "at_corrected": pa.bool_(),  # the clock of the server had jumped
    "chain_key": NAME,  # hash of the version's manifest
    "model_version": pa.int32(),
    "layout": NAME,  # fused or ensemble
    "consumer": NAME,
    "experiment": NAME,  # "experiment=variant" that the user is in, of several with ";" between them; null: none
    "traceparent": pa.string(),
    "attempt": pa.int8(),  # 2 and more: the same request_id came within ten minutes before; count 1 alone
    "user_key": pa.binary(16),  # keyed hash of the raw user id
    "salt_id": NAME,  # of the key that user_key was made with
}
# What was asked; context columns follow, with CONTEXT before their names.
ASKED: Mapping[str, pa.DataType] = {
    "user_row": pa.int32(),  # -1: unknown
    "recent": ROWS,  # oldest first, -2: unknown item
    "excluded": ROWS,  # with the items that were blocked then
    "slate_size": pa.int32(),
}
# What was answered, best first.
ANSWERED: Mapping[str, pa.DataType] = {
    "item_rows": ROWS,
    "scores": pa.list_(pa.float32()),
    "num_items": pa.int32(),
    "path": NAME,
}
# How it was served, and what the row stands for.
SERVED: Mapping[str, pa.DataType] = {
    "service_us": pa.uint32(),
    "batch": pa.uint16(),  # users that were answered together
    "error": pa.string(),  # the sentence that refused it
    "weight": pa.float32(),  # requests that it stands for: 1 / share, 0 where it is not of the sample
    "reason": NAME,  # one of REASONS: hash is the sample; all others have a weight of 0
    "replayable": pa.bool_(),  # whether everything that its answer depends on is here
    "env_id": NAME,  # of the versions and the processor that answered, see MON/chains/
}
# Of a chain with live events alone.
LIVE: Mapping[str, pa.DataType] = {
    "stream_offset": pa.int64(),
    "state_age_ms": pa.int64(),
    "live_at": pa.int64(),  # the instant that the slate was made for, nanoseconds
    "live_recent": pa.list_(pa.int64()),
}
# Of a chain that explores alone.
EXPLORED: Mapping[str, pa.DataType] = {
    "policy": NAME,  # softmax or deterministic
    "explored": pa.bool_(),  # whether the slate was drawn at random
    "forced": pa.bool_(),  # the request asked for the policy: no estimate may count it
    "seed": pa.int64(),
    "log_propensity": pa.list_(pa.float32()),  # of each slot given the slots before it; 0 where nothing was drawn
    # Of drawn slates, else null:
    "temperature": pa.float32(),
    "candidate_rows": ROWS,  # what the slate was drawn from
    "candidate_scores": pa.list_(pa.float32()),  # their utilities
}
# Of slates that were drafted from those of two variants alone.
DRAFTED: Mapping[str, pa.DataType] = {
    "variant": NAME,  # both; a variant whose slate this is, since the other could not answer; "": of neither
    "team": ROWS,  # who chose each slot: 0 the control, 1 the other, -1 neither
}
TYPES = {"INT64": pa.int64(), "INT32": pa.int32(), "FP32": pa.float32(), "FP64": pa.float64(), "BYTES": pa.string()}


def schema_of(
    context: Iterable[tuple[str, str]], *, is_live: bool = False, explores: bool = False, drafts: bool = False
) -> pa.Schema:
    """The columns of one chain.

    Args:
        context: (name, datatype) of its context columns; INT64, INT32, FP32, FP64 or BYTES.
        is_live: whether it reads live events.
        explores: whether it draws slates at random.
        drafts: whether its slates are drafted from those of two versions.
    """
    columns = {CONTEXT + name: TYPES[dtype] for name, dtype in context}
    further = {**(LIVE if is_live else {}), **(EXPLORED if explores else {}), **(DRAFTED if drafts else {})}
    return pa.schema({**IDENTITY, **ASKED, **columns, **ANSWERED, **SERVED, **further})

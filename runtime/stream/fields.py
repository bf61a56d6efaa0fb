"""The inputs and outputs of the model `cascade_events`: what an event is called on its way in."""

from __future__ import annotations

from runtime.stream.spec import StreamSpec
from runtime.tensor import Tensor

__all__ = ["EVENTS_MODEL", "FIELDS", "KEY", "MAX_BATCH", "OUTPUTS", "in_extra", "inputs"]

EVENTS_MODEL = "cascade_events"
FIELDS = ("user_id", "item_id", "at", "label", "value", "event_id", "kind", "extra")
# Events in one request, and in one commit of all requests that wait for it.
MAX_BATCH = 4096
# The parameter of a request, or over `infer` the header, that carries CASCADE_EVENTS_KEY.
KEY = "cascade-events-key"
OUTPUTS = (Tensor("status", "INT32"), Tensor("reason", "BYTES"), Tensor("offset", "INT64"))


def inputs(spec: StreamSpec) -> tuple[Tensor, ...]:
    """What a request may carry, each [B, 1], one row an event.

    Context columns of `in_extra` have no input.
    """
    dtypes = {"user_id": spec.user_id_dtype, "item_id": spec.item_id_dtype, "value": "FP32"}
    stock = (spec.stock,) if spec.stock else ()
    return (
        *(Tensor(name, dtypes.get(name, "BYTES"), optional=True) for name in FIELDS),
        *(Tensor(name, "BOOL", optional=True) for name in stock),
        *(Tensor(t.name, t.dtype, optional=True) for t in spec.context if t.name not in in_extra(spec)),
    )


def in_extra(spec: StreamSpec) -> tuple[str, ...]:
    """Context columns that are called like a field of events: events carry them in `extra`."""
    return tuple(t.name for t in spec.context if t.name in (*FIELDS, spec.stock))

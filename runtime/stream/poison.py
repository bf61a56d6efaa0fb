"""A batch folded whatever is in it: an event that the fold cannot take is set aside, and all others count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import Events
from runtime.stream.spec import StreamSpec
from runtime.stream.state import apply_at
from runtime.stream.store import Store

__all__ = ["SET_ASIDE", "SetAside", "fold"]

# The status of such an event, as of one that is refused before it reaches the log.
SET_ASIDE = -1
# Told of each before the state moves on: the event alone, its offset and why.
SetAside = Callable[[Events, int, str], None]


def fold(
    store: Store,
    spec: StreamSpec,
    events: Events,
    offsets: NDArray[np.int64],
    next_offset: int,
    set_aside: SetAside,
) -> NDArray[np.int8]:
    """Fold events into a store as `apply_at` does; halves of a batch that cannot be folded are tried by themselves.

    Since records do not depend on how events are cut into batches, the state is the same in every replay.

    Args:
        store: see `apply_at`.
        spec: see `apply_at`.
        events: see `apply_at`.
        offsets: see `apply_at`.
        next_offset: see `apply_at`.
        set_aside: told of each event that is left out.

    Returns:
        int8 [n]: 1 new, 0 known already, SET_ASIDE.

    Raises:
        OSError: the store cannot be read or written, or `set_aside` raised it; what came before is in the state.
    """
    try:
        return apply_at(store, spec, events, offsets, next_offset)
    except (OSError, MemoryError):  # these say nothing about the events
        raise
    except Exception as error:  # whatever the fold makes of an event, the next ones must be taken in
        if len(events) > 1:
            middle = len(events) // 2
            before, behind = slice(None, middle), slice(middle, None)
            first = fold(store, spec, events.take(before), offsets[before], int(offsets[middle]), set_aside)
            second = fold(store, spec, events.take(behind), offsets[behind], next_offset, set_aside)
            return np.concatenate([first, second])
        if not len(events):
            raise
        set_aside(events, int(offsets[0]), f"it could not be folded into the state ({type(error).__name__}: {error})")
        nothing = slice(0)
        apply_at(store, spec, events.take(nothing), offsets[nothing], next_offset)
        return np.array([SET_ASIDE], np.int8)

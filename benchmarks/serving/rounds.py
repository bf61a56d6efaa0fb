"""Short slices of every variant and load in turn, so that the machine's noise hits all alike; and their figures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from benchmarks.serving.variants import Load, Variant
from benchmarks.serving.worker import Slice

__all__ = ["Figures", "Measured", "figures_of", "interleave"]


class Measured(msgspec.Struct, frozen=True):
    """One slice, and the processor time that answering it took."""

    slice: Slice
    cpu_s: float


class Figures(msgspec.Struct, frozen=True):
    """What the slices of one variant under one load add up to.

    Attributes:
        p50_ms, p99_ms: of all requests of all slices.
        lowest_p50_ms, highest_p50_ms: of single slices: how much the machine moved.
        users_per_s: users answered over the time it took.
        cpu_s_per_1000_users: of all processes of the server.
        client_share: processor time of the load generator over wall time; near 1 it is the load generator that bounds.
        num_requests: answered.
        error: the first refusal; empty without one.
    """

    p50_ms: float | None
    p99_ms: float | None
    lowest_p50_ms: float | None
    highest_p50_ms: float | None
    users_per_s: float | None
    cpu_s_per_1000_users: float | None
    client_share: float | None
    num_requests: int
    error: str = ""


def interleave(
    variants: Sequence[Variant],
    loads: Sequence[Load],
    *,
    seconds: float,
    rounds: int,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> dict[tuple[str, str], list[Measured]]:
    """Run every variant under every load, `rounds` times, in an order drawn anew each round.

    A pair stops when it has used up `seconds * rounds`, so that a variant which answers slowly costs no more time than
    the others; a refusal ends a pair as well.

    Returns:
        (variant name, load name) -> its slices.
    """
    pairs = [(variant, load) for load in loads for variant in variants if variant.takes(load)]
    found: dict[tuple[str, str], list[Measured]] = {(variant.name, load.name): [] for variant, load in pairs}
    order = random.Random(seed)
    for number in range(rounds):
        say(f"benchmark: round {number + 1} of {rounds}")
        order.shuffle(pairs)
        for variant, load in pairs:
            slices = found[variant.name, load.name]
            spent = sum(measured.slice.wall_s for measured in slices)
            if spent < seconds * rounds and not any(measured.slice.error for measured in slices):
                slices.append(Measured(*variant.run(load, seconds)))
    return found


def figures_of(slices: Sequence[Measured]) -> Figures:
    """Add up the slices of one pair."""
    parts = [measured.slice for measured in slices]
    error = next((part.error for part in parts if part.error), "")
    latencies = np.concatenate([part.latencies_ms for part in parts])
    if not len(latencies):
        return Figures(None, None, None, None, None, None, None, 0, error)
    medians = [float(np.median(part.latencies_ms)) for part in parts if part.latencies_ms]
    num_users, wall_s = sum(part.num_users for part in parts), sum(part.wall_s for part in parts)
    p50_ms, p99_ms = np.percentile(latencies, [50, 99]).tolist()
    return Figures(
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        lowest_p50_ms=min(medians),
        highest_p50_ms=max(medians),
        users_per_s=num_users / wall_s,
        cpu_s_per_1000_users=1000 * sum(measured.cpu_s for measured in slices) / num_users,
        client_share=sum(part.own_cpu_s for part in parts) / wall_s,
        num_requests=len(latencies),
        error=error,
    )

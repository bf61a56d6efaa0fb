"""What was learnt of sending, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from models.send_gate.effects import Z95
from models.send_gate.gate import SendGate
from runtime.send_gate.arithmetic import TERMS
from workflows.core.errors import DataError

__all__ = ["lines", "refuse_contradiction"]


def lines(gate: SendGate) -> Iterator[str]:
    """The prices with their 95% intervals, and what a push is worth on average."""
    found, check = gate.effects, gate.check
    yield f"{gate.num_decisions:,} decisions that chance made, on {gate.num_users:,} users"
    for name, price, error in zip(TERMS, found.prices, found.errors, strict=True):
        yield f"{name}: {price:+.3f} +- {Z95 * error:.3f} discounted active days"
    yield (
        f"a push is worth {check.mean:+.4f} on average by these prices to {check.num_users:,} users who were held out, "
        f"{check.robust:+.4f} +- {Z95 * check.robust_error:.4f} by what chance decided there"
    )


def refuse_contradiction(gate: SendGate) -> None:
    """Refuse a gate whose mean effect is not that of the decisions that chance made.

    Raises:
        DataError: it lies outside their 95% interval, on users who were held out or on those that it learnt from.
    """
    found, check = gate.effects, gate.check
    if not check.agrees:
        raise _contradiction(check.mean, check.robust, check.half_width, f"{check.num_users:,} users who were held out")
    if not found.agrees:
        raise _contradiction(found.mean, found.robust, Z95 * found.robust_error, "the users that it learnt from")


def _contradiction(mean: float, robust: float, half_width: float, whom: str) -> DataError:
    return DataError(
        f"the gate's mean effect of a push on {whom}, {mean:+.4f} discounted active days, lies outside what chance "
        f"decided says, {robust:+.4f} +- {half_width:.4f}: the logged probabilities are wrong, or the prices are not "
        "those of this log; nothing is written"
    )

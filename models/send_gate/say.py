"""What was learnt of sending, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from models.send_gate.effects import TERMS, Z95
from models.send_gate.gate import SendGate
from workflows.core.errors import DataError

__all__ = ["lines", "refuse_contradiction"]


def lines(gate: SendGate) -> Iterator[str]:
    """The prices with their 95% intervals, and what a push is worth on average."""
    yield f"{gate.num_decisions:,} decisions that chance made, on {gate.num_users:,} users"
    found = gate.effects
    for name, price, error in zip(TERMS, found.prices, found.errors, strict=True):
        yield f"{name}: {price:+.3f} +- {Z95 * error:.3f} discounted active days"
    yield (
        f"a push is worth {found.mean:+.4f} on average by these prices, {found.robust:+.4f} +- "
        f"{Z95 * found.robust_error:.4f} by what chance decided"
    )


def refuse_contradiction(gate: SendGate) -> None:
    """Refuse a gate whose mean effect is not that of the decisions that chance made.

    Raises:
        DataError: it lies outside their 95% interval.
    """
    found = gate.effects
    if not found.agrees:
        raise DataError(
            f"the gate's mean effect of a push, {found.mean:+.4f} discounted active days, lies outside what chance "
            f"decided says, {found.robust:+.4f} +- {Z95 * found.robust_error:.4f}: the logged "
            "probabilities are wrong; nothing is written"
        )

"""A decision as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from operations.gate.gate import Gated
from operations.gate.rows import Row

__all__ = ["lines"]

MARKS = {True: "holds", False: "BROKEN", None: "unknown"}


def lines(gated: Gated) -> Iterator[str]:
    """A table, then the verdict."""
    yield f"{gated.run} against version {gated.served} of {gated.repository}"
    if gated.how:
        yield f"{gated.num_users:,} users; {gated.how}"
    shown = [row for row in gated.rows if not (row.family and row.met)]
    rows = [_cells(row) for row in shown]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    for row, cells in zip(shown, rows, strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        if row.missing:
            yield f"    {row.missing}"
    if alike := len(gated.rows) - len(shown):
        yield f"{MARKS[True]}  {alike} comparisons of the export with what is served: as in any retraining"
    yield f"{gated.verdict}: {gated.why}"


def _cells(row: Row) -> tuple[str, str, str, str]:
    between = "" if row.low is None else f" [{_number(row.low)}, {_number(row.high)}]"
    limit = "" if row.limit is None else f"limit {_number(row.limit)}"
    return MARKS[row.met], row.name, _number(row.value) + between, limit


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.4f}"

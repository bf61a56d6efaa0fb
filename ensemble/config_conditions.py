"""What the config says of items by their columns."""

from __future__ import annotations

from typing import Any, Literal

from workflows.core.section import Section

__all__ = ["FilterRule"]


class FilterRule(Section, frozen=True):
    """One eligibility rule: an item is eligible when `column` `op` `value` holds (a null never holds).

    Attributes:
        column: column of the items table.
        op: comparison; "in" and "not_in" take a list.
        value: number, string, boolean, date or timestamp (2024-01-31, without quotes; UTC where it names no zone), or a
            list of them.
    """

    column: str
    op: Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_in"]
    value: Any

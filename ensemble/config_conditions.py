"""What the config says of items by their columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from workflows.core.section import Section

__all__ = ["FilterRule", "value_problems"]


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


def value_problems(key: str, rule: FilterRule) -> Iterator[str]:
    """Yield a sentence where the value is a list and the comparison wants one value, or the other way round."""
    is_list = isinstance(rule.value, list)
    if is_list != (rule.op in ("in", "not_in")):
        wanted = "a single value" if is_list else "a list"
        yield f"{key}.value must be {wanted} for op = {rule.op!r}, got {rule.value!r}"

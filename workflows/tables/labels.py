"""Labels that are conditions on columns of the events, such as liked = "rating >= 8"."""

from __future__ import annotations

import re

import msgspec

from workflows.core.errors import ConfigError, DataError
from workflows.tables.check import FLOATS, INTEGERS, Shape
from workflows.tables.config import DataConfig
from workflows.tables.source import quoted

__all__ = ["Condition", "check_condition", "label_conditions", "parse_condition"]

FORM = re.compile(r"\s*(?P<column>.*?[^\s<>=!])\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<value>[^\s<>=!].*?)\s*")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class Condition(msgspec.Struct, frozen=True):
    """`column` `op` `value`; the value is a number, or a string where it was in quotes."""

    column: str
    op: str
    value: float | str

    @property
    def sql(self) -> str:
        """The condition for DuckDB: true, false, or null where the column is null."""
        return self.over(quoted(self.column))

    def over(self, column: str) -> str:
        """The condition on another SQL expression than the column's name."""
        value = repr(self.value) if isinstance(self.value, float) else "'" + self.value.replace("'", "''") + "'"
        return f"({column} {'=' if self.op == '==' else self.op} {value})"


def parse_condition(key: str, text: str) -> Condition:
    """Read "COLUMN OP VALUE", OP being one of >= > <= < == !=, VALUE a number or a text in quotes.

    Args:
        key: config key, for the message.
        text: the condition.

    Raises:
        ConfigError: it has another form.
    """
    found = FORM.fullmatch(text)
    value = found["value"] if found else ""
    in_quotes = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    if not found or not (in_quotes or NUMBER.fullmatch(value)):
        raise ConfigError(
            f"{key} = {text!r}: expected a column, one of >= > <= < == != and a number or a text in quotes, such as "
            "'rating >= 8'"
        )
    return Condition(found["column"], found["op"], value[1:-1] if in_quotes else float(value))


def label_conditions(data: DataConfig) -> dict[str, Condition]:
    """The labels that are conditions; none where data.labels only names columns.

    Raises:
        ConfigError: a condition cannot be read.
    """
    if not isinstance(data.labels, dict):
        return {}
    return {name: parse_condition(f"data.labels.{name}", text) for name, text in data.labels.items()}


def check_condition(name: str, condition: Condition, shape: Shape) -> None:
    """Refuse to compare a column with a value of another kind.

    Raises:
        DataError: names the label, the column and its type.
    """
    found = shape[condition.column]
    numeric = found in INTEGERS | FLOATS or found.startswith("DECIMAL")
    if numeric != isinstance(condition.value, float) or not (numeric or found == "VARCHAR"):
        wanted = "a number" if isinstance(condition.value, float) else "a text"
        raise DataError(
            f"events: data.labels.{name} compares column '{condition.column}' with {wanted}, got {found.lower()}; "
            "write the value in the column's type"
        )

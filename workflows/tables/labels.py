"""Labels that are conditions on columns of the events, such as liked = "rating >= 8"."""

from __future__ import annotations

import math
import re
from decimal import Decimal

import msgspec

from workflows.core.errors import ConfigError
from workflows.tables.config import DataConfig

__all__ = ["Condition", "label_conditions", "parse_condition"]

FORM = re.compile(r"\s*(?P<column>.*?[^\s<>=!])\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<value>[^\s<>=!].*?)\s*")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
BOOLEANS = {"true": True, "false": False}
HUGE = 2.0**126  # DuckDB's integers end at 2^127


class Condition(msgspec.Struct, frozen=True):
    """`column` `op` `value`; a whole number is an int, of which every digit counts; a value in quotes is a str."""

    column: str
    op: str
    value: bool | int | float | str


def parse_condition(key: str, text: str) -> Condition:
    """Read "COLUMN OP VALUE": OP is one of >= > <= < == !=, VALUE a number, true, false or a text in quotes.

    Args:
        key: config key, for the message.
        text: the condition.

    Raises:
        ConfigError: it has another form.
    """
    found = FORM.fullmatch(text)
    value = found["value"] if found else ""
    in_quotes = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    truth = BOOLEANS.get(value.lower())
    if not found or not (in_quotes or truth is not None or NUMBER.fullmatch(value)):
        raise ConfigError(
            f"{key} = {text!r}: expected a column, one of >= > <= < == != and a number, true, false or a text in "
            "quotes, such as 'rating >= 8'"
        )
    if truth is not None:
        if found["op"] not in ("==", "!="):
            raise ConfigError(f"{key} = {text!r}: expected == or != before {value}, got {found['op']}; correct it")
        return Condition(found["column"], found["op"], truth)
    if in_quotes:
        return Condition(found["column"], found["op"], value[1:-1])
    if not math.isfinite(float(value)):
        raise ConfigError(f"{key} = {text!r}: expected a number below 1e308, got {value}; correct it")
    return Condition(found["column"], found["op"], _number(value))


def label_conditions(data: DataConfig) -> dict[str, Condition]:
    """The labels that are conditions; none where data.labels only names columns.

    Raises:
        ConfigError: a condition cannot be read.
    """
    if not isinstance(data.labels, dict):
        return {}
    return {name: parse_condition(f"data.labels.{name}", text) for name, text in data.labels.items()}


def _number(text: str) -> int | float:
    near, exact = float(text), Decimal(text)
    return int(exact) if 1 <= abs(near) < HUGE and exact == exact.to_integral_value() else near

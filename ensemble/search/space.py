"""Distributions of config keys, written as "loguniform(0.05, 0.5)", and what a trial suggests for them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from workflows.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Distribution", "parse_param", "parse_space"]

Kind = Literal["uniform", "loguniform", "int", "logint", "choice"]
FORM = re.compile(r"\s*(?P<kind>uniform|loguniform|int|logint|choice)\s*\((?P<values>.*)\)\s*", re.DOTALL)
HELP = (
    "uniform(LOW, HIGH), loguniform(LOW, HIGH), int(LOW, HIGH), logint(LOW, HIGH) or choice(VALUE, ...), such as "
    "'retrieval.temperature=loguniform(0.05, 0.5)'"
)


class Distribution(msgspec.Struct, frozen=True):
    """Values that a config key may take.

    Attributes:
        kind: how they are drawn.
        values: low and high, both included, or the choices.
    """

    kind: Kind
    values: list[Any]

    def suggest(self, trial: Trial, key: str) -> str:
        """The trial's value as TOML text, for `--set KEY=TEXT`."""
        if self.kind == "choice":
            # Optuna stores numbers, strings and booleans only; as text, a list is a choice like any other.
            return str(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))
        low, high = self.values
        if self.kind in ("int", "logint"):
            return str(trial.suggest_int(key, low, high, log=self.kind == "logint"))
        return repr(trial.suggest_float(key, low, high, log=self.kind == "loguniform"))

    def stored(self, value: Any) -> Any:
        """A config value as Optuna stores it, for the first trial; None where it is outside the distribution."""
        if self.kind == "choice":
            text = json.dumps(value)
            return text if text in [json.dumps(choice) for choice in self.values] else None
        low, high = self.values
        return value if isinstance(value, int | float) and low <= value <= high else None


def parse_space(params: Mapping[str, str]) -> dict[str, Distribution]:
    """Read every distribution.

    Args:
        params: config key -> its distribution as text.

    Raises:
        ConfigError: there is none, or one cannot be read.
    """
    if not params:
        raise ConfigError(f"search: expected keys to vary, got none; give --param KEY=DISTRIBUTION, {HELP}")
    return {key: _parse(key, text) for key, text in params.items()}


def parse_param(option: str) -> tuple[str, str]:
    """Split "KEY=DISTRIBUTION".

    Raises:
        ConfigError: there is no "=".
    """
    key, equals, text = option.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--param {option}: expected KEY=DISTRIBUTION, {HELP}")
    return key.strip(), text


def _parse(key: str, text: str) -> Distribution:
    found = FORM.fullmatch(text)
    try:
        values = tomllib.loads(f"values = [{found['values']}]")["values"] if found else None
    except tomllib.TOMLDecodeError:
        values = None
    if not found or not values:
        raise ConfigError(f"search: {key} = {text!r}: expected {HELP}")
    kind: Any = found["kind"]
    if kind != "choice":
        wanted = int if kind in ("int", "logint") else int | float
        smallest = 0 if kind.startswith("log") else -float("inf")
        in_order = len(values) == 2 and all(isinstance(value, wanted) for value in values) and values[0] < values[1]
        if not in_order or values[0] <= smallest:
            numbers = "whole numbers" if wanted is int else "numbers"
            above = ", both above 0" if kind.startswith("log") else ""
            raise ConfigError(f"search: {key} = {text!r}: expected two {numbers}, the smaller first{above}")
    return Distribution(kind, values)

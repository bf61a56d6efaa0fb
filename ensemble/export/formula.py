"""Read a formula such as "0.02*click + buy*(margin*(1-return) - 8*return)": numbers, names, + - * / and brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workflows.core.errors import ConfigError

__all__ = ["Formula", "Name", "Number", "Operation", "names_in", "parse_formula"]

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<op>[-+*/()]))"
)
MAX_LENGTH, MAX_DEPTH = 2000, 50


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Name:
    """A task or a column of the items."""

    name: str


@dataclass(frozen=True)
class Operation:
    """`left` `op` `right`; op is one of + - * /."""

    op: str
    left: Formula
    right: Formula


Formula = Number | Name | Operation


def parse_formula(key: str, text: str) -> Formula:
    """Read a formula; nothing in it is ever run as a program.

    Args:
        key: config key, for the message.
        text: the formula.

    Raises:
        ConfigError: it is none.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"{key}: expected a formula of at most {MAX_LENGTH} characters, got {len(text)}; shorten it")
    return _Reader(key, text).read()


def names_in(formula: Formula) -> Iterator[str]:
    """Every name in a formula, as often as it stands there."""
    if isinstance(formula, Name):
        yield formula.name
    elif isinstance(formula, Operation):
        yield from names_in(formula.left)
        yield from names_in(formula.right)


class _Reader:
    """Reads a formula from left to right: a sum of products of factors."""

    def __init__(self, key: str, text: str) -> None:
        self._key, self._text, self._at, self._depth = key, text, 0, 0
        self._token, self._next = "", 0
        self._advance()

    def read(self) -> Formula:
        found = self._sum()
        if self._token:
            raise self._error("an operator or the end")
        return found

    def _sum(self) -> Formula:
        left = self._product()
        while (op := self._token) in ("+", "-"):
            self._advance()
            left = Operation(op, left, self._product())
        return left

    def _product(self) -> Formula:
        left = self._factor()
        while (op := self._token) in ("*", "/"):
            self._advance()
            left = Operation(op, left, self._factor())
        return left

    def _factor(self) -> Formula:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigError(f"{self._key}: brackets and signs are nested more than {MAX_DEPTH} deep; simplify it")
        found = self._inner()
        self._depth -= 1
        return found

    def _inner(self) -> Formula:
        token = self._token
        if token == "-":
            self._advance()
            return Operation("-", Number(0.0), self._factor())
        if token == "(":
            self._advance()
            found = self._sum()
            if self._token != ")":
                raise self._error("')'")
            self._advance()
            return found
        if not token or token in "+*/)":
            raise self._error("a number, a name or '('")
        self._advance()
        return Number(float(token)) if token[0].isdigit() or token[0] == "." else Name(token)

    def _advance(self) -> None:
        self._at = self._next
        found = TOKEN.match(self._text, self._at)
        if found:
            self._token, self._next = found.group().strip(), found.end()
        elif self._text[self._at :].strip():
            raise self._error("a number, a name, an operator or a bracket")
        else:
            self._token = ""

    def _error(self, expected: str) -> ConfigError:
        rest = self._text[self._at :].strip()
        came = repr(rest[:20]) if rest else "the end"
        return ConfigError(f"{self._key} = {self._text!r}: expected {expected} at {came}; correct it")

"""Names of features: safe whatever a column is called, unique, and readable where they can be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.features.schema import input_name


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("device", "context_1_device"),
        ("device.type", "context_1_device_type"),
        ("Device-Type ", "context_1_device_type"),
        ("_size", "context_1_size"),
        ("7", "context_1_7"),
        ("é", "context_1"),
        (" ", "context_1"),
        ("x" * 300, f"context_1_{'x' * 40}"),
    ],
)
def test_what_is_readable_stays(column: str, name: str) -> None:
    assert input_name("context", 1, column) == name


@given(st.lists(st.text(min_size=1), min_size=2, max_size=6), st.sets(st.text(max_size=4)))
def test_names_are_safe_and_differ(columns: list[str], taken: set[str]) -> None:
    taken |= {input_name("item", number, column) for number, column in enumerate(columns, start=1)}
    names = [input_name("item", number, column, taken) for number, column in enumerate(columns, start=1)]
    assert all(re.fullmatch(r"item_[0-9]+[a-z0-9_]*", name) for name in names)
    assert len({*names, *taken}) == len(names) + len(taken)

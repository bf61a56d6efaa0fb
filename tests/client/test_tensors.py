"""Values of every sort as tensors, and one sentence for those that do not fit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_client import RequestRefused
from cascade_client.tensors import NO_ITEM, encode_column, encode_context, encode_lists


@given(st.lists(st.lists(st.integers(0, 2**62), max_size=6), min_size=1, max_size=5))
def test_padding_keeps_every_list_and_adds_only_no_item(rows: list[list[int]]) -> None:
    numbers = encode_lists("recent_item_ids", rows, "INT64").array
    texts = encode_lists("recent_item_ids", [[str(item) for item in row] for row in rows], "BYTES").array
    assert numbers.dtype == np.int64
    assert numbers.shape == texts.shape == (len(rows), max(1, max(map(len, rows))))
    for row, number, text in zip(rows, numbers.tolist(), texts.tolist(), strict=True):
        assert number == row + [NO_ITEM["INT64"]] * (len(number) - len(row))
        assert text == [str(item).encode() for item in row] + [b""] * (len(number) - len(row))


@pytest.mark.parametrize(
    ("datatype", "values", "sent"),
    [
        ("INT64", [3, True, np.bool_(False), np.int8(-2), 7.0, np.float32(2**20), Decimal("12"), 2**63 - 1],
         [3, 1, 0, -2, 7, 2**20, 12, 2**63 - 1]),
        ("INT64", [None, float("nan"), pd.NA, pd.NaT, Decimal("nan"), np.float32("nan")], [-(2**63)] * 6),
        ("FP64", [0.7, 1, True, np.True_, Decimal("0.7"), Fraction(1, 4), np.float32(0.5), -np.inf],
         [0.7, 1.0, 1.0, 1.0, 0.7, 0.25, 0.5, -np.inf]),
        ("FP32", [0.7, Decimal("0.7")], [float(np.float32(0.7))] * 2),
        ("BYTES", ["é", b"\xff", np.str_("x"), "", None, pd.NA], ["é".encode(), b"\xff", b"x", b"", b"", b""]),
    ],
)  # fmt: skip
def test_context_values_of_every_sort_are_sent(datatype: str, values: list[Any], sent: list[Any]) -> None:
    for column in (values, pd.Series(values, dtype=object)):
        tensor = encode_context("x", column, datatype)
        assert tensor.array.shape == (len(values), 1)
        assert tensor.array[:, 0].tolist() == sent


@pytest.mark.parametrize("value", [None, float("nan"), pd.NA])
def test_a_float_that_is_not_known_is_nan(value: Any) -> None:
    for datatype in ("FP32", "FP64"):
        assert np.isnan(encode_context("x", [value], datatype).array).all()


@pytest.mark.parametrize(
    ("datatype", "value", "said"),
    [
        ("INT64", 7.5, r"x must be integers on this server, got 7.5 \(float\)"),
        ("INT64", "7", r"x must be integers on this server, got '7' \(str\)"),
        ("INT64", np.inf, "x must be integers on this server, got inf"),
        ("INT64", Decimal("Infinity"), "x must be integers on this server"),
        ("INT64", Decimal("0.1"), "x must be integers on this server"),
        ("INT64", 2**63, "x must fit INT64"),
        ("INT64", [1], "x must be integers on this server"),
        ("FP64", "0.7", r"x must be numbers \(FP64\) on this server, got '0.7' \(str\)"),
        ("FP64", 1j, r"x must be numbers \(FP64\)"),
        ("FP64", np.array([1.0, 2.0]), r"x must be numbers \(FP64\)"),
        ("FP64", 10**400, "x must fit FP64"),
        ("FP32", 1e39, r"x must fit FP32 \(up to 3.40282e\+38\), got 1e\+39"),
        ("BYTES", 7, r"x must be strings on this server, got 7 \(int\)"),
        ("BYTES", True, r"x must be strings on this server, got True \(bool\)"),
        ("BYTES", "\ud800", "x must be text that UTF-8 can hold"),
    ],
)
def test_a_context_value_of_another_sort_is_one_sentence(datatype: str, value: Any, said: str) -> None:
    with pytest.raises(RequestRefused, match=said) as caught:
        encode_context("x", [value], datatype)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [b"\xff", "\ud800"])
def test_an_id_is_text_that_utf8_can_hold(value: Any) -> None:
    with pytest.raises(RequestRefused, match="user_id must be text"):
        encode_column("user_id", [value], "BYTES")
    assert encode_column("user_id", ["é", b"x"], "BYTES").array[:, 0].tolist() == ["é".encode(), b"x"]

"""Compiled encoders against the NVTabular workflows they come from, on random rows with nulls and unseen values."""

from __future__ import annotations

import ast
import itertools
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.core.errors import ArtefactError, DataError
from workflows.core.quiet import quiet

quiet()

from runtime import encoders  # noqa: E402
from runtime.encoders import Encoder, hash_bytes, hash_ints, latest  # noqa: E402
from workflows.features.compile import check_parity, compile_workflow, write_encoder  # noqa: E402
from workflows.features.config import FeatureSpec  # noqa: E402
from workflows.features.graphs import arrow_type, fit_workflow, load_workflow  # noqa: E402
from workflows.features.source import Column, canonical  # noqa: E402

LETTERS = st.text(st.characters(min_codepoint=32, max_codepoint=0x1F64F, exclude_categories=("Cs",)), max_size=6)
TEXTS = st.sampled_from(["", "a", "b", "é", "aa"]) | LETTERS
INTS = st.integers(-3, 3) | st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63)])
FLOATS = st.floats(-100, 100, width=32) | st.sampled_from([-1.0, 0.0, 1.0, 2.5])
CUTS = [-1.0, 0.0, 2.5]


def nullable(values: st.SearchStrategy[Any], size: int = 12) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, min_size=1, max_size=size)


CASES = {
    "text": (Column("x", FeatureSpec(), "string"), nullable(TEXTS)),
    "int": (Column("x", FeatureSpec(), "int64"), nullable(INTS)),
    "frequent": (Column("x", FeatureSpec(min_frequency=2), "string"), nullable(TEXTS)),
    "continuous": (Column("x", FeatureSpec(kind="continuous"), "float64"), nullable(FLOATS)),
    "log": (Column("x", FeatureSpec(kind="continuous", log=True), "float64"), nullable(FLOATS)),
    "bucketised": (Column("x", FeatureSpec(kind="bucketised", boundaries=CUTS), "float64"), nullable(FLOATS)),
    "hashed-text": (Column("x", FeatureSpec(kind="hashed", num_buckets=7), "string"), nullable(TEXTS)),
    "hashed-int": (Column("x", FeatureSpec(kind="hashed", num_buckets=7), "int64"), nullable(INTS)),
    "separated": (
        Column("x", FeatureSpec(kind="list", separator="|", max_length=3), "string"),
        nullable(st.lists(TEXTS | st.just(" "), max_size=5).map("|".join)),
    ),
    "text-list": (
        Column("x", FeatureSpec(kind="list", max_length=3), "string", is_list=True),
        nullable(nullable(TEXTS, 5) | st.just([])),
    ),
    "int-list": (
        Column("x", FeatureSpec(kind="list", max_length=3), "int64", is_list=True),
        nullable(nullable(INTS, 5) | st.just([])),
    ),
}


def objects(values: list[Any]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def rows_of(column: Column, values: list[Any]) -> pa.Table:
    return pa.table({column.name: pa.array(values, arrow_type(column))})


def fitted(column: Column, train: list[Any], folder: Path) -> tuple[Any, Encoder]:
    """Fit on train in two pieces, save, load and compile."""
    table = rows_of(column, train)
    half = len(train) // 2
    cuts = [table.slice(0, half), table.slice(half)] if half else [table]
    workflow = fit_workflow("item", [column], cuts.__getitem__, len(cuts), "cpu", folder / "stats")
    workflow.save(str(folder / "workflow"))
    loaded = load_workflow(folder / "workflow")
    records, arrays = compile_workflow("item", loaded, [column], folder / "workflow" / "categories")
    return loaded, write_encoder(folder / "encoders", "item", records, arrays)


@pytest.mark.parametrize("case", CASES)
def test_compiled_encoder_equals_the_workflow(case: str) -> None:
    column, strategy = CASES[case]

    @settings(max_examples=12)
    @given(strategy, st.lists(strategy, min_size=1, max_size=5))
    def check(train: list[Any], requests: list[list[Any]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            workflow, encoder = fitted(column, train, Path(folder))
            for rows in [train, *requests]:
                check_parity(encoder, workflow, {"x": objects(rows)}, rows_of(column, rows))

    check()


@pytest.mark.parametrize("case", CASES)
def test_a_column_without_any_value_can_be_fitted(case: str, tmp_path: Path) -> None:
    column, _ = CASES[case]
    workflow, encoder = fitted(column, [None] * 3, tmp_path)
    rows: list[Any] = [None, [5] if column.dtype == "int64" else ["q"]] if column.is_list else [None, None]
    check_parity(encoder, workflow, {"x": objects(rows)}, rows_of(column, rows))


def test_parity_check_refuses_an_encoder_that_differs(tmp_path: Path) -> None:
    column, _ = CASES["text"]
    workflow, _ = fitted(column, ["a", "b", "b"], tmp_path)
    _, other = fitted(column, ["a", "a", "b"], tmp_path / "other")
    with pytest.raises(ArtefactError, match=r"feature 'x' gives 4 for 'b' where its NVTabular workflow gives 3"):
        check_parity(other, workflow, {"x": objects(["b"])}, rows_of(column, ["b"]))


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (pa.float64(), [1.0, 2.0**53 + 2], "'x' holds 1 values such as 9007199254740994 as double, which cannot tell"),
        (pa.float32(), [1.0, 2.0**24 + 2, -(2.0**25)], "'x' holds 2 values such as 16777218 as float"),
        (pa.float64(), [1.0, 1.5], "'x' cannot be read as int64 for kind 'categorical' .* or write them as text"),
        (pa.decimal128(4, 1), [Decimal("1.5")], "'x' cannot be read as int64 for kind 'categorical'"),
    ],
)
def test_codes_that_floats_may_have_rounded_are_refused(kind: pa.DataType, values: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        canonical(pa.chunked_array([pa.array(values, kind)]), Column("x", FeatureSpec(), "int64"))


def test_numbers_become_the_nearest_float() -> None:
    rng = np.random.default_rng(0)
    number = Column("x", FeatureSpec(kind="continuous"), "float64")
    decimals = [Decimal(int(value)).scaleb(-4) for value in rng.integers(-(10**15), 10**15, 200)]
    for values, kind in ((decimals, pa.decimal128(20, 4)), ([2**53 + 1, 2**63 - 1, -1], pa.int64())):
        found = canonical(pa.chunked_array([pa.array(values, kind)]), number)
        assert found.to_pylist() == [float(value) for value in values]


def test_a_very_long_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1025 bytes .* use kind 'hashed'"):
        fitted(CASES["text"][0], ["a", "x" * 1025], tmp_path)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Text a -> 4, b -> 3, "" -> 5; int 10 -> 3, 2**60 + 1 -> 4; a list of those ints; a number cut at 0."""
    text = {
        "name": "text",
        "column": "text",
        "kind": "categorical",
        "dtype": "string",
        "length": 0,
        "keys": "tk",
        "codes": "tc",
    }
    ints = {
        "name": "int",
        "column": "int",
        "kind": "categorical",
        "dtype": "int64",
        "length": 0,
        "keys": "ik",
        "codes": "ic",
    }
    many = {**ints, "name": "many", "column": "many", "kind": "list", "length": 2, "separator": None, "from_end": True}
    cut = {"name": "cut", "column": "cut", "kind": "bucketised", "dtype": "float64", "length": 0, "boundaries": [0.0]}
    arrays = {
        "tk": np.array([b"", b"a", b"b"]),
        "tc": np.array([5, 4, 3], np.int32),
        "ik": np.array([10, 2**60 + 1]),
        "ic": np.array([3, 4], np.int32),
    }
    return Encoder("item", [text, ints, many, cut], arrays)


@pytest.mark.parametrize(
    ("name", "values", "codes"),
    [
        ("text", objects(["a", b"b", "", None, "c", float("nan"), "a\0", b"\xff", "ab"]), [4, 3, 5, 1, 2, 1, 2, 2, 2]),
        ("text", np.array([b"a", b"long"]), [4, 2]),
        ("text", np.array([["a"], ["é"]]), [4, 2]),
        ("int", np.array([10, 2**60 + 1, 2**60, -1]), [3, 4, 2, 2]),
        ("int", np.array([2**63 + 10, 10], np.uint64), [2, 3]),
        ("int", np.array([10.0, 10.5, np.nan, np.inf, 1e30]), [3, 2, 1, 2, 2]),
        ("int", objects([10, None, 2**60 + 1, 2**70, float("inf"), np.int32(10), 10.5]), [3, 1, 4, 2, 2, 3, 2]),
        ("many", objects([[10, 10, 7], [], None, [None, 10], (10,)]), [[3, 2], [0, 0], [0, 0], [3, 0], [3, 0]]),
        ("many", (np.array([[10, 7, 10], [10, 10, 10]]), np.array([3, 0])), [[2, 3], [0, 0]]),
        ("many", np.array([[7, 10, 10]]), [[3, 3]]),
        ("many", (np.array([[10, np.nan, 7], [np.nan, np.nan, 10]]), np.array([3, 9])), [[3, 2], [3, 0]]),
        ("cut", np.array([-1, 0, 1], np.int8), [3, 4, 4]),
        ("cut", objects([None, 0.5, float("-inf")]), [1, 4, 1]),
    ],
)
def test_request_columns_of_every_form(encoder: Encoder, name: str, values: Any, codes: list[Any]) -> None:
    rows = len(values[0]) if isinstance(values, tuple) else len(values)
    encoded = encoder.encode({name: values}, rows)
    assert encoded[name].dtype == np.int32
    np.testing.assert_array_equal(encoded[name], codes)
    assert list(encoded) == encoder.columns


def test_absent_columns_are_null_only_when_the_batch_size_is_given(encoder: Encoder) -> None:
    encoded = encoder.encode({}, 2)
    assert {name: values.tolist() for name, values in encoded.items()} == {
        "text": [1, 1],
        "int": [1, 1],
        "many": [[0, 0], [0, 0]],
        "cut": [1, 1],
    }
    with pytest.raises(ValueError, match="'text' is missing"):
        encoder.encode({})


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("text", np.array([1]), "'text' must hold strings, got dtype int64"),
        ("text", objects([1.5]), "type float"),
        ("int", objects(["a"]), "'int' must hold integers, got values of type str"),
        ("int", np.array(["1"]), "'int' must hold integers"),
        ("int", np.zeros((1, 2), np.int64), r"one value a row, got shape \[1, 2\]"),
        ("int", (np.zeros((1, 2)), np.ones(1)), "got a list column"),
        ("cut", np.array([b"1"]), "'cut' must hold numbers"),
        ("cut", objects(["x"]), "'cut' must hold numbers"),
        ("many", objects(["1,2"]), "'many' must hold lists, got a string"),
        ("many", objects([3]), "'many' must hold lists"),
        ("int", np.array([1, 2]), "one length"),
    ],
)
def test_wrong_types_are_named(encoder: Encoder, name: str, values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encoder.encode({name: values}, 1)


def test_latest_equals_slicing() -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, 9, rng.integers(0, 7)) for _ in range(50)]
    flat, lengths = np.concatenate(lists), np.array([len(values) for values in lists])
    for length, from_end in itertools.product((1, 3, 10), (True, False)):
        cut = [values[-length:] if from_end else values[:length] for values in lists]
        expected = np.stack([np.pad(values, (0, length - len(values))) for values in cut])
        np.testing.assert_array_equal(latest(flat, lengths, length, from_end=from_end), expected)


def mix(value: int) -> int:
    """SplitMix64 in plain integers."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


OF_ONE_LENGTH = st.integers(0, 9).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=5))


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), st.lists(st.binary(max_size=9), max_size=5) | OF_ONE_LENGTH
)
def test_hashes_equal_their_definition(ints: list[int], texts: list[bytes]) -> None:
    assert hash_ints(np.array(ints, np.int64)).tolist() == [mix(value % 2**64) for value in ints]
    folded = []
    for text in texts:
        state = 0xCBF29CE484222325
        for byte in text:
            state = ((state ^ byte) * 0x100000001B3) % 2**64
        folded.append(mix(state))
    assert hash_bytes(texts).tolist() == folded


def test_published_hash_values() -> None:
    assert hash_ints(np.array([0]))[0] == 0xE220A8397B1DCDAF  # first output of SplitMix64 seeded with 0


def test_module_stands_alone() -> None:
    tree = ast.parse(Path(encoders.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in modules if name} <= {*sys.stdlib_module_names, "numpy"}

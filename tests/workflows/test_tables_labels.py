"""Labels that are conditions: what is read, what is dropped, what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.config_file import load_config
from workflows.core.errors import ConfigError, DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.labels import Condition, parse_condition
from workflows.tables.stage import prepare_data

EVENTS = pd.DataFrame(
    {
        "user_id": [1, 1, 2, 2, 3, 3],
        "item_id": [7, 8, 7, 9, 8, 9],
        "rating": [8, None, 7, 10, 9, None],
        "kind": ["buy", "see", "see", "buy", "buy", "see"],
    }
)


def prepare(root, events=EVENTS, **labels):
    events.to_parquet(root / "e.parquet")
    data = DataConfig(events=str(root / "e.parquet"), labels=labels)
    run = Run(root / "run")
    manifest = prepare_data(run, data, SplitConfig(valid_fraction=0.0, test_fraction=0.0), ShopConfig(), 4)
    return pd.read_parquet(run.folder("data") / "train"), manifest.info


@pytest.mark.parametrize(
    ("op", "expected"),
    [(">=", [1, 0, 1, 1]), (">", [0, 0, 1, 1]), ("<=", [1, 1, 0, 0]), ("<", [0, 1, 0, 0]), ("==", [1, 0, 0, 0])],
)
def test_a_condition_on_a_number_drops_the_rows_without_one(tmp_path, capsys, op, expected):
    got, info = prepare(tmp_path, liked=f"rating {op} 8")
    assert got["liked"].tolist() == expected
    assert got["at"].tolist() == [0, 2, 3, 4]  # row numbers of the file
    assert info["labels"] == ["liked"]
    assert "dropped 2 events without 'rating', so without 'liked'" in capsys.readouterr().err


def test_the_first_label_decides_what_is_a_positive_and_any_label_what_is_seen(tmp_path):
    prepare(tmp_path, bought="kind == 'buy'", good="rating >= 9")
    state = tmp_path / "run" / "data" / "state" / "serve"
    assert np.load(state / "popularity.npy").tolist() == [1.0, 1.0, 1.0]  # items 7, 8, 9: one rated buy each
    prepare(tmp_path, good="rating >= 9", bought="kind == 'buy'")
    assert np.load(state / "popularity.npy").tolist() == [0.0, 1.0, 1.0]  # one good rating each of 8 and 9
    seen, indptr = np.load(state / "seen_rows.npy").tolist(), np.load(state / "seen_indptr.npy").tolist()
    assert [seen[start:end] for start, end in itertools.pairwise(indptr)] == [[0], [2], [1]]  # 7 was only bought


def test_what_the_condition_cannot_mean_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected a column 'stars' \(data.labels.liked\)"):
        prepare(tmp_path, liked="stars >= 8")
    with pytest.raises(DataError, match="compares column 'kind' with a number, got varchar"):
        prepare(tmp_path, liked="kind >= 8")
    with pytest.raises(DataError, match="compares column 'rating' with a text, got double"):
        prepare(tmp_path, liked="rating >= '8'")
    with pytest.raises(DataError, match="must hold a value somewhere, got nulls in all 6 rows"):
        prepare(tmp_path, EVENTS.assign(rating=pd.Series([None] * 6, dtype="float")), liked="rating >= 8")


@given(
    st.from_regex(r"[a-z][a-z_ ]{0,8}[a-z]", fullmatch=True),
    st.sampled_from([">=", "<=", ">", "<", "==", "!="]),
    st.floats(-1e6, 1e6),
    st.sampled_from(["", " ", "  "]),
)
def test_any_number_and_column_name_is_read_back(column, op, value, space):
    assert parse_condition("k", f"{column}{space}{op}{space}{value!r}") == Condition(column, op, value)


def test_a_quote_in_a_text_cannot_end_it():
    condition = parse_condition("k", """name == "it's" """)
    assert condition.value == "it's"
    assert condition.sql == """("name" = 'it''s')"""


@pytest.mark.parametrize(
    "text", ["rating", "rating >= ", ">= 8", "rating => 8", "rating >= eight", "rating >= 8; DROP"]
)
def test_other_forms_are_refused_before_anything_is_read(text, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f"[data]\nevents = 'e'\ntimestamp = 't'\nlabels = {{ liked = '{text}' }}\n")
    with pytest.raises(ConfigError, match=r"data.labels.liked = '.*': expected a column, one of"):
        load_config(path)

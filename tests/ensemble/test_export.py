"""Export: eligibility rules, refusals, the check against brute force, and code that stands alone."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig, Config, FilterRule
from ensemble.config_file import load_config
from ensemble.export.compile import compile_chain
from ensemble.export.eligibility import eligible_items, pack, popularity_order
from ensemble.export.shortage import shortages
from ensemble.export.stage import export
from models.dataset.features import load_state
from runtime.chain import Chain
from runtime.spec import ChainSpec
from tests.ensemble.synthetic import UTILITY, make_run, user_id
from workflows.core.artefacts import verify
from workflows.core.errors import ArtefactError, ConfigError, DataError
from workflows.tables.config import DataConfig


@pytest.fixture
def items(tmp_path) -> Path:
    table = {
        "item_id": [1, 2, 3, 4],
        "price": [1.0, 2.0, None, 4.0],
        "brand": ["a", None, "b", "a"],
        "in_stock": [True, False, True, None],
    }
    pq.write_table(pa.table(table), tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def config_of(*rules: tuple, stock: str | None = None) -> Config:
    made = [FilterRule(column=column, op=op, value=value) for column, op, value in rules]
    return Config(data=DataConfig(stock=stock), chain=ChainConfig(rules=made))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (("price", "<", 2), [1, 0, 0, 0]),
        (("price", "<=", 2.0), [1, 1, 0, 0]),
        (("price", ">", 1), [0, 1, 0, 1]),
        (("price", ">=", 4), [0, 0, 0, 1]),
        (("brand", "==", "a"), [1, 0, 0, 1]),
        (("brand", "!=", "a"), [0, 0, 1, 0]),
        (("brand", "in", ["b", "c"]), [0, 0, 1, 0]),
        (("brand", "not_in", ["b", "c"]), [1, 0, 0, 1]),
        (("item_id", "in", [4, 1]), [1, 0, 0, 1]),
        (("in_stock", "==", True), [1, 0, 1, 0]),
    ],
)
def test_a_rule_holds_or_not_and_never_for_a_null(items, rule, expected):
    assert eligible_items(items, config_of(rule)).tolist() == [bool(value) for value in expected]


def test_only_false_is_out_of_stock_and_rules_add_up(items):
    assert eligible_items(items, config_of(stock="in_stock")).tolist() == [True, False, True, True]
    both = config_of(("price", ">", 0), ("brand", "==", "a"), stock="in_stock")
    assert eligible_items(items, both).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            config_of(("colour", "==", 1)),
            r"chain.rules\[0\].column = 'colour' is no column of the items; they have brand",
        ),
        (config_of(("price", "<", "x")), r"chain.rules\[0\].value = 'x' cannot be compared with the items' 'price'"),
        (config_of(stock="stock"), "data.stock = 'stock' is no column"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(items, config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        eligible_items(items, config)


def test_a_number_of_32_bits_equals_the_one_that_the_config_writes(tmp_path):
    prices = pa.array([0.1, 0.2, 0.3], pa.float32())
    pq.write_table(pa.table({"item_id": [1, 2, 3], "price": prices}), tmp_path / "items.parquet")
    assert eligible_items(tmp_path / "items.parquet", config_of(("price", "==", 0.1))).tolist() == [True, False, False]
    assert eligible_items(tmp_path / "items.parquet", config_of(("price", "<=", 0.2))).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("rules", "stock", "sentence"),
    [
        (
            [("brand", "==", "no such brand")],
            "in_stock",
            r"none of the 4 items may be shown: 3 are in stock \(data.stock = 'in_stock'\), 0 are allowed by "
            r"chain.rules\[0\] \(brand == 'no such brand'\); column 'brand' holds 'a', 'b'; change ",
        ),
        (
            [("price", ">", 4)],
            None,
            r"0 are allowed by chain.rules\[0\] \(price > 4\); column 'price' holds 1.0 to 4.0;",
        ),
        (
            [("price", ">", 2), ("brand", "==", "b")],
            None,
            r"1 are allowed by .* 1 are allowed by .*; change data",
        ),
        ([("brand", "in", [])], None, "0 are allowed by"),
    ],
)
def test_rules_that_leave_nothing_are_refused_with_a_count_for_each(items, rules, stock, sentence):
    with pytest.raises(DataError, match=sentence):
        eligible_items(items, config_of(*rules, stock=stock))


def test_an_empty_stock_is_refused(tmp_path):
    pq.write_table(pa.table({"item_id": [1, 2], "in_stock": [False, False]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"0 are in stock .*; column 'in_stock' holds False; change data.stock"):
        eligible_items(tmp_path / "items.parquet", config_of(stock="in_stock"))


@pytest.mark.parametrize(
    ("value", "holds"),
    [(2**70, "holds 1.0 to 4.0"), ({"a": 1}, "type double"), (True, "type double"), ("1", "type double")],
)
def test_a_value_of_another_kind_than_its_column_is_refused(items, value, holds):
    with pytest.raises(ConfigError, match=rf"cannot be compared with the items' 'price' .*{holds}"):
        eligible_items(items, config_of(("price", "==", value)))


DAYS = [dt.datetime(2024, 1, 1), dt.datetime(2024, 2, 1)]


@pytest.mark.parametrize(
    ("column", "op", "value", "expected"),
    [
        (pa.array(DAYS).cast(pa.date32()), ">=", dt.date(2024, 1, 10), [0, 1]),
        (pa.array(DAYS).cast(pa.date32()), "in", [dt.date(2024, 1, 1)], [1, 0]),
        (pa.array(DAYS), "<", dt.date(2024, 1, 10), [1, 0]),
        (pa.array(DAYS), ">=", dt.datetime(2024, 2, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), [0, 1]),
        (pa.array(DAYS, pa.timestamp("us", "Europe/Berlin")), "==", dt.datetime(2024, 1, 1), [1, 0]),
        (pa.array(DAYS, pa.timestamp("ns", "UTC")), "in", [dt.datetime(2024, 2, 1)], [0, 1]),
        (pa.array([1, 2**64 - 1], pa.uint64()), ">", 2**64 - 2, [0, 1]),
        (pa.array([1, 2**64 - 1], pa.uint64()), ">", -1, [1, 1]),
        (pa.array([1, 2**64 - 1], pa.uint64()), "<", 1.5, [1, 0]),
        (pa.array([1, 2**64 - 1], pa.uint64()), "in", [2**64 - 1, 7], [0, 1]),
        (pa.array([1, 2**53 + 1]), ">", 0.5, [1, 1]),
        (pa.array([2**53, 2**53 + 1]), "==", 2.0**53, [1, 0]),
    ],
)
def test_a_rule_compares_dates_and_large_integers(tmp_path, column, op, value, expected):
    pq.write_table(pa.table({"x": column}), tmp_path / "items.parquet")
    got = eligible_items(tmp_path / "items.parquet", config_of(("x", op, value)))
    assert got.tolist() == [bool(one) for one in expected]


@pytest.mark.parametrize(
    ("column", "value", "end"),
    [
        (pa.array(DAYS).cast(pa.date32()), "2024-01-10", "holds 2024-01-01, 2024-02-01; write a date without quotes, "),
        (pa.array(DAYS), 20240110, "2024-01-01T00:00:00, 2024-02-01T00:00:00; write a date or a timestamp without"),
        (pa.array([1, 2]), dt.date(2024, 1, 10), "holds 1 to 2; write a number that the type can hold"),
        (pa.array([1, 2]), 2**70, "holds 1 to 2; write a number that the type can hold"),
        (pa.array([True, False]), 1, "holds True, False; write true or false"),
        (pa.array(["1", "2"]), 1, "holds '1', '2'; write a text in quotes"),
        (pa.array([[1], [2]]), 1, "derive a column of numbers, texts, dates or booleans from it"),
        (pa.array([{"a": 1}, {"a": 2}]), 1, "derive a column of numbers, texts, dates or booleans from it"),
    ],
)
def test_a_rule_that_cannot_be_followed_ends_in_what_can(tmp_path, column, value, end):
    pq.write_table(pa.table({"x": column}), tmp_path / "items.parquet")
    with pytest.raises(ConfigError) as caught:
        eligible_items(tmp_path / "items.parquet", config_of(("x", "==", value)))
    assert end in str(caught.value)
    assert "datetime." not in str(caught.value)


@pytest.mark.parametrize(("op", "value"), [(">", 1), ("in", ["a"]), ("==", dt.date(2024, 1, 10))])
def test_a_rule_on_nulls_alone_is_met_by_nothing(tmp_path, op, value):
    pq.write_table(pa.table({"x": pa.nulls(2)}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"column 'x' holds nulls alone; change data.stock or chain.rules") as caught:
        eligible_items(tmp_path / "items.parquet", config_of(("x", op, value)))
    assert "datetime." not in str(caught.value)


def test_a_date_in_a_config_is_a_date_of_a_rule(tmp_path):
    (tmp_path / "c.toml").write_text(
        "[data]\nsource = 'shop'\n[[chain.rules]]\ncolumn = 'x'\nop = '>='\nvalue = 2024-01-10\n"
    )
    config = load_config(tmp_path / "c.toml")
    pq.write_table(pa.table({"x": pa.array(DAYS)}), tmp_path / "items.parquet")
    assert eligible_items(tmp_path / "items.parquet", config).tolist() == [False, True]
    assert json.loads(json.dumps(msgspec.to_builtins(config.chain.rules)))[0]["value"] == "2024-01-10"


def test_what_rules_leave_too_little_of_is_said(tmp_path):
    """Of 300 items every user has at most 16, but user 1 has all but five; user 0 has none."""
    run, config = make_run(tmp_path / "run")

    def said(rules, **chain):
        made = [FilterRule(column=column, op=op, value=value) for column, op, value in rules]
        changed = msgspec.structs.replace(config.chain, rules=made, **chain)
        data = msgspec.structs.replace(config.data, stock=None)
        return shortages(run, msgspec.structs.replace(config, chain=changed, data=data))

    ids = np.load(run.folder("data") / "ids/items.npy").tolist()
    assert said([]) == []
    three = ("item_id", "in", [ids[0], ids[1], ids[2]])
    start = f"3 of 300 items may be shown (3 are allowed by chain.rules[0] (item_id in {three[2]})), fewer than "
    assert said([three])[0] == start + "chain.slate_size = 5: no slate will be longer"
    assert said([three], slate_size=3)[0] == start + "chain.num_candidates = 30: all of them are ranked"
    assert said([three], slate_size=3, num_candidates=3) == []
    late = ("item_id", "in", [ids[7]])
    num_had = sum(7 in load_state(run, "serve").seen(user) for user in range(60))
    assert num_had and said([late])[1].startswith(f"{num_had} of 60 users have had every item that may be shown")
    assert len(said([late], filter_seen=False)) == 1
    with pytest.raises(DataError, match="none of the 300 items"):
        said([("item_id", "<", 0)])


def test_bits_and_popularity_order():
    eligible = np.array([True, False, True, True, False, False, False, False, True])
    assert pack(eligible).tolist() == [0b1101, 1]
    assert popularity_order(eligible, np.array([1, 9, 5, 5, 0, 0, 0, 0, 1.0])).tolist() == [2, 3, 0, 8]


def test_the_spec_survives_its_file(tmp_path):
    run, config = make_run(tmp_path / "run")
    compile_chain(run, config, tmp_path / "chain", "serve")
    spec = ChainSpec.load(tmp_path / "chain")
    spec.save(tmp_path)
    assert ChainSpec.load(tmp_path) == spec
    dtypes = {tensor.name: tensor.dtype for tensor in spec.context_columns}
    assert dtypes == {"device": "BYTES", "hour": "INT64", "temperature": "FP64"}
    (tmp_path / "chain.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        ChainSpec.load(tmp_path)


def test_a_chain_without_context_or_rules_works(tmp_path):
    run, config = make_run(tmp_path / "run", factored=False)
    schema = tmp_path / "run/features/schema.json"
    record = json.loads(schema.read_text())
    record["features"] = [feature for feature in record["features"] if feature["side"] != "context"]
    schema.write_text(json.dumps(record))
    compile_chain(run, config, tmp_path / "chain", "serve")
    spec = ChainSpec.load(tmp_path / "chain")
    assert [tensor.name for tensor in spec.request] == ["user_id", "recent_item_ids", "exclude_item_ids", "slate_size"]
    assert not (tmp_path / "chain/encoders").exists()


def test_artefacts_that_contradict_each_other_are_refused(tmp_path):
    run, config = make_run(tmp_path / "run")
    np.save(tmp_path / "run/retrieval/item_embeddings.npy", np.zeros((299, 8), np.float32))
    with pytest.raises(ArtefactError, match=r"item_embeddings.npy has the shape \(299, 8\)"):
        compile_chain(run, config, tmp_path / "chain", "serve")


def test_a_chain_that_differs_from_brute_force_is_not_exported(tmp_path, monkeypatch):
    run, config = make_run(tmp_path / "run")
    export(run, config)
    before = verify(run.folder("repo"))
    from runtime.steps import rank

    monkeypatch.setattr(rank, "score", lambda *given: -_score(*given))
    with pytest.raises(ArtefactError, match="the compiled chain and brute force disagree for the user in row 0"):
        export(run, config, force=True)
    assert verify(run.folder("repo")) == before


def _score(*given):
    from runtime.ranker.factored import score

    return score(*given)


def test_export_writes_both_layouts_once(tmp_path, capsys):
    run, config = make_run(tmp_path / "run", text_ids=True, index="ivf")
    manifest = export(run, config)
    assert manifest.info == {"layouts": ["fused", "ensemble"], "num_users_compared": 16}
    assert export(run, config).created_at == manifest.created_at
    assert "repo: up to date" in capsys.readouterr().err
    only = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, layouts=("fused",)))
    export(run, only)
    assert {path.name for path in run.folder("repo").iterdir() if path.is_dir()} == {"fused"}


def test_the_exported_code_runs_without_this_checkout_and_its_libraries(tmp_path):
    run, config = make_run(tmp_path / "run")
    export(run, config)
    version = run.folder("repo") / "fused/cascade/1"
    program = f"""
import sys
sys.path.insert(0, {str(version / "lib")!r})
import numpy as np
from runtime.triton import TritonPythonModel
from runtime.chain import Chain
answer = Chain.load({str(version / "chain")!r}).recommend({{"user_id": np.array([[{user_id(5, False)}]])}})
ours = [name for name in sys.modules if name.split(".")[0] in ("ensemble", "models", "workflows")]
assert all({str(version)!r} in (sys.modules[name].__file__ or "") for name in ours), ours
loaded = {{name.split(".")[0] for name in sys.modules}}
print(loaded & {{"tensorflow", "pandas", "dask", "merlin", "nvtabular", "msgspec", "pyarrow", "tritonclient", "lmdb"}})
print(answer["item_id"][0].tolist())
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = Chain.load(version / "chain").recommend({"user_id": np.array([[user_id(5, False)]])})
    assert done.stdout.splitlines() == ["set()", str(expected["item_id"][0].tolist())]


def test_a_chain_of_stages_from_different_inputs_is_refused_before_anything_is_compiled(tmp_path):
    run, config = make_run(tmp_path / "run", num_users=6, num_items=40)
    other, _ = make_run(tmp_path / "other", num_users=6, num_items=40, seed=2)
    shutil.rmtree(run.folder("features"))
    shutil.copytree(other.folder("features"), run.folder("features"))
    with pytest.raises(ArtefactError, match=r"features .* was made from other data/"):
        export(run, config)
    # Sizes are equal, and every file is as its own manifest says: only what each was made from tells.
    shutil.rmtree(run.folder("data"))
    shutil.copytree(other.folder("data"), run.folder("data"))
    with pytest.raises(ArtefactError, match=r"retrieval .* was made from other data/, features/ .* train-retrieval"):
        export(run, config)
    assert not run.folder("repo").exists()


@pytest.mark.parametrize("factored", [True, False])
def test_a_chain_that_is_ordered_by_utility_is_checked_against_brute_force(tmp_path, monkeypatch, factored):
    run, config = make_run(tmp_path / "run", factored=factored, utility=UTILITY)
    export(run, config)
    spec = ChainSpec.load(run.folder("repo") / "fused/cascade/1/chain")
    assert [task.name for task in spec.ranker.tasks] == ["click", "like", "buy"]
    assert "utility" in [tensor.name for tensor in spec.response]

    monkeypatch.setattr("runtime.steps.rank.expected_worth", lambda happens, worth: -worth[..., 1])
    with pytest.raises(ArtefactError, match="a better item was left out"):
        export(run, config, force=True)


def test_a_utility_over_what_the_items_lack_is_refused_before_training(tmp_path):
    from ensemble.unused_by_data import refuse_after_data

    run, config = make_run(tmp_path / "run", utility=UTILITY)
    refuse_after_data(run, config)
    for formula, kind in (("click * weight", ConfigError), ("click * category", ConfigError)):
        order = msgspec.structs.replace(config.chain.order, utility=formula)
        changed = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, order=order))
        with pytest.raises(kind, match=r"chain\.order\.utility"):
            refuse_after_data(run, changed)

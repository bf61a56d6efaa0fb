"""The features stage on small tables of the contract's shape, against NVTabular and against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.encoders import MOST_DEVIATIONS, Encoder, hash_bytes
from tests.workflows.infos import data_info
from workflows.core.artefacts import Manifest, read_manifest, write_manifest
from workflows.core.errors import ArtefactError, ConfigError, DataError
from workflows.core.quiet import quiet
from workflows.core.run import Run, run_stage
from workflows.features.config import FeaturesConfig
from workflows.features.read import num_rows, read_table
from workflows.features.schema import FeatureSchema
from workflows.features.stage import prepare_features
from workflows.tables.info import DataInfo

quiet()

U, N, L = 40, 30, 4
TRAIN_USERS, TRAIN_ITEMS = 32, 25  # later rows occur in valid and test only
CONFIG: dict[str, Any] = {
    "history_length": L,
    "users": {"age": {"kind": "categorical"}, "spend": {"kind": "continuous", "log": True}},
    "items": {
        "brand": {"kind": "categorical", "min_frequency": 2},
        "price": {"kind": "continuous"},
        "tags": {"kind": "list", "separator": "|", "max_length": 3},
        "codes": {"kind": "list", "max_length": 2},
        "sku": {"kind": "hashed", "num_buckets": 50},
        "year": {"kind": "bucketised", "boundaries": [1990, 2000.5]},
    },
    "context": {"device": {"kind": "categorical"}, "hour": {"kind": "bucketised", "boundaries": [6, 12, 18]}},
}


def config(**changes: Any) -> FeaturesConfig:
    return msgspec.convert(CONFIG | changes, FeaturesConfig)


def write_data(root: Path, *, string_ids: bool, seed: int = 3) -> Run:
    """A data/ folder as docs/ARTEFACTS.md states it."""
    rng = np.random.default_rng(seed)
    run = Run(root)
    kind = "string" if string_ids else "int64"

    def body(folder: Path) -> DataInfo:
        (folder / "ids").mkdir()
        for name, count in (("users", U), ("items", N)):
            ids = np.sort(rng.choice(10**12, count, replace=False))
            np.save(folder / f"ids/{name}.npy", np.sort([f"{name}é{i}".encode() for i in ids]) if string_ids else ids)
        pq.write_table(_users(rng), folder / "users.parquet")
        pq.write_table(_items(rng), folder / "items.parquet", row_group_size=11)
        for split, rows, users, items in (
            ("train", 300, TRAIN_USERS, TRAIN_ITEMS),
            ("valid", 50, U, N),
            ("test", 0, U, N),
        ):
            (folder / split).mkdir()
            pq.write_table(_events(rng, rows, users, items), folder / split / "part_00000.parquet", row_group_size=64)
        return data_info(U, N, id_type={"user": kind, "item": kind}, labels=("click",))

    data = {"user_id": "uid", "item_id": "sku_id", "labels": ["click"], "position": "place"}
    run_stage(run, "data", config={"data": data}, after=[], body=body)
    return run


def _users(rng: np.random.Generator) -> pa.Table:
    ages = [None if rng.random() < 0.2 else ["young", "old", ""][rng.integers(3)] for _ in range(U)]
    ages[-1] = "only in test"
    spend = [None if rng.random() < 0.2 else float(rng.gamma(2, 50)) for _ in range(U)]
    return pa.table({"uid": np.arange(U), "age": ages, "spend": spend})


def _items(rng: np.random.Generator) -> pa.Table:
    price = rng.normal(20, 5, N)
    price[TRAIN_ITEMS:] = 1e6
    return pa.table(
        {
            "sku_id": np.arange(N),
            "brand": pa.array([None if i == 3 else (2**60 + 1 if i == 7 else i % 4) for i in range(N)], pa.int64()),
            "price": pa.array(price, pa.float32()),
            "tags": [
                [None, "", "a|b", " a | c|", "d|a|b|c|e", "late"][5 if i >= TRAIN_ITEMS else i % 5] for i in range(N)
            ],
            "codes": pa.array([[None, [], [5, None, 6], [7] * 4][i % 4] for i in range(N)], pa.list_(pa.int32())),
            "sku": pa.array([None if i == 2 else f"sku-{i}" for i in range(N)]).dictionary_encode(),
            "year": pa.array([None if i == 1 else 1980 + i for i in range(N)], pa.int16()),
        }
    )


def _events(rng: np.random.Generator, rows: int, users: int, items: int) -> pa.Table:
    outside = -1 if items == N else 0
    return pa.table(
        {
            "user_row": pa.array(rng.permutation(np.arange(rows) % users), pa.int64()),
            "item_row": pa.array(
                np.maximum(rng.permutation(np.arange(rows) % items) - (rng.random(rows) < 0.1), outside)
            ),
            "at": pa.array(np.arange(rows) * 10**9, pa.int64()),
            "click": pa.array(rng.integers(0, 2, rows), pa.float32()),
            "place": pa.array(rng.integers(0, 10, rows), pa.int32()),
            "device": [[None, "phone", "web"][rng.integers(3)] for _ in range(rows)]
            if rows
            else pa.array([], pa.string()),
            "hour": pa.array(rng.integers(0, 24, rows), pa.int8()),
            "history": pa.array(
                [rng.integers(0, items, rng.integers(0, 2 * L)) for _ in range(rows)], pa.list_(pa.int64())
            ),
        }
    )


@pytest.fixture(scope="module", params=[False, True], ids=["int-ids", "string-ids"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Manifest]:
    # NVTabular takes an asterisk for the number of a part.
    run = write_data(tmp_path_factory.mktemp("run") / "r [1] *?'é#%41", string_ids=request.param)
    return run, prepare_features(run, config())


def encoded(run: Run, table: str) -> dict[str, np.ndarray]:
    """A table of features/, by the names of the user's columns."""
    columns = {f.name: f.column for f in FeatureSchema.load(run.folder("features") / "schema.json").features[1:]}
    columns |= {"user_id": "user_id", "item_id": "item_id"}
    return {columns.get(name, name): values for name, values in read_table(run.folder("features") / table).items()}


def codes(run: Run, side: str, name: str) -> dict[Any, int]:
    """Raw value -> code, out of the compiled vocabulary."""
    folder = run.folder("features") / "encoders"
    (record,) = [r for r in Encoder.load(folder, side).features if name in (r["name"], r["column"])]
    keys, values = (np.load(folder / record[key]) for key in ("keys", "codes"))
    return dict(zip(keys.tolist(), values.tolist(), strict=True))


def test_ids_are_known_by_training_events_alone(prepared: tuple[Run, Manifest]) -> None:
    run, manifest = prepared
    assert (manifest.info["num_train_users"], manifest.info["num_train_items"]) == (TRAIN_USERS, TRAIN_ITEMS)
    for side, name, known, total in (("user", "user_id", TRAIN_USERS, U), ("item", "item_id", TRAIN_ITEMS, N)):
        ids = np.load(run.folder("data") / f"ids/{side}s.npy").tolist()
        found = read_table(run.folder("features") / f"{side}s")[name]
        assert sorted(found[:known]) == list(range(3, 3 + known))
        assert found[known:].tolist() == [2] * (total - known)
        assert codes(run, side, name) == dict(zip(ids[:known], found[:known].tolist(), strict=True))


def test_vocabularies_and_statistics_are_those_of_train(prepared: tuple[Run, Manifest]) -> None:
    run, _ = prepared
    data = run.folder("data")
    items, users = encoded(run, "items"), encoded(run, "users")
    price = pq.read_table(data / "items.parquet")["price"].to_numpy().astype(np.float64)
    known = price[:TRAIN_ITEMS]
    scaled = (price - known.mean()) / known.std(ddof=1)
    assert scaled[TRAIN_ITEMS:].min() > MOST_DEVIATIONS > scaled[:TRAIN_ITEMS].max()
    np.testing.assert_allclose(items["price"], np.minimum(scaled, MOST_DEVIATIONS), rtol=1e-5)
    spend = pq.read_table(data / "users.parquet")["spend"].to_pandas().to_numpy()
    logs = np.log1p(spend)
    known = logs[:TRAIN_USERS][~np.isnan(logs[:TRAIN_USERS])]
    expected = np.nan_to_num((logs - known.mean()) / known.std(ddof=1), nan=0.0)
    np.testing.assert_allclose(users["spend"], expected, rtol=1e-4, atol=1e-5)
    assert users["age"][-1] == 2 and b"only in test" not in codes(run, "user", "age")
    assert (items["tags"][TRAIN_ITEMS:] == [2, 0, 0]).all()


def test_every_kind_by_hand(prepared: tuple[Run, Manifest]) -> None:
    run, _ = prepared
    items = encoded(run, "items")
    brand, tags, numbers = codes(run, "item", "brand"), codes(run, "item", "tags"), codes(run, "item", "codes")
    assert set(brand) == {0, 1, 2, 3}, "2**60 + 1 occurs once, fewer than min_frequency"
    expected = [1 if i == 3 else 2 if i == 7 else brand[i % 4] for i in range(N)]
    assert items["brand"].tolist() == expected
    a, b, c, d = (tags[letter] for letter in (b"a", b"b", b"c", b"d"))
    wanted = [[0, 0, 0], [0, 0, 0], [a, b, 0], [a, c, 0], [d, a, b]]
    assert items["tags"][:5].tolist() == wanted
    assert items["codes"][:4].tolist() == [[0, 0], [0, 0], [numbers[5], numbers[6]], [numbers[7]] * 2]
    hashes = 3 + hash_bytes([f"sku-{i}".encode() for i in range(N)]) % np.uint64(50)
    assert items["sku"].tolist() == [1 if i == 2 else int(code) for i, code in enumerate(hashes)]
    assert items["year"].tolist() == [1 if i == 1 else 3 + (1980 + i >= 1990) + (1980 + i >= 2000.5) for i in range(N)]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_events_equal_the_saved_workflows_on_raw_values(prepared: tuple[Run, Manifest], split: str) -> None:
    from workflows.features.graphs import load_workflow

    run, _ = prepared
    features, data = run.folder("features"), run.folder("data")
    raw, got = pq.read_table(data / split), encoded(run, split)
    for name in ("user_row", "item_row", "at", "click", "place"):
        np.testing.assert_array_equal(got[name], raw[name].to_numpy())
    ids = np.load(data / "ids/items.npy")
    ids = ids.astype(object) if ids.dtype.kind == "i" else np.array([value.decode() for value in ids.tolist()], object)
    lists = pd.DataFrame({"recent_item_ids": [ids[rows].tolist() for rows in raw["history"].to_pylist()]})
    history = load_workflow(features / "workflows/history").transform(lists)["recent_item_ids"]
    np.testing.assert_array_equal(got["recent_item_ids"], np.stack(list(history)))
    names = {"device": "context_1_device", "hour": "context_2_hour"}
    frame = raw.select(list(names)).to_pandas().rename(columns=names)
    context = load_workflow(features / "workflows/context").transform(frame)
    for column, name in names.items():
        np.testing.assert_array_equal(got[column], context[name])
    assert (got["recent_item_ids"] == 2).any() == (split == "valid"), "items without a training event"


def test_encoders_give_the_same_codes_as_the_tables(prepared: tuple[Run, Manifest]) -> None:
    run, _ = prepared
    features, data = run.folder("features"), run.folder("data")
    for side, path in (("user", "users"), ("item", "items")):
        table = pq.read_table(data / f"{path}.parquet")
        raw: dict[str, Any] = {
            name: np.array([*table[name].to_pylist(), None], object)[:-1] for name in table.column_names
        }
        encoded = Encoder.load(features / "encoders", side).encode(
            raw | {{"user": "uid", "item": "sku_id"}[side]: np.load(data / f"ids/{path}.npy")}
        )
        for name, values in read_table(features / path).items():
            np.testing.assert_allclose(encoded[name], values, rtol=1e-5, atol=1e-6)
    ids = np.load(data / "ids/items.npy")
    padded, lengths = ids[np.arange(2 * (L + 3)).reshape(2, -1)], np.array([L + 3, 2])
    recent = Encoder.load(features / "encoders", "history").encode({"recent_item_ids": (padded, lengths)})
    item_codes = read_table(features / "items", ["item_id"])["item_id"]
    assert recent["recent_item_ids"].tolist() == [item_codes[3 : L + 3].tolist(), [*item_codes[L + 3 : L + 5], 0, 0]]


def test_schema_lists_every_column_and_bounds_its_codes(prepared: tuple[Run, Manifest]) -> None:
    run, _ = prepared
    folder = run.folder("features")
    schema = FeatureSchema.load(folder / "schema.json")
    tables = {"user": "users", "item": "items", "context": "train", "history": "train"}
    columns = ["uid", "age", "spend", "sku_id", *CONFIG["items"], "device", "hour", "recent_item_ids"]
    assert [f.column for f in schema.features] == columns
    assert [f.name for f in schema.side("user", "item")] == (
        ["user_id", "user_1_age", "user_2_spend", "item_id"]
        + [f"item_{n}_{column}" for n, column in enumerate(CONFIG["items"], start=1)]
    )
    assert (schema.labels, schema.position, schema.history_length) == (["click"], "place", L)
    assert schema["recent_item_ids"].domain == schema["item_id"].domain == "item_id"
    assert schema["recent_item_ids"].cardinality == schema["item_id"].cardinality == TRAIN_ITEMS + 3
    for feature in schema.features:
        values = read_table(folder / tables[feature.side])[feature.name]
        assert values.shape[1:] == ((feature.length,) if feature.length else ())
        if feature.kind == "categorical":
            assert values.dtype == np.int32 and values.min() >= 0 and values.max() < feature.cardinality
        else:
            assert values.dtype == np.float32 and feature.cardinality == 0 and np.isfinite(values).all()


def test_workflows_carry_merlin_tags(prepared: tuple[Run, Manifest]) -> None:
    from merlin.schema import Tags

    from workflows.features.graphs import load_workflow

    folder = prepared[0].folder("features") / "workflows"
    item, user = (load_workflow(folder / side).output_schema for side in ("item", "user"))
    assert item.select_by_tag(Tags.ITEM_ID).column_names == ["item_id"]
    assert user.select_by_tag(Tags.USER_ID).column_names == ["user_id"]
    assert set(item.select_by_tag(Tags.CONTINUOUS).column_names) == {"item_2_price"}
    assert set(item.select_by_tag(Tags.CATEGORICAL).column_names) == {
        "item_id",
        *(f"item_{n}_{column}" for n, column in enumerate(CONFIG["items"], start=1) if column != "price"),
    }
    history = load_workflow(folder / "history").output_schema
    assert history.select_by_tag(Tags.SEQUENCE).column_names == ["recent_item_ids"]


def test_an_empty_split_keeps_its_columns(prepared: tuple[Run, Manifest]) -> None:
    folder = prepared[0].folder("features")
    test, train = read_table(folder / "test"), read_table(folder / "train")
    shapes = {name: (0, *values.shape[1:]) for name, values in train.items()}
    assert {name: values.shape for name, values in test.items()} == shapes
    assert {name: values.dtype for name, values in test.items()} == {name: v.dtype for name, v in train.items()}


def test_partitions_do_not_change_what_is_learnt(prepared: tuple[Run, Manifest], tmp_path: Path) -> None:
    run = write_data(tmp_path, string_ids=False)
    prepare_features(run, config(num_partitions=1))
    whole = encoded(run, "items")
    assert len(list((run.folder("features") / "items").glob("*.parquet"))) == 1
    prepare_features(run, config(num_partitions=3))
    parts = encoded(run, "items")
    assert len(list((run.folder("features") / "items").glob("*.parquet"))) == 3
    np.testing.assert_allclose(parts["price"], whole["price"], rtol=1e-6)
    for name in ("item_id", "brand"):  # equally frequent values may swap codes, but each keeps one of its own
        pairs = set(zip(whole[name].tolist(), parts[name].tolist(), strict=True))
        assert len(pairs) == len({left for left, _ in pairs}) == len({right for _, right in pairs})


@pytest.mark.gpu("cudf")
@pytest.mark.parametrize("string_ids", [False, True], ids=["int-ids", "string-ids"])
def test_cudf_encodes_what_pandas_encodes(tmp_path: Path, string_ids: bool) -> None:
    run, tables = write_data(tmp_path, string_ids=string_ids), {}
    for kind in ("cpu", "gpu"):
        assert prepare_features(run, config(device=kind)).info["device"] == kind
        for name in ("users", "items", "train", "valid", "test"):
            tables[kind, name] = read_table(run.folder("features") / name)
    for name in ("users", "items", "train", "valid", "test"):
        on_cpu, on_gpu = tables["cpu", name], tables["gpu", name]
        assert list(on_gpu) == list(on_cpu)
        for column, values in on_cpu.items():
            if values.dtype == np.float32:
                np.testing.assert_allclose(on_gpu[column], values, rtol=1e-5, atol=1e-6)
            else:  # equally frequent values may swap codes, but each keeps one of its own
                pairs = set(zip(values.ravel().tolist(), on_gpu[column].ravel().tolist(), strict=True))
                assert len(pairs) == len({left for left, _ in pairs}) == len({right for _, right in pairs})
                assert all(left == right for left, right in pairs if min(left, right) < 3)


def test_rerun_is_a_no_op_until_the_config_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_data(tmp_path, string_ids=False)
    first = prepare_features(run, config(context={}))
    assert prepare_features(run, config(context={})) == first
    assert "features: up to date" in capsys.readouterr().err
    again = prepare_features(run, config(context={}, history_length=2))
    assert again.fingerprint != first.fingerprint
    assert read_table(run.folder("features") / "train")["recent_item_ids"].shape == (300, 2)
    assert Encoder.load(run.folder("features") / "encoders", "context").encode({}) == {}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"items": {"colour": {}}},
            ConfigError,
            r"features.items.colour: there is no column 'colour' \(items columns: ",
        ),
        ({"context": {"colour": {}}}, ConfigError, r"context columns: device, hour\); add it to data.context"),
        ({"context": {"click": {}}}, ConfigError, "'click' is a label, which no request can carry"),
        ({"context": {"place": {}}}, ConfigError, "'place' is the position"),
        (
            {"users": {"age": {"kind": "continuous"}}},
            DataError,
            "'continuous' does not fit column 'age' of type string",
        ),
        (
            {"items": {"price": {"kind": "list"}}},
            DataError,
            "can be 'categorical', 'hashed', 'continuous' or 'buck",
        ),
        ({"items": {"price": {}}}, DataError, "'price' cannot be read as int64 for kind 'categorical'"),
        ({"items": {"codes": {}}}, DataError, "'list' where it holds integers"),
        ({"items": {"a b": {}}}, ConfigError, "features.items.a b: there is no column 'a b'"),
        ({"items": {"Brand": {}}}, ConfigError, r"no column 'Brand' .* \('brand' is there; in a table"),
        ({"items": {"__n": {}}}, ConfigError, "features.items.__n: '__n' is a column that Cascade adds"),
        ({"items": {"__Coded": {}}}, ConfigError, "features.items.__Coded: '__Coded' is a column that Cascade adds"),
        (
            {"users": {"__displayed": {}}},
            ConfigError,
            "'__displayed' is a column that Cascade adds to the table itself",
        ),
        ({"items": {"": {}}}, ConfigError, "features.items has the key '': a column has a name"),
        ({"context": {"slate_size": {}}}, ConfigError, "a request has an input or output 'slate_size' already"),
        ({"items": {"year": {"kind": "bucketised"}}}, ConfigError, "year.boundaries: .* at least one boundary"),
        (
            {"items": {"year": {"kind": "bucketised", "boundaries": [1, 3, 3]}}},
            ConfigError,
            r"must ascend, got \[1.0",
        ),
        ({"items": {"tags": {"kind": "list", "separator": ""}}}, ConfigError, "tags.separator: must hold at least one"),
    ],
)
def test_errors_say_what_to_do(
    prepared: tuple[Run, Manifest], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    run, before = prepared
    with pytest.raises(error, match=words):
        prepare_features(run, config(**changes))
    assert prepare_features(run, config()) == before, "the earlier features are untouched"


def test_reader_errors(prepared: tuple[Run, Manifest], tmp_path: Path) -> None:
    folder = prepared[0].folder("features") / "items"
    assert list(read_table(folder, ["item_2_price", "item_id"])) == ["item_2_price", "item_id"]
    assert num_rows(folder) == N
    with pytest.raises(ArtefactError, match="no column 'colour'; its columns are item_id"):
        read_table(folder, ["colour"])
    with pytest.raises(ArtefactError, match="holds no part"):
        read_table(tmp_path)


def test_null_bytes_are_refused(tmp_path: Path) -> None:
    run = write_data(tmp_path, string_ids=False)
    table = pq.read_table(run.folder("data") / "users.parquet")
    ages = pa.array(["a", "a\0", *["b"] * (U - 2)])
    pq.write_table(table.set_column(1, "age", ages), run.folder("data") / "users.parquet")
    write_manifest(run.folder("data"), read_manifest(run.folder("data")))
    with pytest.raises(DataError, match="column 'age' holds strings with a null byte"):
        prepare_features(run, config())


@pytest.mark.parametrize("elements", ["string", "int64"])
@pytest.mark.parametrize("min_frequency", [0, 3])
def test_counted_vocabularies_equal_those_of_stock_categorify(
    elements: str, min_frequency: int, tmp_path: Path
) -> None:
    import nvtabular as nvt
    from dask.dataframe.io.io import from_map

    from workflows.features.config import FeatureSpec
    from workflows.features.counts import write_vocabularies
    from workflows.features.source import Column, coded, to_frame

    rng = np.random.default_rng(5)
    values = rng.zipf(1.3, 900) % 97
    text = pa.array([f"v{value}" for value in values]) if elements == "string" else pa.array(values)
    table = pa.table({"x": pa.array(text.to_pylist(), text.type, mask=rng.random(900) < 0.1)})
    cuts = [table.slice(start, 300) for start in (0, 300, 600)]
    column = Column("x", FeatureSpec(min_frequency=min_frequency), elements)
    stock = nvt.ops.Categorify(freq_threshold=min_frequency, out_path=str(tmp_path / "stock"))
    frames = [to_frame(cut, "cpu") for cut in cuts]
    ddf = from_map(frames.__getitem__, range(3), meta=frames[0].iloc[:0])
    (theirs,) = stock.fit(nvt.ColumnSelector(["x"]), ddf).compute(scheduler="synchronous").values()
    for read in (cuts.__getitem__, lambda number: coded(cuts[number], [column])):
        ours = write_vocabularies([column], read, 3, tmp_path / "ours")["x"]
        pd.testing.assert_frame_equal(pd.read_parquet(ours), pd.read_parquet(theirs), check_dtype=False)


def test_a_piece_is_read_once_however_many_statistics_there_are(tmp_path: Path) -> None:
    from workflows.features.config import FeatureSpec
    from workflows.features.graphs import fit_workflow
    from workflows.features.source import Column

    columns = [Column(name, FeatureSpec(), "int64") for name in "abc"]
    columns += [Column(name, FeatureSpec(kind="continuous"), "float64") for name in "de"]
    table = pa.table({c.name: np.arange(8, dtype=c.dtype) for c in columns})
    pieces_read: list[int] = []

    def read(number: int) -> pa.Table:
        pieces_read.append(number)
        return table.slice(0, 0) if number == 0 else table

    workflow = fit_workflow("context", columns, read, 3, "cpu", tmp_path / "stats")
    assert pieces_read == [0, 1, 2]
    codes = workflow.transform(table.to_pandas())
    assert sorted(codes["a"]) == list(range(3, 11))
    both = np.tile(np.arange(8.0), 2)
    np.testing.assert_allclose(codes["d"], (np.arange(8) - both.mean()) / both.std(ddof=1), rtol=1e-6)

"""Splits, histories and states equal a brute-force oracle on random tables; nothing leaks back in time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workflows.tables.parts as parts
from workflows.core.artefacts import Manifest
from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.split import OUTSIDE
from workflows.tables.stage import prepare_data

LENGTH = 3
SPLITS = ("train", "valid", "test")


def prepare(
    root: Path, events: pd.DataFrame, split: SplitConfig, length: int = LENGTH, **columns: object
) -> tuple[Manifest, Path]:
    """Write the events (files: by the column `split`), run the stage, and give its manifest and folder."""
    if split.by == "files":
        schema = pa.Schema.from_pandas(events, preserve_index=False)  # an empty file has the columns' types too
        for name in SPLITS:
            events[events.split == name].to_parquet(root / f"{name}.parquet", schema=schema, index=False)
        split = SplitConfig(by="files", **{name: str(root / f"{name}.parquet") for name in SPLITS})
    else:
        events.to_parquet(root / "events.parquet")
        columns["events"] = str(root / "events.parquet")
    if "items" in columns:
        columns["items"].to_parquet(root / "items.parquet")
        columns["items"] = str(root / "items.parquet")
    run = Run(root / "run")
    return prepare_data(run, DataConfig(**columns), split, ShopConfig(), length), run.folder("data")


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(part) for part in sorted((folder / name).glob("*.parquet"))], ignore_index=True)


def expected_splits(events: pd.DataFrame, split: SplitConfig) -> list[str]:
    """The rules again, event by event."""
    if split.by in ("column", "files"):
        return events.split.tolist()
    at = events["at"].tolist()
    if split.by == "time":
        ordered, size = sorted(at), len(at)
        valid_from = ordered[size - round(size * (split.valid_fraction + split.test_fraction))]
        test_from = ordered[size - round(size * split.test_fraction)]
        return ["test" if t >= test_from else "valid" if t >= valid_from else "train" for t in at]
    result = []
    for n, user in enumerate(events.user_id):
        own = sorted((at[k], k) for k in range(len(at)) if events.user_id[k] == user)
        place = len(own) - own.index((at[n], n))
        result.append("train" if len(own) < 3 or place > 2 else "test" if place == 1 else "valid")
    return result


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, SplitConfig, str]:
    size = draw(st.integers(10, 40))
    strings = draw(st.sampled_from(["none", "users", "items", "both"]))
    integers = lambda most: draw(st.lists(st.integers(0, most), min_size=size, max_size=size))  # noqa: E731
    events = pd.DataFrame({"user_id": integers(4), "item_id": integers(8), "at": integers(12), "click": integers(1)})
    events["buy"] = integers(1)  # rows of their own as well: bought without a click
    events["split"] = draw(st.lists(st.sampled_from(SPLITS), min_size=size, max_size=size))
    events.loc[0, ["split", "at", "click"]] = "train", 0, 1  # a train split that is not empty, nor without positives
    events.loc[1, "split"] = "valid"  # where there is none, some of train is held out
    events["at"] = events["at"].astype("int64")
    events.loc[1:, "at"] += draw(st.sampled_from([0, 1]))
    if strings in ("users", "both"):
        events["user_id"] = "u\N{LATIN SMALL LETTER E WITH ACUTE}" + events.user_id.astype(str)
    if strings in ("items", "both"):
        events["item_id"] = [f"{'z' * (k % 3)}{k}" for k in events.item_id]
    by = draw(st.sampled_from(["time", "leave_last_out", "column", "files"]))
    return events, SplitConfig(by=by, valid_fraction=0.2, test_fraction=0.3), strings


@settings(max_examples=40)
@given(drawn=tables())
def test_everything_equals_the_oracle(drawn):
    events, split, strings = drawn
    if split.by == "files":  # the files are read one after the other
        events = events.sort_values("split", key=lambda s: s.map(SPLITS.index), kind="stable", ignore_index=True)
    want = expected_splits(events, split)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (Path(folder), events, split)
        columns = {"timestamp": "at", "labels": ["click", "buy"], "context": ["user_id"]}
        if "train" not in want:
            with pytest.raises(DataError, match="expected train events"):
                prepare(*arguments, **columns)
            return
        manifest, data = prepare(*arguments, **columns)
        check_against_oracle(events, want, strings, manifest, data)


def check_against_oracle(events: pd.DataFrame, want: list[str], strings: str, manifest: Manifest, data: Path) -> None:
    encode = {"item": strings in ("items", "both"), "user": strings in ("users", "both")}
    assert manifest.info["id_type"] == {side: "string" if text else "int64" for side, text in encode.items()}
    catalogue = sorted({i for i, s in zip(events.item_id, want, strict=True) if s != "test"})
    outside = sorted(set(events.item_id) - set(catalogue))
    users = sorted(set(events.user_id))
    for name, ids in (("item", catalogue), ("user", users)):
        raw = np.load(data / "ids" / f"{name}s.npy")
        assert (raw.tolist() if not encode[name] else [one.decode() for one in raw.tolist()]) == ids
        assert pd.read_parquet(data / f"{name}s.parquet")[f"{name}_id"].tolist() == ids
    item_row = {one: row for row, one in enumerate(catalogue)}
    rows = [item_row.get(i, -1) for i in events.item_id]
    order = sorted(range(len(events)), key=lambda n: (events["at"][n], n))
    interactions = [n for n in order if events.click[n] + events.buy[n] and rows[n] >= 0]
    for name in SPLITS:
        got = read(data, name)
        mine = [n for n in order if want[n] == name]
        assert got["at"].tolist() == events["at"][mine].tolist()
        assert got.item_row.tolist() == [rows[n] for n in mine]
        assert got.user_row.tolist() == [users.index(events.user_id[n]) for n in mine]
        assert got.user_id.tolist() == events.user_id[mine].tolist()
        assert got.click.tolist() == events.click[mine].tolist()
        assert got.buy.tolist() == events.buy[mine].tolist()
        numbers = [outside.index(i) if i in outside else -1 for i in events.item_id[mine]]
        if name == "test":
            assert got[OUTSIDE].fillna(-1).tolist() == numbers
        else:
            assert OUTSIDE not in got and set(numbers) <= {-1}
        for n, history in zip(mine, got.history, strict=True):
            past = [
                rows[k]
                for k in interactions
                if events.user_id[k] == events.user_id[n] and events["at"][k] < events["at"][n]
            ]
            assert history.tolist() == past[-LENGTH:]
    for name, last in (("train", 1), ("eval", 2), ("serve", 3)):
        known = [n for n in interactions if want[n] in SPLITS[:last]]
        clicked = [rows[n] for n in known if events.click[n]]
        popularity = np.load(data / "state" / name / "popularity.npy")
        assert popularity.dtype == np.float32
        assert popularity.tolist() == [clicked.count(item) for item in range(len(catalogue))]
        check_state(
            data / "state" / name,
            [(users.index(events.user_id[n]), rows[n]) for n in known],
            len(users),
        )


def check_state(state: Path, known: list[tuple[int, int]], num_users: int) -> None:
    history, indptr = np.load(state / "history.npy"), np.load(state / "seen_indptr.npy")
    seen = np.load(state / "seen_rows.npy")
    assert (history.dtype, indptr.dtype, seen.dtype) == (np.int32, np.int64, np.int32)
    assert history.shape == (num_users, LENGTH)
    for user in range(num_users):
        own = [i for u, i in known if u == user]
        latest = own[-LENGTH:]
        assert history[user].tolist() == latest + [-1] * (LENGTH - len(latest))
        assert seen[indptr[user] : indptr[user + 1]].tolist() == sorted(set(own))


def test_events_of_one_instant_never_straddle_a_cut(tmp_path):
    events = pd.DataFrame({"user_id": 1, "item_id": np.arange(100), "at": np.repeat([1, 2, 3, 4], 25)})
    manifest, data = prepare(tmp_path, events, SplitConfig(valid_fraction=0.4, test_fraction=0.1), timestamp="at")
    assert manifest.info["rows"] == {"train": 50 - 25 + 25, "valid": 25, "test": 25}
    assert [read(data, name)["at"].unique().tolist() for name in SPLITS] == [[1, 2], [3], [4]]


def test_no_train_event_is_later_than_the_first_test_event(tmp_path):
    run = Run(tmp_path)
    shop = ShopConfig(num_users=100, num_items=80, num_impressions=5_000)
    data = DataConfig(source="shop", timestamp="timestamp", labels=["click"], stock="in_stock")
    prepare_data(run, data, SplitConfig(), shop, 5)
    folder = run.folder("data")
    train, valid, test = (read(folder, name) for name in SPLITS)
    assert train["at"].max() < valid["at"].min() <= valid["at"].max() < test["at"].min()
    assert abs(len(test) - 500) <= 10  # a session's impressions share their instant
    popularity = np.load(folder / "state" / "train" / "popularity.npy")
    assert popularity.sum() == train.click.sum()
    assert (folder / "truth.npz").is_file()


def test_without_timestamps_histories_are_drawn_from_what_the_split_may_know(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(6) for item in rng.permutation(30)[: 3 + 4 * user]]
    events = pd.DataFrame(pairs, columns=["user_id", "item_id"]).sample(frac=1, random_state=1, ignore_index=True)
    events["split"] = rng.choice(SPLITS, size=len(events), p=(0.6, 0.2, 0.2))
    items = pd.DataFrame({"item_id": range(30)})
    manifest, data = prepare(tmp_path, events, SplitConfig(by="column"), items=items, length=5)
    assert not manifest.info["has_timestamp"]
    for name, allowed in (("train", ["train"]), ("valid", ["train"]), ("test", ["train", "valid"])):
        got = read(data, name)
        assert got["at"].tolist() == events.index[events.split == name].tolist()
        for event in got.itertuples():
            pool = events[(events.user_id == event.user_row) & events.split.isin(allowed)].item_id
            others = set(pool) - {event.item_row}
            assert set(event.history) <= others
            assert len(set(event.history)) == len(event.history) == min(5, len(others))
    again, data_again = prepare(tmp_path, events, SplitConfig(by="column"), items=items, length=5)
    assert again.created_at == manifest.created_at  # up to date: a no-op
    assert data_again == data


@pytest.mark.parametrize(
    ("counts", "timestamp", "length"),
    [
        ((5, 9, 12, 90), "at", 20),  # most users have few
        ((5, 9, 37, 90), "at", 37),
        ((5, 9, 70, 90), "at", 50),
        ((5, 9, 70, 90), None, 70),
        ((5, 9, 110, 120), None, 100),
    ],
)
def test_histories_are_by_default_as_long_as_three_of_four_users_need(tmp_path, counts, timestamp, length):
    pairs = [(user, item) for user, count in enumerate(counts) for item in range(count)]
    events = pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(split="train")
    later = pd.DataFrame({"user_id": 0, "item_id": range(20, 24), "split": ["valid"] * 2 + ["test"] * 2})
    events = pd.concat([events, later], ignore_index=True)
    if timestamp:
        events["at"] = range(len(events))
    manifest, data = prepare(tmp_path, events, SplitConfig(by="column"), timestamp=timestamp, length=0)
    assert manifest.info["history_length"] == length
    assert np.load(data / "state" / "serve" / "history.npy").shape == (4, length)


def test_drawn_histories_vary_from_event_to_event_and_cover_the_pool(tmp_path):
    events = pd.DataFrame({"user_id": 1, "item_id": range(60), "split": ["train"] * 50 + ["valid"] * 5 + ["test"] * 5})
    _, data = prepare(tmp_path, events, SplitConfig(by="column"), items=events[["item_id"]], length=5)
    histories = read(data, "train").history
    assert len({tuple(history) for history in histories}) > 25
    assert set(np.concatenate(histories.tolist())) == set(range(50))
    assert any(history.tolist() != sorted(history) for history in histories)


def test_without_timestamps_what_is_known_of_a_user_is_a_draw_that_stays(tmp_path):
    """Sorted by item, as public files are: the last rows would be the same few items for everybody."""
    pairs = [(user, item) for user in range(40) for item in range(60)]
    events = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    rng = np.random.default_rng(0)
    events["split"] = np.where(rng.random(len(events)) < 0.2, rng.choice(["valid", "test"], len(events)), "train")
    _, data = prepare(tmp_path, events, SplitConfig(by="column"), length=10)
    histories = {name: np.load(data / "state" / name / "history.npy") for name in ("train", "eval", "serve")}
    for name, allowed in (("train", ["train"]), ("eval", ["train", "valid"]), ("serve", ["train", "valid", "test"])):
        known = events[events.split.isin(allowed)].groupby("user_id").item_id.agg(set)
        for user, history in enumerate(histories[name]):
            assert set(history) <= known[user] and len(set(history)) == 10
    # Every item in turn, at every place: 400 draws from 60 items.
    assert np.bincount(histories["serve"].ravel(), minlength=60).min() > 0
    assert abs(histories["serve"].mean() - 29.5) < 4 * 17.3 / 20
    kept = [len(set(early) & set(late)) for early, late in zip(histories["train"], histories["serve"], strict=True)]
    assert np.mean(kept) > 7


def test_parts_hold_at_most_their_limit_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MAX_PART_ROWS", 700)
    at = np.random.default_rng(3).permutation(2_500)
    events = pd.DataFrame({"user_id": 1, "item_id": 1, "at": at, "split": "train"})
    _, data = prepare(tmp_path, events, SplitConfig(by="column", valid_fraction=0.0), timestamp="at")
    files = sorted((data / "train").glob("*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [700, 700, 700, 400]
    assert read(data, "train")["at"].tolist() == list(range(2_500))
    empty = pq.read_table(data / "test")
    assert empty.num_rows == 0
    assert empty.schema.field("history").type == pa.list_(pa.int64())


def test_users_and_items_keep_their_raw_columns_in_row_order(tmp_path):
    events = pd.DataFrame({"user_id": [9, 5, 7], "item_id": ["b", "a", "c"], "at": [1, 2, 3]})
    pd.DataFrame({"age": [30, 40, 50], "user_id": [7, 11, 9]}).to_csv(tmp_path / "users.csv", index=False)
    items = pd.DataFrame({"price": [1.5, None, 3.0, 4.0], "item_id": ["d", "c", "b", "a"]})
    manifest, data = prepare(
        tmp_path, events, SplitConfig(), items=items, users=str(tmp_path / "users.csv"), timestamp="at"
    )
    users = pd.read_parquet(data / "users.parquet")
    assert users.user_id.tolist() == [5, 7, 9, 11]
    assert users.age.fillna(-1).tolist() == [-1, 30, 50, 40]
    got = pd.read_parquet(data / "items.parquet")
    assert got.item_id.tolist() == list("abcd")
    assert got.price.fillna(-1).tolist() == [4.0, 3.0, -1, 1.5]
    assert (manifest.info["num_users"], manifest.info["num_items"]) == (4, 4)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "item", "order", "rows"),
    [
        ("goodbooks", "book_id", "position", (157_672, 25_254, 25_254)),
        ("anime", "anime_id", None, (416_967, 51_756, 51_886)),
    ],
)
def test_published_splits_are_used_as_they_are(tmp_path, shared_data, name, item, order, rows):
    folder = shared_data / name
    data = DataConfig(
        events=str(folder / "events.parquet"), items=str(folder / "items.parquet"), item_id=item, timestamp=order
    )
    manifest = prepare_data(Run(tmp_path), data, SplitConfig(by="column"), ShopConfig(), 20)
    raw = pd.read_parquet(folder / "events.parquet")
    assert manifest.info["rows"] == raw.split.value_counts().to_dict() == dict(zip(SPLITS, rows, strict=True))
    indptr = np.load(tmp_path / "data" / "state" / "train" / "seen_indptr.npy")
    train = raw[raw.split == "train"]
    assert indptr[-1] == len(train.drop_duplicates(["user_id", item]))


@pytest.mark.parametrize("timestamp", ["at", None])
def test_a_given_split_without_valid_holds_out_a_share_of_each_users_train_events(tmp_path, timestamp):
    random = np.random.default_rng(4)
    sizes = {0: 20, 1: 10, 2: 5, 3: 2}
    users = np.repeat(list(sizes), list(sizes.values()))
    events = pd.DataFrame({"user_id": users, "item_id": random.integers(0, 6, len(users))})
    events["at"], events["split"] = random.permutation(len(users)), "train"
    rare = pd.DataFrame({"user_id": [0], "item_id": [99], "at": [1_000], "split": ["train"]})
    test = pd.DataFrame({"user_id": [0], "item_id": [1], "at": [2_000], "split": ["test"]})
    events = pd.concat([events, rare, test], ignore_index=True)
    split = SplitConfig(by="column", valid_fraction=0.2)
    _, data = prepare(tmp_path, events, split, timestamp=timestamp)
    train, valid = read(data, "train"), read(data, "valid")
    of_train = events[events.split == "train"].assign(n=np.arange(len(events) - 1))
    first_of_item = of_train.sort_values("at" if timestamp else "n").groupby("item_id").head(1).index
    most = {user: round(0.2 * size) for user, size in of_train.user_id.value_counts().items()}
    held = valid.user_row.value_counts().to_dict()
    assert sum(held.values()) > 0
    assert all(count <= most[user] for user, count in held.items())
    assert len(train) + len(valid) == len(of_train)
    assert set(np.load(data / "ids/items.npy").tolist()) == set(of_train.item_id)
    if timestamp:
        latest = (
            of_train.sort_values("at")
            .groupby("user_id", group_keys=False)
            .apply(lambda own: own[::-1][: most[own.name]])
        )
        expected = latest[~latest.index.isin(first_of_item)]
        assert sorted(zip(valid.user_row, valid["at"], strict=True)) == sorted(
            zip(expected.user_id, expected["at"], strict=True)
        )
    again = SplitConfig(by="column", valid_fraction=0.0)
    (tmp_path / "none").mkdir()
    _, data = prepare(tmp_path / "none", events, again, timestamp=timestamp)
    assert len(read(data, "train")) == len(events) - 1

"""Keys of [data], [split], [shop] and [features]."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.config import Config
from tests.ensemble.every_key.case import Case
from workflows.core import device
from workflows.core.run import Run
from workflows.tables.stage import prepare_data

__all__ = ["CASES", "device_of", "write_tables"]


def write_tables(folder: Path) -> None:
    """Small tables with two columns for whatever a key can name."""
    rng = np.random.default_rng(2)
    n = np.arange(200)
    first = {"user_id": n % 20, "user_b": n % 11, "item_id": n * 7 % 13, "item_b": n * 3 % 13}
    events = first | {
        "at": 1_700_000_000 + 60 * n,
        "later": 1_700_000_000 - 60 * n,
        **{name: rng.integers(0, 2, len(n)) for name in ("click", "buy")},
        "place": (n % 5).astype(np.int32),
        "chance": np.where(n % 4, 0.0, 0.5),
        "device": np.where(n % 3, "phone", "web"),
        "cut": np.where(n % 10 < 8, "train", np.where(n % 10 == 8, "valid", "test")),
        "cut_b": np.where(n % 5 < 3, "train", "test"),
    }
    pq.write_table(pa.table(events), folder / "events.parquet", row_group_size=40)
    pq.write_table(pa.table(events).slice(0, 150), folder / "events_b.parquet")
    for name, rows in (("train", slice(0, 140)), ("valid", slice(140, 170)), ("test", slice(170, 200))):
        part = pa.table({key: values[rows] for key, values in events.items()})
        pq.write_table(part, folder / f"{name}.parquet")
        pq.write_table(part.slice(5), folder / f"{name}_b.parquet")
    items = {"item_id": np.arange(13), "item_b": np.arange(13)[::-1], "in_stock": np.arange(13) % 2 == 0}
    items |= {"number": np.arange(13) * 1.5, "words": [["a|b,c", "b", "d|e|f", ""][k % 4] for k in range(13)]}
    pq.write_table(pa.table(items), folder / "items.parquet")
    pq.write_table(pa.table({**items, "more": items["number"]}), folder / "items_b.parquet")
    pq.write_table(pa.table(items).slice(1), folder / "items_few.parquet")
    users = {"user_id": np.arange(20), "user_b": np.arange(20)[::-1], "age": np.arange(20)}
    pq.write_table(pa.table(users), folder / "users.parquet")
    pq.write_table(pa.table(users).slice(2), folder / "users_b.parquet")


def data(config: Config, folder: Path) -> Any:
    """What the data stage writes."""
    length = config.features.history_length
    done = prepare_data(Run(folder / "run"), config.data, config.split, config.shop, length, features=config.features)
    return done.content, done.info


def eligible(config: Config, folder: Path) -> list[bool]:
    """Which items may be shown."""
    from ensemble.export.eligibility import eligible_items

    found: list[bool] = eligible_items(Path("items.parquet"), config).tolist()
    return found


def shop(config: Config, folder: Path) -> list[str]:
    """The tables and the truth of the simulated shop."""
    from workflows.shop.write import write_shop

    write_shop(config.shop, folder)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]


def returns(config: Config, folder: Path) -> Any:
    """The tables, and what the shop earns by what is played."""
    from workflows.shop.laboratory import draw_visits, open_shop
    from workflows.shop.play import play

    lab = open_shop(config.shop)
    return shop(config, folder), play(lab, lab.logging_policy(), draw_visits(lab, 200, 1), 1).utility.tolist()


def notifications(config: Config, folder: Path) -> Any:
    """The tables, and what the best policy would gain."""
    from workflows.shop.pushes import open_notify

    return shop(config, folder), open_notify(config.shop, 20).optimal_value()


def feature(config: Config, folder: Path) -> list[str]:
    """The codes or numbers of the items' one feature, of a workflow fitted on the items."""
    from workflows.core.quiet import quiet

    quiet()
    from workflows.features.graphs import fit_workflow
    from workflows.features.source import canonical, resolve, to_frame

    [(name, spec)] = config.features.items.items()
    raw = pq.read_table("items.parquet")
    column = resolve(raw.schema, name, spec, table="items", usable=raw.schema.names)
    table = pa.table({column.name: canonical(raw[name], column)})
    workflow = fit_workflow("item", [column], lambda number: table, 1, "cpu", folder / "stats")
    values = workflow.transform(to_frame(table, "cpu"))[column.name]
    return [str(np.asarray(value).tolist()) for value in values]


def pieces(config: Config, folder: Path) -> int:
    """Into how many pieces NVTabular reads the events."""
    from workflows.features.source import pieces as cut

    return len(cut(Path("events.parquet"), "cpu", config.features.num_partitions))


def device_of(section: str, library: str) -> Any:
    """Where a section runs: a GPU that is asked for is taken, or is missing."""
    return lambda config, folder: device.choose(getattr(config, section).device, library).kind


BY_FILES = ("data={labels=['click']}", "split={by='files', train='train.parquet', test='test.parquet'}")
BY_COLUMN = ("split={by='column', column='cut_b'}", "data.items='items.parquet'")
CODED = ("features.items.number={kind='bucketised', boundaries=[2]}", "features.items.words={kind='hashed'}")
CUT = ("features.items.number={kind='bucketised', boundaries=[2]}",)

CASES = [
    Case("data.source=shop", data),
    Case("data.events=events_b.parquet", data),
    Case("data.items=items_b.parquet", data),
    Case("data.users=users_b.parquet", data),
    Case("data.user_id=user_b", data),
    Case("data.item_id=item_b", data),
    Case("data.user_id_type=string", data),
    Case("data.item_id_type=string", data),
    Case("data.timestamp=later", data),
    Case("data.labels=['buy']", data),
    Case("data.position=place", data),
    Case("data.propensity=chance", data),
    Case("data.context=['device', 'place']", data),
    Case("data.stock=in_stock", eligible),
    Case("data.unknown_items=error", data, ("data.items=items_few.parquet", "data.unknown_items=drop")),
    Case("split.by=leave_last_out", data),
    Case("split.valid_fraction=0.3", data),
    Case("split.test_fraction=0.3", data),
    Case("split.column=cut", data, BY_COLUMN),
    Case("split.train=train_b.parquet", data, BY_FILES),
    Case("split.valid=valid.parquet", data, BY_FILES),
    Case("split.test=test_b.parquet", data, BY_FILES),
    *(
        Case(f"shop.{change}", shop, base="shop")
        for change in (
            *("num_users=41", "num_items=31", "num_impressions=410", "num_days=50", "impressions_per_session=7"),
            *("random_share=0.9", "cold_user_fraction=0.3", "cold_item_fraction=0.3", "out_of_stock_fraction=0.6"),
            *("trends_per_day=3", "seed=8", "policy=softmax"),
        )
    ),
    *(
        Case(f"shop.{change}", shop, ("shop.trends_per_day=3",), "shop")
        for change in ("trend_strength=5", "trend_hours=7")
    ),
    *(
        Case(f"shop.notify.{change}", notifications, ("shop.notify={}",), "shop")
        for change in ("days=9", "discount=0.9", "visible=0.5", "epsilon=0.9")
    ),
    *(
        Case(f"shop.returns.{change}", returns, ("shop.returns={}", "shop.num_impressions=4000"), "shop")
        for change in ("margin=4", "click_value=1", "return_cost=2", "mean_days=50")
    ),
    *(
        Case(
            f"shop.stock.{change}", shop, ("shop.stock={}", "shop.policy=softmax", "shop.num_impressions=4000"), "shop"
        )
        for change in ("regions=2", "units=9", "arrivals_per_day=3", "central_share=0.9")
    ),
    *(
        Case(f"features.stream.lately.{change}", data, (*CODED, "stream={}", f"features.stream.lately={{{base}}}"))
        for change, base in (
            ("key=item", "key='user', count='click', windows=['10m']"),
            ("count=buy", "key='user', count='click', windows=['10m']"),
            ("since=buy", "key='user', since='click'"),
            ("windows=['1h']", "key='user', count='click', windows=['10m']"),
            ("rate=['buy', 'impression']", "key='user', rate=['click', 'impression'], windows=['1h']"),
            ("share_of=words", "key='user', share_of='number'"),
            ("last=3", "key='user', share_of='number'"),
            ("ttl=1m", "key='user', count='click', windows=['1h']"),
            ("prior=3.0", "key='user', rate=['click', 'impression'], windows=['1h']"),
        )
    ),
    Case("features.items.words.kind=categorical", feature, ("features.items.words.kind=hashed",)),
    Case("features.items.number.log=true", feature, ("features.items.number.kind=continuous",)),
    Case(
        "features.items.number.boundaries=[5]", feature, ("features.items.number={kind='bucketised', boundaries=[2]}",)
    ),
    Case("features.items.words.min_frequency=4", feature, ("features.items.words.kind=categorical",)),
    Case("features.items.words.num_buckets=5", feature, ("features.items.words.kind=hashed",)),
    Case("features.items.words.max_length=2", feature, ("features.items.words.kind=list",)),
    Case("features.items.words.separator='|'", feature, ("features.items.words.kind=list",)),
    Case("features.history_length=3", data),
    Case("features.num_partitions=3", pieces),
    Case("features.device=gpu", device_of("features", "cudf"), ("features.device=cpu",)),
]

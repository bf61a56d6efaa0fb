"""What the config names and the tables do not have is refused once the tables are read, before anything is trained."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ensemble.config import ChainConfig, Config
from ensemble.config_order import BoostRule, CalibrateRule, CapRule, FloorRule, OrderConfig, PinRule
from ensemble.refuse_by_tables import refuse_by_tables
from models.sources.config import LatestConfig
from scripts.cli import app
from tests.ensemble.synthetic import item_id, make_run
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

SMOKE = Path(__file__).parents[2] / "configs/smoke.toml"
ENDED = date(2001, 2, 3)
UNKNOWN: dict[str, Any] = {
    "pins": [PinRule(item=3, slot=1)],
    "boosts": [BoostRule(column="brand", op="==", value="x", add=1.0)],
    "caps": [CapRule(column="brand", most=1)],
    "floors": [FloorRule(column="brand", op="==", value="x", least=1)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    """A run of which the data stage alone is there."""
    run, config = make_run(tmp_path_factory.mktemp("tables") / "run")
    for folder in run.root.iterdir():
        if folder.name != "data":
            shutil.rmtree(folder)
    users = run.folder("data") / "users.parquet"
    if not users.is_file():
        pq.write_table(pa.table({"age": [1, 2]}), users)
    return run, config


def changed(config: Config, **sections: Any) -> Config:
    return msgspec.structs.replace(config, **sections)


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        ({"order": OrderConfig(diversity="mmr", alike=("brand",))}, r"^chain\.order\.alike = 'brand' is no column of "),
        (
            {"order": OrderConfig(diversity="mmr", alike=("brand",), strength="auto")},
            r"^chain\.order\.alike = 'brand' is no column of the items; they have ",
        ),
        (
            {"order": OrderConfig(calibrate=CalibrateRule(column="brand"))},
            r"^chain\.order\.calibrate\.column = 'brand' is no column of the items",
        ),
        ({"pins": UNKNOWN["pins"]}, r"^chain\.pins\[0\]\.item = 3 is not in the catalogue"),
        ({"boosts": UNKNOWN["boosts"]}, r"^chain\.boosts\[0\]\.column = 'brand' is no column of the items"),
        ({"caps": UNKNOWN["caps"]}, r"^chain\.caps\[0\]\.column = 'brand' is no column of the items"),
        ({"floors": UNKNOWN["floors"]}, r"^chain\.floors\[0\]\.column = 'brand' is no column of the items"),
        (
            {"floors": [FloorRule(column="brand", op="==", value=1, share=0.1)]},
            r"^chain\.floors\[0\]\.column = 'brand' is no column of the items",
        ),
        (
            {"floors": [FloorRule(column="price", op="<", value=-100.0, share=0.1)]},
            r"^chain\.floors\[0\] wants 0\.1 of the places, and none of the items that may be shown is of its kind$",
        ),
        (
            {"floors": [FloorRule(column="price", op="<", value=-100.0, least=1)]},
            r"^chain\.floors\[0\] wants at least 1 items, and 0 of those that may be shown are of its kind$",
        ),
        (
            {"boosts": [BoostRule(column="price", op="<", value="cheap", add=1.0)]},
            r"^chain\.boosts\[0\]\.value = 'cheap' cannot be compared with the items' 'price' of type",
        ),
    ],
)
def test_rules_of_slates_are_held_against_the_items(
    made: tuple[Run, Config], chain: dict[str, Any], sentence: str
) -> None:
    run, config = made
    with pytest.raises(ConfigError, match=sentence):
        refuse_by_tables(run, changed(config, chain=ChainConfig(num_candidates=30, slate_size=5, **chain)))


def test_rules_that_hold_pass_and_those_that_have_ended_need_not(made: tuple[Run, Config]) -> None:
    run, config = made
    refuse_by_tables(run, config)
    order = OrderConfig(diversity="dpp", alike=("category",), calibrate=CalibrateRule(column="category"))
    rules = {name: [msgspec.structs.replace(given[0], until=ENDED)] for name, given in UNKNOWN.items()}
    rules["floors"].append(FloorRule(column="price", op="<", value=-1.0, share=0.1))
    rules["pins"].append(PinRule(item=item_id(5, False), slot=1))
    refuse_by_tables(run, changed(config, chain=ChainConfig(num_candidates=30, slate_size=5, order=order, **rules)))


def test_a_column_of_nulls_alone_holds_for_no_item_whatever_its_type(tmp_path: Path) -> None:
    """Parquet that says no type for such a column is read as integers, and today's campaign may have no item."""
    run, config = make_run(tmp_path / "run")
    items = run.folder("data") / "items.parquet"
    table = pq.read_table(items)
    pq.write_table(table.append_column("campaign", pa.nulls(len(table), pa.int32())), items)
    boosts = [BoostRule(column="campaign", op="==", value="spring", add=1.0)]
    refuse_by_tables(run, changed(config, chain=ChainConfig(num_candidates=30, slate_size=5, boosts=boosts)))


def test_live_events_may_bring_a_kind_back_that_is_out_of_stock(tmp_path: Path) -> None:
    run, config = make_run(tmp_path / "run")
    items = run.folder("data") / "items.parquet"
    table = pq.read_table(items)
    rare = pa.array([row < 3 for row in range(len(table))])
    pq.write_table(table.append_column("rare", rare).append_column("there", pc.invert(rare)), items)
    stocked = changed(config, data=msgspec.structs.replace(config.data, stock="there"))
    for floor in ({"share": 0.1}, {"least": 1}):
        floors = [FloorRule(column="rare", op="==", value=True, **floor)]
        chain = ChainConfig(num_candidates=30, slate_size=5, floors=floors)
        with pytest.raises(ConfigError, match=r"^chain\.floors\[0\] wants "):
            refuse_by_tables(run, changed(stocked, chain=chain))
        refuse_by_tables(run, changed(stocked, chain=chain, stream=StreamConfig()))


def test_columns_that_other_sections_name_are_held_against_the_tables(made: tuple[Run, Config]) -> None:
    run, config = made
    latest = msgspec.structs.replace(config.sources, latest=LatestConfig(column="released"))
    words = msgspec.structs.replace(config.sources, latest=LatestConfig(column="category"))
    cases = [
        ({"sources": latest}, "sources.latest.column = 'released': the items table has no such column; expected dates"),
        ({"sources": words}, "sources.latest.column = 'category': the items table holds string there; expected dates"),
        (
            {"gate": msgspec.structs.replace(config.gate, category="kind")},
            "gate.category = 'kind' is no column of the items; they have ",
        ),
        (
            {"evaluate": msgspec.structs.replace(config.evaluate, segments=("town",))},
            "users: expected a column 'town' (evaluate.segments), got the columns ",
        ),
    ]
    for sections, sentence in cases:
        with pytest.raises(CascadeError) as raised:
            refuse_by_tables(run, changed(config, **sections))
        assert str(raised.value).startswith(sentence)
    fine = msgspec.structs.replace(config.sources, latest=LatestConfig(column="price"))
    refuse_by_tables(run, changed(config, sources=fine, gate=msgspec.structs.replace(config.gate, category="category")))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ("chain.order.diversity=mmr", "chain.order.alike=['brnd']"),
            "error: chain.order.alike = 'brnd' is no column of the items; they have ",
        ),
        (("evaluate.segments=['town']",), "error: users: expected a column 'town' (evaluate.segments), got the "),
    ],
)
def test_prepare_says_so_before_it_makes_features(tmp_path: Path, given: tuple[str, ...], said: str) -> None:
    words = [word for override in (*given, "shop.num_impressions=2000") for word in ("--set", override)]
    found = CliRunner().invoke(app, ["prepare", "--config", str(SMOKE), "--out", str(tmp_path / "run"), *words])
    assert found.exit_code == 1 and found.stderr.splitlines()[-1].startswith(said), found.stderr
    assert (tmp_path / "run/data").is_dir() and not (tmp_path / "run/features").exists()

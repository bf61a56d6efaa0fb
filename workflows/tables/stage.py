"""The first half of prepare: tables in, `data/` out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from workflows.core.artefacts import Manifest
from workflows.core.device import Device, announce
from workflows.core.lock import hold
from workflows.core.run import Run, run_stage
from workflows.features.config import FeaturesConfig
from workflows.shop.config import ShopConfig
from workflows.stream.features import LiveColumn, check_labels, live_columns
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.csv_table import feature_uses
from workflows.tables.csv_types import Use
from workflows.tables.database import database
from workflows.tables.info import DataInfo
from workflows.tables.lake.rows import as_files, versions_of
from workflows.tables.load import Inputs, find_inputs, has_csv
from workflows.tables.warehouse.address import is_warehouse

if TYPE_CHECKING:
    import duckdb

    from workflows.stream.columns import TableStream

__all__ = ["prepare_data"]

STAGE = "data"
NO_FEATURES = FeaturesConfig()


def prepare_data(
    run: Run,
    data: DataConfig,
    split: SplitConfig,
    shop: ShopConfig,
    history_length: int,
    force: bool = False,
    features: FeaturesConfig = NO_FEATURES,
) -> Manifest:
    """Read, check and split the tables, and write the folder data/ of the run (docs/ARTEFACTS.md).

    Args:
        run: the run directory.
        data: where the tables are and what their columns mean.
        split: how events become train, valid and test.
        shop: the simulated shop, written to data/raw first when `data.source` is "shop".
        history_length: L, the items kept of a user's history; 0: what is usual in train.
        force: run even when up to date.
        features: tells which columns of CSV files must be numbers, and which are text whatever they hold; and what of
            the live events the rows are to know.

    Returns:
        The manifest; its `info` is a DataInfo.

    Raises:
        DataError: a table cannot be used, said in one sentence.
        ConfigError: the config names no events, or a shop that cannot be.
    """
    announce(STAGE, Device("cpu", "DuckDB reads and splits the tables"))
    with _found(run, data, split, features) as (found, contents):
        return _run(run, data, split, shop, history_length, force, features, found, contents)


@contextmanager
def _found(
    run: Run, data: DataConfig, split: SplitConfig, features: FeaturesConfig
) -> Iterator[tuple[Inputs | None, dict[str, Any]]]:
    """The files of the tables, none for the shop, and what identifies their contents."""
    if data.source == "shop":
        yield None, {}
    elif is_warehouse(data.source):
        from workflows.tables.warehouse.fetch import fetched

        with (
            hold(run.root, writes=[STAGE]),
            fetched(run.root / f".{STAGE}.warehouse", data, split, feature_uses(features)) as tables,
        ):
            yield tables.inputs, tables.contents
    else:
        found = find_inputs(data, split)
        yield found, _fingerprints(found)


def _run(
    run: Run,
    data: DataConfig,
    split: SplitConfig,
    shop: ShopConfig,
    history_length: int,
    force: bool,
    features: FeaturesConfig,
    found: Inputs | None,
    contents: dict[str, Any],
) -> Manifest:
    config: dict[str, Any] = {"data": data, "split": split, "history_length": history_length}
    uses = feature_uses(features)
    if found is None:
        config["shop"] = shop
    elif has_csv(found):
        config["uses"] = uses
    live = live_columns(features.stream)
    if live:
        check_labels(live, list(data.labels))
        config["stream"] = live

    def body(folder: Path) -> DataInfo:
        tables = _write_shop(shop, data, folder) if found is None else data
        inputs = found or find_inputs(tables, split)
        with _scratch(run) as scratch, database(scratch) as con:
            inputs, tables = _written(inputs, tables, scratch, counted=bool(live))
            files = as_files(con, inputs, tables, split, scratch)
            info = _prepare(con, files, tables, split, uses, folder, scratch, history_length, live)
            return msgspec.structs.replace(info, table_versions=versions_of(inputs))

    if len(data.labels) > 1:  # a config knows no order of its keys; and data/ from before any label counted as seen
        contents = contents | {"seen": f"any of {', '.join(data.labels)}"}
    return run_stage(run, STAGE, config=config, after=(), inputs=contents, body=body, force=force)


def _prepare(
    con: duckdb.DuckDBPyConnection,
    inputs: Inputs,
    data: DataConfig,
    split: SplitConfig,
    uses: Mapping[str, Mapping[str, Use]],
    folder: Path,
    scratch: Path,
    history_length: int,
    live: Sequence[LiveColumn],
) -> DataInfo:
    from workflows.tables.doubts import say_doubts
    from workflows.tables.kinds import are_kinds
    from workflows.tables.load import load
    from workflows.tables.parts import write_parts
    from workflows.tables.rows import write_rows
    from workflows.tables.split import place_events
    from workflows.tables.states import usual_history_length, write_states

    loaded = load(con, inputs, data, split, uses)
    placed = place_events(con, loaded, data, split)
    say_doubts(con, loaded, data, placed.unit, uses)
    kinds = are_kinds(con, data, loaded.kinds)
    num_users, num_items = write_rows(con, loaded, data, folder)
    ordered = data.timestamp is not None
    history_length = history_length or usual_history_length(con, ordered=ordered)
    write_states(con, folder, num_users, num_items, history_length, ordered=ordered)
    stream, live = _stream(con, inputs, data, placed.unit, live, folder)
    rows = write_parts(con, data, folder, scratch, num_users, history_length, stream, live)
    return DataInfo(
        num_items=num_items,
        num_users=num_users,
        id_type={"item": loaded.item_type, "user": loaded.user_type},
        rows=rows,
        history_length=history_length,
        has_timestamp=ordered,
        timestamp_unit=placed.unit,
        labels=tuple(data.labels),
        of_kinds=kinds,
        num_dropped=placed.num_dropped,
        valid_given=placed.valid_given,
        log_id=inputs.log.log_id if inputs.log else "",
        log_offset=inputs.log.stop if inputs.log else -1,
        stream=tuple(live),
    )


def _written(inputs: Inputs, data: DataConfig, scratch: Path, *, counted: bool) -> tuple[Inputs, DataConfig]:
    """The same inputs with a log of events as a table; `counted`: and all that windows can count beside it."""
    if inputs.log is None:
        return inputs, data
    from workflows.tables.event_log import as_table

    events, data = as_table(inputs.log, data, scratch, counted=counted)
    return msgspec.structs.replace(inputs, events={"": events}), data


def _stream(
    con: duckdb.DuckDBPyConnection,
    inputs: Inputs,
    data: DataConfig,
    unit: str,
    live: Sequence[LiveColumn],
    folder: Path,
) -> tuple[TableStream | None, list[LiveColumn]]:
    """What was known when, kept in data/; and the columns with what the train events say."""
    if not live:
        return None, []
    from workflows.stream.columns import TableStream
    from workflows.stream.said import SAID_FILE, Said
    from workflows.tables.event_log import counted_file

    if inputs.log is None:
        said = Said.of_tables(con, list(data.labels), unit)
    else:
        said = Said.of_log(con, counted_file(inputs.events))
    said.write(folder / SAID_FILE)
    stream = TableStream(said)
    return stream, [stream.with_base(column) for column in live]


def _write_shop(shop: ShopConfig, data: DataConfig, folder: Path) -> DataConfig:
    """Write the shop below the stage's folder and point the config at it."""
    from workflows.shop.write import write_shop

    raw = folder / "raw"
    raw.mkdir()
    write_shop(shop, raw)
    (raw / "truth.npz").rename(folder / "truth.npz")
    paths = {table: str(raw / f"{table}.parquet") for table in ("events", "items", "users")}
    return msgspec.structs.replace(data, source="tables", **paths)


def _fingerprints(found: Inputs) -> dict[str, Any]:
    from workflows.tables.source import source_fingerprint

    sources = {f"events {name}": source for name, source in found.events.items()}
    logs = {"events": msgspec.to_builtins(found.log)} if found.log else {}
    sources |= {"items": found.items} if found.items else {}
    sources |= {"users": found.users} if found.users else {}
    return {**logs, **{name: source_fingerprint(source) for name, source in sources.items()}}


@contextmanager
def _scratch(run: Run) -> Iterator[Path]:
    folder = run.scratch(STAGE)
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

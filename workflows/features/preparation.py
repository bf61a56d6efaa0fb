"""The work of the features stage, side by side: fit, save, encode, compile, check."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import nvtabular as nvt
import pyarrow as pa
from dask.base import compute
from dask.delayed import delayed
from merlin.io.worker import clean_worker_cache

from runtime.encoders import Encoder
from workflows.core import console
from workflows.core.plain import plain
from workflows.core.run import Run
from workflows.features.bulk import encode_table
from workflows.features.compile import check_parity, compile_workflow, write_encoder
from workflows.features.config import FeaturesConfig, FeatureSpec
from workflows.features.graphs import fit_history, fit_workflow
from workflows.features.info import FeaturesInfo
from workflows.features.numbers import check_numbers
from workflows.features.probes import probe_columns, probe_table
from workflows.features.read import read_table
from workflows.features.schema import HISTORY, ITEM_ID, Feature, FeatureSchema, Side
from workflows.features.source import Column, Kept, Piece, coded, pieces, read_piece, to_frame
from workflows.features.tables import (
    SPLITS,
    RowTable,
    context_columns,
    context_table,
    read_layout,
    row_table,
    train_rows,
)
from workflows.features.write import event_columns, feature_columns, fixed_lists, history_codes, write_part
from workflows.stream.features import with_live_context
from workflows.tables.info import DataInfo

__all__ = ["Preparation"]

SAMPLE_ROWS = 1000
TABLES_BUDGET_BYTES = {"cpu": 2 << 30, "gpu": 0}
PROBE_SEED = 20_230_801


class Preparation:
    """One run of the stage.

    Args:
        run: its data/ is finished.
        config: the [features] section.
        kind: where NVTabular runs.
        folder: the new features/ folder.
    """

    def __init__(self, run: Run, config: FeaturesConfig, kind: Literal["cpu", "gpu"], folder: Path) -> None:
        config = with_live_context(config, DataInfo.load(run.folder("data")).stream)
        self.config, self.kind, self.folder = config, kind, folder
        self.stats = run.scratch("features")
        self.layout = read_layout(run.folder("data"))
        self.history_length = config.history_length or self.layout.history_length
        self.users = row_table(self.layout, "user", config, kind)
        self.items = row_table(self.layout, "item", config, kind)
        self.context = context_columns(self.layout, config)
        self.train_pieces = pieces(self.layout.folder / "train", kind, config.num_partitions)
        self.train_tables = Kept(self._read_train, lambda table: table.nbytes, TABLES_BUDGET_BYTES[kind])
        self.features: list[Feature] = []
        self.sides: dict[Side, tuple[nvt.Workflow, Encoder]] = {}

    def write(self) -> FeaturesInfo:
        """Write every artefact of features/; returns the manifest's info.

        Raises:
            DataError: a column's values do not fit its kind.
        """
        check_numbers(self.layout, self.users, self.items, self.context)
        # NVTabular caches vocabularies by path: a fresh folder for the statistics, and an empty cache before and after.
        clean_worker_cache()
        shutil.rmtree(self.stats, ignore_errors=True)
        self.stats.mkdir(parents=True)
        try:
            with plain(self.stats) as stats:
                return self._write(stats)
        finally:
            shutil.rmtree(self.stats, ignore_errors=True)
            clean_worker_cache()

    def _write(self, stats: Path) -> FeaturesInfo:
        known_users, known_items = train_rows(self.layout, len(self.users.ids), len(self.items.ids))
        self._row_side("user", self.users, known_users, stats)
        self._row_side("item", self.items, known_items, stats)
        self._context_side(stats)
        self._history_side(stats)
        rates = {"users": self._encode_rows("user", self.users), "items": self._encode_rows("item", self.items)}
        item_codes = read_table(self.folder / "items", [ITEM_ID])[ITEM_ID]
        for split in SPLITS:
            rates[split] = self._encode_events(split, item_codes)
        schema = FeatureSchema(self.features, self.layout.labels, self.layout.position, self.history_length)
        schema.save(self.folder / "schema.json")
        return FeaturesInfo(
            device=self.kind,
            num_rows=self.layout.num_rows | {"users": len(self.users.ids), "items": len(self.items.ids)},
            rows_per_s=rates,
            num_train_users=int(known_users.sum()),
            num_train_items=int(known_items.sum()),
        )

    def _row_side(self, side: Literal["user", "item"], table: RowTable, known: np.ndarray, stats: Path) -> None:
        workflow = fit_workflow(
            side,
            table.columns,
            lambda number: table.read(number, known),
            len(table.pieces),
            self.kind,
            stats / side,
        )
        self._save(side, workflow, table.columns, table.read(0).slice(0, SAMPLE_ROWS))

    def _read_train(self, number: int) -> pa.Table:
        table = context_table(self.train_pieces[number], self.context)
        return coded(table, self.context) if self.kind == "cpu" else table

    def _context_side(self, stats: Path) -> None:
        if not self.context:
            write_encoder(self.folder / "encoders", "context", [], {})
            return
        workflow = fit_workflow(
            "context",
            self.context,
            self.train_tables,
            len(self.train_pieces),
            self.kind,
            stats / "context",
        )
        sample = self.train_tables(0).slice(0, SAMPLE_ROWS)
        self._save("context", workflow, self.context, sample)

    def _history_side(self, stats: Path) -> None:
        length = self.history_length
        spec = FeatureSpec(kind="list", max_length=length)
        column = Column(HISTORY, spec, self.layout.id_types["item"], is_list=True)
        vocabulary = self.folder / "workflows" / "item" / "categories" / f"unique.{ITEM_ID}.parquet"
        workflow = fit_history(vocabulary, column, length, self.kind, stats / "history")
        ids = self.items.read(0).column(ITEM_ID).slice(0, SAMPLE_ROWS)
        self._save("history", workflow, [column], pa.table({HISTORY: pa.array([[value] for value in ids.to_pylist()])}))

    def _save(self, side: Side, workflow: nvt.Workflow, columns: Sequence[Column], sample: pa.Table) -> None:
        """Save the workflow, compile it, check the two against each other and note the features."""
        place = self.folder / "workflows" / side
        workflow.save(str(place))
        length = self.history_length if side == "history" else 0
        records, arrays = compile_workflow(side, workflow, columns, place / "categories", history_length=length)
        encoder = write_encoder(self.folder / "encoders", side, records, arrays)
        drawn = probe_columns(columns, sample.to_pydict(), PROBE_SEED)
        raw = {column.column: drawn[column.name] for column in columns}
        check_parity(encoder, workflow, raw, probe_table(columns, drawn), self.kind)
        self.sides[side] = workflow, encoder
        for record in records:
            kind: Literal["categorical", "continuous"] = (
                "continuous" if record["kind"] == "continuous" else "categorical"
            )
            domain = ITEM_ID if side == "history" else record["name"]
            sizes = record["cardinality"], record["length"]
            self.features.append(Feature(record["name"], side, kind, *sizes, domain, record["column"]))

    def _encoded(self, side: Side, table: pa.Table) -> dict[str, pa.Array]:
        """The features of one side, by the workflow on a GPU and by its compiled encoder on a CPU."""
        features = [feature for feature in self.features if feature.side == side]
        workflow, encoder = self.sides[side]
        if self.kind == "cpu":
            return feature_columns(encode_table(encoder, table), features)
        return feature_columns(workflow.transform(to_frame(table, self.kind)).to_pandas(), features)

    def _encode_rows(self, side: Literal["user", "item"], table: RowTable) -> float:
        features = [feature for feature in self.features if feature.side == side]

        def encode(number: int) -> None:
            write_part(self.folder / f"{side}s", number, self._encoded(side, table.read(number)), features)

        return self._each(f"{side}s", table.pieces, encode)

    def _encode_events(self, split: str, item_codes: np.ndarray) -> float:
        cut = pieces(self.layout.folder / split, self.kind, self.config.num_partitions)
        features = [feature for feature in self.features if feature.side in ("context", "history")]

        def encode(number: int) -> None:
            context = self.train_tables(number) if split == "train" else context_table(cut[number], self.context)
            columns = self._events(cut[number], context, item_codes)
            write_part(self.folder / split, number, columns, features)

        if not cut:  # an empty split still has its columns
            one = msgspec.structs.replace(self.train_pieces[0], row_groups=self.train_pieces[0].row_groups[:1])
            some = self._events(one, context_table(one, self.context), item_codes)
            columns = {name: array.slice(0, 0) for name, array in some.items()}
            write_part(self.folder / split, 0, columns, features)
        return self._each(split, cut, encode)

    def _events(self, piece: Piece, context: pa.Table, item_codes: np.ndarray) -> dict[str, pa.Array]:
        position = [self.layout.position] if self.layout.position else []
        raw = read_piece(piece, ["user_row", "item_row", "at", *self.layout.labels, *position, "history"])
        columns = event_columns(raw, self.layout.labels, self.layout.position)
        if self.context:
            columns |= self._encoded("context", context)
        codes = history_codes(raw["history"], item_codes, self.history_length)
        return columns | {HISTORY: fixed_lists(codes)}

    def _each(self, name: str, cut: Sequence[Piece], encode: Callable[[int], None]) -> float:
        """Encode every piece, on all cores where they share no GPU; returns rows per second."""
        started_at = time.perf_counter()
        total = sum(piece.num_rows for piece in cut)
        with console.progress(f"features: {name}", total) as bar:

            def one(number: int) -> None:
                encode(number)
                bar.advance(bar.task_ids[0], cut[number].num_rows)

            scheduler = "threads" if self.kind == "cpu" else "synchronous"
            tasks = [delayed(one)(number) for number in range(len(cut))]
            compute(*tasks, scheduler=scheduler, num_workers=os.cpu_count())
        return round(total / max(time.perf_counter() - started_at, 1e-9), 1)

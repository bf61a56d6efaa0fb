"""The artefacts of a run in the form in which Merlin Systems' operators open them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.config import Config
from ensemble.export.eligibility import eligible_items
from ensemble.export.files import place
from ensemble.merlin.lookups import CHAIN, ELIGIBLE, EMBEDDINGS, ITEMS, USERS
from ensemble.merlin.workflow import WORKFLOWS
from runtime.index.search import INDEX_FILE
from runtime.index.settings import EXACT, HNSW
from runtime.seen import SEEN_FILES
from runtime.spec import ChainSpec
from workflows.core.run import Run
from workflows.features.source import ARROW
from workflows.features.tables import RowTable, read_layout, row_table

__all__ = ["QUERY_TOWER", "RANKER", "num_searched", "prepare", "write_index"]

QUERY_TOWER, RANKER = "query_tower", "ranker"


def prepare(run: Run, config: Config, chain: Path, folder: Path) -> None:
    """Fill a folder: compiled chain, raw features, workflows, query tower, ranker and index.

    Args:
        run: whose stages up to ranking have finished.
        config: of the run.
        chain: compiled from it.
        folder: created.
    """
    folder.mkdir(parents=True)
    place(chain, folder / CHAIN)
    np.save(folder / ELIGIBLE, eligible_items(run.folder("data") / "items.parquet", config))
    place(run.folder("retrieval") / EMBEDDINGS, folder / EMBEDDINGS)
    layout = read_layout(run.folder("data"))
    _write_rows(row_table(layout, "user", config.features, "cpu"), folder / USERS)
    _write_rows(row_table(layout, "item", config.features, "cpu"), folder / ITEMS)
    place(run.folder("features") / WORKFLOWS, folder / WORKFLOWS)
    place(run.folder("retrieval") / "query_tower", folder / QUERY_TOWER)
    _write_ranker(run.folder("ranking") / "ranker", folder / RANKER)
    write_index(run.folder("index") / INDEX_FILE, folder)


def num_searched(folder: Path) -> int:
    """How many items the search must find so that C are left for everybody, once the filter has dropped what it must.

    Args:
        folder: filled by `prepare`.
    """
    chain = folder / CHAIN
    spec = ChainSpec.load(chain)
    seen = np.diff(np.load(chain / SEEN_FILES[0], mmap_mode="r"))
    most_seen = int(seen.max(initial=0)) if spec.filter_seen else 0
    return min(spec.num_items, spec.num_candidates + int((~np.load(folder / ELIGIBLE)).sum()) + most_seen)


def write_index(source: Path, folder: Path) -> None:
    """The run's index with its settings inside, where `QueryFaiss` reads them; a flat one where the search is exact.

    Args:
        source: the index; not there where the search is exact.
        folder: with the chain, the eligible items and the embeddings; the index is written into it.
    """
    settings = ChainSpec.load(folder / CHAIN).index.widened(float(np.load(folder / ELIGIBLE).mean()))
    if settings.kind != EXACT:
        index = faiss.read_index(str(source))
    else:
        embeddings = np.load(folder / EMBEDDINGS, allow_pickle=False)
        index = faiss.IndexFlatIP(embeddings.shape[1])
        index.add(embeddings)
    if settings.nprobe:
        index.nprobe = settings.nprobe
    if settings.kind == HNSW:
        index.hnsw.efSearch = settings.ef_search
    faiss.write_index(index, str(folder / INDEX_FILE))


def _write_rows(table: RowTable, path: Path) -> None:
    """The canonical rows, as the workflow was fitted on them; text plain, not as dictionaries."""
    schema = pa.schema([(c.name, pa.list_(ARROW[c.dtype]) if c.is_list else ARROW[c.dtype]) for c in table.columns])
    with pq.ParquetWriter(path, schema) as writer:
        for number in range(len(table.pieces)):
            writer.write_table(table.read(number).cast(schema))


def _write_ranker(source: Path, target: Path) -> None:
    """The ranker with a sigmoid behind it: the graph's scores are probabilities."""
    import tensorflow as tf

    ranker = tf.saved_model.load(str(source))
    serve = ranker.signatures["serving_default"]
    inputs = serve.structured_input_signature[1]

    @tf.function(input_signature=[inputs])
    def probability(values: dict[str, Any]) -> dict[str, Any]:
        return {"probability": tf.sigmoid(serve(**values)["logit"])}

    module = tf.Module()
    module.ranker, module.probability = ranker, probability
    tf.saved_model.save(module, str(target), signatures=probability)

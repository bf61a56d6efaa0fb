"""The artefacts of a run -> one folder that `runtime.chain.Chain` opens; no TensorFlow or pandas."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.config_order import OrderConfig
from ensemble.export.chain_files import ChainFiles
from ensemble.export.check_steps import check_steps
from ensemble.export.files import place
from ensemble.export.graph import plan_of
from ensemble.export.own_modules import own_modules
from ensemble.export.sample import sample_of
from ensemble.export.share_floors import NUM_LEARNERS, priced, without_shares
from ensemble.export.slate_files import codes_of, slate_files
from ensemble.export.slate_rules import check_slates, diversity_of, order_spec
from ensemble.export.strength import Chosen, chosen_strength, cosine_of_pairs, same_of_pairs
from ensemble.stream.live import live_spec
from models.dataset.features import Features, load_features
from models.index.meta import IndexMeta
from models.neighbours.meta import NeighboursMeta
from models.ranking.meta import RankingMeta
from models.retrieval.meta import RetrievalMeta
from models.sources.meta import SourcesMeta
from models.sources.own import source_step
from runtime.encoders import Encoder
from runtime.plan import Plan
from runtime.slate_spec import VECTORS_FILE
from runtime.spec import ChainSpec, SourceSpec, Tensor
from runtime.step import Step
from runtime.steps.merge import PINNED
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.features.schema import HISTORY, Feature
from workflows.tables.info import DataInfo

__all__ = ["STAGES_READ", "compile_chain", "with_what_is_learnt"]

STAGES_READ = ("data", "features", "retrieval", "neighbours", "sources", "index", "ranking")
ID_DTYPES = {"int64": "INT64", "string": "BYTES"}
CONTEXT_DTYPES = {**ID_DTYPES, "float64": "FP64", "float32": "FP32"}


def compile_chain(
    run: Run,
    config: Config,
    folder: Path,
    state: Literal["eval", "serve"],
    also: Sequence[Step] = (),
    *,
    replayed: bool = False,
) -> Plan:
    """Gather what serving needs: the sizes, the plan of the graph, and the files that the plan's steps open.

    Args:
        run: a run whose stages up to ranking have finished.
        config: its config; `chain.graph` names the graph.
        folder: where to write; created, must be empty or absent.
        state: whose histories, seen items and popularity: "eval" is before the test split, and knows live events only
            where there are stream features; "serve" after every event.
        also: steps beside the plan's whose files are wanted too.
        replayed: whether a chain of the state "eval" knows live events in any case.

    Returns:
        The plan.

    Raises:
        ArtefactError: a stage has not finished, or its artefacts contradict each other.
        ConfigError: a filter rule or the graph cannot be used, or one of the user's own steps is at fault.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stage in STAGES_READ:
        read_manifest(run.folder(stage))
    config = with_what_is_learnt(run, config, folder.parent)
    features = load_features(run)
    spec = _spec(run, config, features, state, replayed=replayed)
    spec.save(folder)
    plan, brought = plan_of(folder, config.chain.graph)
    plan.save(folder)
    files = ChainFiles(run, config, features, spec, state)
    wanted = dict.fromkeys([*plan.files(), *(name for step in also for name in step.files(spec))])
    for name in wanted:
        if name in brought:
            place(brought[name], folder / name)
        else:
            files.write(name, folder)
    if own_modules(plan):
        check_steps(run, folder, plan)
    return plan


def with_what_is_learnt(run: Run, config: Config, scratch: Path) -> Config:
    """The config with what it leaves to be learnt from slates of `chain.slate_size`: a strength, and shares as boosts.

    Args:
        run: a run whose stages up to ranking have finished.
        config: its config.
        scratch: where chains are compiled meanwhile.
    """
    if config.chain.order.diversity != "none" and config.chain.order.strength == "auto":
        config = _with_strength(run, config, scratch)
    if any(floor.share is not None for floor in config.chain.floors):
        config = _with_prices(run, config, scratch)
    return config


def _with_strength(run: Run, config: Config, scratch: Path) -> Config:
    """The config with the strength that is as large as it may be."""
    order = config.chain.order
    plain = msgspec.structs.replace(order, diversity="none", explore="none")
    with tempfile.TemporaryDirectory(prefix=".strength-", dir=scratch) as folder:
        chain = Path(folder) / "chain"
        compile_chain(run, _ordered(without_shares(config), plain), chain, "eval")
        sample = sample_of(run, chain, "chain.order.strength = 'auto'")
        vectors = np.load(run.folder("retrieval") / "item_embeddings.npy", allow_pickle=False)
        files = {VECTORS_FILE: vectors, **{name: make() for name, make in slate_files(run, config).items()}}
        found = chosen_strength(sample, files, partial(diversity_of, order), order.max_utility_loss)
    console.say(
        f"chain.order.strength: {found.strength:g}, by slates of {len(sample.rows):,} users: worth {found.loss:.2%} "
        f"less; of two items of a slate, {_likeness(run, order, vectors, found)}"
    )
    return _ordered(config, msgspec.structs.replace(order, strength=found.strength))


def _with_prices(run: Run, config: Config, scratch: Path) -> Config:
    """The config with a boost in the place of each floor that is a share over all slates."""
    plain = msgspec.structs.replace(config.chain.order, explore="none")
    with tempfile.TemporaryDirectory(prefix=".prices-", dir=scratch) as folder:
        chain = Path(folder) / "chain"
        compile_chain(run, _ordered(without_shares(config), plain), chain, "eval")
        return priced(run, config, sample_of(run, chain, "chain.floors.share", NUM_LEARNERS))


def _likeness(run: Run, order: OrderConfig, vectors: NDArray[np.float32], found: Chosen) -> str:
    """How alike two items of a slate are without diversity and with it, by everything that is known of it."""
    items = run.folder("data") / "items.parquet"
    before, after = (cosine_of_pairs(vectors, slates) for slates in found.slates)
    said = [f"the cosine by the item tower {before:.3f} without diversity and {after:.3f} with it"]
    for name in order.alike:
        codes = codes_of(items, name, "chain.order.alike")
        before, after = (same_of_pairs(codes, slates) for slates in found.slates)
        said.append(f"the share with the same {name} {before:.3f} and {after:.3f}")
    return ", ".join(said)


def _ordered(config: Config, order: OrderConfig) -> Config:
    return msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, order=order))


def _spec(
    run: Run, config: Config, features: Features, state: Literal["eval", "serve"], *, replayed: bool
) -> ChainSpec:
    info = DataInfo.load(run.folder("data"))
    retrieval, neighbours = RetrievalMeta.load(run.folder("retrieval")), NeighboursMeta.load(run.folder("neighbours"))
    sources = SourcesMeta.load(run.folder("sources"))
    _check_sizes(run, info, features, retrieval)
    schema, chain = features.schema, config.chain
    live_names = {column.name for column in info.stream}
    columns = _context_columns(run, schema.side("context"))
    context_columns = tuple(column for column in columns if column.name not in live_names)
    is_live = state == "serve" or replayed or bool(info.stream)
    live = live_spec(run, config, info, context_columns, state) if is_live else None
    order = order_spec(run, config, state)
    slates = None if order is None else order.slates
    if slates is not None:
        check_slates(run, config, slates)
    num_pins = 0 if slates is None else len(slates.pins)
    index = IndexMeta.load(run.folder("index"))
    device = index.faster_device if chain.device == "auto" else chain.device
    return ChainSpec(
        num_items=features.num_items,
        num_users=features.num_users,
        item_id_dtype=ID_DTYPES[info.id_type["item"]],
        user_id_dtype=ID_DTYPES[info.id_type["user"]],
        history_length=schema.history_length,
        embedding_dim=retrieval.embedding_dim,
        num_candidates=chain.num_candidates,
        slate_size=chain.slate_size,
        max_slate_size=chain.max_slate_size,
        max_batch_size=chain.max_batch_size,
        num_instances=chain.instances or (1 if device == "gpu" else len(os.sched_getaffinity(0))),
        max_list_length=chain.max_list_length,
        filter_seen=chain.filter_seen,
        user_features=tuple(map(_tensor, schema.side("user"))),
        context_features=tuple(map(_tensor, schema.side("context"))),
        history_feature=HISTORY,
        context_columns=context_columns,
        tower_inputs=retrieval.query_inputs,
        index=index.settings,
        recency_boost=neighbours.recency.boost,
        recency_decay=neighbours.recency.decay,
        sources=tuple(_sources(neighbours, sources, chain.num_candidates, num_pins)),
        fallback=sources.fallback,
        ranker=RankingMeta.load(run.folder("ranking")).spec,
        live=live,
        order=order,
        device=device,
        queue_delay_us=chain.queue_delay_us if device == "gpu" else 0,
        device_precision=chain.device_precision if device == "gpu" else "float32",
        device_or_cpu=chain.device == "auto" and device == "gpu",
    )


def _sources(
    neighbours: NeighboursMeta, further: SourcesMeta, num_candidates: int, num_pins: int
) -> Iterator[SourceSpec]:
    """Towers and lists, which the ranker sees; of the others those that have a place, the fallback, pinned items."""
    yield SourceSpec("towers", "runtime.sources.towers:TwoTowers", neighbours.tower_weight)
    yield SourceSpec("neighbours", "runtime.sources.neighbours:Neighbours", neighbours.neighbour_weight)
    for name, record in further.sources.items():
        if record.is_served or name == further.fallback:
            source_step(name, record.step)
            yield SourceSpec(name, record.step, record.weight, round(record.quota * num_candidates))
    if num_pins:
        yield SourceSpec(PINNED, "runtime.sources.pinned:Pinned", 0.0, num_pins)


def _check_sizes(run: Run, info: DataInfo, features: Features, retrieval: RetrievalMeta) -> None:
    embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy", mmap_mode="r", allow_pickle=False)
    expected = (info.num_items, retrieval.embedding_dim)
    if embeddings.shape != expected or features.num_items != info.num_items:
        raise ArtefactError(
            f"retrieval/item_embeddings.npy has the shape {embeddings.shape} and features/items {features.num_items} "
            f"rows, expected {expected} as data/ and retrieval/meta.json say; run the stages again from prepare"
        )


def _context_columns(run: Run, features: list[Feature]) -> list[Tensor]:
    """The inputs of a request, each of the type in which its encoder was fitted: no value is rounded on the way."""
    if not features:
        return []
    try:
        records = Encoder.load(run.folder("features") / "encoders", "context").features
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{run.folder('features') / 'encoders'} cannot be read ({error}); run cascade prepare again"
        ) from None
    return [Tensor(record["column"], CONTEXT_DTYPES[record["dtype"]], optional=True) for record in records]


def _tensor(feature: Feature) -> Tensor:
    return Tensor(feature.name, "INT32" if feature.kind == "categorical" else "FP32", feature.length or 1)

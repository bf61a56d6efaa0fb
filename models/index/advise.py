"""Choose the index of a catalogue: the fastest per query that reaches the recall target with the filters on.

A catalogue above `sample_items` is compared on a sample first: every kind is built and tuned there, and its cost on the
whole is estimated by its order of growth. On the whole the kinds are then tried, the cheapest estimate first, until one
holds and none of those left could be cheaper.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.index.config import IndexConfig
from models.index.factory import FEWEST_ITEMS, list_work, num_lists, plans_for
from models.index.trial import Catalogue, Tried
from models.index.workload import Workload
from runtime.index.search import INDEX_FILE
from runtime.index.settings import EXACT, HNSW
from workflows.core import console

__all__ = ["Advice", "advise"]

SEED = 1


class Advice(msgspec.Struct, frozen=True):
    """The chosen index, the reason, and everything that was measured."""

    picked: Tried
    why: str
    measured: list[Tried]


def advise(
    embeddings: NDArray[np.float32], workload: Workload, config: IndexConfig, folder: Path, *, on_gpu: bool = False
) -> Advice:
    """Measure, choose and build.

    Args:
        embeddings: float32 [N, D] by item_row; may be memory-mapped.
        workload: the queries and filters that it must serve.
        config: the target, the bounds, and a kind where one is forced.
        folder: index.faiss is left here unless the search is exact.
        on_gpu: build inverted lists on the first GPU, and measure exact and inverted-list search there too.
    """
    scratch = folder / "trials"
    scratch.mkdir()
    try:
        advice = _advise(embeddings, workload, config, scratch, on_gpu)
        if advice.picked.kind != EXACT:
            (scratch / f"{advice.picked.plan.name}.faiss").rename(folder / INDEX_FILE)
        return advice
    finally:
        shutil.rmtree(scratch)


def _advise(
    embeddings: NDArray[np.float32], workload: Workload, config: IndexConfig, scratch: Path, on_gpu: bool
) -> Advice:
    num_items = len(embeddings)
    forced = config.kind if config.kind != "auto" else None
    whole = Catalogue(embeddings, workload, config, scratch)
    exact = [whole.exact(device) for device in (("cpu", "gpu") if on_gpu else ("cpu",))]
    if forced == EXACT:
        return _picked(exact, min(exact, key=_cost), "the config asks for it")
    if num_items < FEWEST_ITEMS or (forced is None and num_items <= config.exact_up_to):
        return _picked(exact, min(exact, key=_cost), f"{num_items:,} items are too few for anything else to pay")
    plans = plans_for(forced, num_items)
    if num_items <= config.sample_items or len(plans) == 1:
        tried = [_say(each) for plan in plans for each in whole.approximate(plan, on_gpu=on_gpu)]
        return _cheapest(exact, tried, config) if forced is None else _forced(exact, tried, [])
    rows = np.sort(np.random.default_rng(SEED).choice(num_items, config.sample_items, replace=False))
    (scratch / "sample").mkdir()
    sample = Catalogue(embeddings[rows], workload.among(rows), config, scratch / "sample")
    on_sample = [_say(each) for plan in plans for each in sample.approximate(plan, on_gpu=on_gpu)]
    if forced is None:
        return _on_the_whole(whole, exact, on_sample, config, on_gpu)
    best = min((_estimate(each, num_items, config) for each in on_sample), key=_rank)
    return _forced(exact, [_say(each) for each in whole.approximate(best.plan, on_gpu=on_gpu)], on_sample)


def _forced(exact: list[Tried], tried: list[Tried], on_sample: list[Tried]) -> Advice:
    """The cheapest plan of the one kind that was asked for, whether it holds or not."""
    advice = _picked([*exact, *tried], min(tried, key=_rank), "the config asks for it")
    seen = [msgspec.structs.replace(each, verdict=each.verdict or "on the sample") for each in on_sample]
    return msgspec.structs.replace(advice, measured=[*seen, *advice.measured])


def _on_the_whole(
    whole: Catalogue, exact: list[Tried], on_sample: list[Tried], config: IndexConfig, on_gpu: bool
) -> Advice:
    """Build the kinds in the order of their estimates until one that holds is as cheap as the next could be."""
    num_items = len(whole.embeddings)
    estimates = [_estimate(each, num_items, config) for each in on_sample]
    tried = list[Tried]()
    for estimate in sorted(estimates, key=_rank):
        cheapest = min([*exact, *(each for each in tried if not each.verdict)], key=_cost)
        if estimate.verdict or cheapest.ms_per_query <= estimate.ms_per_query:
            continue
        if estimate.plan not in {each.plan for each in tried}:
            tried += [_say(each) for each in whole.approximate(estimate.plan, on_gpu=on_gpu)]
    advice = _cheapest(exact, tried, config)
    of_sample = [
        msgspec.structs.replace(each, verdict=estimate.verdict or "on the sample")
        for each, estimate in zip(on_sample, estimates, strict=True)
    ]
    return msgspec.structs.replace(advice, measured=[*of_sample, *advice.measured])


def _estimate(tried: Tried, num_items: int, config: IndexConfig) -> Tried:
    """What a kind measured on a sample would cost on the whole, and whether that is out of bounds."""
    growth = num_items / tried.num_items
    if tried.kind == HNSW:
        # Not the logarithm of the textbook: 4 times the time was seen for 10 times the items, for want of cache.
        slower, longer = growth**0.6, growth
    else:
        # As many lists are probed, each N / nlist long.
        slower = growth * tried.nlist / num_lists(num_items, tried.lists_per_root)
        longer = list_work(num_items, tried.lists_per_root) / list_work(tried.num_items, tried.lists_per_root)
    build_s, index_bytes = tried.build_s * longer, int(tried.index_bytes * growth)
    verdict = tried.verdict
    if build_s > config.max_build_s:
        verdict = f"would take {build_s:,.0f} s to build"
    elif index_bytes > config.max_index_mb * 2**20:
        verdict = f"would hold {index_bytes / 2**20:,.0f} MiB"
    return msgspec.structs.replace(
        tried,
        ms_per_query=tried.ms_per_query * slower,
        build_s=build_s,
        index_bytes=index_bytes,
        verdict=verdict,
    )


def _cheapest(exact: list[Tried], tried: list[Tried], config: IndexConfig) -> Advice:
    """The cheapest that holds; exact where it costs about the same."""
    tried = [_within_bounds(each, config) for each in tried]
    held = [each for each in tried if not each.verdict]
    simple = min(exact, key=_cost)
    if not held:
        return _picked([*exact, *tried], simple, "no other kind reached the target within the bounds")
    best = min(held, key=_cost)
    saved_ms = simple.ms_per_query - best.ms_per_query
    if saved_ms < config.exact_within_ms:
        return _picked([*exact, *tried], simple, f"{best.kind} would save {max(saved_ms, 0.0):.3f} ms a query")
    return _picked([*exact, *tried], best, f"saves {saved_ms:.3f} ms a query over comparing every item")


def _within_bounds(tried: Tried, config: IndexConfig) -> Tried:
    verdict = tried.verdict
    if tried.build_s > config.max_build_s:
        verdict = "took longer than max_build_s"
    elif tried.index_bytes > config.max_index_mb * 2**20:
        verdict = "holds more than max_index_mb"
    return msgspec.structs.replace(tried, verdict=verdict)


def _picked(measured: list[Tried], picked: Tried, why: str) -> Advice:
    table = [
        msgspec.structs.replace(each, verdict="picked" if each is picked else each.verdict or "costs more")
        for each in measured
    ]
    return Advice(picked, why, table)


def _cost(tried: Tried) -> float:
    return tried.ms_per_query


def _rank(tried: Tried) -> tuple[bool, float]:
    """Those that may be taken first, the cheapest of them first."""
    return bool(tried.verdict), tried.ms_per_query


def _say(tried: Tried) -> Tried:
    console.say(
        f"index: {tried.kind} on {tried.device.upper()}, {tried.num_items:,} items, {tried.nlist:,} lists: "
        f"{tried.ms_per_query:.3f} ms a query, recall {tried.index_recall_at_k:.4f}, built in {tried.build_s:.1f} s"
    )
    return tried

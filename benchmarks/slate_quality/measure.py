"""`python -m benchmarks slate-quality`: the same chain with and without rules, judged by the simulated shop's truth."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.goals.measure import slates_of, warm_queries
from benchmarks.live.quality import random_instants
from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from benchmarks.slate_quality.judged import Judge, Judged
from ensemble.config import Config
from ensemble.config_order import CalibrateRule, FloorRule, OrderConfig
from ensemble.evaluation.setting import open_setting
from ensemble.export.eligibility import eligible_items
from models.metrics.bootstrap import Resamples, interval
from workflows.core import console
from workflows.core.run import Run

__all__ = ["measure_slate_quality", "tables_of"]

Slates = NDArray[np.int32]
SIZE, COLUMN, ALIKE = 20, "category", ("category", "brand")
PROVIDER, NUM_PROVIDERS = "brand", 10
PLAIN, SPREAD, CALIBRATED = "by score", "dpp, alike by category and brand", "calibrated to categories"
FLOORED = "floors for brands"
ORDERS = {
    PLAIN: OrderConfig(),
    "mmr, alike by the item tower": OrderConfig(diversity="mmr", strength="auto"),
    "dpp, alike by the item tower": OrderConfig(diversity="dpp", strength="auto"),
    "mmr, alike by category and brand": OrderConfig(diversity="mmr", strength="auto", alike=ALIKE),
    SPREAD: OrderConfig(diversity="dpp", strength="auto", alike=ALIKE),
    CALIBRATED: OrderConfig(calibrate=CalibrateRule(column=COLUMN)),
}
SUMMARY = """The chain of `{config}`, asked for {num_queries:,} users of the test split whose past is known, each at the
instant and in the context of one of its test events drawn at random. Slates of {size}. Strengths are chosen by the
chain's own probabilities (`strength = "auto"`, `max_utility_loss = {loss:g}`), which know nothing of the truth; what
slates earn is judged by the shop's own probabilities of a click, discounted by place as in NDCG. How alike two items
of a slate are is told by four measures: the cosine of the vectors by which the shop decides what is clicked, which no
rule sees; that of the vectors of the item tower, as they are and less their mean over the catalogue; and the share of
pairs of one category. The divergence is that of Steck (2018), of the categories of a user's history from those of the
slate. The floors give each of the {num} brands of most items the share of places that it has of the items; they are
learnt on users of the chain's own, and measured on those that are asked."""


def measure_slate_quality(run: Run, config: Config, config_name: str, num_queries: int) -> Benchmark:
    """Ask the chain of each order.

    Args:
        run: of the simulated shop, with its stages up to the ranker.
        config: its config.
        config_name: for the page.
        num_queries: users, at most.
    """
    started_at = time.perf_counter()
    setting = open_setting(run, config)
    queries = warm_queries(random_instants(run, setting, config, num_queries), setting)
    judged = Judge(run, setting, queries, COLUMN)
    slates: dict[str, Slates] = {}
    floors = floors_of(run, config)
    for name, order in {**ORDERS, FLOORED: OrderConfig()}.items():
        console.say(f"benchmark: {name}")
        chain = msgspec.structs.replace(config.chain, order=order, floors=floors if name == FLOORED else [])
        slates[name] = slates_of(run, msgspec.structs.replace(config, chain=chain), setting, queries, SIZE)
    found = {name: judged.judged(each) for name, each in slates.items()}
    exposure = exposures_of(run, floors, slates[PLAIN], slates[FLOORED])
    resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
    worth, alike = tables_of(found, resamples)
    loss = OrderConfig().max_utility_loss
    plain, spread, calibrated, floored = (found[name] for name in (PLAIN, SPREAD, CALIBRATED, FLOORED))
    missing = max(1 - float(row[4] or 0) / float(row[2] or 1) for row in exposure.rows)
    return Benchmark(
        name="slate_quality",
        title="What diversity, calibration and floors do to slates",
        summary=SUMMARY.format(config=config_name, num_queries=len(queries), size=SIZE, loss=loss, num=NUM_PROVIDERS),
        command=command_line("slate-quality", {"config": config_name, "num_queries": num_queries}),
        settings={"queries": len(queries), "seconds": round(time.perf_counter() - started_at)},
        figures=[worth, alike, exposure],
        targets=[
            judge(f"{SPREAD}: likeness by the shop's vectors", spread.planted / plain.planted - 1, "<=", -0.2),
            judge(f"{SPREAD}: true worth lost", _lost(spread, plain), "<=", 0.02),
            judge(f"{CALIBRATED}: divergence", calibrated.divergence / plain.divergence - 1, "<=", -0.3),
            judge(f"{CALIBRATED}: true worth lost", _lost(calibrated, plain), "<=", 0.02),
            judge(f"{FLOORED}: largest share of a floor that is missing", missing, "<=", 0.1),
            judge(f"{FLOORED}: true worth lost", _lost(floored, plain), "<=", 0.02),
        ],
        plots=[],
        notes=[],
    )


def tables_of(found: dict[str, Judged], resamples: Resamples) -> tuple[Table, Table]:
    """What slates earn, and how alike their items are; the first of them is what others are compared with."""
    plain = next(iter(found.values()))
    worth: list[list[Cell]] = []
    alike: list[list[Cell]] = []
    for name, each in found.items():
        means = resamples.means(np.stack([each.worth, plain.worth], axis=1))
        losses: NDArray[np.float64] = 1.0 - means[:, 0] / means[:, 1]
        lost = interval(_lost(each, plain), losses)
        worth.append([name, float(each.worth.mean()), lost.value, lost.low, lost.high])
        measures = [(getattr(each, key), getattr(plain, key)) for key in (*LIKENESS, "divergence")]
        alike.append([name, *(cell for own, other in measures for cell in (own, own / other - 1))])
    columns = [cell for key in (*LIKENESS.values(), "divergence") for cell in (key, "change")]
    return (
        Table("What slates earn", ["slates", "true worth", "lost, share", "lower bound", "upper bound"], worth),
        Table("How alike the items of a slate are", ["slates", *columns], alike),
    )


LIKENESS = {
    "planted": "cosine, shop's vectors",
    "raw": "cosine, item tower",
    "centred": "cosine, item tower less its mean",
    "same": "pairs of one category",
}


def _lost(slates: Judged, plain: Judged) -> float:
    return float(1 - slates.worth.sum() / plain.worth.sum())


def floors_of(run: Run, config: Config) -> list[FloorRule]:
    """For each of the largest brands the share of places that it has of the items that may be shown."""
    items = run.folder("data") / "items.parquet"
    may = eligible_items(items, config)
    brands = np.asarray(pq.read_table(items, columns=[PROVIDER])[PROVIDER].to_pylist(), object)[may]
    names, counts = np.unique([str(brand) for brand in brands if brand is not None], return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:NUM_PROVIDERS]
    return [
        FloorRule(column=PROVIDER, op="==", value=str(names[n]), share=float(counts[n] / may.sum())) for n in largest
    ]


def exposures_of(run: Run, floors: list[FloorRule], plain: Slates, floored: Slates) -> Table:
    """The share of places of each floor's items, by score and with the floors."""
    brands = pq.read_table(run.folder("data") / "items.parquet", columns=[PROVIDER])[PROVIDER].to_pylist()
    rows: list[list[Cell]] = []
    for floor in floors:
        of_brand = np.array([brand == floor.value for brand in brands])
        shares = [float(of_brand[slates[slates >= 0]].mean()) for slates in (plain, floored)]
        rows.append([floor.column, str(floor.value), floor.share, *shares, shares[1] / (floor.share or 1.0) - 1])
    columns = ["column", "value", "floor, share of places", PLAIN, "with the floors", "above the floor, share of it"]
    return Table("Who is shown", columns, rows)

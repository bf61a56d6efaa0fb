"""The curve over sizes: each size in a process of its own, kept, then one result of all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.catalogue.growth import shape_of, slope
from benchmarks.catalogue.piece import NUM_CANDIDATES, NUM_USERS, Piece
from benchmarks.result import Benchmark, Cell, Plot, Series, Table, Target, command_line, judge
from workflows.core import console
from workflows.core.errors import CascadeError

__all__ = ["measure_catalogue", "summarise"]

FOLDER = "catalogue"
MB = 1e6
COSTS: dict[str, Callable[[Piece], float]] = {
    "item tower over the catalogue, s": lambda p: p.embed_s,
    "ranker export, s": lambda p: p.export_s,
    "index advice, all trials, s": lambda p: p.advise_s,
    "index build, s": lambda p: p.index["build_s"],
    "index, MB": lambda p: p.index["index_bytes"] / MB,
    "ranker's item arrays, MB": lambda p: p.ranking_bytes / MB,
    "everything a server opens, MB": lambda p: p.artefact_bytes / MB,
    "peak private memory of the build, MB": lambda p: p.build_peak_bytes / MB,
    "start of the chain, s": lambda p: p.start_s,
    "private memory of a serving process, MB": lambda p: p.private_bytes / MB,
    "search, ms": lambda p: p.index["ms_per_query"],
    "search with 99% of the items ineligible, ms": lambda p: p.heavy_ms,
    "one user in the local chain at p50, ms": lambda p: p.p50_ms,
}
SUMMARY = f"""What a catalogue costs as it grows. Items are synthetic: unit embeddings of 64 dimensions that differ in
12 of them, as trained ones use few, around cluster centres (some two hundred items each, some far more, half of each
vector its own), five encoded features an item as in the simulated shop, a vocabulary of at most a million item ids;
queries lie near items; 95% of the items are eligible and every one of {NUM_USERS:,} users has seen 20, of which each
contributes to 16 others. Towers and ranker are the real ones of the default config, untrained, and export, the index
advisor and the chain are those of the product. {NUM_CANDIDATES} candidates, 20 shown. Each size was built in one
process and served in another, on one thread. Searches are timed on the processor's clock, the chain by the wall's."""
NOTES = (
    "Index recall is measured with the filters on, over the first 100 candidates; the advisor's target is 0.99.",
    "Private memory is what each instance holds for itself; mapped artefacts are shared and not counted.",
    "With 99% of the items ineligible, the server looks at each of the eligible ones; slates are full.",
    "Peak private memory of the build leaves pages of mapped files out, which the machine can take back.",
    "Growth is the exponent b of a least-squares fit of cost = a N^b over all sizes of the table.",
)


def measure_catalogue(out: Path, sizes: Sequence[int]) -> Benchmark:
    """Measure the sizes that are not kept in `out` yet, smallest first, and put all of them together.

    Raises:
        CascadeError: a size could not be built.
    """
    kept = out / FOLDER
    kept.mkdir(parents=True, exist_ok=True)
    pieces = []
    for size in sorted(set(sizes)):
        path = kept / f"{size}.json"
        if not path.is_file():
            console.say(f"catalogue: {size:,} items")
            path.write_bytes(_run(size, kept / f"{size}.chain"))
        pieces.append(msgspec.json.decode(path.read_bytes(), type=Piece))
    return summarise(pieces)


def _run(size: int, folder: Path) -> bytes:
    """A size in a process of its own, so that its peak memory is its own; the chain is removed afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.catalogue.piece", str(size), str(folder)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=dict(os.environ))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        raise CascadeError(f"a catalogue of {size:,} items could not be measured (status {done.returncode}), see above")
    return done.stdout


def summarise(pieces: Sequence[Piece]) -> Benchmark:
    """Pieces, smallest first, -> the result."""
    sizes = [piece.num_items for piece in pieces]
    return Benchmark(
        name="catalogue",
        title="Large catalogues",
        summary=SUMMARY,
        command=command_line("catalogue", {"sizes": ",".join(map(str, sizes))}),
        settings={"candidates": NUM_CANDIDATES, "users": NUM_USERS},
        figures=[_costs(pieces), _chosen(pieces), _trials(pieces)],
        plots=_plots(pieces),
        targets=_targets(pieces),
        notes=list(NOTES),
    )


def _costs(pieces: Sequence[Piece]) -> Table:
    sizes = [piece.num_items for piece in pieces]
    rows: list[list[Cell]] = []
    for name, cost in COSTS.items():
        costs = [cost(piece) for piece in pieces]
        exponent = slope(sizes, costs)
        rows.append([name, *costs, exponent, shape_of(exponent)])
    return Table("Costs by size", ["cost", *(f"{size:,} items" for size in sizes), "growth b", "shape"], rows)


def _chosen(pieces: Sequence[Piece]) -> Table:
    columns = ["items", "index", "settings", "index recall", "search, ms", "recall, 99% ineligible"]
    columns += ["why", "ranker's item parts", "p99, ms"]
    rows: list[list[Cell]] = [
        [
            piece.num_items,
            piece.index["kind"],
            _settings(piece.index),
            piece.index["index_recall_at_k"],
            piece.index["ms_per_query"],
            piece.heavy_recall,
            piece.index["why"],
            piece.item_parts,
            piece.p99_ms,
        ]
        for piece in pieces
    ]
    return Table("What was chosen", columns, rows)


def _trials(pieces: Sequence[Piece]) -> Table:
    columns = ["items", "measured on", "index", "settings", "index recall", "ms a query", "build, s", "MB", "verdict"]
    rows: list[list[Cell]] = [
        [
            piece.num_items,
            tried["num_items"],
            tried["kind"],
            _settings(tried),
            tried["index_recall_at_k"],
            tried["ms_per_query"],
            tried["build_s"],
            tried["index_bytes"] / MB,
            tried["verdict"],
        ]
        for piece in pieces
        for tried in piece.index["measured"]
    ]
    return Table("What the index advisor measured", columns, rows)


def _settings(tried: dict) -> str:
    names = {"nlist": "nlist", "nprobe": "nprobe", "ef_search": "efSearch"}
    parts = [f"{label} {tried[name]}" for name, label in names.items() if tried[name]]
    parts += [f"{tried['overfetch']} times fetched"] if tried["overfetch"] > 1 else []
    return ", ".join(parts) or "every item"


def _plots(pieces: Sequence[Piece]) -> list[Plot]:
    sizes: list[str | float] = [piece.num_items for piece in pieces]

    def plot(name: str, title: str, unit: str, costs: Sequence[str]) -> Plot:
        series = [
            Series(cost.rpartition(",")[0], sizes, [COSTS[cost](piece) or None for piece in pieces]) for cost in costs
        ]
        return Plot(name, title, "lines", "items", unit, series, "xy")

    return [
        plot("time", "Seconds to build", "s", [name for name in COSTS if name.endswith(", s")]),
        plot("memory", "Memory and files", "MB", [name for name in COSTS if name.endswith(", MB")]),
        plot("latency", "One user", "ms", [name for name in COSTS if name.endswith(", ms")]),
    ]


def _targets(pieces: Sequence[Piece]) -> list[Target]:
    recalls = [piece.index["index_recall_at_k"] for piece in pieces]
    exponent = slope([piece.num_items for piece in pieces], [piece.p50_ms for piece in pieces])
    return [
        judge("index recall at 100 with the filters on, lowest of all sizes", min(recalls), ">=", 0.99),
        judge("start of the chain, slowest of all sizes, s", max(piece.start_s for piece in pieces), "<=", 5.0),
        judge("p50 of one user: growth exponent", exponent, "<=", 0.5),
    ]

"""Findings -> the tables, the plots and the targets of the result file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from benchmarks.result import Benchmark, Plot, Series, Table, Target, command_line, judge
from benchmarks.serving.findings import Agreement, Findings
from benchmarks.serving.rounds import Figures
from benchmarks.serving.settings import Settings
from benchmarks.serving.variants import FULL_BATCH, LOADS, MANY, ONE, SEVERAL, Load
from ensemble.config import Config

__all__ = ["CHAIN_LOOP", "PATCHED_LOOP", "summarise"]

CHAIN_LOOP, PATCHED_LOOP = "chain, in a loop", "stock patched, in a loop"
FUSED, ENSEMBLE, IDENTITY, STOCK = "fused, gRPC", "ensemble, gRPC", "identity, gRPC", "stock, gRPC"
MB = 1e6
Read = Callable[[str, Load], float | None]
NOTES = (
    "The load generator shares the cores with the server; where its share of a core is near 1, it bounds users/s.",
    "Resident memory is the proportional set size of all processes of a server, after every load; mapped artefacts "
    "count as far as they were touched.",
    "A loop without a server is one client, whatever the load's number of clients.",
)
SUMMARY = """One user's slate: {candidates} candidates retrieved from {items} items, filtered, ranked, ordered, {slate}
shown. `fused` and `ensemble` are Cascade's own layouts; `identity` is the floor, a Triton model with the same tensors
that computes nothing; `fused, instances: N` serves from N processes instead of one a core; `chain, in a loop` is the
limit, the same chain without a server.{stock}All were served by the same Triton at the same time and asked in turn, in
short slices, by a load generator in its own process: known users at random, each with the context of a random event,
response cache off. A lone gRPC client waits inside its call; several share an event loop."""
STOCK_SUMMARY = """

`stock` is the same towers, ranker and fitted NVTabular workflows in Merlin Systems' own operators
(`TransformWorkflow`, `PredictTensorflow`, `QueryFaiss` on the same index file, `FilterCandidates`, `UnrollFeatures`,
`SoftmaxSampling`), exported by `Ensemble.export`. TensorFlow and the workflows run in process, as this Triton has no
TensorFlow backend; raw features come from files in memory instead of Feast; and the towers alone retrieve, as stock
has no item-item lists: all three favour it. `merlin` is the layout of that name: the same operators with what they lack
beside ours, so that it answers as `fused` does. `stock patched` is stock's graph in a loop without a server, each node
run once, with nvtabular_cpp's lookups and NumPy in place of pandas.

"""


def summarise(findings: Findings, config: Config, settings: Settings, seconds: float) -> Benchmark:
    """Put the findings into the form of a result file.

    Args:
        findings: what was seen.
        config: of the run.
        settings: of the measurement.
        seconds: that the measurement took, training left out.
    """
    sizes = {
        "items": config.shop.num_items,
        "users": config.shop.num_users,
        "candidates": config.chain.num_candidates,
        "slate": config.chain.slate_size,
    }
    options = {**sizes, "seconds": settings.seconds, "rounds": settings.rounds}
    text = SUMMARY.format(stock=STOCK_SUMMARY if settings.stock else " ", **{n: f"{v:,}" for n, v in sizes.items()})
    return Benchmark(
        name="serving",
        title="Serving",
        summary=text,
        command=command_line("serving", options, () if settings.stock else ("--no-stock",)),
        settings={**options, "compared users": settings.compared, "measuring, s": round(seconds)},
        figures=[
            *_load_tables(findings),
            *_step_tables(findings.steps),
            _server_table(findings),
            _agreement_table(findings.agreement),
        ],
        plots=_plots(findings),
        targets=_targets(findings),
        notes=_notes(findings),
    )


def _load_tables(findings: Findings) -> list[Table]:
    columns = ["variant", "p50, ms", "p99, ms", "p50 of the slices, ms", "users/s", "server CPU s per 1,000 users"]
    columns += ["load generator's share of a core", "requests"]
    tables = []
    for load in LOADS:
        found = {variant: f for (variant, name), f in findings.figures.items() if name == load.name}
        tables.append(Table(load.name, columns, [[variant, *_cells(figures)] for variant, figures in found.items()]))
    return tables


def _step_tables(steps: Mapping[int, Mapping[str, float]]) -> list[Table]:
    """Where the chain's own time goes."""
    if not steps:
        return []
    names = list(next(iter(steps.values())))
    rows: list = [[name, *(found[name] for found in steps.values())] for name in names]
    rows.append(["all", *(sum(found.values()) for found in steps.values())])
    return [Table("Steps of the chain, in a loop", ["step", *(f"ms a user, {n} a request" for n in steps)], rows)]


def _cells(figures: Figures) -> list[str | float | int | None]:
    if figures.p50_ms is None:
        return ["refused", None, None, None, None, None, 0]
    spread = f"{figures.lowest_p50_ms:.3g} to {figures.highest_p50_ms:.3g}"
    rate, cpu = figures.users_per_s, figures.cpu_s_per_1000_users
    return [figures.p50_ms, figures.p99_ms, spread, rate, cpu, figures.client_share, figures.num_requests]


def _server_table(findings: Findings) -> Table:
    rows: list = [
        [name, facts.ready_s, facts.resident_bytes / MB, facts.artefact_bytes / MB, facts.bytes_above_artefacts / MB]
        for name, facts in findings.servers.items()
    ]
    columns = ["server", "start to ready, s", "resident, MB", "artefacts, MB", "resident above the artefacts, MB"]
    return Table("Start and memory", columns, rows)


def _agreement_table(agreement: Agreement) -> Table:
    rows: list = [
        [f"{variant}: slates and scores equal those of the chain asked one user at a time", "yes" if same else "no"]
        for variant, same in agreement.like_chain.items()
    ]
    compared = f"of {agreement.compared}"
    rows.append(
        [
            "the chain's slates that NumPy gives over the items that the index reaches",
            agreement.like_reference,
            compared,
        ]
    )
    rows.append(["share of the exact slate, over the whole catalogue, that the chain shows", agreement.chain_overlap])
    if agreement.stock_overlap is not None:
        rows.append(["share of it that stock shows, whose last operator samples", agreement.stock_overlap])
        rows.append(["largest difference of stock's probabilities from NumPy's", agreement.stock_score_difference])
    if agreement.merlin_overlap is not None:
        rows.append(["share of it that the layout merlin shows", agreement.merlin_overlap])
        rows.append(["largest difference of its probabilities from NumPy's", agreement.merlin_score_difference])
    return Table("Answers", ["comparison", "result", ""], [row + [""] * (3 - len(row)) for row in rows])


def _plots(findings: Findings) -> list[Plot]:
    variants = list(dict.fromkeys(variant for variant, _ in findings.figures))

    def series(value: str, loads: tuple) -> list[Series]:
        return [
            Series(
                variant,
                [load.name for load in loads],
                [getattr(findings.figures.get((variant, load.name)), value, None) for load in loads],
            )
            for variant in variants
        ]

    return [
        Plot("latency", "One user, one client: p50", "bars", "", "ms", series("p50_ms", (ONE,)), "y"),
        Plot(
            "throughput",
            "Users per second",
            "bars",
            "",
            "users/s",
            series("users_per_s", (SEVERAL, MANY, FULL_BATCH)),
            "y",
        ),
    ]


def _targets(findings: Findings) -> list[Target]:
    """The targets; a ratio counts only while the slates are those of the reference."""
    p50, rate = _reader(findings, "p50_ms"), _reader(findings, "users_per_s")
    fused = findings.servers["fused"]
    floor = _sum(p50(IDENTITY, ONE), p50(CHAIN_LOOP, ONE))
    per_batch = _ratio(rate(FUSED, FULL_BATCH), rate(CHAIN_LOOP, FULL_BATCH))
    apart = _sum(p50(ENSEMBLE, ONE), -(p50(FUSED, ONE) or 0.0))
    latency, throughput = bounds(p50, rate)
    found = [
        judge("one user, one client, gRPC p50: stock / fused", _ratio(p50(STOCK, ONE), p50(FUSED, ONE)), ">=", 150),
        judge("p50: stock patched, in process / fused, gRPC", _ratio(p50(PATCHED_LOOP, ONE), p50(FUSED, ONE)), ">=", 3),
        judge("p50: fused, gRPC / (identity, gRPC + chain in a loop)", _ratio(p50(FUSED, ONE), floor), "<=", 1.5),
        judge("users/s with 32-user requests: fused, gRPC / chain in a loop", per_batch, ">=", 0.7),
        judge(
            "users/s of 64 clients, one user each, gRPC: fused / stock",
            _ratio(rate(FUSED, MANY), rate(STOCK, MANY)),
            ">=",
            500,
        ),
        judge("one user, one client, gRPC p50: ensemble - fused, ms", apart, "<=", 2.0),
        judge("start to ready, fused, s", fused.ready_s, "<=", 5.0),
        judge("resident memory above the artefacts, fused, MB", fused.bytes_above_artefacts / MB, "<=", 200),
    ]
    why = (latency, latency, latency, throughput, throughput)
    return [
        target if target.met or target.value is None else msgspec.structs.replace(target, note=note)
        for target, note in zip(found, (*why, *[""] * (len(found) - len(why))), strict=True)
    ]


def bounds(p50: Read, rate: Read) -> tuple[str, str]:
    """What bounds one user's latency and the throughput, in the run's own figures."""
    whole, chain, floor = p50(FUSED, ONE), p50(CHAIN_LOOP, ONE), p50(IDENTITY, ONE)
    most, full = rate(CHAIN_LOOP, ONE), rate(CHAIN_LOOP, FULL_BATCH)
    if whole is None or chain is None or floor is None or most is None or full is None:
        return "", ""
    return (
        f"Of fused's {whole:.2f} ms, the chain's own computation takes {chain:.2f} ms in a loop and Triton's round "
        f"trip with an empty model {floor:.2f} ms; the rest is processes waking each other beside the load generator.",
        f"The chain in a loop, without any server, answers {most:,.0f} users/s one by one and {full:,.0f} in requests "
        "of 32, on one core; Triton's own work and the load generator take their share of the cores.",
    )


def _reader(findings: Findings, name: str) -> Read:
    def read(variant: str, load: Load) -> float | None:
        figures = findings.figures.get((variant, load.name))
        return getattr(figures, name) if figures and findings.agreement.identical else None

    return read


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _sum(first: float | None, second: float | None) -> float | None:
    return first + second if first is not None and second is not None else None


def _notes(findings: Findings) -> list[str]:
    refused = [
        f"{variant}, {load}: refused ({figures.error.splitlines()[0][:200]})"
        for (variant, load), figures in findings.figures.items()
        if figures.error
    ]
    return [*NOTES, *refused]

"""The benchmark from start to end: serve everything, compare the answers, load everything in turn, stop everything."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.result import Benchmark
from benchmarks.serving.findings import Agreement, Findings, ServerFacts
from benchmarks.serving.questions import Questions, draw_questions
from benchmarks.serving.reference import Answer, Reference, overlap, query_chain, query_server, query_stock
from benchmarks.serving.repositories import artefact_bytes, write_identity, write_with_instances
from benchmarks.serving.rounds import figures_of, interleave
from benchmarks.serving.settings import Settings
from benchmarks.serving.stock.helper import MERLIN_REPOSITORY, STOCK_REPOSITORY
from benchmarks.serving.summary import CHAIN_LOOP, PATCHED_LOOP, summarise
from benchmarks.serving.variants import (
    FULL_BATCH,
    LOADS,
    ONE,
    PROTOCOLS,
    LoopVariant,
    ServedVariant,
    Server,
    Variant,
    started,
)
from benchmarks.serving.worker import Worker
from ensemble.config import Config
from ensemble.serving.repository import find_repository
from runtime.chain import Chain
from runtime.plan import Plan
from runtime.spec import ChainSpec
from workflows.core import console
from workflows.core.quiet import quiet
from workflows.core.run import Run

__all__ = ["measure"]

PACKAGE = "benchmarks.serving"
STOCK, MERLIN, IDENTITY, OTHER = "stock", "merlin", "identity", "fused, instances: {}"
OURS = ("fused", "ensemble")
# One slate of stock takes as long as hundreds of ours.
MAX_COMPARED_STOCK = 50
NUM_QUESTIONS = 4096
# Requests in which the steps of the chain are timed.
PROFILED = 400
WARM_UP_S = 0.5


def measure(run: Run, config: Config, settings: Settings) -> Benchmark:
    """Measure a run whose stages up to export have finished.

    Args:
        run: with both layouts in its repo/.
        config: of the run.
        settings: how much is measured.

    Raises:
        ArtefactError: a stage has not finished.
        ServingError: a server could not be started.
    """
    quiet()
    started_at = time.perf_counter()
    repositories = {layout: find_repository(run.root, layout) for layout in OURS}
    chain_folder = repositories["fused"] / "cascade/1/chain"
    spec = ChainSpec.load(chain_folder)
    questions = draw_questions(run, spec, NUM_QUESTIONS, settings.seed)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cascade-benchmark-")))
        questions_file = scratch / "questions.npz"
        questions.save(questions_file)
        repositories[IDENTITY] = write_identity(scratch / IDENTITY, spec, Plan.load(chain_folder))
        num_instances = max(1, spec.num_instances // 2) if spec.num_instances > 1 else 2
        other = OTHER.format(num_instances)
        repositories[other] = write_with_instances(scratch / "other", chain_folder, spec, num_instances)
        helper = _start_stock(stack, run, config, chain_folder, questions_file, scratch) if settings.stock else None
        if helper is not None:
            repositories[STOCK] = scratch / STOCK / STOCK_REPOSITORY
            repositories[MERLIN] = scratch / STOCK / MERLIN_REPOSITORY
        servers = {name: stack.enter_context(started(path)) for name, path in repositories.items()}
        console.say(f"benchmark: serving {', '.join(servers)}")
        agreement = _compare(run, config, settings, servers, chain_folder, questions)
        generator = stack.enter_context(Worker(f"{PACKAGE}.load", str(questions_file)))
        loop = stack.enter_context(Worker(f"{PACKAGE}.loop", str(chain_folder), str(questions_file)))
        variants: list[Variant] = [
            *(served for name, s in servers.items() for served in _served(name, s, generator)),
            LoopVariant(CHAIN_LOOP, loop),
            *([LoopVariant(PATCHED_LOOP, helper, largest=1)] if helper else []),
        ]
        interleave(variants, LOADS[:1], seconds=WARM_UP_S, rounds=1, seed=settings.seed)
        slices = interleave(
            variants, LOADS, seconds=settings.seconds, rounds=settings.rounds, seed=settings.seed, say=console.say
        )
        steps = {load.batch: loop.ask(batch=load.batch, steps=PROFILED) for load in (ONE, FULL_BATCH)}
        facts = {name: _facts(server, repositories[name]) for name, server in servers.items()}
    findings = Findings({pair: figures_of(found) for pair, found in slices.items()}, facts, agreement, steps)
    return summarise(findings, config, settings, time.perf_counter() - started_at)


def _start_stock(
    stack: ExitStack, run: Run, config: Config, chain: Path, questions_file: Path, scratch: Path
) -> Worker:
    """The helper, once it has exported stock and the layout `merlin` into SCRATCH/stock."""
    folder, resolved = scratch / STOCK, scratch / "config.json"
    folder.mkdir()
    resolved.write_bytes(msgspec.json.encode(config))
    helper = stack.enter_context(
        Worker(f"{PACKAGE}.stock.helper", str(run.root), str(resolved), str(chain), str(questions_file), str(folder))
    )
    console.say("benchmark: exporting stock Merlin Systems and the layout merlin")
    helper.ask(export=True)
    return helper


def _served(name: str, server: Server, generator: Worker) -> list[Variant]:
    if name in (STOCK, MERLIN):
        # Merlin's operators flatten the candidates of all users of a request into one list, and what a protocol costs
        # is lost in their time.
        return [ServedVariant(name, "grpc", server, generator, largest=1)]
    protocols = PROTOCOLS if name in (*OURS, IDENTITY) else PROTOCOLS[:1]
    return [ServedVariant(name, protocol, server, generator) for protocol in protocols]


def _facts(server: Server, repository: Path) -> ServerFacts:
    return ServerFacts(server.ready_s, server.resident_bytes(), artefact_bytes(repository))


def _compare(
    run: Run,
    config: Config,
    settings: Settings,
    servers: Mapping[str, Server],
    chain_folder: Path,
    questions: Questions,
) -> Agreement:
    """Ask the first users of everybody: alone over one protocol, side by side over the other."""
    item_ids = np.load(run.folder("data") / "ids/items.npy", mmap_mode="r", allow_pickle=False)
    reference = Reference(run, config, chain_folder, questions, settings.compared)
    ours = query_chain(Chain.load(chain_folder), questions, settings.compared, item_ids)
    like_chain = {}
    for layout in OURS:
        for url, batch in ((servers[layout].grpc_url, 1), (servers[layout].http_url, 32)):
            answers = query_server(url, questions, settings.compared, batch, item_ids)
            name = f"{layout}, {url.partition(':')[0]}, {batch} users a request"
            like_chain[name] = all(a == b for a, b in zip(answers, ours, strict=True))
    rows = [answer.rows for answer in ours]
    stock: list[Answer] = []
    merlin: list[Answer] = []
    if STOCK in servers:
        count = min(settings.compared, MAX_COMPARED_STOCK)
        stock = query_stock(servers[STOCK].grpc_url, questions, count)
        merlin = query_server(servers[MERLIN].grpc_url, questions, count, 1, item_ids)
    return Agreement(
        compared=settings.compared,
        like_chain=like_chain,
        like_reference=reference.num_identical(rows),
        chain_overlap=overlap(rows, reference.exact),
        stock_overlap=overlap([a.rows for a in stock], reference.exact[: len(stock)]) if stock else None,
        stock_score_difference=reference.worst_score(stock) if stock else None,
        merlin_overlap=overlap([a.rows for a in merlin], reference.exact[: len(merlin)]) if merlin else None,
        merlin_score_difference=reference.worst_score(merlin) if merlin else None,
    )

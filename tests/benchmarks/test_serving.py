"""The parts of the serving benchmark: slices add up, costs are those of the process tree, targets count rightly."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent import futures
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from benchmarks.serving.findings import Agreement, Findings, ServerFacts
from benchmarks.serving.load import ask_alone, generate
from benchmarks.serving.loop import timed_steps
from benchmarks.serving.questions import Questions
from benchmarks.serving.rounds import Figures, Measured, figures_of, interleave
from benchmarks.serving.settings import Settings
from benchmarks.serving.summary import CHAIN_LOOP, summarise
from benchmarks.serving.usage import cpu_seconds, resident_bytes
from benchmarks.serving.variants import FULL_BATCH, MANY, ONE, Load
from benchmarks.serving.worker import Slice, Worker
from ensemble.config import Config
from workflows.core.errors import CascadeError


class FakeVariant:
    """Answers in `wall_s` a slice and writes down when it was asked."""

    def __init__(self, name: str, wall_s: float, log: list[str], error: str = "") -> None:
        self.name, self._wall_s, self._log, self._error = name, wall_s, log, error

    def takes(self, load: Load) -> bool:
        return load.batch == 1

    def run(self, load: Load, seconds: float) -> tuple[Slice, float]:
        self._log.append(self.name)
        return Slice([1.0], 1, self._wall_s, 0.0, self._error), 0.5


def test_every_round_asks_every_variant_and_a_slow_or_refusing_one_is_left_out_of_later_rounds() -> None:
    log: list[str] = []
    variants = [FakeVariant("quick", 1, log), FakeVariant("slow", 9, log), FakeVariant("refuses", 1, log, "no")]
    found = interleave(variants, [ONE, FULL_BATCH], seconds=1.0, rounds=4, seed=0)
    assert {pair: len(slices) for pair, slices in found.items()} == {
        ("quick", ONE.name): 4,
        ("slow", ONE.name): 1,
        ("refuses", ONE.name): 1,
    }
    assert sorted(log[:3]) == ["quick", "refuses", "slow"]


def test_figures_pool_the_slices() -> None:
    slices = [Measured(Slice([1.0, 3.0], 64, 0.5, 0.1), 0.25), Measured(Slice([5.0], 32, 0.25, 0.05), 0.25)]
    assert figures_of(slices) == Figures(
        p50_ms=3.0,
        p99_ms=pytest.approx(4.96),
        lowest_p50_ms=2.0,
        highest_p50_ms=5.0,
        users_per_s=128.0,
        cpu_s_per_1000_users=pytest.approx(1000 * 0.5 / 96),
        client_share=pytest.approx(0.2),
        num_requests=3,
    )
    assert figures_of([Measured(Slice([], 0, 0.1, 0.0, "no"), 0.0)]).error == "no"


def test_questions_survive_their_file_and_go_around_their_end(tmp_path) -> None:
    columns = {"user_id": np.array([5, 6, 7]), "device": np.array([b"tv", b"", b"phone"])}
    questions = Questions(columns, {"user_id": "INT64", "device": "BYTES"}, np.array([0, 1, 2]))
    questions.save(tmp_path / "q.npz")
    loaded = Questions.load(tmp_path / "q.npz")
    assert loaded.datatypes == questions.datatypes and loaded.user_rows.tolist() == [0, 1, 2]
    batch = loaded.batch(2, 2)
    assert batch["user_id"].tolist() == [[7], [5]] and batch["device"].tolist() == [[b"phone"], [b"tv"]]


def test_costs_are_those_of_the_process_and_its_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        assert cpu_seconds(process.pid) >= 0.28
        assert resident_bytes(process.pid) > resident_bytes(process.pid + 10**7) == 0
        process.stdin.close()
    assert cpu_seconds(process.pid) == 0


async def _refusing_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in range(3):
        await reader.readuntil(b"\r\n\r\n")
        status = "200 OK" if number < 2 else "400 Bad Request"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode())
    writer.close()


def test_the_load_generator_stops_at_a_refusal_and_counts_what_was_answered() -> None:
    async def ask() -> Slice:
        server = await asyncio.start_server(_refusing_server, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await generate([b"GET / HTTP/1.1\r\n\r\n"], "http", port, clients=1, batch=32, seconds=30.0)

    found = asyncio.run(ask())
    assert (len(found.latencies_ms), found.num_users, found.error) == (2, 64, "no")


def test_a_lone_grpc_client_counts_what_was_answered_and_stops_at_a_refusal() -> None:
    import grpc

    answered = iter([b"ok"] * 3)

    def answer(request: bytes, context: Any) -> bytes:
        found = next(answered, None)
        if found is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return found or b""

    handler = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService", {"ModelInfer": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        found = ask_alone([b"a", b"b"], port, batch=32, seconds=30.0)
    finally:
        server.stop(None)
    assert (len(found.latencies_ms), found.num_users, found.error) == (3, 96, "no")


def test_the_steps_are_timed_in_turn_each_on_what_those_before_it_gave() -> None:
    class First:
        name = "first"

        def run(self, arrays):
            arrays["doubled"] = arrays["user_id"] * 2

    class Second:
        name = "second"
        seen: ClassVar[list] = []

        def run(self, arrays):
            self.seen.append(arrays["doubled"][:, 0].tolist())

    questions = Questions({"user_id": np.arange(3)}, {"user_id": "INT64"}, np.arange(3))
    found = timed_steps([First(), Second()], questions, batch=2, count=4)
    assert list(found) == ["first", "second"] and all(value > 0 for value in found.values())
    assert Second.seen == [[0, 2], [4, 0], [2, 4], [0, 2]]


def test_a_worker_that_dies_is_one_sentence() -> None:
    with (
        Worker("benchmarks.serving.load", "no such file") as worker,
        pytest.raises(CascadeError, match="ended"),
    ):
        worker.ask(protocol="grpc")


def _findings(same: bool = True) -> Findings:
    def figures(p50_ms: float, users_per_s: float) -> Figures:
        return Figures(p50_ms, p50_ms, p50_ms, p50_ms, users_per_s, 1.0, 0.5, 10)

    loads = {
        ("fused, gRPC", ONE): figures(0.6, 1000),
        ("ensemble, gRPC", ONE): figures(2.6, 400),
        ("identity, gRPC", ONE): figures(0.2, 4000),
        (CHAIN_LOOP, ONE): figures(0.2, 5000),
        ("stock, gRPC", ONE): figures(150, 6),
        ("fused, gRPC", MANY): figures(10, 5000),
        ("stock, gRPC", MANY): figures(9000, 5),
        ("fused, gRPC", FULL_BATCH): figures(10, 8000),
        (CHAIN_LOOP, FULL_BATCH): figures(3, 10_000),
    }
    servers = {name: ServerFacts(1.0, 400_000_000, 100_000_000) for name in ("fused", "ensemble")}
    agreement = Agreement(compared=3, like_chain={"fused": same}, like_reference=3, chain_overlap=1.0)
    return Findings({(variant, load.name): f for (variant, load), f in loads.items()}, servers, agreement)


def test_targets_are_the_ratios_that_were_promised() -> None:
    targets = summarise(_findings(), Config(), Settings(stock=True), 60.0).targets
    assert [None if t.value is None else round(t.value, 6) for t in targets] == [
        250,
        None,
        1.5,
        0.8,
        1000,
        2.0,
        1.0,
        300,
    ]
    assert [t.met for t in targets] == [True, False, True, True, True, True, True, False]


def test_no_ratio_counts_while_a_slate_differs() -> None:
    targets = summarise(_findings(same=False), Config(), Settings(), 60.0).targets
    assert all(target.value is None and not target.met for target in targets[:6])


def test_the_result_survives_its_file() -> None:
    result = summarise(_findings(), Config(), Settings(), 60.0)
    assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result

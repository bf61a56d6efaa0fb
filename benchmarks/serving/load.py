"""The load generator, in a process of its own: closed-loop clients over gRPC or HTTP.

Started as `python -m benchmarks.serving.load QUESTIONS`. Requests are serialised before the clock starts and
answers are not decoded, so that a slow client does not hide a fast server: on a small machine both share the cores.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.questions import Questions
from benchmarks.serving.worker import Slice, answer_jobs

__all__ = ["Refused", "ask_alone", "generate"]

HOST = "127.0.0.1"
MODEL = "cascade"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
MAX_CHANNELS = 8
CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
]

Send = Callable[[bytes], Awaitable[None]]


class Refused(Exception):
    """The server answered with an error."""


class Generator:
    """Keeps the serialised requests between jobs."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._bodies: dict[tuple, list[bytes]] = {}

    def run(self, job: dict[str, Any]) -> Slice:
        """One job: {"protocol", "port", "clients", "batch", "seconds"}."""
        requests = self._requests(job)
        if (job["protocol"], job["clients"]) == ("grpc", 1):
            return ask_alone(requests, **{k: job[k] for k in ("port", "batch", "seconds")})
        return asyncio.run(
            generate(requests, **{k: job[k] for k in ("protocol", "port", "clients", "batch", "seconds")})
        )

    def _requests(self, job: dict[str, Any]) -> list[bytes]:
        key = (job["protocol"], job["batch"])
        if key not in self._bodies:
            serialise = {"grpc": _grpc_body, "http": _http_body}[job["protocol"]]
            starts = range(0, len(self._questions.user_rows), job["batch"])
            batches = [self._questions.batch(start, job["batch"]) for start in starts]
            self._bodies[key] = [serialise(batch, self._questions.datatypes) for batch in batches]
        return self._bodies[key]


async def generate(
    requests: Sequence[bytes], protocol: str, port: int, clients: int, batch: int, seconds: float
) -> Slice:
    """Let `clients` ask, each as soon as its last answer is there, for a while; then wait for the last answers.

    Args:
        requests: serialised, taken in turn.
        protocol: "grpc" or "http".
        port: on this machine.
        clients: how many ask at once.
        batch: users a request.
        seconds: how long new requests are sent.
    """
    connect = {"grpc": _grpc_clients, "http": _http_clients}[protocol]
    senders, close = await connect(port, clients)
    latencies: list[float] = []
    errors: list[str] = []
    cpu_at, started_at = time.process_time(), time.perf_counter()
    counter = iter(range(1 << 62))

    async def client(send: Send) -> None:
        while (before := time.perf_counter()) - started_at < seconds and not errors:
            try:
                await send(requests[next(counter) % len(requests)])
            except Refused as error:
                errors.append(str(error))
                return
            latencies.append((time.perf_counter() - before) * 1e3)

    await asyncio.gather(*map(client, senders))
    wall_s, cpu_s = time.perf_counter() - started_at, time.process_time() - cpu_at
    await close()
    return Slice(latencies, len(latencies) * batch, wall_s, cpu_s, errors[0] if errors else "")


def ask_alone(requests: Sequence[bytes], port: int, batch: int, seconds: float) -> Slice:
    """One gRPC client that waits inside its call, as a service would that asks for a slate.

    An event loop adds its own waking to every answer: a fifth of a fast server's latency, and nothing to a slow one's.

    Args:
        requests: serialised, taken in turn.
        port: on this machine.
        batch: users a request.
        seconds: how long new requests are sent.
    """
    import grpc

    latencies: list[float] = []
    error = ""
    with grpc.insecure_channel(f"{HOST}:{port}", CHANNEL_OPTIONS) as channel:
        grpc.channel_ready_future(channel).result()
        call = channel.unary_unary(METHOD)
        cpu_at, started_at = time.process_time(), time.perf_counter()
        while (before := time.perf_counter()) - started_at < seconds and not error:
            try:
                call(requests[len(latencies) % len(requests)])
                latencies.append((time.perf_counter() - before) * 1e3)
            except grpc.RpcError as refused:
                error = str(refused.details())
        wall_s, cpu_s = time.perf_counter() - started_at, time.process_time() - cpu_at
    return Slice(latencies, len(latencies) * batch, wall_s, cpu_s, error)


async def _grpc_clients(port: int, count: int) -> tuple[list[Send], Callable[[], Awaitable[None]]]:
    import grpc

    channels = [grpc.aio.insecure_channel(f"{HOST}:{port}", CHANNEL_OPTIONS) for _ in range(min(count, MAX_CHANNELS))]
    # Without serialisers bytes go out and come in as they are.
    calls = [channel.unary_unary(METHOD) for channel in channels]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))

    def sender(call: Any) -> Send:
        async def send(body: bytes) -> None:
            try:
                await call(body)
            except grpc.aio.AioRpcError as error:
                raise Refused(error.details()) from None

        return send

    async def close() -> None:
        await asyncio.gather(*(channel.close() for channel in channels))

    return [sender(calls[number % len(calls)]) for number in range(count)], close


async def _http_clients(port: int, count: int) -> tuple[list[Send], Callable[[], Awaitable[None]]]:
    """One kept-alive connection a client."""
    connections = [await asyncio.open_connection(HOST, port) for _ in range(count)]

    def sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Send:
        async def send(body: bytes) -> None:
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(_content_length(head))
            if not head.startswith(b"HTTP/1.1 200"):
                raise Refused(content.decode(errors="replace"))

        return send

    async def close() -> None:
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()

    return [sender(*connection) for connection in connections], close


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise Refused(f"an answer without a length: {head!r}")


def _grpc_body(batch: dict[str, np.ndarray], datatypes: dict[str, str]) -> bytes:
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import serialize_byte_tensor

    request = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, values in batch.items():
        request.inputs.add(name=name, datatype=datatypes[name], shape=values.shape)
        is_text = datatypes[name] == "BYTES"
        request.raw_input_contents.append(serialize_byte_tensor(values).item() if is_text else values.tobytes())
    body: bytes = request.SerializeToString()
    return body


def _http_body(batch: dict[str, np.ndarray], datatypes: dict[str, str]) -> bytes:
    from tritonclient.http import InferenceServerClient, InferInput

    inputs = []
    for name, values in batch.items():
        inputs.append(InferInput(name, list(values.shape), datatypes[name]))
        inputs[-1].set_data_from_numpy(values)
    body: bytes
    body, json_length = InferenceServerClient.generate_request_body(inputs)
    head = [
        f"POST /v2/models/{MODEL}/infer HTTP/1.1",
        f"Host: {HOST}",
        f"Inference-Header-Content-Length: {json_length}",
        "Content-Type: application/octet-stream",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def main(questions_path: str) -> None:
    """Answer jobs."""
    answer_jobs(Generator(Questions.load(Path(questions_path))).run)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How fast events go into a real server: one at a time, and many clients with many events in each request.

`python -m benchmarks.stream.ingest RUN` serves the exported run RUN with an empty folder of live events. The clients
are this process, on the same cores: requests are serialised before the clock starts and answers are not decoded.
Every event is a new one of its own: a user and an item drawn evenly, a label and an event id.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.serving.load import ask_alone, generate
from benchmarks.serving.worker import Slice
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.spec import StreamSpec

__all__ = ["Setting", "measure", "requests"]

EXPECTED_PER_S = 150_000


class Setting(NamedTuple):
    """How events are sent: by how many clients at once, how many in a request, for how long."""

    clients: int
    batch: int
    seconds: float


SETTINGS = (Setting(1, 1, 5.0), Setting(8, 64, 5.0), Setting(4, 512, 5.0))


def measure(run: Path, settings: Sequence[Setting] = SETTINGS) -> list[dict[str, float]]:
    """Figures of each setting, on a server of its own with an empty folder of live events.

    Args:
        run: a run whose export takes in live events.
        settings: what is measured, in this order.

    Returns:
        One record a setting: clients, batch, events_per_s, p50_ms and p99_ms of a request's acknowledgement.

    Raises:
        RuntimeError: the server refused a request.
    """
    repository = find_repository(run)
    ids = {name: np.load(run / "data" / "ids" / f"{name}s.npy") for name in ("user", "item")}
    labels = StreamSpec.load(repository / EVENTS_MODEL / "1").labels
    with (
        tempfile.TemporaryDirectory(prefix="cascade-benchmark-", dir=run) as folder,
        TritonServer(repository, events=Path(folder) / "events") as server,
    ):
        return [_figures(setting, _run(setting, ids, labels, server.ports["grpc"])) for setting in settings]


def requests(setting: Setting, ids: dict[str, NDArray], labels: Sequence[str], rng: np.random.Generator) -> list[bytes]:
    """Serialised gRPC requests of new events, as many as a fast server takes in the time.

    Args:
        setting: how they are sent.
        ids: raw ids of users and items.
        labels: of the events, drawn evenly.
        rng: draws users, items and labels.
    """
    per_s = EXPECTED_PER_S if setting.clients > 1 else EXPECTED_PER_S // 150
    count = max(round(per_s * setting.seconds) // setting.batch, 1)
    return [_body(setting.batch, ids, labels, rng) for _ in range(count)]


def _run(setting: Setting, ids: dict[str, NDArray], labels: Sequence[str], port: int) -> Slice:
    bodies = requests(setting, ids, labels, np.random.default_rng())
    warm_up = bodies[: max(len(bodies) // 50, 1)]
    ask_alone(warm_up, port, setting.batch, 0.2)
    if setting.clients == 1:
        return ask_alone(bodies, port, setting.batch, setting.seconds)
    return asyncio.run(generate(bodies, "grpc", port, setting.clients, setting.batch, setting.seconds))


def _figures(setting: Setting, measured: Slice) -> dict[str, float]:
    if measured.error:
        raise RuntimeError(f"the server refused a request: {measured.error}")
    p50, p99 = np.percentile(measured.latencies_ms, [50, 99])
    return {
        "clients": setting.clients,
        "batch": setting.batch,
        "events_per_s": measured.num_users / measured.wall_s,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
    }


def _body(batch: int, ids: dict[str, NDArray], labels: Sequence[str], rng: np.random.Generator) -> bytes:
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import serialize_byte_tensor

    drawn = {f"{name}_id": rng.choice(known, batch) for name, known in ids.items()}
    drawn["label"] = rng.choice(np.array([label.encode() for label in labels]), batch)
    drawn["event_id"] = np.array([uuid.uuid4().hex.encode() for _ in range(batch)])
    request = service_pb2.ModelInferRequest(model_name=EVENTS_MODEL)
    for name, values in drawn.items():
        is_text = values.dtype.kind == "S"
        request.inputs.add(name=name, datatype="BYTES" if is_text else "INT64", shape=[batch, 1])
        content = serialize_byte_tensor(values.astype(object)).item() if is_text else values.tobytes()
        request.raw_input_contents.append(content)
    body: bytes = request.SerializeToString()
    return body


def main(run: Annotated[Path, typer.Argument(help="Run with an export that takes in live events.")]) -> None:
    """Print one JSON object a setting."""
    for record in measure(run):
        print(json.dumps({name: round(value, 2) for name, value in record.items()}))


if __name__ == "__main__":
    typer.run(main)

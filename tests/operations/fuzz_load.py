"""Send the requests of `fuzzing` from several clients at once, and keep what came of each."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
from tritonclient.grpc import service_pb2

from ensemble.serving.triton import TritonServer
from tests.operations.fuzz_wire import INFER_PATH, make
from tests.operations.fuzzing import HTTP, Sent

__all__ = ["Came", "ask_for", "send_all"]

CLIENTS = 6
METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Came(NamedTuple):
    """What came of a request.

    Attributes:
        number: of the request.
        id: of it; "" without one, "?" where its bytes were changed.
        is_sound: whether it had to be answered.
        status: HTTP's, or gRPC's name.
        sentence: that refused it; "" where it was answered.
        item_ids: the first slate, where it was asked for.
    """

    number: int
    id: str
    is_sound: bool
    status: str
    sentence: str
    item_ids: list[str] | None

    @property
    def is_answered(self) -> bool:
        """Whether there is a slate."""
        return self.status in ("200", "OK")


def send_all(server: TritonServer, number: int, seed: int = 0) -> list[Came]:
    """Send the first `number` requests of a seed, each to its protocol."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = pool.map(lambda first: [*_send(server, range(first, number, CLIENTS), seed)], range(CLIENTS))
        return [came for part in parts for came in part]


def ask_for(server: TritonServer, shape: list[int]) -> Came:
    """Ask over HTTP for slates of the first size of a tensor of some shape."""
    inputs = [
        {"name": "user_id", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]},
        {"name": "slate_size", "datatype": "INT32", "shape": shape, "data": [5]},
    ]
    return _by_http(server, Sent(0, HTTP, "", False, body=json.dumps({"inputs": inputs}).encode()))


def _send(server: TritonServer, numbers: Sequence[int], seed: int) -> Iterator[Came]:
    with grpc.insecure_channel(
        f"127.0.0.1:{server.ports['grpc']}", [("grpc.max_receive_message_length", -1)]
    ) as channel:
        call = channel.unary_unary(METHOD)
        for number in numbers:
            sent = make(number, seed)
            yield _by_http(server, sent) if sent.protocol == HTTP else _by_grpc(call, sent)


def _by_http(server: TritonServer, sent: Sent) -> Came:
    path = f"{INFER_PATH}/versions/{sent.version}" if sent.version else INFER_PATH
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=60)
    try:
        connection.request("POST", f"{path}/infer", sent.body, {"Content-Type": "application/json", **sent.headers})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        return Came(sent.number, sent.id, sent.is_sound, type(error).__name__, "", None)
    finally:
        connection.close()
    sentence, items = "", None
    if response.status == 200:
        # Whoever asks for bytes gets them behind the JSON.
        is_packed = response.headers.get("Inference-Header-Content-Length") is not None
        items = None if is_packed else _items_of_json(body)
    else:
        try:
            sentence = str(json.loads(body.decode(errors="replace"))["error"])
        except (ValueError, KeyError, TypeError):
            sentence = body.decode(errors="replace")
    return Came(sent.number, sent.id, sent.is_sound, str(response.status), sentence, items)


def _items_of_json(body: bytes) -> list[str] | None:
    # The id is given back as it came, whatever its bytes are.
    outputs = {output["name"]: output for output in json.loads(body.decode(errors="replace"))["outputs"]}
    if "item_id" not in outputs:
        return None
    return list(outputs["item_id"]["data"][: outputs["item_id"]["shape"][1]])


def _by_grpc(call: grpc.UnaryUnaryMultiCallable, sent: Sent) -> Came:
    try:
        body = call(sent.body, timeout=60)
    except grpc.RpcError as error:
        status, sentence = error.code().name, error.details() or ""
        return Came(sent.number, sent.id, sent.is_sound, status, sentence, None)
    response = service_pb2.ModelInferResponse.FromString(body)
    for place, output in enumerate(response.outputs):
        if output.name == "item_id":
            texts, raw = [], response.raw_output_contents[place]
            while raw and len(texts) < output.shape[1]:
                size = int.from_bytes(raw[:4], "little")
                texts.append(raw[4 : 4 + size].decode())
                raw = raw[4 + size :]
            return Came(sent.number, sent.id, sent.is_sound, "OK", "", texts)
    return Came(sent.number, sent.id, sent.is_sound, "OK", "", None)

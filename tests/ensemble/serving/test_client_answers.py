"""What is said of answers that are none of a Cascade server's: the true cause, and never that nobody was reached."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from ensemble.serving.address import parse_url
from ensemble.serving.client import CascadeClient
from ensemble.serving.commands import recommend_command
from ensemble.serving.slates import Slate, Slates
from ensemble.serving.tensors import decode
from ensemble.serving.transport import _from_triton
from workflows.core.errors import CascadeError, RequestError, ServingError

INPUTS = [{"name": "user_id", "datatype": "INT64", "shape": [-1, 1]}]
METADATA = json.dumps({"name": "cascade", "inputs": INPUTS, "outputs": []}).encode()
BYTES_ANSWER = {
    "model_name": "cascade",
    "model_version": "1",
    "outputs": [
        {"name": "item_id", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]},
        {"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "num_items", "datatype": "INT32", "shape": [1, 1], "data": [1]},
        {"name": "path", "datatype": "BYTES", "shape": [1, 1], "data": ["known_user"]},
    ],
}


@contextmanager
def http_peer(metadata: tuple[int, bytes], answer: tuple[int, bytes]) -> Iterator[str]:
    """An HTTP server that is not Triton: what it answers to GET (metadata) and to POST (a request)."""

    class Peer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(*metadata)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(*answer)

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Peer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def grpc_peer(answer: Callable[[Any], Any]) -> Iterator[str]:
    """A gRPC server with Triton's methods whose requests are answered by `answer`."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Peer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelMetadata(self, request: Any, context: Any) -> Any:
            return service_pb2.ModelMetadataResponse(
                name="cascade", inputs=[{"name": "user_id", "datatype": "INT64", "shape": [-1, 1]}]
            )

        def ModelInfer(self, request: Any, context: Any) -> Any:
            return answer(service_pb2)

    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Peer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def error_of(url: str) -> CascadeError:
    with CascadeClient(url, timeout_s=5) as client, pytest.raises(CascadeError) as caught:
        client.recommend([1])
    assert "no Cascade server was reached" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("metadata", "answer", "said"),
    [
        ((200, b"<html>welcome</html>"), (200, b""), "JSONDecodeError"),
        ((404, b"<html>not here</html>"), (200, b""), "HTTP status 404"),
        ((502, b"<html>bad gateway</html>"), (200, b""), "HTTP status 502"),
        ((200, b'{"hello": "world"}'), (200, b""), "it states no inputs of a model: {'hello': 'world'}"),
        ((200, b'["a", "b"]'), (200, b""), "answered, but not as a Cascade server does"),
        ((200, METADATA), (200, b"<html>"), "JSONDecodeError"),
        ((200, METADATA), (200, b'\xff\xfe"'), "UTF-8"),
        ((200, METADATA), (200, b'{"model_name": "cascade"}'), "KeyError: 'outputs'"),
        ((200, METADATA), (200, b'{"outputs": []}'), "it has no outputs, and no item_id, score, num_items, path"),
        ((200, METADATA), (500, b"{}"), "HTTP status 500"),
    ],
)
def test_over_http(metadata: tuple[int, bytes], answer: tuple[int, bytes], said: str) -> None:
    with http_peer(metadata, answer) as url:
        error = error_of(url)
    assert isinstance(error, ServingError)
    assert said in str(error)


def test_the_peer_of_these_tests_can_answer_well() -> None:
    with http_peer((200, METADATA), (200, json.dumps(BYTES_ANSWER).encode())) as url, CascadeClient(url) as client:
        assert client.recommend([1]) == Slates([Slate(1, ["a"], [0.5], "known_user")])


def tensors(service: Any, **changed: Any) -> Any:
    """A gRPC answer for one user, with some raw contents in place of the right ones."""
    raw = {
        "item_id": b"\x01\0\0\0a",
        "score": np.array([0.5], np.float32).tobytes(),
        "num_items": np.array([1], np.int32).tobytes(),
        "path": b"\x02\0\0\0ok",
        **changed,
    }
    kinds = {"item_id": "BYTES", "score": "FP32", "num_items": "INT32", "path": "BYTES"}
    outputs = [{"name": name, "datatype": kinds[name], "shape": [1, 1]} for name in raw]
    return service.ModelInferResponse(outputs=outputs, raw_output_contents=list(raw.values()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"item_id": b"\x01\0\0\0\xff"}, r"item_id b'\xff' is not UTF-8"),
        ({"path": b"\x01\0\0\0\xc3"}, r"path b'\xc3' is not UTF-8"),
        ({"score": b"\0\0"}, "answered, but not as a Cascade server does"),
        ({"num_items": np.array([7], np.int32).tobytes()}, "num_items says [7] of 1 items"),
        ({"num_items": np.array([-1], np.int32).tobytes()}, "num_items says [-1] of 1 items"),
    ],
)
def test_over_grpc(changed: dict[str, bytes], said: str) -> None:
    with grpc_peer(lambda service: tensors(service, **changed)) as url:
        error = error_of(url)
    assert isinstance(error, ServingError)
    assert said in str(error)


def test_another_grpc_service_is_not_taken_for_nobody() -> None:
    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert "UNIMPLEMENTED" in str(error_of(f"grpc://127.0.0.1:{port}"))
    finally:
        server.stop(0).wait()


RIGHT = {
    "item_id": np.array([[1, 2]]),
    "score": np.array([[0.5, 0.25]], np.float32),
    "num_items": np.array([[2]], np.int32),
    "path": np.array([[b"known_user"]], object),
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"item_id": np.array([1, 2])}, "item_id has the shape [2], for 1 users"),
        ({"score": np.array([[0.5]], np.float32)}, "score has the shape [1, 1], for 1 users"),
        ({"num_items": np.array([[2], [2]])}, "num_items has the shape [2, 1], for 1 users"),
        ({"num_items": np.array([[2.0]])}, "num_items is of type float64"),
        ({"path": np.array([[3]])}, "path is of type int64"),
        ({"score": None}, "no score"),
    ],
)
def test_a_wrong_shape_or_type_is_named(changed: dict[str, Any], said: str) -> None:
    assert decode([7], RIGHT)[0].item_ids == [1, 2]
    with pytest.raises(ServingError) as caught:
        decode([7], {**RIGHT, **changed})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("message", "status", "kind", "said"),
    [
        ("Stub process 'cascade_0_1' is not healthy.", "500", ServingError, "has lost a process of its model"),
        ("Exceeds maximum queue size", "StatusCode.UNAVAILABLE", ServingError, "cannot answer now: Exceeds maximum"),
        ("failed to connect to all addresses", "StatusCode.UNAVAILABLE", ServingError, "no Cascade server was reached"),
        ("Socket closed", "StatusCode.UNAVAILABLE", ServingError, "no Cascade server was reached"),
        ("slate_size must be 1", "StatusCode.INVALID_ARGUMENT", RequestError, "slate_size must be 1"),
    ],
)
def test_what_triton_says_has_its_class(message: str, status: str, kind: type[CascadeError], said: str) -> None:
    error = _from_triton(message, status, parse_url("host:8001"), "cascade", 5.0)
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[red]x[/red]", "[red]x[/red]"),
        ("[/x]", "[/x]"),
        ("[bold", "[bold"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("one\ntwo", r"one\ntwo"),
        ("日本 é", "日本 é"),
    ],
)
def test_the_command_prints_ids_and_paths_as_they_are(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [{"name": "user_id", "datatype": "BYTES", "shape": [-1, 1]}]
    answer = json.loads(json.dumps(BYTES_ANSWER))
    answer["outputs"][0]["data"] = answer["outputs"][3]["data"] = [name]
    with http_peer((200, json.dumps({"inputs": inputs}).encode()), (200, json.dumps(answer).encode())) as url:
        recommend_command(url, [name])
        printed = capsys.readouterr().out
        recommend_command(url, [name], as_json=True)
        assert json.loads(capsys.readouterr().out) == [
            {"user_id": name, "item_ids": [name], "scores": [0.5], "path": name}
        ]
        with pytest.raises(RequestError) as caught:
            recommend_command(url, ["1"], context={name: "1"})
    assert printed.count(shown) == 3
    assert "\x1b" not in printed
    assert name in str(caught.value)

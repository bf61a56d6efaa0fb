"""Servers that are not Triton, with its methods: what they answer is in the hands of a test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union

import numpy as np

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
GOOD = (200, json.dumps(BYTES_ANSWER).encode())
Reply = tuple[int, bytes]
Replies = Union[Reply, Callable[[], Reply]]  # noqa: UP007 - also runs on Python 3.9


def error_reply(status: int, message: str) -> Reply:
    """As Triton says over HTTP that it cannot."""
    return status, json.dumps({"error": message}).encode()


@contextmanager
def http_peer(metadata: Replies, answer: Replies, port: int = 0) -> Iterator[str]:
    """An HTTP server: what it answers to GET (metadata) and to POST (a request)."""

    class Peer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(metadata)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(answer)

        def reply(self, reply: Replies) -> None:
            status, body = reply() if callable(reply) else reply
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            return

    with Server(("127.0.0.1", port), Peer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def grpc_peer(answer: Callable[[Any, Any], Any], port: int = 0) -> Iterator[str]:
    """A gRPC server: `answer` gets the messages' module and the call's context."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Peer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelMetadata(self, request: Any, context: Any) -> Any:
            return service_pb2.ModelMetadataResponse(name="cascade", inputs=INPUTS)

        def ModelInfer(self, request: Any, context: Any) -> Any:
            return answer(service_pb2, context)

    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Peer(), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{bound}"
    finally:
        server.stop(0).wait()


def grpc_answer(service: Any, **changed: bytes) -> Any:
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

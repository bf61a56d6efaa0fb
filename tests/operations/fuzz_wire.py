"""The requests of `fuzzing` as their bytes, some of which are changed on the way."""

from __future__ import annotations

import json
import math
import random
import struct
from typing import Any

from tests.operations.fuzzing import HTTP, Sent, Tensor, drawn

__all__ = ["INFER_PATH", "make"]

MODEL = "cascade"
INFER_PATH = f"/v2/models/{MODEL}"
FORMATS = {"INT64": "q", "INT32": "i", "FP32": "f", "FP64": "d"}
# This Triton makes room for as many values as the shape of JSON data says, and ends where there is none: see
# test_a_request_that_ends_triton.
MOST_IN_JSON = 10**6
TYPED = {"INT64": "int64_contents", "INT32": "int_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"}


def make(number: int, seed: int = 0) -> Sent:
    """The request of a number, ready to be sent."""
    draw = random.Random(f"{seed} {number}")
    sent = drawn(number, seed, draw)
    encode = _http if sent.protocol == HTTP else _grpc
    encode(sent, draw)
    if draw.random() < 0.1:
        _damage(sent, draw)
    return sent


def _http(sent: Sent, draw: random.Random) -> None:
    packs = [draw.random() < 0.5 or math.prod(tensor.shape) > MOST_IN_JSON for tensor in sent.inputs]
    inputs, parts = [], []
    for tensor, packed in zip(sent.inputs, packs, strict=True):
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if packed:
            parts.append(_packed(tensor))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        elif any(isinstance(value, float) and not abs(value) < 1e309 for value in tensor.values):
            # JSON has no such numbers; some libraries write them all the same.
            sent.is_sound = False
            entry["data"] = tensor.values
        else:
            entry["data"] = tensor.values
        inputs.append(entry)
    request: dict[str, Any] = {"inputs": inputs}
    if sent.id:
        request["id"] = sent.id
    if sent.parameters:
        request["parameters"] = sent.parameters
    if sent.outputs:
        request["outputs"] = [{"name": name} for name in sent.outputs]
    text = json.dumps(request).encode()
    sent.body = b"".join([text, *parts])
    if parts:
        sent.headers["Inference-Header-Content-Length"] = str(len(text))


def _grpc(sent: Sent, draw: random.Random) -> None:
    from tritonclient.grpc import service_pb2

    # What the protocol cannot say at all is said otherwise, or left out.
    request = service_pb2.ModelInferRequest(model_name=MODEL, model_version=sent.version, id=sent.id)
    is_typed = draw.random() < 0.2
    for tensor in sent.inputs:
        entry = request.inputs.add(name=tensor.name, datatype=tensor.datatype)
        entry.shape.extend(max(min(size, 2**63 - 1), -(2**63)) for size in tensor.shape)
        if is_typed and _takes(tensor):
            where = TYPED.get(tensor.datatype, "bytes_contents")
            texts = [value.encode() if isinstance(value, str) else value for value in tensor.values]
            getattr(entry.contents, where).extend(texts)
        else:
            request.raw_input_contents.append(_packed(tensor))
    # Of contents of both kinds Triton takes neither.
    sent.is_sound &= not (request.raw_input_contents and len(request.raw_input_contents) < len(request.inputs))
    for name in sent.outputs:
        request.outputs.add(name=name)
    for name, value in sent.parameters.items():
        kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
        if type(value) not in kinds or (isinstance(value, int) and value >= 2**63):
            value = json.dumps(value)
        setattr(request.parameters[name], kinds[type(value)], value)
    sent.body = request.SerializeToString()


def _takes(tensor: Tensor) -> bool:
    kind = {"BYTES": str, "INT64": int, "INT32": int}.get(tensor.datatype, float)
    limit = 2**31 if tensor.datatype == "INT32" else 2**63
    return (tensor.datatype == "BYTES" or tensor.datatype in TYPED) and all(
        isinstance(value, kind) and (isinstance(value, (str, float)) or -limit <= value < limit)
        for value in tensor.values
    )


def _packed(tensor: Tensor) -> bytes:
    """The values as bytes of the type; those that it cannot hold, as text or as nothing."""
    parts = []
    for value in tensor.values:
        try:
            parts.append(struct.pack(f"<{FORMATS[tensor.datatype]}", value))
        except (KeyError, struct.error, OverflowError):
            text = str(value).encode()
            parts.append(struct.pack("<I", len(text)) + text)
    return b"".join(parts)


def _damage(sent: Sent, draw: random.Random) -> None:
    """Change the bytes that are sent."""
    sent.is_sound, sent.id, body = False, "?", bytearray(sent.body)
    kind = draw.randrange(4)
    if kind == 0 and body:
        del body[draw.randrange(len(body)) :]
    elif kind == 1 and body:
        for _ in range(draw.randint(1, 4)):
            body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
    elif kind == 2:
        at = draw.randrange(len(body) + 1)
        body[at:at] = draw.randbytes(draw.randint(1, 40))
    else:
        sent.headers["Inference-Header-Content-Length"] = draw.choice(["-1", "0", "999999999", "x", "5", str(2**64)])
    sent.body = bytes(body)

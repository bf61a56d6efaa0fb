"""Requests of every kind that a sender can get wrong, over both protocols; each follows from its number alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HTTP", "Sent", "Tensor", "drawn"]

HTTP, GRPC = "http", "grpc"
TYPES = ("INT64", "INT32", "UINT64", "INT8", "UINT16", "FP32", "FP64", "FP16", "BOOL", "BYTES", "TEXT", "")
NUMBERS = (0, 1, -1, 7, 23, 24, 1e9, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 3.5, -0.0, 1e308)
TEXTS = ("", " ", "phone", "tablet", "\x00", "a\nb", '"\\{}', "ü" * 40, "x" * 5_000, "\ud7ff", "-1", "NaN", "null")
JSONS: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 1.5, "", "true", "1", "web", "ü\n\"{}", "y" * 3_000, [], [1, "a", None], {},
    {"a": {"b": [1]}}, [[[[]]]],
)  # fmt: skip
NAMES = ("consumer", "x-cascade-consumer", "log", "X-Cascade-Log", "traceparent", "anything", "", "ü", "binary_data")
# Triton takes these for its own.
OF_TRITON = ("priority", "timeout", "sequence_id", "binary_data_output", "triton_enable_empty_final_response")


@dataclass
class Tensor:
    """An input: its values row by row."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]


@dataclass
class Sent:
    """One request.

    Attributes:
        number: that it follows from.
        protocol: "http" or "grpc".
        id: of the request; "" where it has none.
        is_sound: whether it must be answered; of another nothing is known.
        version: of the model; "" for none.
        inputs: tensors.
        parameters: of the request.
        outputs: names that are asked for; none: all.
        body: as it is sent, once it is made.
        headers: of HTTP.
    """

    number: int
    protocol: str
    id: str
    is_sound: bool = True
    version: str = ""
    inputs: list[Tensor] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def drawn(number: int, seed: int, draw: random.Random) -> Sent:
    """A request for the golden chain "gathered", not encoded yet; two of five are sound."""
    name = draw.choice([f"fuzz-{seed}-{number}"] * 18 + ["", f"again-{draw.randrange(40)}"])
    sent = Sent(number, draw.choice([HTTP, GRPC]), name)
    sent.inputs = _sound_inputs(draw)
    if draw.random() < 0.3:
        sent.parameters = {"consumer": draw.choice(["web", "app", "ü"]), "log": draw.choice(["1", "no"])}
    for _ in range(draw.choice([0, 0, 1, 1, 2])):
        draw.choice(MUTATIONS)(sent, draw)
    return sent


def _sound_inputs(draw: random.Random) -> list[Tensor]:
    num = draw.choice([1] * 9 + [2, 2, 3, 3, 5, 8, 64])
    inputs = [Tensor("user_id", "BYTES", [num, 1], [f"üser-{draw.randrange(16):05d}" for _ in range(num)])]
    for name in ("recent_item_ids", "exclude_item_ids"):
        if draw.random() < 0.5:
            width = draw.choice([0, 1, 3, 9, 40])
            ids = [draw.choice([f"item-{draw.randrange(300):05d}", ""]) for _ in range(num * width)]
            inputs.append(Tensor(name, "BYTES", [num, width], ids))
    if draw.random() < 0.5:
        inputs.append(Tensor("slate_size", "INT32", [num, 1], [draw.randint(1, 20) for _ in range(num)]))
    if draw.random() < 0.5:
        devices = [draw.choice(["desktop", "phone", "tablet", "fridge", ""]) for _ in range(num)]
        inputs.append(Tensor("device", "BYTES", [num, 1], devices))
    if draw.random() < 0.5:
        hours = [draw.choice([0, 7, 23, 99, -5, -(2**63), 2**63 - 1]) for _ in range(num)]
        inputs.append(Tensor("hour", "INT64", [num, 1], hours))
    if draw.random() < 0.5:
        inputs.append(Tensor("temperature", "FP64", [num, 1], [draw.uniform(-30, 40) for _ in range(num)]))
    draw.shuffle(inputs)
    return inputs


def _broken(change: Callable[[Sent, random.Random], None]) -> Callable[[Sent, random.Random], None]:
    def changed(sent: Sent, draw: random.Random) -> None:
        sent.is_sound = False
        change(sent, draw)

    return changed


def _one(sent: Sent, draw: random.Random) -> Tensor:
    return draw.choice(sent.inputs) if sent.inputs else Tensor("user_id", "BYTES", [1, 1], ["a"])


def _drop(sent: Sent, draw: random.Random) -> None:
    if sent.inputs:
        sent.inputs.remove(_one(sent, draw))


def _retype(sent: Sent, draw: random.Random) -> None:
    _one(sent, draw).datatype = draw.choice(TYPES)


def _reshape(sent: Sent, draw: random.Random) -> None:
    tensor = _one(sent, draw)
    tensor.shape = draw.choice(
        [tensor.shape[::-1], tensor.shape[:1], [*tensor.shape, 1], [], [0, 1], [-1, 1], [1, -1], [2**31, 1],
         [2**62, 2**62], [65, 1], [1, 2**40], [len(tensor.values), 1], [1, 1]]
    )  # fmt: skip


def _huge(sent: Sent, draw: random.Random) -> None:
    num = draw.choice([65, 100, 1_000])
    for tensor in sent.inputs:
        width = tensor.shape[1] if len(tensor.shape) == 2 and 0 <= tensor.shape[1] < 50 else 1
        values = tensor.values or [0]
        tensor.shape, tensor.values = [num, width], [values[at % len(values)] for at in range(num * width)]


def _long(sent: Sent, draw: random.Random) -> None:
    width = draw.choice([5_000, 20_001])
    items = [f"item-{at % 400:05d}" for at in range(width)]
    name = draw.choice(["recent_item_ids", "exclude_item_ids"])
    sent.inputs = [Tensor("user_id", "BYTES", [1, 1], ["üser-00003"]), Tensor(name, "BYTES", [1, width], items)]


def _nothing(sent: Sent, draw: random.Random) -> None:
    for tensor in sent.inputs if draw.random() < 0.5 else [_one(sent, draw)]:
        tensor.shape, tensor.values = [0, *tensor.shape[1:]], []


def _odd_values(sent: Sent, draw: random.Random) -> None:
    tensor = _one(sent, draw)
    odd = TEXTS if tensor.datatype == "BYTES" else NUMBERS
    tensor.values = [draw.choice(odd) for _ in tensor.values]


def _no_number(sent: Sent, draw: random.Random) -> None:
    for tensor in sent.inputs:
        if tensor.datatype in ("FP32", "FP64"):
            tensor.values = [draw.choice([float("nan"), float("inf"), -float("inf")]) for _ in tensor.values]


def _any_values(sent: Sent, draw: random.Random) -> None:
    tensor = _one(sent, draw)
    tensor.values = [draw.choice(JSONS) for _ in tensor.values]


def _odd_size(sent: Sent, draw: random.Random) -> None:
    sizes = [draw.choice([-1, 0, 21, 2**31 - 1, -(2**31)]) for _ in range(draw.choice([1, 1, 2]))]
    sent.inputs = [tensor for tensor in sent.inputs if tensor.name != "slate_size"]
    sent.inputs.append(Tensor("slate_size", "INT32", [len(sizes), 1], sizes))


def _more_or_less(sent: Sent, draw: random.Random) -> None:
    tensor = _one(sent, draw)
    tensor.values = draw.choice([tensor.values[:-1], [*tensor.values, *tensor.values[:1]], []])


def _unknown_input(sent: Sent, draw: random.Random) -> None:
    sent.inputs.append(Tensor(draw.choice(["device2", "", "DEVICE", "n" * 500, "ü"]), "INT64", [1, 1], [1]))


def _twice(sent: Sent, draw: random.Random) -> None:
    sent.inputs.append(_one(sent, draw))


def _outputs(sent: Sent, draw: random.Random) -> None:
    sent.outputs = [draw.choice(["item_id", "score", "path", "num_items", "nothing", ""]) for _ in range(2)]


def _version(sent: Sent, draw: random.Random) -> None:
    sent.version = draw.choice(["3", "1", "99", "-1", "x", "3/3", "18446744073709551616"])


def _id(sent: Sent, draw: random.Random) -> None:
    """Any text is an id."""
    sent.id = draw.choice(
        [f"ü{sent.number}", f"{sent.number}\n\t\"'\\", f"{sent.number}" + "i" * 4_000, f" {sent.number} "]
    )


def _parameters(sent: Sent, draw: random.Random) -> None:
    sent.parameters = {draw.choice(NAMES): draw.choice(JSONS) for _ in range(draw.randint(1, 4))}


def _parameters_of_triton(sent: Sent, draw: random.Random) -> None:
    sent.parameters[draw.choice(OF_TRITON)] = draw.choice(JSONS)


MUTATIONS: tuple[Callable[[Sent, random.Random], None], ...] = (
    *map(_broken, (_drop, _retype, _reshape, _huge, _long, _nothing, _odd_values, _any_values, _odd_size)),
    *map(_broken, (_more_or_less, _unknown_input, _twice, _outputs, _version, _parameters, _parameters_of_triton)),
    *(_id, _no_number),
)

"""The parts of the check, and what runs one of them: python -m benchmarks.gpu_check.parts NAME SETTINGS."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runtime.device.device import Device, cupy_device, stand_in

__all__ = ["FAISS_PARTS", "PARTS", "Part", "device_of"]

# What a part is given: "device" ("cupy" or "numpy"), "scale" of the catalogues, "batches" (users a call), "carried" (a
# folder), and its own.
Settings = dict[str, Any]
# A part yields what it has found so far, again and again.
Measure = Callable[[Settings], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: of it.
        module: in this package, with a function `measure`.
        limit_s: seconds after which it is stopped.
        settings: of its own.
    """

    name: str
    module: str
    limit_s: int
    settings: Settings = field(default_factory=dict)


# Eight minutes together.
PARTS = (
    Part("machine", "machine", 30),
    Part("tests", "tests", 90),
    Part("chain", "chain", 40),
    Part("search 100k", "search", 30, {"num_items": 100_000}),
    Part("search 1M", "search", 50, {"num_items": 1_000_000}),
    Part("whole 1M", "whole", 70, {"num_items": 1_000_000, "num_neighbours": 50}),
    Part("search 10M", "search", 50, {"num_items": 10_000_000}),
    Part("towers", "towers", 30),
    Part("whole 10M", "whole", 90, {"num_items": 10_000_000, "num_neighbours": 20}),
)


# The second, optional call.
FAISS_PARTS = (
    Part("machine", "machine", 30),
    *(
        Part(f"faiss {kind}", "faiss_gpu", limit_s, {"kind": kind, "num_items": 1_000_000})
        for kind, limit_s in (("flat", 60), ("ivf", 80), ("ivf_pq", 80), ("cagra", 120))
    ),
)


def device_of(settings: Settings) -> Device:
    """The device that a part computes on."""
    return cupy_device() if settings["device"] == "cupy" else stand_in()


def _without_faiss() -> None:
    """Let the module of the search on the CPU be imported where FAISS is not: it is not used here."""
    if importlib.util.find_spec("faiss") is None:
        sys.modules["faiss"] = types.ModuleType("faiss")


if __name__ == "__main__":
    name, text = sys.argv[1:]
    _without_faiss()
    module = next(part.module for part in (*PARTS, *FAISS_PARTS) if part.name == name)
    measure: Measure = importlib.import_module(f"benchmarks.gpu_check.{module}").measure
    for found in measure(json.loads(text)):
        print(json.dumps(found), flush=True)

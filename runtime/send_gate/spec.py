"""gate.json: a learnt send gate as a server reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest
from runtime.records import from_record, read_versioned
from runtime.send_gate.arithmetic import advantage
from runtime.send_gate.coin import coins, decide
from runtime.tensor import Tensor

__all__ = ["DECISION_ID", "GATE_MODEL", "MAX_BATCH", "OUTPUTS", "PRICE", "GateSpec"]

GATE_MODEL = "cascade_gate"
GATE_FILE = "gate.json"
FORMAT_VERSION = 1
# Candidates in one request.
MAX_BATCH = 4096
# `send_price` as in the log of `cascade notify`: what a push has to be worth.
DECISION_ID, PRICE = "decision_id", "send_price"
OUTPUTS = (
    Tensor("send", "BOOL"),
    Tensor("advantage", "FP64"),
    Tensor("open", "FP64"),
    Tensor("propensity", "FP64"),
    Tensor("reason", "BYTES"),
)


@dataclass(frozen=True)
class GateSpec:
    """What the model `cascade_gate` knows.

    Attributes:
        names, kinds, logged, alone, mean, scale: see `runtime.send_gate.arithmetic.Columns`.
        heads: of HEADS, weights of the inputs.
        prices: of TERMS.
        explore: share of the decisions that a coin makes, of those that have a decision_id.
    """

    names: tuple[str, ...]
    kinds: dict[str, tuple[float, ...]]
    logged: tuple[str, ...]
    alone: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    heads: dict[str, tuple[float, ...]]
    prices: tuple[float, ...]
    explore: float

    @classmethod
    def load(cls, folder: Path) -> GateSpec:
        """Read `folder`/gate.json.

        Raises:
            ValueError: of another format version, or damaged.
            OSError: it is missing.
        """
        _, record = read_versioned(folder / GATE_FILE, (FORMAT_VERSION,))
        return from_record(cls, record, GATE_FILE)

    def save(self, folder: Path) -> None:
        """Write `folder`/gate.json."""
        (folder / GATE_FILE).write_text(json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=1))

    def inputs(self) -> tuple[Tensor, ...]:
        """What a request carries, each [B, 1]: the features, and where one likes, a decision_id and a send_price."""
        return (
            *(Tensor(name, "FP64") for name in self.names),
            Tensor(DECISION_ID, "BYTES", optional=True),
            Tensor(PRICE, "FP64", optional=True),
        )

    def answer(self, request: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Decide on the candidates of a request.

        Args:
            request: name -> [B, 1], see `inputs`; without decision_id nothing is left to a coin, and without send_price
                that price is 0.

        Returns:
            OUTPUTS, [B, 1] each.

        Raises:
            BadRequest: a feature is missing or no finite number, or a price is not.
        """
        columns = {name: request[name].reshape(-1) for name in self.names if name in request}
        worth, opens = advantage(self, self.heads, self.prices, columns)
        price = np.asarray(request[PRICE], np.float64).reshape(-1) if PRICE in request else np.zeros(len(worth))
        if not np.isfinite(price).all():
            raise BadRequest(f"{PRICE} has values that are no finite numbers; expected discounted active days, or none")
        if DECISION_ID in request:
            keys = coins(_text(each) for each in request[DECISION_ID].reshape(-1))
            found = decide(keys, worth, price, self.explore)
        else:
            found = decide(np.zeros(len(worth), np.uint64), worth, price, 0.0)
        reasons = np.array([reason.encode() for reason in found.reason.tolist()], object)
        values = (found.sent, worth, opens, found.propensity, reasons)
        return {
            tensor.name: np.asarray(value, tensor.numpy_dtype).reshape(-1, 1)
            for tensor, value in zip(OUTPUTS, values, strict=True)
        }


def _text(given: object) -> str:
    if isinstance(given, bytes):
        try:
            return given.decode()
        except UnicodeDecodeError:
            raise BadRequest("decision_id has a value that is no UTF-8; expected a text") from None
    return str(given)

"""A model's process as the log sees it, without Triton: a golden chain, requests with ids, and a recorder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.blocked import BlockedItems
from runtime.chain import Chain
from runtime.log.folder import LogSettings, make_log
from runtime.log.identity import Served
from runtime.log.record import FRAMING, HEADER, WHOLE, Record, frame, pack_record
from runtime.log.recorder import Recorder

__all__ = ["GOLDEN", "HEADER_OF", "Process", "Request", "ask", "record", "segment"]

FIELDS, TEXTS = ("key", "wall", "mono", "service_us", "batch", "reason"), ("request_id", "consumer", "trace", "error")
GOLDEN = Path(__file__).parents[2] / "golden/format_2"
HEADER_OF: Mapping[str, Any] = {
    "chain_key": "a" * 64, "model_version": 1, "repository": "/nowhere", "layout": "fused", "step": "chain",
    "host": "here", "share": 0.5, "salt_id": "s", "dropped": [], "context": [], "is_live": False, "boot_id": "b",
    "env": {}, "start_wall_ns": 1_700_000_000 * 10**9, "start_mono_ns": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What Triton's object says of a request beside its tensors."""

    id: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)

    def request_id(self) -> str:
        return self.id

    def parameters(self) -> str:
        return json.dumps(dict(self.given))


class Process:
    """The one process of a fused layout.

    Args:
        settings: of the log, which is made.
        variant: of the golden chains.
        served: what it is.
        blocked: items that it never shows.
        knows_rows: whether the chain says which rows its slates are; else they are looked up.
    """

    def __init__(
        self,
        settings: LogSettings,
        variant: str = "exact",
        served: Served | None = None,
        blocked: BlockedItems | None = None,
        *,
        knows_rows: bool = True,
    ) -> None:
        make_log(settings.folder)
        folder = GOLDEN / variant / "chain"
        self.chain, self.said = Chain.load(folder), list[str]()
        self.chain.blocked = blocked
        names = [tensor.name for tensor in self.chain.spec.response]
        self.recorder = Recorder(
            settings,
            served or Served(hashlib.sha256(b"chain").hexdigest(), 1, Path("/nowhere")),
            folder,
            self.chain.spec,
            request_step=self.chain.request_step,
            blocked=blocked,
            parsed=lambda: self.chain.parsed,
            shown=lambda: self.chain.shown if knows_rows else None,
            answer_names={name: name for name in names},
            layout="fused",
            step="chain",
            say=self.said.append,
        )

    def answer(self, requests: Sequence[Request], arrays: Sequence[Mapping[str, NDArray]]) -> list[Any]:
        """Answer and log."""
        return self.recorder.answer(lambda: self.chain.recommend_many(arrays), requests, arrays)

    def close(self) -> None:
        self.recorder.close()


def ask(number: int, users: int = 1, **arrays: NDArray) -> tuple[Request, dict[str, NDArray]]:
    """A request of an id, for some users."""
    return Request(f"request-{number}"), {
        "user_id": 1000 + 2 * ((np.arange(users).reshape(-1, 1) + number) % 30),
        **arrays,
    }


def record(number: int = 0, kind: int = WHOLE, **values: Any) -> Record:
    """A record as a process writes one; whole and without arrays by default."""
    given = {"key": number, "wall": HEADER_OF["start_wall_ns"] + number, "mono": number, "service_us": 5, "batch": 1}
    given |= {"reason": 0, "request_id": f"request-{number}", "consumer": "web", "trace": "", "error": "", **values}
    fields, texts = (tuple(given[name] for name in names) for names in (FIELDS, TEXTS))
    packed = pack_record((kind, *fields), texts, given.get("arrays", {}))
    return Record.unpack(kind, packed[FRAMING.header_bytes :])


def segment(path: Path, records: Sequence[Record], **header: Any) -> Path:
    """Write a segment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = [frame(HEADER, json.dumps({**HEADER_OF, **header}).encode()), *(each.pack() for each in records)]
    path.write_bytes(b"".join(packed))
    return path

"""MON without a server: a published golden version, the salt of a log, and rows of requests as they are wished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operations.folder import CHAINS, REQUESTS, STATUS
from operations.log.schema import schema_of
from runtime.log.folder import make_log, read_salt
from runtime.log.identity import chain_key
from runtime.log.sampling import key_of, user_bytes
from tests.operations.repository import publish_golden

__all__ = ["DAY", "DAY_NS", "HOUR", "MINUTE", "START", "World", "joined"]

SECOND = 10**9
MINUTE, HOUR, DAY_NS = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
DAY = 20_000
START = DAY * DAY_NS + 12 * HOUR


@dataclass
class World:
    """A folder MON that a test fills.

    Args:
        folder: for all of it.
    """

    folder: Path
    mon: Path = field(init=False)
    num_files: int = 0

    def __post_init__(self) -> None:
        self.mon, self.log = self.folder / "MON", self.folder / "LOG"
        version = publish_golden(self.folder / "repository", 1)
        self.key = chain_key(version)
        self.ids = np.load(version / "chain/ids/items.npy").tolist()
        make_log(self.log)
        (self.mon / CHAINS).mkdir(parents=True)
        (self.mon / STATUS).write_text(json.dumps({"logs": [str(self.log)], "counts": {}}))
        repositories = {"fused": str(self.folder / "repository")}
        record = {"chain_key": self.key, "model_version": 1, "repositories": repositories, "environments": {}}
        (self.mon / CHAINS / f"{self.key[:16]}.json").write_text(json.dumps(record))

    def request(
        self, request_id: str, user: int, rows: Sequence[int], at: int = START, **values: Any
    ) -> dict[str, Any]:
        """A row of a request, with what is not said as it usually is."""
        position = values.get("position", 0)
        salt = read_salt(self.log)
        given = {
            "request_id": request_id,
            "position": 0,
            "slate_key": hashlib.blake2b(f"{request_id}\0{position}".encode(), digest_size=16).digest(),
            "key": key_of(request_id),
            "at": at,
            "at_corrected": False,
            "chain_key": self.key,
            "model_version": 1,
            "layout": "fused",
            "consumer": "web",
            "attempt": 1,
            "user_key": salt.user_key(user_bytes(user)),
            "salt_id": salt.id,
            "user_row": 0,
            "recent": [],
            "excluded": [],
            "slate_size": len(rows),
            "item_rows": list(rows),
            "scores": [0.5 / (1 + rank) for rank in range(len(rows))],
            "num_items": len(rows),
            "path": "known_user",
            "service_us": 2000,
            "batch": 1,
            "weight": 1.0,
            "reason": "hash",
            "replayable": True,
            "env_id": "e",
        }
        return {**given, **values}

    def collect(
        self,
        *requests: Mapping[str, Any],
        context: Sequence[tuple[str, str]] = (),
        explores: bool = False,
        drafts: bool = False,
    ) -> None:
        """Put rows into MON as a collector does, a file for each day."""
        schema = schema_of(context, explores=explores, drafts=drafts)
        for day in sorted({request["at"] // DAY_NS for request in requests}):
            table = pa.Table.from_pylist([dict(r) for r in requests if r["at"] // DAY_NS == day], schema=schema)
            name = f"chain={self.key[:16]}/date={np.datetime64(day, 'D')}/{self.num_files}-0.parquet"
            self.num_files += 1
            path = self.mon / REQUESTS / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, compression="zstd", write_page_checksum=True)

    def events(self, *events: Mapping[str, Any], name: str = "events.ndjson") -> Path:
        """A file of events, whose items are rows."""
        path = self.folder / name
        lines = [{**event, "item_id": self.ids[event["item_id"]]} for event in events]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path


def joined(mon: Path) -> pa.Table:
    """All rows of MON/joined."""
    files = sorted(mon.glob("joined/chain=*/date=*/*.parquet"))
    return pa.concat_tables([pq.ParquetFile(path).read() for path in files]).unify_dictionaries()

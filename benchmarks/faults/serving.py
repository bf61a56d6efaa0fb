"""A model's process without Triton: the chain's own code answers and logs, and the collector makes rows of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from operations.folder import parquet_files
from operations.log.collect import collect
from operations.log.verify import verify
from runtime.chain import Chain
from runtime.errors import BadRequest
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.log.folder import LogSettings, make_log
from runtime.log.identity import Served
from runtime.log.recorder import Recorder
from runtime.request import Parsed
from runtime.spec import FLOATS, ChainSpec
from runtime.step import Arrays

__all__ = ["Answer", "Named", "Slow", "asked_of", "recorder_of", "rows_of"]

BATCH, VERSION = 16, 1
# Of every request: the process is not measured, since the machine that the benchmark runs on has other work.
SERVICE_US, SPREAD = 2_000, 0.2
Answer = Callable[[list[Arrays]], list[Arrays]]
Slow = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Named:
    """What Triton's object says of a request."""

    def __init__(self, name: str) -> None:
        self._name = name

    def request_id(self) -> str:
        """Its own."""
        return self._name

    def parameters(self) -> str:
        """One sender for all."""
        return json.dumps({"consumer": "web"})


def asked_of(requests: Parsed, users: NDArray[np.int64], chain: Path, spec: ChainSpec) -> list[Arrays]:
    """Checked requests of one user each as a sender says them.

    Args:
        requests: n, in rows of the chain.
        users: int64 [n], who asks, whether the chain knows the user or not.
        chain: compiled, with the ids of rows.
        spec: of it.
    """
    ids = {name: np.load(chain / f"ids/{name}.npy", allow_pickle=False) for name in ("users", "items")}
    asked = []
    for place, row in enumerate(requests.user_row.tolist()):
        user = ids["users"][row] if row >= 0 else _foreign(ids["users"], int(users[place]))
        arrays: Arrays = {"user_id": _tensor(user)}
        recent = [item for item in requests.recent[place].tolist() if item != NO_ITEM]
        if recent:
            known = [ids["items"][item] if item != UNKNOWN else _foreign(ids["items"], 7) for item in recent]
            arrays["recent_item_ids"] = np.concatenate([_tensor(item) for item in known], axis=1)
        for column in spec.context_columns:
            value = requests.context[column.name][place]
            if value is not None and value == value:
                is_text = column.dtype == "BYTES"
                kind = object if is_text else column.numpy_dtype if column.dtype in FLOATS else np.int64
                arrays[column.name] = np.array([[value]], kind)
        asked.append(arrays)
    return asked


def rows_of(
    asked: Sequence[Arrays],
    repository: Path,
    served: tuple[str, Path],
    scratch: Path,
    *,
    answer: Answer = list,
    slow: Slow = np.copy,
    num_times: int = 1,
) -> pa.Table:
    """Have requests answered and logged by a process, collect its log, and give the rows.

    Args:
        asked: requests of one user each.
        repository: whose chain answers.
        served: the key of the chain, and the repository that MON is to name.
        scratch: an empty place for the log and what is collected.
        answer: what the process makes of the chain's answers.
        slow: what becomes of the microseconds that requests take, [n].
        num_times: how often each request comes.
    """
    folder = repository / f"cascade/{VERSION}/chain"
    chain = Chain.load(folder)
    recorder = recorder_of(chain, folder, LogSettings(scratch / "LOG", 1.0), Served(served[0], VERSION, served[1]))
    for first in range(0, len(asked), BATCH):
        batch = list(asked[first : first + BATCH])
        names = [Named(f"request-{first + place}") for place in range(len(batch))]
        for _ in range(num_times):
            recorder.answer(partial(_said, chain, batch, answer), names, batch)
    recorder.close()
    verify(scratch / "LOG")
    collect(scratch / "LOG", scratch / "MON")
    tables = [pq.ParquetFile(path).read().unify_dictionaries() for path in parquet_files(scratch / "MON")]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    shutil.rmtree(scratch)
    times = SERVICE_US * np.exp(np.random.default_rng(0).normal(0, SPREAD, table.num_rows))
    at = table.column_names.index("service_us")
    return table.set_column(at, "service_us", pa.array(slow(times).astype(np.uint32)))


def _said(chain: Chain, batch: list[Arrays], answer: Answer) -> list[Arrays | BadRequest]:
    answers = [each for each in chain.recommend_many(batch) if not isinstance(each, BadRequest)]
    return [*answer(answers)]


def recorder_of(chain: Chain, folder: Path, settings: LogSettings, served: Served) -> Recorder:
    """What logs the answers of a chain.

    Args:
        chain: that answers.
        folder: of it.
        settings: of the log, whose folder is made.
        served: the version.
    """
    make_log(settings.folder)
    return Recorder(
        settings,
        served,
        folder,
        chain.spec,
        request_step=chain.request_step,
        parsed=lambda: chain.parsed,
        answer_names={tensor.name: tensor.name for tensor in chain.spec.response},
        layout="fused",
        step="chain",
        say=lambda what: None,
    )


def _tensor(value: object) -> NDArray:
    is_text = isinstance(value, (bytes, str))
    return np.array([[value]], object if is_text else np.int64)


def _foreign(ids: NDArray, number: int) -> object:
    """An id that is none of these, the same one for a number."""
    return f"?{number}".encode() if ids.dtype.kind == "S" else int(ids[-1]) + 1 + number

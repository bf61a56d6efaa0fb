"""Writes the golden chains of the format that this code exports: `python -m tests.golden.make`, once a format.

tests/golden/format_N/NAME/ holds `chain/`, a compiled chain of a synthetic run, and `answers.json`, requests with the
slates that it gave when it was written. Later releases have to open it and give the same ones, or convert it. So what
a release has written is never written again; while a format is being made, remove its folder first.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.spec import FORMAT_VERSION
from tests.ensemble.synthetic import item_id, make_run, user_id

FOLDER = Path(__file__).parent
NUM_USERS = 12
VARIANTS: dict[str, dict[str, Any]] = {
    "exact": {"num_items": 40},
    "gathered": {"num_items": 280, "index": "ivf", "text_ids": True, "gathered": True},
    "plain": {"num_items": 40, "text_ids": True, "factored": False},
}


def write_golden(folder: Path, variant: dict[str, Any]) -> None:
    """Compile a synthetic run into `folder`/chain and record what it answers in `folder`/answers.json."""
    with tempfile.TemporaryDirectory() as scratch:
        run, config = make_run(Path(scratch) / "run", num_users=NUM_USERS, **variant)
        compile_chain(run, config, folder / "chain", "serve")
    chain = Chain.load(folder / "chain")
    records = []
    for request in _requests(variant.get("text_ids", False)):
        answer = chain.recommend(request)
        records.append({part: _listed(arrays) for part, arrays in (("request", request), ("answer", answer))})
    (folder / "answers.json").write_text(json.dumps(records))


def _requests(text_ids: bool) -> list[dict[str, NDArray]]:
    """Every path and every input: known users, histories of the request, contexts, nothing known at all."""

    def ids(*values: Any) -> NDArray:
        return np.array(values, object if text_ids else np.int64).reshape(1, -1)

    known = [user_id(row, text_ids) for row in range(NUM_USERS)]
    items = [item_id(row, text_ids) for row in range(20)]
    stranger = ids(b"nobody" if text_ids else 1)
    context = {
        "device": np.array([[b"phone"]], object),
        "hour": np.array([[13]], np.int64),
        "temperature": np.array([[21.5]], np.float64),
    }
    everybody = np.concatenate([ids(user) for user in known])
    return [
        {"user_id": everybody},
        {"user_id": ids(known[3]), **context, "slate_size": np.array([[12]], np.int32)},
        {"user_id": ids(known[0]), "recent_item_ids": ids(*items[3:6]), "exclude_item_ids": ids(*items[8:20])},
        {"user_id": stranger, "recent_item_ids": ids(*items[7:9])},
        {"user_id": stranger, **context},
        {"user_id": stranger},
    ]


def _listed(arrays: dict[str, NDArray]) -> dict[str, Any]:
    """Arrays as JSON: {"dtype", "values"}; bytes as text."""
    return {name: {"dtype": _dtype(values), "values": _plain(values.tolist())} for name, values in arrays.items()}


def _dtype(values: NDArray) -> str:
    return "bytes" if values.dtype.kind in "OS" else values.dtype.name


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


def main() -> None:
    """Write what is not there yet.

    Raises:
        SystemExit: the format has its golden chains.
    """
    target = FOLDER / f"format_{FORMAT_VERSION}"
    if target.exists():
        sys.exit(f"{target} is there; golden chains are never written again, a new format gets a new number")
    for name, variant in VARIANTS.items():
        (target / name).mkdir(parents=True)
        write_golden(target / name, variant)


if __name__ == "__main__":
    main()

"""Run by itself, by any Python: what an exported chain answers, in full, as JSON on standard output.

Usage: python answer_requests.py FOLDER: a version of the model `cascade` in the fused layout, with lib/ and chain/.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

EDGE_TEMPERATURES = [np.nan, -40.0, 0.1, 1e30]


def main(version: Path) -> None:
    """Print the answers to requests of every path."""
    sys.path.insert(0, str(version / "lib"))
    from runtime.chain import Chain

    chain = Chain.load(version / "chain")
    users, items = (np.load(version / "chain" / "ids" / f"{side}.npy") for side in ("users", "items"))
    is_text = users.dtype.kind == "S"
    dtype = object if is_text else np.int64
    known = users.astype(dtype)[:, None]
    strangers = np.array([[f"nobody {row}".encode() if is_text else -5 - row] for row in range(64)], dtype)
    catalogue = items.astype(dtype)
    rng = np.random.default_rng(1)
    some = np.stack([rng.permutation(catalogue)[:7] for _ in range(64)])
    context = {
        "device": np.array([[(b"phone", b"desktop", b"", b"fridge")[row % 4]] for row in range(64)], object),
        "hour": (np.arange(64) % 24)[:, None],
        "temperature": np.resize(EDGE_TEMPERATURES, 64)[:, None],
    }
    requests: list[dict[str, Any]] = [{"user_id": known[start : start + 64]} for start in range(0, len(known), 64)]
    requests += [{"user_id": known[[row]]} for row in range(16)]
    requests += [{"user_id": known[:64], "slate_size": np.resize(np.array([1, 20, 3], np.int32), 64)[:, None]}]
    requests += [{"user_id": who, "recent_item_ids": some} | context for who in (known[:64], strangers)]
    requests += [{"user_id": who, "exclude_item_ids": some} for who in (known[:64], strangers)]
    requests += [{"user_id": strangers} | context, {"user_id": strangers}]
    found = [_answer(chain.recommend(request)) for request in requests]
    print(json.dumps({"versions": [sys.version, np.__version__], "answers": found}))


def _answer(arrays: dict[str, Any]) -> dict[str, list[Any]]:
    """Name -> dtype, shape, and every byte."""
    return {name: [str(v.dtype), list(v.shape), _exactly(v)] for name, v in arrays.items()}


def _exactly(values: Any) -> Any:
    return [value.hex() for value in values.ravel().tolist()] if values.dtype == object else values.tobytes().hex()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

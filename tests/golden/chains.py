"""The golden chains that are committed, and what each of them answered when it was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GOLDEN", "answers"]

# Each holds chain/ and answers.json.
GOLDEN = sorted(path.parent for path in Path(__file__).parent.glob("format_*/*/answers.json"))

Arrays = dict[str, NDArray]


def answers(folder: Path) -> Iterator[tuple[Arrays, Arrays]]:
    """The recorded requests and their answers."""
    for record in json.loads((folder / "answers.json").read_text()):
        request, answer = ({n: _array(**v) for n, v in record[part].items()} for part in ("request", "answer"))
        yield request, answer


def _array(dtype: str, values: Any) -> NDArray:
    if dtype == "bytes":
        return np.array([[value.encode() for value in row] for row in values], object)
    return np.array(values, dtype)

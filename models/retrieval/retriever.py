"""The trained retriever as the ranker's training uses it: the ONNX query tower and the item embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch
from models.onnx.export import session
from models.retrieval.meta import RetrievalMeta
from workflows.core.errors import ArtefactError
from workflows.core.record import META_FILE
from workflows.core.run import Run

__all__ = ["Retriever"]

BLOCK_ROWS = 4096


class Retriever:
    """Query embeddings and item embeddings of a finished retrieval stage.

    Args:
        folder: retrieval/ of the run, or its train/.
    """

    def __init__(self, folder: Path) -> None:
        self._inputs = RetrievalMeta.load(folder).query_inputs
        self._session = session(folder / "query_tower.onnx", num_threads=0)
        self.item_embeddings: NDArray[np.float32] = np.load(folder / "item_embeddings.npy", allow_pickle=False)

    @classmethod
    def of(cls, run: Run, snapshot: Literal["train", "eval"]) -> Retriever:
        """The retriever as of the end of the train split, or the one that is served.

        Raises:
            ArtefactError: the snapshot's towers are missing.
        """
        folder = run.folder("retrieval") / ("train" if snapshot == "train" else "")
        if not (folder / META_FILE).is_file():
            raise ArtefactError(
                f"{folder} has no towers of the snapshot {snapshot!r}; run cascade train-retrieval again"
            )
        return cls(folder)

    def embed(self, query: Batch) -> NDArray[np.float32]:
        """Query features by name, [G, 1] or [G, L] -> float32 [G, D]."""
        names = {wanted.name for wanted in self._session.get_inputs()}
        feeds = {name: query[name] for name in self._inputs if name in names}
        num_rows = len(next(iter(feeds.values())))
        blocks = []
        for start in range(0, num_rows, BLOCK_ROWS):
            block = {name: np.ascontiguousarray(values[start : start + BLOCK_ROWS]) for name, values in feeds.items()}
            blocks.append(self._session.run(["query"], block)[0])
        return np.concatenate(blocks)

"""Training state on disk after each epoch, so that a killed training resumes where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from workflows.core.disk import save_npz

__all__ = ["Checkpoint", "Progress", "assign"]

FILE_NAME = "checkpoint.npz"
BYTES = "progress_json"


class Progress(msgspec.Struct):
    """How far training has come.

    Attributes:
        fingerprint: of config and inputs; a checkpoint of another one is not resumed, nor one that names none.
        history: a record per finished epoch.
        best_epoch: index of the epoch whose weights are kept; -1 before the first.
    """

    fingerprint: str = ""
    history: list[dict[str, Any]] = []
    best_epoch: int = -1

    def records(self) -> list[dict[str, Any]]:
        """The record of every epoch, and whether it was the best."""
        return [{**record, "best": i == self.best_epoch} for i, record in enumerate(self.history)]


class Checkpoint:
    """One file holding progress, current variables and best weights; replaced atomically."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Keep the file in `folder`, for the training that `fingerprint` identifies."""
        self._folder = folder
        self._fingerprint = fingerprint

    def save(self, progress: Progress, current: Sequence[NDArray], best: Sequence[NDArray]) -> None:
        """Write the state after an epoch; where that fails, the state before it stays."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"current_{i}": value for i, value in enumerate(current)}
        arrays |= {f"best_{i}": value for i, value in enumerate(best)}
        arrays[BYTES] = np.frombuffer(msgspec.json.encode(progress), np.uint8)
        fresh = self._folder / f"new_{FILE_NAME}"
        try:
            save_npz(fresh, arrays)
            fresh.replace(self._folder / FILE_NAME)
        finally:
            fresh.unlink(missing_ok=True)

    def load(self) -> tuple[Progress, list[NDArray], list[NDArray]] | None:
        """The state of the last finished epoch; None when there is none for this fingerprint (another's is removed)."""
        path = self._folder / FILE_NAME
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as file:
            progress = msgspec.json.decode(file[BYTES].tobytes(), type=Progress)
            if progress.fingerprint == self._fingerprint:
                return progress, _series(file, "current"), _series(file, "best")
        shutil.rmtree(self._folder)
        return None


def assign(variables: Sequence[Any], values: Sequence[NDArray]) -> None:
    """Give every variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _series(file: Any, name: str) -> list[NDArray]:
    count = sum(key.startswith(f"{name}_") for key in file.files)
    return [file[f"{name}_{i}"] for i in range(count)]

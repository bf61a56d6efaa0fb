"""An operator whose heavy state is files: saved beside the exported ensemble, opened again where it is served."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from merlin.dag import BaseOperator, ColumnSelector, DataFormats
from merlin.schema import Schema

__all__ = ["StoredOperator", "copy"]


class StoredOperator(BaseOperator):
    """Opens its files when it is loaded; what it has opened stays out of the pickle.

    Args:
        folder: as `ensemble.merlin.artefacts.prepare` fills it.
        outputs: schema of what it gives.
    """

    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, outputs: Schema) -> None:
        super().__init__()
        self.folder, self.outputs = str(folder), outputs
        self._opened: Any = None

    def open(self, folder: Path) -> Any:
        """What `transform` works on, from the files."""
        raise NotImplementedError

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Open the files; Merlin calls this with "" when it builds a graph, and with the exported folder to serve."""
        self._opened = self.open(Path(artifact_path or self.folder))

    def save_artifacts(self, artifact_path: str) -> None:
        """Put the files into the exported folder."""
        for name in self.files:
            copy(Path(self.folder) / name, Path(artifact_path) / name)

    def compute_output_schema(
        self, input_schema: Schema, col_selector: ColumnSelector, prev_output_schema: Schema | None = None
    ) -> Schema:
        """What it gives."""
        return self.outputs

    @property
    def supported_formats(self) -> DataFormats:
        """Tables of NumPy arrays."""
        return DataFormats.NUMPY_TENSOR_TABLE

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def copy(source: Path, target: Path) -> None:
    """Put a file or a folder at `target`, hard-linked where possible; what another operator has put there stays."""
    if target.exists():
        return
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link)
    else:
        _link(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

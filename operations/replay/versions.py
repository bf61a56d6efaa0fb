"""The versions that can be asked again: where each has its files and its code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from ensemble.kept_versions import is_published, removed_at, version_folders
from ensemble.serving.repository import find_repository, served_number
from operations.replay.errors import NotReplayableError
from runtime.log.identity import MODEL_NAME
from runtime.plan import Plan
from runtime.triton import CHAIN_FOLDER
from workflows.core.artefacts import MANIFEST_NAME, verify
from workflows.core.errors import ArtefactError

__all__ = ["Version", "find_given", "find_logged"]

LIBRARY, GRAPH = "lib", "model.onnx"


@dataclass(frozen=True)
class Version:
    """One version of a chain in one layout.

    Attributes:
        number: of the model `cascade`.
        chain_key: of its manifest.
        folder: of the version in the folder of the model `cascade`.
        steps: in the ensemble layout, the folder of each step model by its name in the plan; else empty.
    """

    number: int
    chain_key: str
    folder: Path
    steps: dict[str, Path]

    @property
    def libraries(self) -> list[Path]:
        """Where its code is."""
        return [path / LIBRARY for path in (*self.steps.values(), self.folder) if (path / LIBRARY).is_dir()]

    def check(self) -> None:
        """Compare its files with the manifests.

        Raises:
            ArtefactError: one is missing or altered.
        """
        places = [self.folder, *(path.parent for path in self.steps.values())]
        signed = [path for path in places if (path / MANIFEST_NAME).is_file()]
        for path in signed or [self.folder.parents[2]]:
            verify(path)

    def ids(self, name: str) -> NDArray:
        """Raw ids of rows; "items" or "users"."""
        first = next(iter(self.steps.values()), self.folder)
        array: NDArray = np.load(first / CHAIN_FOLDER / f"ids/{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    @contextmanager
    def opened(self) -> Iterator[tuple[Path, dict[str, Path]]]:
        """Where its plan is, and where each model finds what its steps open; "" stands for every model."""
        if not self.steps:
            yield self.folder / CHAIN_FOLDER, {"": self.folder / CHAIN_FOLDER}
            return
        plan = Plan.load(self.folder)
        with TemporaryDirectory() as links:
            folders = {}
            for model, path in self.steps.items():
                folders[model] = path / CHAIN_FOLDER
                if not folders[model].is_dir():  # Triton's own backend runs it
                    folders[model] = Path(links) / model
                    linked = folders[model] / plan.of_model(model)[0].files[0]
                    linked.parent.mkdir(parents=True)
                    linked.symlink_to(path.absolute() / GRAPH)
            yield self.folder, folders


def find_logged(repository: Path, key: str, number: int) -> Version:
    """The version that answered a logged request.

    Args:
        repository: that served it.
        key: of its chain.
        number: of the version, for the sentence.

    Raises:
        NotReplayableError: it is not there any more.
    """
    if not repository.is_dir():
        raise NotReplayableError(
            f"{repository}, which served version {number}, is not here; where it lies elsewhere, name it with --run"
        )
    for version in _versions(repository):
        if version.chain_key == key:
            return version
    raise NotReplayableError(_why_gone(repository, number))


def find_given(path: Path, layout: str, key: str, number: int | None) -> Version:
    """The version that a user names.

    Args:
        path: a run directory or a model repository.
        layout: of the request, which another one stands in for.
        key: of the chain that answered the request: the same version where it is there.
        number: of a version; None: the same version, else the one that is served.

    Raises:
        ArtefactError: there is no such repository.
        NotReplayableError: it has no such version.
    """
    repository = _repository(path, layout)
    there = list(_versions(repository))
    if number is None:
        same = [version for version in there if version.chain_key == key]
        there = same or [version for version in there if version.number == int(served_number(repository))]
    else:
        there = [version for version in there if version.number == number]
    if not there:
        raise NotReplayableError(_why_gone(repository, number or int(served_number(repository))))
    return there[-1]


def _repository(path: Path, layout: str) -> Path:
    try:
        return find_repository(path, layout)
    except ArtefactError:
        return find_repository(path, "ensemble" if layout == "fused" else "fused")


def _versions(repository: Path) -> Iterator[Version]:
    """Every version that is there, withdrawn ones too."""
    if not (repository / MODEL_NAME).is_dir():
        return
    for number, key, folder in version_folders(repository):
        if (folder / CHAIN_FOLDER).is_dir():
            yield Version(number, key, folder, {})
        else:
            prefix = f"{MODEL_NAME}_v{number}" if is_published(repository) else MODEL_NAME
            steps = {model: repository / f"{prefix}_{model}" / "1" for model in Plan.load(folder).models}
            if all(path.is_dir() for path in steps.values()):
                yield Version(number, key, folder, steps)


def _why_gone(repository: Path, number: int) -> str:
    if not is_published(repository):
        return f"{repository} was exported again since, and the chain that answered is gone: publish what is to stay"
    if removed := removed_at(repository, number):
        return f"version {number} was pruned on {removed[:10]} from {repository}"
    there = ", ".join(str(version.number) for version in _versions(repository))
    return f"{repository} has no version {number}; it has {there or 'none'}"

"""What the layout `merlin` needs and the others do not; checked before anything heavy runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from workflows.core.errors import ArtefactError, CascadeError, ServingError

__all__ = ["MERLIN", "is_merlin", "refuse_to_publish", "require_artefacts", "require_packages"]

MERLIN = "merlin"
PACKAGES = ("tensorflow", "merlin.systems", "nvtabular", "faiss")
# Per stage, what the operators of Merlin Systems read and the compiled chain does not.
ARTEFACTS = {
    "features": ("workflows/user", "workflows/item", "workflows/history"),
    "retrieval": ("query_tower",),
    "ranking": ("ranker",),
}


def require_packages(why: str) -> None:
    """Refuse where this Python lacks a package.

    Args:
        why: the start of the sentence, such as "serve: the layout 'merlin'".

    Raises:
        ServingError: one is missing.
    """
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if missing:
        raise ServingError(
            f"{why} runs Merlin Systems and TensorFlow itself and needs {', '.join(missing)}, which this Python does "
            "not have; install the training requirements (requirements/cpu.txt), or use the layout 'fused'"
        )


def require_artefacts(root: Path) -> None:
    """Refuse a run without what the operators open.

    Raises:
        ArtefactError: a folder of a stage is missing.
    """
    for stage, names in ARTEFACTS.items():
        for name in names:
            if not (root / stage / name).is_dir():
                raise ArtefactError(
                    f"{root / stage / name} is missing, which the layout 'merlin' serves; run the stage again with "
                    "--force, or take 'merlin' out of chain.layouts"
                )


def refuse_to_publish(layout: str) -> None:
    """Refuse to publish the layout.

    Raises:
        CascadeError: it is `merlin`.
    """
    if layout == MERLIN:
        raise CascadeError(
            "the layout 'merlin' is not published: it answers one user a request and holds a pickle, and the serving "
            "images have no TensorFlow; publish 'fused' or 'ensemble'"
        )


def is_merlin(repository: Path) -> bool:
    """Whether a model repository is of this layout."""
    return any(repository.glob("*/*/ensemble/ensemble.pkl"))


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it
        return False

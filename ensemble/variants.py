"""Versions that serve beside the served one, each as a model of its own name: the variants of experiments.

The model `cascade` has one version, always, so who knows of no experiment is answered as ever; version 4 beside it is
the model `cascade_v4`. `experiments.json` in the repository says which versions these are, and a version that it names
is neither swept nor pruned.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble.publish_files import CONFIG_FILE, NEW, replace_file
from runtime.log.identity import MODEL_NAME, VERSION_MODEL
from workflows.core.errors import ArtefactError

__all__ = [
    "EXPERIMENTS_FILE",
    "experiments_record",
    "model_of",
    "remove_model",
    "variant_versions",
    "write_experiments",
    "write_model",
]

EXPERIMENTS_FILE = "experiments.json"
NAME_LINE = re.compile(rf'^name: "{MODEL_NAME}"$', re.MULTILINE)


def model_of(version: int) -> str:
    """The name that a version has beside the served one."""
    return f"{MODEL_NAME}_v{version}"


def experiments_record(repository: Path) -> dict[str, Any] | None:
    """What the file of experiments holds; None where there is none.

    Raises:
        ArtefactError: it cannot be read.
    """
    path = repository / EXPERIMENTS_FILE
    try:
        record = json.loads(path.read_text())
        _models(record)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(
            f"{path} cannot be read ({type(error).__name__}: {error}); put a copy of it back, or remove it to end all "
            "experiments"
        ) from error
    return dict(record)


def write_experiments(repository: Path, record: Mapping[str, Any]) -> None:
    """Replace the file of experiments in one step."""
    replace_file(repository / EXPERIMENTS_FILE, json.dumps(record, indent=1) + "\n")


def variant_versions(repository: Path) -> set[int]:
    """The versions that experiments name.

    Raises:
        ArtefactError: see experiments_record.
    """
    record = experiments_record(repository)
    named = [] if record is None else map(VERSION_MODEL.fullmatch, _models(record))
    return {int(found[1]) for found in named if found}


def write_model(repository: Path, version: int) -> None:
    """Give a version that is there a name of its own."""
    model, fresh = repository / model_of(version), repository / f".{model_of(version)}{NEW}"
    for left in (fresh, model):
        if left.is_dir():
            shutil.rmtree(left)
    fresh.mkdir()
    # Not copied: a version can be many gigabytes, and a model of Triton may be a link.
    (fresh / str(version)).symlink_to(Path("..") / MODEL_NAME / str(version), target_is_directory=True)
    config = (repository / MODEL_NAME / str(version) / CONFIG_FILE).read_text()
    (fresh / CONFIG_FILE).write_text(NAME_LINE.sub(f'name: "{model_of(version)}"', config))
    fresh.rename(model)


def remove_model(repository: Path, version: int) -> None:
    """Take the name away; the version stays."""
    if (repository / model_of(version)).is_dir():
        shutil.rmtree(repository / model_of(version))


def _models(record: Mapping[str, Any]) -> list[str]:
    return [str(each["model"]) for experiment in record["experiments"] for each in experiment["variants"]]

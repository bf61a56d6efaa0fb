"""The model repositories that the benchmark serves beside the run's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks.serving import identity_model
from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME, Names, fused_config, write_layout
from runtime.plan import Plan
from runtime.spec import ChainSpec

__all__ = ["artefact_bytes", "write_identity", "write_with_instances"]


def write_identity(repository: Path, spec: ChainSpec, plan: Plan) -> Path:
    """The floor: the fused model's config with a model behind it that computes nothing.

    Returns:
        The repository.
    """
    folder = repository / MODEL_NAME
    (folder / "1").mkdir(parents=True)
    shutil.copyfile(identity_model.__file__, folder / "1" / "model.py")
    slate = f'parameters {{ key: "slate_size" value {{ string_value: "{spec.slate_size}" }} }}\n'
    (folder / CONFIG_FILE).write_text(fused_config(spec, plan, Names()) + slate)
    return repository


def write_with_instances(repository: Path, chain: Path, spec: ChainSpec, num_instances: int) -> Path:
    """The fused layout with another number of instances than export chose.

    Args:
        repository: created.
        chain: the compiled chain.
        spec: its chain.json.
        num_instances: processes that serve it.

    Returns:
        The repository.
    """
    plan = Plan.load(chain)
    write_layout(chain, plan, repository, "fused", Names())
    other = replace(spec, num_instances=num_instances)
    (repository / MODEL_NAME / CONFIG_FILE).write_text(fused_config(other, plan, Names()))
    return repository


def artefact_bytes(repository: Path) -> int:
    """Size of the files of a repository, a hard-linked file once."""
    stats = [path.stat() for path in repository.rglob("*") if path.is_file()]
    return sum({stat.st_ino: stat.st_size for stat in stats}.values())

"""Which version answers, and on what: the names by which rows of the log say it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

__all__ = ["Served", "chain_key", "environment", "manifest_of", "served_chain"]

MODEL_NAME, MANIFEST = "cascade", "manifest.json"
# A step of a version, or a version under a name of its own.
VERSION_MODEL = re.compile(rf"{MODEL_NAME}_v(\d+)(_.+)?")
PACKAGES = ("numpy", "faiss-cpu", "faiss-gpu-cu12", "onnxruntime")
CPU_INFO = Path("/proc/cpuinfo")


class Served(NamedTuple):
    """A version of a chain as a server has it.

    Attributes:
        chain_key: tells its files from those of every other: a hash of their manifest.
        version: of the model `cascade`.
        repository: folder of models.
    """

    chain_key: str
    version: int
    repository: Path


def served_chain(model: Path, number: str) -> Served:
    """The version that a model's process belongs to.

    Args:
        model: its folder in the repository, as Triton names it.
        number: of its version.
    """
    folder = Path(os.path.realpath(model))
    named = VERSION_MODEL.fullmatch(folder.name)
    of_chain = named[1] if named else number if folder.name == MODEL_NAME else "1"
    return Served(chain_key(folder.parent / MODEL_NAME / of_chain), int(of_chain), folder.parent)


def chain_key(version_folder: Path) -> str:
    """The key of a version folder of the model `cascade`: of its manifest; "" where there is none."""
    manifest = manifest_of(version_folder)
    try:
        return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest else ""
    except OSError:  # it has just gone
        return ""


def manifest_of(version_folder: Path) -> Path | None:
    """The manifest of a version folder of the model `cascade`: its own, or of the export that it lies in."""
    repository = version_folder.parents[1]
    paths = (place / MANIFEST for place in (version_folder, repository, repository.parent))
    return next((path for path in paths if path.is_file()), None)


def environment() -> dict[str, str]:
    """What the bits of a score may depend on beside the chain's files: versions, the processor, threads."""
    found = {"python": platform.python_version(), "threads": os.environ.get("OMP_NUM_THREADS", "")}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "cpu": _processor()}


def _processor() -> str:
    """A hash of what the processor can do, by which libraries choose their code."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    named = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return hashlib.sha256("\n".join([platform.machine(), *named]).encode()).hexdigest()[:16]

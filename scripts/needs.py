"""What each command needs beyond the light dependencies, and the one sentence where it is not here."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workflows.core.errors import SetupError

__all__ = [
    "COMMANDS",
    "GROUPS",
    "PACKAGES",
    "Needs",
    "check_needs",
    "command_name",
    "missing",
    "trains_here",
    "why_no_training",
]

LAST_TO_TRAIN = (3, 11)
# Import name -> the distributions that bring it, any one of them.
PACKAGES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "training": {
        "nvtabular": ["nvtabular"],
        "merlin.models": ["merlin-models"],
        "merlin.systems": ["merlin-systems"],
        "tensorflow": ["tensorflow-cpu", "tensorflow"],
        "tf2onnx": ["tf2onnx"],
        "pandas": ["pandas"],
        "duckdb": ["duckdb"],
    },
    "looking": {"duckdb": ["duckdb"]},
    "tables": {"pyarrow": ["pyarrow"], "onnx": ["onnx"]},
    "measuring": {
        "scipy": ["scipy"],
        "numba": ["numba"],
        "threadpoolctl": ["threadpoolctl"],
        "jinja2": ["jinja2"],
        "matplotlib": ["matplotlib"],
    },
    "runtime": {"onnxruntime": ["onnxruntime"], "faiss": ["faiss-cpu", "faiss-gpu-cu12"]},
    "client": {"tritonclient": ["tritonclient"]},
    "live": {"lmdb": ["lmdb"]},
    "pages": {"jinja2": ["jinja2"], "starlette": ["starlette"], "uvicorn": ["uvicorn"]},
    "monitoring": {"prometheus_client": ["prometheus-client"]},
}


class Needs(NamedTuple):
    """Groups of PACKAGES, and the extras of pyproject.toml that bring them."""

    extras: str
    groups: tuple[str, ...]


TRAINING = Needs("cpu", ("training", "tables", "runtime"))
STAGES = Needs("cpu", (*TRAINING.groups, "measuring"))
# Commands of two words by their first one.
GROUPS = ("events", "stream", "slates", "log", "experiment")
# What is not named here runs on the light dependencies.
COMMANDS: Mapping[str, Needs] = {
    "init": Needs("cpu", ("looking",)),
    "prepare": TRAINING,
    "train-retrieval": TRAINING,
    "train-ranking": TRAINING,
    "run": STAGES,
    "retrain": STAGES,
    "search": STAGES,
    "demo": Needs("cpu,serve", (*STAGES.groups, "client")),
    "fit-neighbours": Needs("evaluate", ("tables", "measuring", "runtime")),
    "fit-sources": Needs("evaluate", ("tables", "measuring", "runtime")),
    "build-index": Needs("export", ("tables", "runtime")),
    "evaluate": Needs("evaluate", ("tables", "measuring", "runtime")),
    "export": Needs("export", ("tables", "runtime")),
    "exposure": Needs("export", ("tables", "runtime")),
    "serve": Needs("serve", ("runtime", "client")),
    "recommend": Needs("serve", ("client",)),
    "why": Needs("export", ("tables", "runtime")),
    "console": Needs("export,console", ("tables", "runtime", "pages")),
    "reload": Needs("serve", ("client",)),
    "rollback": Needs("serve", ("runtime",)),
    "block": Needs("serve", ("runtime",)),
    "unblock": Needs("serve", ("runtime",)),
    "events send": Needs("serve", ("client",)),
    "stream status": Needs("serve", ("live",)),
    "stream run": Needs("serve,kafka,redis", ("runtime", "client")),
    "stream replay": Needs("export", ("live", "tables")),
    "stream audit": Needs("export", ("live", "tables")),
    "stream backfill": Needs("export", ("live", "tables")),
    "stream compact": Needs("export", ("live", "tables")),
    "stream forget": Needs("export", ("live", "tables", "client")),
    "stream rebuild": Needs("export", ("live", "tables")),
    "log collect": Needs("export", ("tables",)),
    "log verify": Needs("export", ("tables",)),
    "log prune": Needs("export", ("tables",)),
    "log forget": Needs("export", ("tables",)),
    "log import": Needs("export", ("tables",)),
    "log check": Needs("export", ("tables",)),
    "evaluate-policy": Needs("export", ("tables", "runtime")),
    "feedback": Needs("export", ("tables", "runtime")),
    "replay": Needs("export", ("tables", "runtime")),
    "gate": Needs("evaluate", ("tables", "measuring", "runtime")),
    "experiment check": Needs("serve", ("runtime",)),
    "experiment start": Needs("serve", ("runtime", "client")),
    "experiment status": Needs("evaluate", ("tables", "measuring")),
    "experiment advance": Needs("evaluate", ("tables", "measuring")),
    "experiment stop": Needs("serve", ("runtime", "client")),
    "experiment watch": Needs("evaluate,serve", ("tables", "measuring", "client")),
    "shadow": Needs("export", ("tables", "runtime")),
    "timeline": Needs("evaluate", ("tables", "measuring", "runtime")),
    "monitor": Needs("evaluate", ("tables", "measuring", "runtime")),
    "simulate": Needs("evaluate", ("tables", "measuring")),
    "train-send-gate": Needs("evaluate", ("tables",)),
    "export-send-gate": Needs("export", ("tables",)),
    "notify": Needs("evaluate", ("tables",)),
    "slates build": Needs("export,serve", ("client", "live", "tables")),
    "slates refresh": Needs("export,serve", ("client", "live", "tables")),
    "slates allot": Needs("export", ("tables", "runtime")),
    "slates status": Needs("serve", ("client", "live")),
}


def command_name(function_name: str) -> str:
    """The command that a function of this folder is."""
    group, _, name = function_name.partition("_")
    return f"{group} {name.replace('_', '-')}" if group in GROUPS else function_name.replace("_", "-")


def check_needs(command: str) -> None:
    """Refuse a command that cannot run in this environment, before it reads or writes anything.

    Raises:
        SetupError: names the command, what is missing and the way out.
    """
    needs = COMMANDS.get(command, Needs("", ()))
    if "training" in needs.groups and (reason := why_no_training()):
        raise SetupError(f"cascade {command} is a part of training; {reason}")
    if names := [name for group in needs.groups for name in missing(group)]:
        raise SetupError(
            f"cascade {command} needs {', '.join(names)}, not installed for {sys.executable}; run make setup, "
            f"or in the folder of Cascade: uv pip install '.[{needs.extras}]'"
        )


def missing(group: str) -> list[str]:
    """The distributions of a group that are not installed here; of several that bring one package, the first."""
    return [distributions[0] for package, distributions in PACKAGES[group].items() if not _is_found(package)]


def trains_here() -> bool:
    """Whether the packages that train have builds for this Python."""
    return sys.version_info[:2] <= LAST_TO_TRAIN


def why_no_training() -> str:
    """A sentence where this Python is too new for the packages that train and they are not here; else empty."""
    if trains_here() or not missing("training"):
        return ""
    return (
        f"training needs Python 3.10 or 3.11, and this is {platform.python_version()}: Merlin 23 and TensorFlow 2.12 "
        "have no builds for it; train there (make setup brings such a Python), then evaluate, export and serve the run "
        "here"
    )


def _is_found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of what it lies in
        return False

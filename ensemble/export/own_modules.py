"""Whether a server can import the user's own steps: their files are copied alone, into a process without Merlin."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import runtime
from ensemble.export.layouts import own_source, runtime_sources
from runtime.plan import Node, Plan
from workflows.core.errors import ConfigError

__all__ = ["check_own_modules", "is_own", "own_modules"]

TIMEOUT_S = 60
# What a server's lib/ may import besides what lies in it. Packages look for optional companions: those they do without.
PROGRAM = """
import importlib, sys
allowed = {*sys.stdlib_module_names, "numpy", "faiss", "onnxruntime", *sys.argv[3:]}
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Only())
sys.path.insert(0, sys.argv[1])
try:
    importlib.import_module(sys.argv[2])
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def check_own_modules(own: Mapping[str, str]) -> None:
    """Import each module of the user's own as a server does: from a folder like its lib/, with nothing else there.

    Args:
        own: module -> the step that it is for.

    Raises:
        ConfigError: one cannot be imported there.
    """
    if not own:
        return
    with tempfile.TemporaryDirectory() as folder:
        for source, path in (*runtime_sources(), *map(own_source, own)):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(source.read_bytes())
        present = sorted({path.stem for path in Path(folder).iterdir()})
        for module, name in own.items():
            if reason := _why_not(module, folder, present):
                raise ConfigError(
                    f"the step of '{name}' cannot be served: the server gets the file of '{module}' alone, beside "
                    f"`runtime`, NumPy, FAISS and ONNX Runtime, and cannot import it there ({reason}); import other "
                    "things inside the functions that need them, or move the step to a file of its own"
                )


def own_modules(plan: Plan) -> dict[str, str]:
    """The modules of steps that are not of the package `runtime`, each with a node that it is for."""
    return {node.step.partition(":")[0]: node.name for node in plan.nodes if is_own(node)}


def is_own(node: Node) -> bool:
    """Whether a node's step is not of the package `runtime`."""
    return node.step.partition(":")[0].split(".")[0] != runtime.__name__


def _why_not(module: str, folder: str, present: list[str]) -> str:
    """Why a fresh interpreter cannot import a module; empty where it can."""
    command = [sys.executable, "-c", PROGRAM, folder, module, *present]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=folder, check=False)
    except subprocess.TimeoutExpired:
        return f"importing it takes more than {TIMEOUT_S} s"
    if ran.returncode:
        return (ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1]
    return ran.stdout.strip().splitlines()[-1] if ran.stdout.strip() else ""

"""`cascade doctor`: what this machine has, what each stage would use, and what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.common import one_sentence_errors
from workflows.core import console
from workflows.core.device import choose, num_gpus

__all__ = ["doctor"]

NEEDED_TO_TRAIN = ("nvtabular", "merlin-models", "merlin-systems", "tf2onnx", "duckdb", "pandas", "pyarrow")
NEEDED_TO_SERVE = ("numpy", "onnxruntime", "nvidia-pytriton", "tritonclient")
EITHER_OF = (("tensorflow-cpu", "tensorflow"), ("faiss-cpu", "faiss-gpu-cu12"))
STAGES = (
    ("prepare", "cudf"),
    ("train-retrieval", "tensorflow"),
    ("build-index", "faiss"),
    ("train-ranking", "tensorflow"),
)
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
LEAST_FREE_BYTES = 5 * 2**30


@one_sentence_errors
def doctor(out: Annotated[Path, typer.Option("--out", help="Where runs would be written.")] = Path()) -> None:
    """Print versions, devices, ports, disk and what is missing; exit 1 when something is."""
    table = Table("what", "found", "", title="cascade doctor", title_justify="left")
    missing = []
    for what, found, problem in [*_machine(), *_packages(), *_devices(), *_ports(), *_disk(out)]:
        verdict = Text(console.escaped(problem), "red") if problem else Text("ok", "green")
        table.add_row(console.plain(what), console.plain(found), verdict)
        missing += [f"{what}: {problem}"] if problem else []
    Console(highlight=False).print(table)
    if missing:
        raise typer.Exit(1)


def _machine() -> Iterator[tuple[str, str, str]]:
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] < (3, 12)
    yield "python", version, "" if fits else "Python 3.10 or 3.11 is needed"
    system = f"{platform.system()} {platform.machine()}"
    yield "system", system, "" if system == "Linux x86_64" else "Linux on x86-64 is needed"
    yield "CUDA devices", str(num_gpus()), ""


def _packages() -> Iterator[tuple[str, str, str]]:
    for names in (*((name,) for name in (*NEEDED_TO_TRAIN, *NEEDED_TO_SERVE)), *EITHER_OF):
        found = [f"{name} {version}" for name in names if (version := _version(name))]
        yield " or ".join(names), ", ".join(found) or "-", "" if found else "not installed: run make setup"
    system_triton = shutil.which("tritonserver")
    yield "tritonserver", system_triton or "the one inside nvidia-pytriton", ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[tuple[str, str, str]]:
    for stage, library in STAGES:
        device = choose("auto", library)
        yield stage, f"{device.kind.upper()}: {device.reason}", ""


def _ports() -> Iterator[tuple[str, str, str]]:
    for name, port in PORTS.items():
        with socket.socket() as probe:
            busy = probe.connect_ex(("127.0.0.1", port)) == 0
        yield f"{name} port", str(port), f"in use: serve with --{name}-port" if busy else ""


def _disk(out: Path) -> Iterator[tuple[str, str, str]]:
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    yield "free disk", f"{free / 2**30:.0f} GiB", "" if free >= LEAST_FREE_BYTES else "less than 5 GiB"


if __name__ == "__main__":
    typer.run(doctor)

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

from ensemble.serving.binary import installed_triton, why_not_pytriton
from scripts.common import one_sentence_errors
from scripts.needs import COMMANDS, PACKAGES, check_needs, missing, why_no_training
from workflows.core import console
from workflows.core.device import choose, num_gpus
from workflows.core.errors import ConfigError, SetupError

__all__ = ["doctor"]

# What a machine is for, and the command that needs all of it.
PURPOSES = {"train": "run", "evaluate": "evaluate", "export": "export", "serve": "serve"}
STAGES = (
    ("prepare", "cudf"),
    ("train-retrieval", "tensorflow"),
    ("build-index", "faiss"),
    ("train-ranking", "tensorflow"),
)
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
LEAST_FREE_BYTES = 5 * 2**30


@one_sentence_errors
def doctor(
    out: Annotated[Path, typer.Option("--out", help="Where runs would be written.")] = Path(),
    purposes: Annotated[
        list[str], typer.Option("--for", help=f"What this machine is for: {', '.join(PURPOSES)}; repeatable.")
    ] = [],
) -> None:
    """Print versions, devices, ports, disk and what can run here; exit 1 when something that is wanted cannot.

    Everything is wanted that this Python can have, unless --for says what.
    """
    if unknown := [purpose for purpose in purposes if purpose not in PURPOSES]:
        raise ConfigError(f"--for {unknown[0]}: expected one of {', '.join(PURPOSES)}")
    wanted = purposes or [purpose for purpose in PURPOSES if purpose != "train" or not why_no_training()]
    table = Table("what", "found", "", title="cascade doctor", title_justify="left")
    wrong = []
    for what, found, problem in [*_machine(), *_packages(), *_devices(), *_ports(), *_disk(out)]:
        verdict = Text(console.escaped(problem), "red") if problem else Text("ok", "green")
        table.add_row(console.plain(what), console.plain(found), verdict if problem or found != "-" else "")
        wrong += [what] if problem else []
    for purpose in PURPOSES:
        reason = _why_not(purpose)
        style = "green" if not reason else "red" if purpose in wanted else "yellow"
        table.add_row(f"to {purpose}", "no" if reason else "yes", Text(console.escaped(reason or "ok"), style))
        wrong += [purpose] if reason and purpose in wanted else []
    Console(highlight=False).print(table)
    if wrong:
        raise typer.Exit(1)


def _machine() -> Iterator[tuple[str, str, str]]:
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] < (3, 14)
    yield "python", version, "" if fits else "Python 3.10 to 3.13 is needed"
    system = f"{platform.system()} {platform.machine()}"
    yield "system", system, "" if system == "Linux x86_64" else "Linux on x86-64 is needed"
    yield "CUDA devices", str(num_gpus()), ""


def _packages() -> Iterator[tuple[str, str, str]]:
    for names in dict.fromkeys(tuple(names) for packages in PACKAGES.values() for names in packages.values()):
        found = [f"{name} {version}" for name in names if (version := _version(name))]
        yield " or ".join(names), ", ".join(found) or "-", ""
    yield "numpy", _version("numpy") or "-", ""
    yield "tritonserver", installed_triton() or ("-" if why_not_pytriton() else "the one inside nvidia-pytriton"), ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _why_not(purpose: str) -> str:
    """What keeps this machine from a purpose; empty where nothing does."""
    try:
        check_needs(PURPOSES[purpose])
    except SetupError as error:
        return str(error)
    return (why_not_pytriton() or "") if purpose == "serve" and installed_triton() is None else ""


def _devices() -> Iterator[tuple[str, str, str]]:
    for stage, library in STAGES:
        if not any(missing(group) for group in COMMANDS[stage].groups):
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

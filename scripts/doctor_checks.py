"""What `cascade doctor` looks at: each check with what was found, what is wrong with it and what mends it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ensemble.serving.binary import installed_triton, why_not_pytriton
from scripts.needs import COMMANDS, PACKAGES, check_needs, missing, why_no_training
from workflows.core.device import choose, num_gpus
from workflows.core.disk import takes_files
from workflows.core.errors import SetupError

__all__ = ["PURPOSES", "Check", "Findings", "Purpose", "cascade_version", "checks", "purposes"]

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
BRING_PYTHON = "make setup"


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        what: was looked at.
        found: in words; "-" where there is none.
        problem: what is wrong with it; empty where nothing is.
        fix: a command that mends it, or what to do where no command can; empty without a problem.
    """

    what: str
    found: str
    problem: str = ""
    fix: str = ""


class Purpose(msgspec.Struct, frozen=True):
    """Something that a machine can be for.

    Attributes:
        purpose: "train", "evaluate", "export" or "serve".
        is_possible: here.
        is_wanted: by --for, or by default.
        problem: why it is not possible; empty where it is.
        fix: a command that makes it possible; empty where it is.
    """

    purpose: str
    is_possible: bool
    is_wanted: bool
    problem: str = ""
    fix: str = ""


class Findings(msgspec.Struct, frozen=True):
    """What `cascade doctor --json` prints.

    Attributes:
        checks: in the order of the table.
        purposes: what this machine can be for.
    """

    checks: list[Check]
    purposes: list[Purpose]


def checks(out: Path) -> list[Check]:
    """Versions, devices, ports and disk of this machine.

    Args:
        out: where runs would be written.
    """
    return [*_machine(), *_packages(), *_devices(), *_ports(), _disk(out)]


def purposes(wanted: list[str]) -> list[Purpose]:
    """What this machine can be for.

    Args:
        wanted: some of PURPOSES.
    """
    return [
        Purpose(name, not reason, name in wanted, reason, _fix(name) if reason else "")
        for name in PURPOSES
        for reason in [_why_not(name)]
    ]


def cascade_version() -> str:
    """Which release this is; "not installed" of a folder of files that is only on the path."""
    return _version("cascade") or "not installed"


def _machine() -> Iterator[Check]:
    yield Check("cascade", cascade_version())
    version = platform.python_version()
    if (3, 10) <= sys.version_info[:2] < (3, 14):
        yield Check("python", version)
    else:
        yield Check("python", version, "Python 3.10 to 3.13 is needed", BRING_PYTHON)
    system = f"{platform.system()} {platform.machine()}"
    if system == "Linux x86_64":
        yield Check("system", system)
    else:
        yield Check("system", system, "Linux on x86-64 is needed", "use a machine, or a virtual one, that has it")
    yield Check("CUDA devices", str(num_gpus()))


def _packages() -> Iterator[Check]:
    for names in dict.fromkeys(tuple(names) for packages in PACKAGES.values() for names in packages.values()):
        found = [f"{name} {version}" for name in names if (version := _version(name))]
        yield Check(" or ".join(names), ", ".join(found) or "-")
    yield Check("numpy", _version("numpy") or "-")
    yield Check("tritonserver", installed_triton() or ("-" if why_not_pytriton() else "the one inside nvidia-pytriton"))


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


def _fix(purpose: str) -> str:
    if purpose == "train" and why_no_training():
        return BRING_PYTHON
    extra = f".[{COMMANDS[PURPOSES[purpose]].extras}]"
    return f"uv pip install --python {shlex.quote(sys.executable)} {shlex.quote(extra)}"


def _devices() -> Iterator[Check]:
    for stage, library in STAGES:
        if not any(missing(group) for group in COMMANDS[stage].groups):
            device = choose("auto", library)
            yield Check(stage, f"{device.kind.upper()}: {device.reason}")


def _ports() -> Iterator[Check]:
    for name, port in PORTS.items():
        with socket.socket() as probe:
            is_taken = probe.connect_ex(("127.0.0.1", port)) == 0
        if is_taken:
            fix = f"cascade serve RUN --{name}-port 0"
            yield Check(f"{name} port", str(port), f"in use: serve with --{name}-port", fix)
        else:
            yield Check(f"{name} port", str(port))


def _disk(out: Path) -> Check:
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if os.path.lexists(parent))
    if not folder.is_dir():
        return Check("free disk", "-", f"{folder} is no folder", "name another folder with --out")
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.0f} GiB"
    if not takes_files(folder):
        return Check("free disk", found, f"no file can be written in {folder}", "name another folder with --out")
    if free >= LEAST_FREE_BYTES:
        return Check("free disk", found)
    return Check("free disk", found, "less than 5 GiB", f"du -sh {shlex.quote(str(folder))}/* shows what takes it")

"""Where tritonserver comes from: an installed one, else the binary that nvidia-pytriton carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ensemble.serving.workspace import link
from workflows.core.errors import ServingError

__all__ = ["TritonBinary", "find_triton", "server_environment"]

OFFICIAL = Path("/opt/tritonserver/bin/tritonserver")
STUB = "triton_python_backend_stub"
# One thread per library: several of them on few cores lose more to contention than they gain.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


class TritonBinary(msgspec.Struct, frozen=True):
    """A tritonserver that can be started.

    Attributes:
        executable: the program.
        backends: folder to pass as --backend-directory, or None for the program's own.
        libraries: folders that LD_LIBRARY_PATH must name, in order.
        origin: for people, where it was found.
    """

    executable: Path
    backends: Path | None
    libraries: tuple[Path, ...]
    origin: str


def find_triton(workspace: Path) -> TritonBinary:
    """Find tritonserver; when it is nvidia-pytriton's, lay out a backend folder under `workspace`.

    Args:
        workspace: an existing folder that lives as long as the server.

    Raises:
        ServingError: there is no tritonserver, or no Python backend for this Python.
    """
    installed = shutil.which("tritonserver") or (str(OFFICIAL) if os.access(OFFICIAL, os.X_OK) else None)
    if installed is not None:
        return TritonBinary(Path(installed), None, (), f"installed at {installed}")
    return _from_pytriton(workspace)


def server_environment(binary: TritonBinary, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server: this Python first on PATH, and one thread a library unless `base` says more."""
    environment = {**THREADS, **base}
    if binary.backends is not None:
        # The stub finds its site-packages through the first python3 on PATH.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", os.defpath)])
        old = [base["LD_LIBRARY_PATH"]] if base.get("LD_LIBRARY_PATH") else []
        environment["LD_LIBRARY_PATH"] = os.pathsep.join([*map(str, binary.libraries), *old])
    return environment


def _from_pytriton(workspace: Path) -> TritonBinary:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServingError(
            "no tritonserver was found: none is on PATH or in /opt/tritonserver and nvidia-pytriton is not installed; "
            "run `make` (or pip install nvidia-pytriton==0.7.0), or serve inside a Triton container"
        )
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    executable = root / "bin" / "tritonserver"
    if not executable.is_file():
        raise ServingError(f"nvidia-pytriton at {package} carries no tritonserver; install 0.7.0 for x86-64 Linux")
    folders = {"lib": package.parent / "nvidia_pytriton.libs", "libpython": _libpython_folder()}
    libraries = tuple(link(workspace, name, folder) for name, folder in folders.items())
    program = _runnable_dir(executable, workspace) / executable.name
    return TritonBinary(program, _backends(root, workspace), libraries, "nvidia-pytriton")


def _runnable_dir(executable: Path, workspace: Path) -> Path:
    """The folder of a copy that may be executed: installers that ignore modes leave the wheel's own at 644."""
    if os.access(executable, os.X_OK):
        return executable.parent
    folder = workspace / "bin"
    folder.mkdir()
    _copy_executable(executable, folder / executable.name)
    return folder


def _backends(root: Path, workspace: Path) -> Path:
    """The Python backend with the stub of this Python beside it, as tritonserver expects to find them."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / STUB
    if not stub.is_file():
        raise ServingError(f"nvidia-pytriton has no Python backend for Python {version}; use Python 3.10 or 3.11")
    folder = workspace / "backends" / "python"
    shutil.copytree(root / "backends" / "python", folder, ignore=shutil.ignore_patterns("__pycache__"))
    _copy_executable(stub, folder / STUB)
    return folder.parent


def _copy_executable(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _libpython_folder() -> Path:
    """The folder of the shared libpython that the stub loads.

    Raises:
        ServingError: this Python has none (it was built without --enable-shared).
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    folders = [Path(sys.base_prefix) / "lib", Path(str(sysconfig.get_config_var("LIBDIR")))]
    if multiarch := sysconfig.get_config_var("MULTIARCH"):
        folders += [Path("/usr/lib") / multiarch, Path("/lib") / multiarch]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise ServingError(
        f"{name} was not found beside {sys.base_prefix}: Triton's Python backend needs a Python with a shared library; "
        f"on Debian or Ubuntu install libpython{sys.version_info.major}.{sys.version_info.minor}"
    )

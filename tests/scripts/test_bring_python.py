"""The set-up on a machine without a Python that the pinned packages run on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "env", "sed", "tail")


@pytest.fixture(scope="module")
def uv() -> str:
    found = Path(sys.prefix) / ".bootstrap" / "bin" / "uv"
    if not found.is_file():
        pytest.skip("this environment was not made by the Makefile, which brings uv")
    return str(found)


def _bring(uv: str, folder: Path, downloads: str, *, with_python: bool) -> subprocess.CompletedProcess[str]:
    """Run the script where nothing is on PATH but its tools and, if wanted, this Python."""
    (folder / "bin").mkdir()
    for tool in TOOLS:
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    if with_python:
        (folder / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder), "UV_PYTHON_DOWNLOADS": downloads}
    command = [str(ROOT / "scripts" / "bring_python.sh"), uv, ">=3.10,<3.12"]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_python_of_the_range_is_taken_without_a_word(uv: str, tmp_path: Path) -> None:
    done = _bring(uv, tmp_path, "automatic", with_python=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_downloads_are_forbidden_one_sentence_says_what_to_install(uv: str, tmp_path: Path) -> None:
    done = _bring(uv, tmp_path, "never", with_python=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "python3 is missing" in done.stderr and "forbids uv to bring one; install one" in done.stderr


def test_otherwise_uv_brings_one_or_says_why_it_cannot(uv: str, tmp_path: Path) -> None:
    done = _bring(uv, tmp_path, "automatic", with_python=False)
    lines = done.stderr.splitlines()
    assert "uv brings Python 3.11 into" in lines[0]
    if done.returncode:  # no way to the archive from here
        assert len(lines) == 2 and "uv could not bring Python 3.11 (" in lines[1] and "()" not in lines[1]
    else:
        assert list((tmp_path / ".local/share/uv/python").glob("cpython-3.11*/bin/python3.11"))

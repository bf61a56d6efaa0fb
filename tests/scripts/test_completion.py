"""Shell completion: what a shell asks is answered from the declarations alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "merlin", "nvtabular", "pandas", "pyarrow", "duckdb", "onnxruntime", "faiss", "tritonclient")
ASKED = """
import sys
from scripts.cli import main
sys.argv = ["cascade", *sys.argv[1:]]
try:
    main()
finally:
    print("loaded", *[name for name in sys.modules if "." not in name], file=sys.stderr)
"""


def cascade(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", **variables}
    command = [sys.executable, "-c", ASKED, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("cascade ru", ["run"]),
        ("cascade stream re", ["rebuild", "replay"]),
        ("cascade doctor --f", ["--fix-hints", "--for"]),
    ],
)
def test_commands_and_options_are_completed_without_anything_heavy(typed: str, offered: list[str]) -> None:
    place = str(len(typed.split()) - 1)
    done = cascade(_CASCADE_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place)
    assert sorted(done.stdout.split()) == offered
    loaded = done.stderr.split("loaded")[-1].split()
    assert "scripts" in loaded and not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_told_calls_the_command(shell: str) -> None:
    done = cascade("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "_CASCADE_COMPLETE=complete_" + shell in done.stdout

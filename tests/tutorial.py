"""Pages of docs/ that are followed as a reader would: block after block, in the current folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from scripts.cli import app

__all__ = ["follow"]


def follow(text: str) -> tuple[dict[str, Any], str]:
    """Run Python and commands, and save TOML under the name in its first line.

    Returns:
        The names of the Python blocks, which share them, and what the commands said.
    """
    names: dict[str, Any] = {}
    said = []
    for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(code, names)
        elif language == "toml":
            Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
        else:
            assert language == "console"
            for line in code.splitlines():
                program, *words = shlex.split(line)
                done = CliRunner().invoke(app, words)
                assert program == "cascade" and done.exit_code == 0, (line, done.output)
                said.append(done.output)
    return names, "".join(said)

"""The files that git tracks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    """Relative to the root; the test is skipped where git does not know them, as in an unpacked archive."""
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git does not know these files")
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]

"""Modules of the user's own: steps, graphs and sources that the config names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["modules_of_this_folder"]


def modules_of_this_folder() -> None:
    """Let the config name modules of the folder where the command runs; installed ones of the same name come first."""
    if (here := os.fspath(Path.cwd())) not in sys.path:
        sys.path.append(here)

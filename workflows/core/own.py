"""Modules of the user's own: steps, graphs and sources that the config names."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

__all__ = ["modules_of_this_folder", "place_of"]


def modules_of_this_folder() -> None:
    """Let the config name modules of the folder where the command runs; installed ones of the same name come first."""
    if (here := os.fspath(Path.cwd())) not in sys.path:
        sys.path.append(here)


def place_of(error: BaseException) -> str:
    """What went wrong in code of the user's own, with the last line of this folder that took part."""
    frames = traceback.extract_tb(error.__traceback__)
    here = Path.cwd()
    own = [frame for frame in frames if Path(frame.filename).absolute().is_relative_to(here)] or frames
    where = f", {Path(own[-1].filename).name} line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {error}{where}"

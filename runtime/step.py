"""What every step of the chain is: arrays [B, ...] in, arrays [B, ...] out, heavy state opened from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.spec import ChainSpec, Tensor

__all__ = ["Arrays", "Step", "load_array"]

Arrays = dict[str, NDArray]


class Step:
    """One step.

    Args:
        folder: a compiled chain, or the part of it that `files` names.
        spec: its chain.json.
    """

    name: ClassVar[str]
    # Whether it takes long enough to be worth more than one process.
    is_heavy: ClassVar[bool] = False

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        self.spec = spec

    @classmethod
    def inputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The arrays that it reads."""
        raise NotImplementedError

    @classmethod
    def outputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The arrays that it adds."""
        raise NotImplementedError

    @classmethod
    def files(cls, spec: ChainSpec) -> tuple[str, ...]:
        """Files and folders of the compiled chain that it opens."""
        raise NotImplementedError

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Run the step on a batch; the result of a user does not depend on the others."""
        raise NotImplementedError


def load_array(path: Path) -> NDArray:
    """Open a .npy file memory-mapped, so that the processes of one machine share it."""
    array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    # A plain view: subclass checks of np.memmap cost microseconds on every gather.
    return array.view(np.ndarray)

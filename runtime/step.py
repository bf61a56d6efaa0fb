"""The interface of a step: it reads arrays [B, ...], gives arrays [B, ...], and opens its state from a folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.request import Parsed
from runtime.spec import ChainSpec, Tensor

__all__ = ["Arrays", "RequestStep", "Step", "load_array", "make_step", "path_of"]

Arrays = dict[str, NDArray]


class Step:
    """One step. Its inputs and outputs follow from the chain's sizes; its files are opened in the server alone.

    The arguments of a subclass's constructor are its settings: JSON values, kept in `settings`, by which the server
    makes the same step again.

    Attributes:
        name: of the node, and of its Triton model where it has one of its own.
        model: steps in a row with the same value share one Triton model in the ensemble layout; empty: its own.
        is_heavy: whether it takes long enough to be worth more than one process.
        graph_file: the file of the chain that is the whole step as an ONNX graph, so that Triton's onnxruntime
            backend can run it; empty: there is none.
    """

    name: ClassVar[str]
    model: ClassVar[str] = ""
    is_heavy: ClassVar[bool] = False
    graph_file: ClassVar[str] = ""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The arrays that it reads."""
        raise NotImplementedError

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The arrays that it gives."""
        raise NotImplementedError

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """Files and folders of the compiled chain that it opens."""
        return ()

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`, once, before the first call.

        Args:
            folder: a compiled chain, or the part of it that `files` names.
            spec: its chain.json.
        """

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Run the step on a batch; the result of a user does not depend on the others."""
        raise NotImplementedError


class RequestStep(Step):
    """The first step: it checks requests one by one and encodes those that are good together."""

    def parse(self, request: Mapping[str, NDArray]) -> Parsed:
        """Check one request; several checked ones can be joined and encoded together.

        Raises:
            BadRequest: the request cannot be answered.
        """
        raise NotImplementedError

    def encode(self, parsed: Parsed) -> Arrays:
        """Encode checked requests."""
        raise NotImplementedError

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Check and encode one request.

        Raises:
            BadRequest: see `parse`.
        """
        return self.encode(self.parse(batch))


def path_of(step: Step) -> str:
    """Where the server finds the class of a step: "module:class"."""
    return f"{type(step).__module__}:{type(step).__qualname__}"


def make_step(path: str, settings: Mapping[str, Any]) -> Step:
    """Make a step of its path and settings.

    Args:
        path: "module:class".
        settings: of its constructor.

    Raises:
        ValueError: there is no such class.
    """
    module, _, name = path.partition(":")
    try:
        step: Step = getattr(importlib.import_module(module), name)(**settings)
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"the step {path} cannot be made ({error})") from error
    return step


def load_array(path: Path) -> NDArray:
    """Open a .npy file memory-mapped, so that the processes of one machine share it."""
    array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    # A plain view: subclass checks of np.memmap cost microseconds on every gather.
    return array.view(np.ndarray)

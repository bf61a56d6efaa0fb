"""The user's own steps, run once before they are exported or measured: what a step gives must be what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.export.own_modules import is_own
from runtime.plan import Node, Plan
from runtime.spec import FLOATS, ChainSpec, Tensor
from runtime.step import Arrays, RequestStep, Step
from runtime.stream.live import without_live_state
from workflows.core.errors import ConfigError
from workflows.core.own import place_of
from workflows.core.run import Run

__all__ = ["check_steps"]

NUM_USERS = 8
TOLERANCE = 1e-4


def check_steps(run: Run, folder: Path, plan: Plan) -> None:
    """Answer one request step by step, and check what the steps of the user's own make of it.

    Args:
        run: whose users are asked about.
        folder: the compiled chain.
        plan: of it.

    Raises:
        ConfigError: a step raises, gives other arrays than its `outputs` say, changes what it is given, or gives a
            user something else in company than alone.
    """
    with without_live_state():
        _check(run, folder, plan)


def _check(run: Run, folder: Path, plan: Plan) -> None:
    spec, arrays = ChainSpec.load(folder), dict[str, NDArray]()
    ids = np.load(run.folder("data") / "ids/users.npy", mmap_mode="r", allow_pickle=False)
    users = np.unique(np.linspace(0, len(ids) - 1, min(NUM_USERS, len(ids))).astype(np.int64))
    request = {"user_id": ids[users][:, None].astype(object if ids.dtype.kind == "S" else np.int64)}
    for node in plan.nodes:
        step = _open(node, folder, spec)
        if isinstance(step, RequestStep):
            results = _call(node, step, request)
        else:
            batch = {name: arrays[array] for name, array in node.reads.items() if array in arrays}
            results = _checked(node, step, batch, spec) if is_own(node) else _call(node, step, batch)
        arrays |= {array: results[name] for name, array in node.gives.items()}


def _open(node: Node, folder: Path, spec: ChainSpec) -> Step:
    step = node.make()
    try:
        step.open(folder, spec)
    except Exception as error:  # the step is the user's: whatever it raises, it cannot be served
        raise ConfigError(f"the step of '{node.name}' cannot open its files ({place_of(error)})") from error
    return step


def _call(node: Node, step: Step, batch: Mapping[str, NDArray]) -> Arrays:
    try:
        return step(batch)
    except Exception as error:  # as above
        raise ConfigError(f"the step of '{node.name}' cannot be run ({place_of(error)})") from error


def _checked(node: Node, step: Step, batch: Arrays, spec: ChainSpec) -> Arrays:
    """What a step gives, checked."""
    before = {name: values.copy() for name, values in batch.items()}
    results = _call(node, step, batch)
    num_users = len(next(iter(before.values())))
    for tensor in step.outputs(spec):
        if fault := _fault(results, tensor, num_users):
            raise ConfigError(f"the step of '{node.name}' {fault}")
    if changed := [name for name, values in batch.items() if not _same(values, before[name], 0)]:
        raise ConfigError(
            f"the step of '{node.name}' changes '{changed[0]}', which other steps read too; it must change a copy"
        )
    for user in (0, num_users - 1):
        alone = _call(node, step, {name: values[user : user + 1].copy() for name, values in before.items()})
        for tensor in step.outputs(spec):
            if not _same(alone[tensor.name], results[tensor.name][user : user + 1], TOLERANCE):
                raise ConfigError(
                    f"the step of '{node.name}' gives a user another '{tensor.name}' alone than beside {num_users - 1} "
                    "others; requests are answered together, so that a user's result must not depend on the others"
                )
    return results


def _fault(results: Any, tensor: Tensor, num_users: int) -> str:
    """What is wrong with one output of a step; empty where nothing is."""
    if not isinstance(results, Mapping) or tensor.name not in results:
        given = sorted(results) if isinstance(results, Mapping) else type(results).__name__
        return f"does not give '{tensor.name}', which its outputs name; it gives {given}"
    values = results[tensor.name]
    if not isinstance(values, np.ndarray):
        return f"gives '{tensor.name}' as {type(values).__name__}; expected a NumPy array"
    width = "any number of" if tensor.length == -1 else tensor.length
    if values.ndim != 2 or len(values) != num_users or tensor.length not in (-1, values.shape[1]):
        return f"gives '{tensor.name}' of shape {values.shape}; expected {num_users} users by {width} columns"
    if values.dtype != np.dtype(tensor.numpy_dtype):
        return f"gives '{tensor.name}' as {values.dtype}; its outputs say {np.dtype(tensor.numpy_dtype)}"
    if tensor.dtype in FLOATS and np.isnan(values).any():
        return f"gives {np.isnan(values).sum():,} values of '{tensor.name}' that are no number (NaN)"
    return ""


def _same(values: NDArray, others: NDArray, tolerance: float) -> bool:
    """Whether two arrays agree in the columns that both have; arrays of open length are padded to the widest user."""
    width = min(values.shape[-1], others.shape[-1])
    values, others = values[..., :width], others[..., :width]
    if values.dtype.kind == "f":
        return bool(np.allclose(values, others, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(np.array_equal(values, others))

"""The same chain without and with rules: requests of one user to each in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade_client import CascadeClient
from ensemble.export.layouts import Names, write_layout
from ensemble.serving.triton import TritonServer
from runtime.chain import Chain
from runtime.spec import CHAIN_FILE, ChainSpec
from runtime.standard import standard_plan
from runtime.step import load_array

__all__ = ["chain_times", "copied", "requests", "served_times"]

Ask = Callable[[dict[str, NDArray]], object]


def copied(folder: Path, copy: Path) -> Path:
    """A chain whose files are those of another one, to which more can be added."""
    for path in folder.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(folder)).symlink_to(path)
    (copy / CHAIN_FILE).unlink()
    ChainSpec.load(folder).save(copy)
    return copy


def requests(folder: Path, num_users: int) -> list[dict[str, NDArray]]:
    """One of each of the first users of a chain."""
    ids = load_array(folder / "ids/users.npy")[:num_users, None, None]
    return [{"user_id": one.astype(object) if ids.dtype.kind == "S" else one} for one in ids]


def chain_times(folder: Path, specs: Mapping[str, ChainSpec], num_users: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a request in this process, the median, by the name of its spec.

    Args:
        folder: a chain with the files of all specs.
        specs: of the chains.
        num_users: that are asked for.
        rounds: over all of them.
    """
    chains = {name: Chain(folder, spec) for name, spec in specs.items()}
    return _medians({name: chain.recommend for name, chain in chains.items()}, requests(folder, num_users), rounds)


def served_times(folder: Path, specs: Mapping[str, ChainSpec], num_users: int, rounds: int) -> dict[str, float]:
    """The same through a Triton for each spec, as its client sees it."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="served-", dir=folder.parent)))
        asks: dict[str, Ask] = {}
        for number, (name, spec) in enumerate(specs.items()):
            chain = copied(folder, scratch / f"chain{number}")
            spec.save(chain)
            write_layout(chain, standard_plan(spec), scratch / f"repository{number}", "fused", Names())
            server = stack.enter_context(TritonServer(scratch / f"repository{number}"))
            client = stack.enter_context(CascadeClient(server.grpc_url))
            asks[name] = partial(_recommend, client)
        return _medians(asks, requests(folder, num_users), rounds)


def _recommend(client: CascadeClient, request: dict[str, NDArray]) -> object:
    return client.recommend(request["user_id"][0].tolist())


def _medians(asks: Mapping[str, Ask], asked: list[dict[str, NDArray]], rounds: int) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(rounds):
        for request in asked:
            for name, ask in asks.items():
                before = time.perf_counter()
                ask(request)
                took[name].append(time.perf_counter() - before)
    return {name: float(np.median(each)) * 1e3 for name, each in took.items()}

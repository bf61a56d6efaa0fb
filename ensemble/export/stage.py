"""`cascade export`: compile the chain, check it, write it as Triton model repositories."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble.config import Config
from workflows.core import console
from workflows.core.artefacts import Manifest, fingerprint
from workflows.core.run import Run, run_stage

__all__ = ["export"]


def export(run: Run, config: Config, force: bool = False) -> Manifest:
    """Write repo/ with one folder a layout of `chain.layouts`.

    Args:
        run: whose stages up to ranking have finished.
        config: its config; `chain` and `data` decide.
        force: run even when up to date.

    Returns:
        The manifest of repo/; its info names the layouts and how many users were compared with brute force.

    Raises:
        ArtefactError: an earlier stage has not finished, or the compiled chain and brute force disagree.
        ConfigError: a filter rule or a context column cannot be used.
    """
    from ensemble.export.compile import STAGES_READ

    return run_stage(
        run,
        "repo",
        config={"chain": config.chain, "data": config.data},
        after=STAGES_READ,
        inputs={"code": _code_mark()},
        body=lambda folder: _write(run, config, folder),
        force=force,
    )


def _write(run: Run, config: Config, folder: Path) -> Mapping[str, Any]:
    from ensemble.export.compile import compile_chain
    from ensemble.export.eligibility import eligible_items
    from ensemble.export.parity import check_parity

    console.say("export: on CPU (compiling and checking are numpy, FAISS and ONNX Runtime)")
    chain = folder / "chain"
    compile_chain(run, config, chain, "serve")
    num_checked = check_parity(run, chain, eligible_items(run.folder("data") / "items.parquet", config))
    console.say(f"export: the slates of {num_checked} users equal brute force over the whole catalogue")
    _write_layouts(config, chain, folder)
    shutil.rmtree(chain)
    return {"layouts": list(config.chain.layouts), "num_users_compared": num_checked}


def _write_layouts(config: Config, chain: Path, folder: Path) -> None:
    from workflows.core.quiet import quiet

    quiet()
    from ensemble.graph import chain_ensemble
    from ensemble.operators.runtime import RepositoryRuntime

    graph = chain_ensemble(chain)
    for layout in config.chain.layouts:
        graph.export(folder / layout, runtime=RepositoryRuntime(layout, config.chain.onnx_steps))
        console.say(f"export: wrote the layout '{layout}'")


def _code_mark() -> str:
    """Changes with the code that is copied into the repository, so that an upgrade is exported again."""
    from ensemble.export.layouts import sources

    return fingerprint({str(name): path.read_text() for path, name in sources()})

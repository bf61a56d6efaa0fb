"""`cascade export`: compile the chain, check it, write it as Triton model repositories."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ensemble.config import ChainConfig, Config
from ensemble.merlin.needs import MERLIN, require_artefacts, require_packages
from models.index.meta import IndexMeta
from workflows.core import console
from workflows.core.artefacts import Manifest, fingerprint_of
from workflows.core.run import Run, run_stage

__all__ = ["export"]


def export(run: Run, config: Config, force: bool = False) -> Manifest:
    """Write repo/ with one folder a layout of `chain.layouts`.

    Args:
        run: whose stages up to ranking have finished.
        config: its config; `chain`, `data` and `stream` decide.
        force: run even when up to date.

    Returns:
        The manifest of repo/; its info names the layouts, how many users were compared with brute force, and, where
        there are stream features, how many training examples with the live state.

    Raises:
        ArtefactError: an earlier stage has not finished, or the compiled chain and brute force disagree, or the
            live state and the training's stream features.
        ConfigError: a filter rule or a context column cannot be used.
    """
    from ensemble.export.compile import STAGES_READ

    return run_stage(
        run,
        "repo",
        config={"chain": config.chain, "data": config.data, "stream": config.stream},
        after=STAGES_READ,
        inputs={"code": _code_fingerprint(config)},
        body=lambda folder: _write(run, config, folder),
        force=force,
    )


def _write(run: Run, config: Config, folder: Path) -> Mapping[str, Any]:
    from ensemble.export.compile import compile_chain
    from ensemble.export.events_model import write_events_model
    from ensemble.export.layouts import Names, write_layout
    from ensemble.export.slate_rules import ended_rules
    from ensemble.export.stream_parity import check_stream, steps_of_check
    from ensemble.profile.make import write_profile

    if MERLIN in config.chain.layouts:
        require_packages("export: the layout 'merlin' in chain.layouts")
        require_artefacts(run.root)
    console.say("export: on CPU (compiling and checking are numpy, FAISS and ONNX Runtime)")
    for ended in ended_rules(config.chain):
        console.say(f"export: {ended} has ended, and is left out")
    chain = folder / "chain"
    num_items = IndexMeta.load(run.folder("index")).num_items
    with console.step("export: compile", None, num_items, "items"):
        plan = compile_chain(run, config, chain, "serve", steps_of_check(run))
    num_checked = _check(run, config, chain)
    compared = {"num_users_compared": num_checked}
    if num_rows := check_stream(run, chain):
        console.say(f"export: stream features of {num_rows} training examples are what the live state gives")
        compared["num_rows_compared"] = num_rows
    write_profile(run, chain)
    names = Names(onnx_steps=config.chain.onnx_steps)
    for layout in config.chain.product_layouts:
        write_layout(chain, plan, folder / layout, layout, names)
        write_events_model(chain, folder / layout)
        console.say(f"export: wrote the layout '{layout}'")
    if MERLIN in config.chain.layouts:
        _write_merlin(run, config, chain, folder / MERLIN)
    shutil.rmtree(chain)
    return {"layouts": list(config.chain.layouts), **compared}


def _write_merlin(run: Run, config: Config, chain: Path, repository: Path) -> None:
    from workflows.core.quiet import quiet

    quiet()
    from ensemble.export.compile import compile_chain
    from ensemble.merlin.export import write_merlin

    if config.stream is not None:
        console.say(f"export: the layout '{MERLIN}' knows no live events; it serves what was known at this export")
        chain = repository.parent / "without_live"
        compile_chain(run, msgspec.structs.replace(config, stream=None), chain, "serve")
    num_checked = write_merlin(run, config, chain, repository)
    if config.stream is not None:
        shutil.rmtree(chain)
    console.say(f"export: wrote the layout '{MERLIN}', whose slates are the same for {num_checked} users")


def _check(run: Run, config: Config, chain: Path) -> int:
    """Compare the plan's answers: with brute force for the standard graph, else with the graph run by Merlin."""
    if config.chain.graph == ChainConfig().graph:
        from ensemble.export.eligibility import eligible_items
        from ensemble.export.parity import check_parity

        num_checked = check_parity(run, chain, eligible_items(run.folder("data") / "items.parquet", config))
        console.say(f"export: the slates of {num_checked} users equal brute force over the whole catalogue")
    else:
        from ensemble.export.graph_parity import check_graph

        num_checked = check_graph(run, chain, config.chain.graph)
        console.say(
            f"export: the slates of {num_checked} users equal those of the graph '{config.chain.graph}' run by Merlin; "
            "brute force knows the standard graph alone"
        )
    return num_checked


def _code_fingerprint(config: Config) -> str:
    """Changes with the code that is copied into the repository, so that an upgrade is exported again."""
    from ensemble.export.graph import code_of_graph
    from ensemble.export.layouts import runtime_sources
    from ensemble.merlin.code import sources

    copied = [*runtime_sources(), *(sources() if MERLIN in config.chain.layouts else ())]
    return fingerprint_of({**{str(n): p.read_text() for p, n in copied}, **code_of_graph(config.chain.graph)})

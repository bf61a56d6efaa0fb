"""Published versions of golden chains, written at once, as `cascade export --publish` leaves them."""

from __future__ import annotations

import json
from pathlib import Path

from ensemble.export.layouts import CONFIG_FILE, Names, write_layout
from ensemble.publish_files import sign
from runtime.log.folder import LogSettings
from runtime.log.identity import Served, chain_key
from runtime.plan import Plan
from tests.runtime.log.made import GOLDEN, Process, ask
from workflows.core.artefacts import Manifest

__all__ = ["answer_some", "publish_golden"]


def publish_golden(target: Path, version: int, layout: str = "fused", variant: str = "exact") -> Path:
    """Add a version and serve it; returns its folder."""
    chain = GOLDEN / variant / "chain"
    plan = Plan.load(chain)
    names = Names(version, f"cascade_v{version}" if layout == "ensemble" else "cascade")
    write_layout(chain, plan, target, layout, names)
    exported = Manifest("repo", "made", "2026-01-01T00:00:00", {}, {}, [])
    for model in plan.models if layout == "ensemble" else ():
        sign(target / names.step(model), exported, {"version": version, "step": model})
    folder = target / "cascade" / str(version)
    (folder / CONFIG_FILE).write_text((target / "cascade" / CONFIG_FILE).read_text())
    sign(folder, exported, {"version": version, "layout": layout})
    return folder


def answer_some(log: Path, folder: Path, number: int, first: int = 0, variant: str = "exact") -> None:
    """Have a version answer some requests and log them."""
    served = Served(chain_key(folder), int(folder.name), folder.parents[1])
    process = Process(LogSettings(log, 1.0), variant, served)
    for place in range(first, first + number):
        request, arrays = ask(place, users=1 + place % 3)
        process.answer([request], [arrays])
    process.close()
    assert not process.said, json.dumps(process.said)

"""Versions that are published and are not whole: a server refuses each with a sentence, and goes on with its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.failures.kills import kill_server
from benchmarks.failures.stage import Stage
from ensemble.publish import rollback
from runtime.spec import CHAIN_FILE
from workflows.core.artefacts import MANIFEST_NAME, read_manifest, write_manifest

__all__ = ["DAMAGES"]

VECTORS = "chain/item_embeddings.npy"


def _truncate(version: Path) -> None:
    with (version / VECTORS).open("r+b") as file:
        file.truncate((version / VECTORS).stat().st_size // 2)


def _break(version: Path) -> None:
    """As an exporter with a bug would have signed it."""
    path = version / "chain" / CHAIN_FILE
    path.write_text(path.read_text().rstrip()[:-1])
    write_manifest(version, read_manifest(version))


def _other_bytes(version: Path) -> None:
    """The manifest is that of other files of the same sizes."""
    path = version / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    for entry in manifest["files"]:
        entry["sha256"] = entry["sha256"][::-1]
    path.write_text(json.dumps(manifest))


def _lose_index(version: Path) -> None:
    (version / VECTORS).unlink()


def _served(damage: Callable[[Path], None]) -> Callable[[Stage], str]:
    def do(stage: Stage) -> str:
        folder = stage.publish()
        damage(folder)
        said = stage.reload().replace(str(stage.repository), "triton_repo")
        rollback(stage.repository, "it is damaged")
        # What is published now is whole: a server that ends starts with it.
        return f"{said[:240]}; after a rollback {kill_server(stage)}"

    return do


DAMAGES: dict[str, Callable[[Stage], str]] = {
    "a new version with a truncated artefact": _served(_truncate),
    "a new version whose chain.json is broken": _served(_break),
    "a new version with the manifest of another": _served(_other_bytes),
    "a new version without its index": _served(_lose_index),
}

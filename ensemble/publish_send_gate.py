"""The model `cascade_gate` of a published repository: a learnt send gate beside the chain.

A running server keeps the version that it has, whose folder stays, until `cascade reload` or its next start.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME, runtime_sources, write_library
from ensemble.export.pbtxt import gate_config
from ensemble.publish_beside import place_version
from ensemble.serving.repository import served_number
from models.send_gate.config import NotifyConfig
from models.send_gate.gate import SendGate
from models.send_gate.say import refuse_contradiction
from runtime.send_gate.spec import DECISION_ID, GATE_MODEL, MAX_BATCH, OUTPUTS, PRICE, GateSpec
from workflows.core.artefacts import MANIFEST_NAME, Manifest, fingerprint_of
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError, DataError
from workflows.core.lock import hold
from workflows.core.run import package_versions

__all__ = ["publish_send_gate", "spec_of"]

TAKEN = (DECISION_ID, PRICE, *(tensor.name for tensor in OUTPUTS))


def publish_send_gate(gate: SendGate, config: NotifyConfig, target: Path, at: str) -> int:
    """Add a learnt gate to a published repository, as its next version of `cascade_gate`.

    Args:
        gate: learnt.
        config: the share of decisions that are left to a coin.
        target: the repository, which serves a chain.
        at: the instant, for its manifest.

    Returns:
        The version; 0 where the served one is the same.

    Raises:
        DataError: the gate's mean effect is not that of what chance decided, or a feature has a name that is taken.
        ArtefactError: the folder holds no published chain, or another process publishes to it.
        CascadeError: the disk is full or unwritable, and the served version stays.
    """
    refuse_contradiction(gate)
    spec = spec_of(gate, config.explore)
    is_there = (target / MODEL_NAME / CONFIG_FILE).is_file()
    if not is_there or not (target / MODEL_NAME / served_number(target) / MANIFEST_NAME).is_file():
        raise ArtefactError(
            f"{target} serves no published chain that a send gate could be beside; run cascade export --publish "
            f"{target} first"
        )
    record = msgspec.to_builtins(gate)
    exported = Manifest(
        "send_gate", fingerprint_of(record), at, package_versions(), {"send_gate": record["config"]}, []
    )
    locked = hold(target / MODEL_NAME, writes=["versions"])
    with writing("export-send-gate", target), locked, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        spec.save(folder)
        write_library(folder, "runtime.send_gate.model", runtime_sources())
        return place_version(target / GATE_MODEL, folder, lambda _, version: _config(spec, version), exported)


def spec_of(gate: SendGate, explore: float) -> GateSpec:
    """A gate as a server reads it.

    Raises:
        DataError: a feature is called like another input or output of the model.
    """
    if taken := [name for name in gate.encoding.names if name in TAKEN]:
        raise DataError(
            f"the gate reads a column {taken[0]!r}, which is the name of another input or output of {GATE_MODEL} "
            f"({', '.join(TAKEN)}); give the column another name and train again"
        )
    parts = ("names", "kinds", "logged", "alone", "mean", "scale")
    record = {name: getattr(gate.encoding, name) for name in parts}
    return msgspec.convert({**record, "heads": gate.heads, "prices": gate.effects.prices, "explore": explore}, GateSpec)


def _config(spec: GateSpec, version: int) -> str:
    return gate_config(GATE_MODEL, version, MAX_BATCH, spec.inputs(), OUTPUTS)

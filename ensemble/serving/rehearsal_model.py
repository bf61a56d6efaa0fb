"""Sent to a server by `cascade reload`, never imported here: opens the published version in a process of its own.

A version that cannot be opened must not get as far as being loaded: Triton would drop the ensemble that is served, and
say "not ready" until it is started again. Answers a JSON object with the key "error": a sentence, or null.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

OPTION = "--model-repository="
TENSOR = re.compile(r'\b(input|output)\s*\[?\s*\{\s*name:\s*"([^"]+)",?\s*data_type:\s*(\w+)')
PARAMETER = re.compile(r'parameters\s*\{\s*key:\s*"([^"]+)"\s*value\s*\{\s*string_value:\s*"([^"]*)"')


class TritonPythonModel:
    """What Triton's Python backend instantiates."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Open the version that config.pbtxt names now."""
        try:
            folders = published(repository())
            for folder in folders:
                verify(folder)
                open_model(folder)
            check_events(folders)
            open_beside(repository())
            error = None
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
        verdict = np.array([json.dumps({"error": error}).encode()], object)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("verdict", verdict)]) for _ in requests]


def repository() -> Path:
    """The folder that the server, this process's parent, reads its models from."""
    words = os.fsdecode(Path(f"/proc/{os.getppid()}/cmdline").read_bytes()).split("\0")
    return Path(next(word for word in words if word.startswith(OPTION)).removeprefix(OPTION))


def published(models: Path) -> list[Path]:
    """The version folders of the model `cascade`, or of its steps, that have Python code."""
    config = (models / "cascade" / "config.pbtxt").read_text()
    found = re.search(r"versions:\s*\[\s*(\d+)", config)
    steps = sorted(set(re.findall(r'model_name:\s*"([^"]+)"', config)))
    folders = [models / step / "1" for step in steps]
    if not steps and found:
        folders = [models / "cascade" / found[1]]
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder.relative_to(models)} is missing")
    return [folder for folder in folders if (folder / "model.py").is_file()]


def open_beside(models: Path) -> None:
    """Open the send gate, where the repository has one, with the code that was published with it."""
    config = models / "cascade_gate" / "config.pbtxt"
    if not config.is_file():
        return
    found = re.search(r"versions:\s*\[\s*(\d+)", config.read_text())
    folder = config.parent / (found[1] if found else "1")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder.relative_to(models)} is missing")
    verify(folder)
    for name in [name for name in sys.modules if name.split(".")[0] == "runtime"]:
        del sys.modules[name]
    open_model(folder)


def verify(folder: Path) -> None:
    """Check a version against its manifest, as `cascade serve` does; one without a manifest is not checked."""
    place = next((place for place in (folder, folder.parent) if (place / "manifest.json").is_file()), None)
    if place is None:
        return
    for entry in json.loads((place / "manifest.json").read_text())["files"]:
        path = place / entry["path"]
        name = f"{place.name}/{entry['path']}"
        if not path.is_file():
            raise FileNotFoundError(f"{name} is missing, its manifest lists it; publish again")
        found = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                found.update(chunk)
        if found.hexdigest() != entry["sha256"]:
            raise ValueError(f"{name} does not match its checksum in the manifest; publish again")


def check_events(folders: Sequence[Path]) -> None:
    """Refuse a chain that reads another state of live events than the one that this server writes.

    It would know no acknowledged event. The model that writes the state is replaced at the next start alone.
    """
    events = Path(os.environ.get("CASCADE_EVENTS", ""))
    chain = next((path.parent for folder in folders for path in sorted(folder.rglob("chain.json"))), None)
    if chain is None or not (events / "stream.json").is_file():
        return
    # Of the version that was opened just now.
    from runtime.spec import ChainSpec
    from runtime.stream.spec import StreamSpec

    live = ChainSpec.load(chain).live
    wanted = None if live is None else live.stream.state_version
    is_there = wanted is not None and (events / "state" / wanted).is_dir()
    if wanted is not None and not (is_there and wanted == StreamSpec.load(events).state_version):
        raise ValueError(
            "it keeps other things of live events than this server does, as where [features.stream] has changed, and "
            "would know none of them; start the server again, which makes their state from the log"
        )


def open_model(folder: Path) -> None:
    """Do with a model what Triton does when it loads it."""
    # Another module's name for each step: all are opened in this one process.
    spec: Any = importlib.util.spec_from_file_location(f"rehearsed_{folder.parent.name}", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    config = (folder.parent / "config.pbtxt").read_text()
    tensors = [(kind, {"name": name, "data_type": dtype}) for kind, name, dtype in TENSOR.findall(config)]
    stated = {
        "input": [tensor for kind, tensor in tensors if kind == "input"],
        "output": [tensor for kind, tensor in tensors if kind == "output"],
        "parameters": {key: {"string_value": value} for key, value in PARAMETER.findall(config)},
    }
    if hasattr(model, "initialize"):
        model.initialize(
            {
                "model_config": json.dumps(stated),
                "model_repository": str(folder.parent),
                "model_version": folder.name,
                "model_name": folder.parent.name,
            }
        )

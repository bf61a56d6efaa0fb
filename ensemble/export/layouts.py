"""Models of a repository: which files each holds and what its config says. Knows nothing of Merlin."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import ensemble
import models
import workflows
from ensemble.export.files import place
from ensemble.export.pbtxt import EnsembleStep, ensemble_config, onnx_config, python_config
from ensemble.runtime.spec import CHAIN_FILE, ENCODED, ChainSpec
from ensemble.runtime.step import Step
from ensemble.runtime.triton import CHAIN_FOLDER, WHOLE_CHAIN

__all__ = ["MODEL_NAME", "Names", "write_ensemble_model", "write_fused_model", "write_onnx_step", "write_python_step"]

MODEL_NAME = "cascade"
MODEL_FILE = '''"""Written by `cascade export`: the code beside this file comes first, then Triton's model class."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from ensemble.runtime.triton import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''
# What the server process imports, with its package paths.
SOURCES = {
    ensemble: ("__init__.py", "runtime/*.py"),
    models: ("__init__.py", "ranking/__init__.py", "ranking/pairs.py", "ranking/factored.py"),
    workflows: ("__init__.py", "features/__init__.py", "features/encoders.py"),
}


class Names:
    """Names and version of the models of one ensemble.

    Args:
        version: version of the model `cascade`.
        prefix: of the step models; a published ensemble puts its version in, so that each version owns its steps.
        step_version: version of the step models.
    """

    def __init__(self, version: int = 1, prefix: str = MODEL_NAME, step_version: int = 1) -> None:
        self.version, self.prefix, self.step_version = version, prefix, step_version

    def step(self, step: type[Step]) -> str:
        """Name of a step's model."""
        return f"{self.prefix}_{step.name}"


def write_fused_model(chain: Path, spec: ChainSpec, repository: Path, version: int = 1) -> None:
    """One Python-backend model that runs the whole chain.

    Args:
        chain: the compiled chain.
        spec: its chain.json.
        repository: the model repository; `cascade/` is created in it.
        version: of the model.
    """
    folder = repository / MODEL_NAME / str(version)
    place(chain, folder / CHAIN_FOLDER)
    write_code(folder)
    text = python_config(MODEL_NAME, WHOLE_CHAIN, version, spec.max_batch_size, spec.request, spec.response)
    (folder.parent / "config.pbtxt").write_text(text)


def write_python_step(chain: Path, spec: ChainSpec, repository: Path, step: type[Step], names: Names) -> None:
    """One step as a Python-backend model that holds the files of that step alone."""
    folder = repository / names.step(step) / str(names.step_version)
    for name in (CHAIN_FILE, *step.files(spec)):
        place(chain / name, folder / CHAIN_FOLDER / name)
    write_code(folder)
    inputs, outputs = step.inputs(spec), step.outputs(spec)
    text = python_config(names.step(step), step.name, names.step_version, spec.max_batch_size, inputs, outputs)
    (folder.parent / "config.pbtxt").write_text(text)


def write_onnx_step(chain: Path, spec: ChainSpec, repository: Path, step: type[Step], names: Names) -> None:
    """A step whose only file is an ONNX graph, on Triton's onnxruntime backend."""
    (graph,) = step.files(spec)
    folder = repository / names.step(step) / str(names.step_version)
    place(chain / graph, folder / "model.onnx")
    # The graph knows its inputs by their own names, not by those between steps.
    inputs = [replace(tensor, name=plain_name(tensor.name)) for tensor in step.inputs(spec)]
    text = onnx_config(names.step(step), names.step_version, spec.max_batch_size, inputs, step.outputs(spec))
    (folder.parent / "config.pbtxt").write_text(text)


def write_ensemble_model(
    spec: ChainSpec,
    repository: Path,
    steps: Sequence[type[Step]],
    names: Names,
    onnx_steps: Collection[type[Step]] = (),
) -> None:
    """The `platform: "ensemble"` model that ties the steps together; `onnx_steps` were written by write_onnx_step."""
    folder = repository / MODEL_NAME / str(names.version)
    folder.mkdir(parents=True)
    spec.save(folder)
    mapped = [
        EnsembleStep(
            names.step(step),
            names.step_version,
            {plain_name(t.name) if step in onnx_steps else t.name: t.name for t in step.inputs(spec)},
            {t.name: t.name for t in step.outputs(spec)},
        )
        for step in steps
    ]
    text = ensemble_config(MODEL_NAME, names.version, spec.max_batch_size, spec.request, spec.response, mapped)
    (folder.parent / "config.pbtxt").write_text(text)


def write_code(folder: Path) -> None:
    """model.py and, under lib/, the modules that it imports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL_FILE)
    for package, patterns in SOURCES.items():
        root = Path(str(package.__file__)).parent
        for pattern in patterns:
            for source in sorted(root.glob(pattern)):
                target = folder / "lib" / package.__name__ / source.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                # Copied, never linked: a working tree that is edited must not reach into a repository.
                target.write_bytes(source.read_bytes())


def plain_name(name: str) -> str:
    """A model input's own name."""
    return name.removeprefix(ENCODED)

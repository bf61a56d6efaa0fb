"""The models of a repository: which files each holds and what its config says. Knows nothing of Merlin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import runtime
from ensemble.export.files import place
from ensemble.export.pbtxt import EnsembleStep, ensemble_config, onnx_config, python_config
from runtime.spec import CHAIN_FILE, ENCODED, ChainSpec
from runtime.step import Step
from runtime.triton import CHAIN_FOLDER, WHOLE_CHAIN

__all__ = [
    "CONFIG_FILE",
    "MODEL_NAME",
    "Names",
    "fused_config",
    "sources",
    "step_config",
    "tied_config",
    "write_fused",
    "write_step",
    "write_tied",
]

CONFIG_FILE = "config.pbtxt"
STEP_VERSION = 1
MODEL_NAME = "cascade"
MODEL_FILE = '''"""Written by `cascade export`: the code beside this file comes first, then Triton's model class."""

import sys
from pathlib import Path

# As Triton names it: its logger ends the process where a folder's real name is no ASCII.
sys.path.insert(0, str(Path(__file__).absolute().parent / "lib"))

from runtime.triton import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class Names:
    """Names and versions of the models of one repository.

    Attributes:
        version: of the model `cascade`.
        prefix: of the step models; a published ensemble puts its version in, so that each version owns its steps.
        onnx_steps: steps that run on Triton's own onnxruntime backend.
    """

    version: int = 1
    prefix: str = MODEL_NAME
    onnx_steps: frozenset[type[Step]] = frozenset()

    def step(self, step: type[Step]) -> str:
        """Name of a step's model; its version is always STEP_VERSION."""
        return f"{self.prefix}_{step.name}"


def fused_config(spec: ChainSpec, names: Names) -> str:
    """config.pbtxt of the model that runs the whole chain."""
    return python_config(
        MODEL_NAME, WHOLE_CHAIN, names.version, spec.max_batch_size, spec.request, spec.response, spec.num_instances
    )


def step_config(spec: ChainSpec, step: type[Step], names: Names) -> str:
    """config.pbtxt of a step."""
    inputs, outputs = step.inputs(spec), step.outputs(spec)
    name = names.step(step)
    if step in names.onnx_steps:
        # The graph knows its inputs by their own names, not by those between steps.
        inputs = tuple(replace(tensor, name=_plain(tensor.name)) for tensor in inputs)
        return onnx_config(name, STEP_VERSION, spec.max_batch_size, inputs, outputs)
    num_instances = spec.num_instances if step.is_heavy else 1
    return python_config(name, step.name, STEP_VERSION, spec.max_batch_size, inputs, outputs, num_instances)


def tied_config(spec: ChainSpec, steps: Sequence[type[Step]], names: Names) -> str:
    """config.pbtxt of the `platform: "ensemble"` model that ties the steps together, in their order."""
    first, *others = steps
    answer = {tensor.name for tensor in spec.response}
    read = {tensor.name for step in others for tensor in step.inputs(spec)} | answer
    prefix = _prefix(spec, steps)
    mapped = [
        EnsembleStep(
            names.step(step),
            STEP_VERSION,
            {
                _plain(t.name) if step in names.onnx_steps else t.name: t.name if step is first else prefix + t.name
                for t in step.inputs(spec)
            },
            {t.name: t.name if t.name in answer else prefix + t.name for t in step.outputs(spec) if t.name in read},
        )
        for step in steps
    ]
    return ensemble_config(MODEL_NAME, names.version, spec.max_batch_size, spec.request, spec.response, mapped)


def write_fused(chain: Path, repository: Path, names: Names) -> None:
    """One Python-backend model that runs the whole chain.

    Args:
        chain: the compiled chain.
        repository: the model repository; `cascade/` is created in it.
        names: the version.
    """
    folder = repository / MODEL_NAME / str(names.version)
    place(chain, folder / CHAIN_FOLDER)
    _write_code(folder)
    (folder.parent / CONFIG_FILE).write_text(fused_config(ChainSpec.load(chain), names))


def write_step(chain: Path, repository: Path, step: type[Step], names: Names) -> None:
    """One step as a model of its own, which holds the files of that step alone."""
    spec = ChainSpec.load(chain)
    folder = repository / names.step(step) / str(STEP_VERSION)
    if step in names.onnx_steps:
        (graph,) = step.files(spec)
        place(chain / graph, folder / "model.onnx")
    else:
        for name in (CHAIN_FILE, *step.files(spec)):
            place(chain / name, folder / CHAIN_FOLDER / name)
        _write_code(folder)
    (folder.parent / CONFIG_FILE).write_text(step_config(spec, step, names))


def write_tied(chain: Path, repository: Path, steps: Sequence[type[Step]], names: Names) -> None:
    """The `platform: "ensemble"` model; its version folder holds chain.json alone."""
    spec = ChainSpec.load(chain)
    folder = repository / MODEL_NAME / str(names.version)
    folder.mkdir(parents=True)
    spec.save(folder)
    (folder.parent / CONFIG_FILE).write_text(tied_config(spec, steps, names))


def _write_code(folder: Path) -> None:
    """model.py and, under lib/, the modules that it imports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL_FILE)
    for source, name in sources():
        target = folder / "lib" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied, never linked: a working tree that is edited must not reach into a repository.
        target.write_bytes(source.read_bytes())


def sources() -> Iterator[tuple[Path, Path]]:
    """The files that the server process imports, each with its path under lib/: the package `runtime`, whole."""
    root = Path(str(runtime.__file__)).parent
    for path in sorted(root.rglob("*.py")):
        yield path, Path(runtime.__name__) / path.relative_to(root)


def _prefix(spec: ChainSpec, steps: Sequence[type[Step]]) -> str:
    """What to put before the tensors between two steps, where a column of the request is called like one of them."""
    asked = {tensor.name for tensor in spec.request}
    between = {tensor.name for step in steps for tensor in step.outputs(spec)}
    prefix = ""
    while asked & {prefix + name for name in between}:
        prefix += "_"
    return prefix


def _plain(name: str) -> str:
    """A model input's own name."""
    return name.removeprefix(ENCODED)

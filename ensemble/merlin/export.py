"""Write a graph of Merlin Systems' operators as a Triton model repository, by `Ensemble.export`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tritonclient.grpc.model_config_pb2 as model_config
from google.protobuf import text_format
from merlin.systems.dag.ensemble import Ensemble
from merlin.systems.dag.runtimes.triton import TritonExecutorRuntime

from ensemble.config import Config
from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME
from ensemble.merlin.artefacts import prepare
from ensemble.merlin.code import sources
from ensemble.merlin.graph import merlin_ensemble
from ensemble.merlin.parity import check_parity
from workflows.core.run import Run

__all__ = ["OURS", "STOCK", "export_graph", "write_merlin"]

# Whose model class a repository starts: ours, or Merlin Systems' own as it is.
OURS, STOCK = "ensemble.merlin.served", "merlin.systems.triton.models.executor_model"
MODEL_FILE = '''"""Written by `cascade export`: the code beside this file comes first, then Triton's model class."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parent / "lib"))

from workflows.core.quiet import quiet  # noqa: E402

quiet()

from {module} import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''


def write_merlin(run: Run, config: Config, chain: Path, repository: Path) -> int:
    """The layout `merlin`.

    Args:
        run: whose stages up to ranking have finished, with the artefacts that `needs.require_artefacts` names.
        config: of the run.
        chain: compiled from it.
        repository: created.

    Returns:
        For how many users its slates were compared with the chain's.

    Raises:
        ArtefactError: one differs.
    """
    # Beside the repository, so that files can be linked instead of copied.
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix=".merlin-") as scratch:
        folder = Path(scratch) / "artefacts"
        prepare(run, config, chain, folder)
        graph = merlin_ensemble(run, folder)
        num_checked = check_parity(graph, chain)
        export_graph(graph, repository, OURS)
    _make_context_optional(repository / MODEL_NAME / CONFIG_FILE)
    return num_checked


def export_graph(graph: Ensemble, repository: Path, module: str) -> None:
    """Export with Merlin Systems' own runtime; every operator runs inside the executor model.

    Args:
        graph: the graph.
        repository: created.
        module: OURS or STOCK.
    """
    executor = TritonExecutorRuntime()
    # The embedded Triton has no TensorFlow backend, and workflows as models of their own would cost a call each.
    executor.op_table = {}
    graph.export(str(repository), runtime=executor, name=MODEL_NAME)
    folder = repository / MODEL_NAME / "1"
    (folder / "model.py").write_text(MODEL_FILE.format(module=module))
    for source, name in sources():
        target = folder / "lib" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied, never linked: a working tree that is edited must not reach into a repository.
        target.write_bytes(source.read_bytes())


def _make_context_optional(path: Path) -> None:
    """A request may leave everything out but the user."""
    config = text_format.Parse(path.read_text(), model_config.ModelConfig())
    for entry in config.input:
        entry.optional = entry.name != "user_id"
    path.write_text(text_format.MessageToString(config))

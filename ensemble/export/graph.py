"""The graph that the config names, compiled into a plan."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ensemble
from ensemble.config import ChainConfig
from ensemble.export.own_modules import check_own_modules, own_modules
from runtime.errors import PlanError
from runtime.plan import Plan
from runtime.spec import ChainSpec
from runtime.standard import standard_plan
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.own import modules_of_this_folder, own_code, place_of
from workflows.core.quiet import quiet

__all__ = ["code_of_graph", "find_graph", "plan_of"]


def plan_of(folder: Path, graph: str) -> tuple[Plan, dict[str, Path]]:
    """The plan of a graph, and the files that its operators bring along.

    Args:
        folder: of the compiled chain; its chain.json holds the sizes.
        graph: "module:function", see `ensemble.graph.chain`.

    Raises:
        ConfigError: there is no such function, or what it returns cannot be served.
    """
    if importlib.util.find_spec("merlin") is None:
        plan, files = _without_merlin(folder, graph), dict[str, Path]()
    else:
        plan, files = _with_merlin(folder, graph)
    check_own_modules(own_modules(plan))
    return plan, files


def _with_merlin(folder: Path, graph: str) -> tuple[Plan, dict[str, Path]]:
    quiet()
    from ensemble.operators.plan import compile_plan, own_files

    function = find_graph(graph)
    try:
        made = function(folder)
        plan, files = compile_plan(made, ChainSpec.load(folder)), own_files(made)
    except PlanError as error:
        raise ConfigError(f"chain.graph = '{graph}' cannot be served: {error}") from error
    except CascadeError:
        raise
    except Exception as error:  # the function is the user's: whatever it raises, the config cannot be used
        raise ConfigError(f"chain.graph = '{graph}' cannot be drawn ({place_of(error)})") from error
    if lost := [f"'{name}' ({path})" for name, path in files.items() if not Path(path).exists()]:
        raise ConfigError(f"chain.graph = '{graph}': an operator brings the file {lost[0]}, which does not exist")
    return plan, files


def _without_merlin(folder: Path, graph: str) -> Plan:
    if graph != ChainConfig().graph:
        raise ConfigError(
            f"chain.graph = '{graph}' is a Merlin graph, and Merlin Systems is not installed here; export where the "
            "training extras are installed"
        )
    return standard_plan(ChainSpec.load(folder))


def code_of_graph(graph: str) -> dict[str, str]:
    """The text of the file that draws a graph and of those of the user's own that it imports, by module."""
    if graph == ChainConfig().graph:  # read, not imported: Merlin takes seconds
        name = graph.partition(":")[0]
        return {name: Path(str(ensemble.__file__)).with_name("graph.py").read_text()}
    find_graph(graph)
    return own_code([graph.partition(":")[0]])


def find_graph(name: str) -> Callable[[Path], Any]:
    """The function that a config names: of an installed module, or of one in the folder where the command runs.

    Raises:
        ConfigError: there is none.
    """
    module, _, function = name.partition(":")
    modules_of_this_folder()
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # the module is the user's, and importing it runs it
        raise ConfigError(
            f"chain.graph = '{name}' cannot be found ({place_of(error)}); name a function as 'module:function', the "
            "module installed or in the folder where the command runs"
        ) from error
    if not callable(found):
        raise ConfigError(f"chain.graph = '{name}' is no function of a folder that returns a graph")
    graph: Callable[[Path], Any] = found
    return graph

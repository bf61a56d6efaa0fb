"""Sources of the user's own: what `sources.own` names is checked before anything is fitted, and what it fits after."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np

from models.sources.base import AsOf, Fitted, SourceFit
from runtime.sources.base import Source
from runtime.step import make_step
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.own import place_of

__all__ = ["OwnFit", "own_fit", "source_step"]

# It becomes a folder, a node of the plan and the beginning of array names.
NAME = re.compile(r"[a-z0-9_]{1,60}")
GUIDE = "see docs/ADD_A_SOURCE.md"


class OwnFit:
    """A fit of the user's own whose results are checked.

    Args:
        path: "module:class", its key in sources.own.
        fit: the object.
    """

    def __init__(self, path: str, fit: SourceFit) -> None:
        self.path, self._fit = path, fit

    @property
    def name(self) -> str:
        """Of the source."""
        return self._fit.name

    @property
    def step(self) -> str:
        """Where the server finds it."""
        return self._fit.step

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """What the fit gives.

        Raises:
            ConfigError: it raises, or gives what cannot be served.
        """
        found = _guarded(self.path, lambda: self._fit.candidates(as_of))
        if isinstance(found, str):
            return found
        if not isinstance(found, list) or not found:
            raise _refused(self.path, f"candidates() gives {found!r}; expected a list of fitted sources or a reason")
        for fitted in found:
            if fault := _guarded(self.path, partial(_fault, self.name, fitted, as_of)):
                raise _refused(self.path, fault)
        return found


def own_fit(path: str, taken: Collection[str]) -> OwnFit:
    """The fit that a key of sources.own names.

    Args:
        path: "module:class".
        taken: names of other sources.

    Raises:
        ConfigError: there is none, or it or its step cannot be used.
    """
    module, _, name = path.partition(":")
    fit: Any = _guarded(path, lambda: getattr(importlib.import_module(module), name)())
    for key in ("name", "step"):
        if not isinstance(getattr(fit, key, None), str):
            raise _refused(path, f"it has no {key}, a string")
    if not callable(getattr(fit, "candidates", None)):
        raise _refused(path, "it has no candidates()")
    if not NAME.fullmatch(fit.name):
        raise _refused(path, f"its name '{fit.name}' must hold 1 to 60 lower-case letters, digits and '_'")
    if fit.name in taken:
        raise _refused(path, f"a source called '{fit.name}' exists already; give it another name")
    step = _guarded(path, lambda: make_step(fit.step, {}))
    if not isinstance(step, Source):
        raise _refused(path, f"its step '{fit.step}' is no runtime.sources.base.Source")
    if step.name != fit.name:
        raise _refused(path, f"its name is '{fit.name}', its step's is '{step.name}'; they must be the same")
    return OwnFit(path, fit)


def source_step(name: str, step: str) -> Source:
    """The step of a source that fit-sources has fitted.

    Args:
        name: of the source.
        step: "module:class".

    Raises:
        ConfigError: its file is not here any more, or holds another class.
    """
    try:
        made = make_step(step, {})
    except Exception as error:  # the file is the user's, and importing it runs it
        raise ConfigError(
            f"the source '{name}' is the step '{step}', which cannot be made here ({place_of(error)}); run the command "
            "in the folder of that file, or take the source out of sources.own and run cascade fit-sources again"
        ) from error
    if not isinstance(made, Source):
        raise ConfigError(f"the source '{name}' is the step '{step}', which is no runtime.sources.base.Source")
    return made


def _fault(name: str, fitted: Fitted, as_of: AsOf) -> str:
    """What is wrong with a fitted source; empty where nothing is."""
    scores = fitted.scores(as_of.embeddings[:1])
    if not isinstance(scores, np.ndarray) or scores.shape != (1, as_of.num_items):
        return f"scores() gives {getattr(scores, 'shape', scores)} for one query; expected (1, {as_of.num_items})"
    if (odd := int((np.isnan(scores) | np.isposinf(scores)).sum())) > 0:
        return f"{odd:,} of {scores.size:,} scores are no number or infinite; minus infinity says never"
    folder = f"sources/{name}/"
    for file, values in fitted.files.items():
        if not file.startswith(folder) or ".." in file.split("/") or not file.endswith(".npy"):
            return f"it names the file '{file}'; expected '{folder}' and a name that ends in .npy"
        if not isinstance(values, np.ndarray) or values.dtype == object:
            return f"its file '{file}' holds {type(values).__name__}; expected an array of numbers or bytes"
    return ""


def _guarded(path: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except CascadeError:
        raise
    except Exception as error:  # the code is the user's: whatever it raises, the source cannot be used
        raise _refused(path, place_of(error)) from error


def _refused(path: str, why: str) -> ConfigError:
    return ConfigError(f"sources.own: '{path}' cannot be used ({why}); {GUIDE}")

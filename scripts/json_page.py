"""docs/JSON.md: what each command prints with --json, key by key, from the docstrings of the types."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from cascade_client.slates import Slate
from ensemble.exposure import Exposure
from ensemble.slates.status import CacheStatus
from ensemble.stream.shared_status import SharedStatus
from ensemble.stream.status import FolderStatus
from operations.decisions.check import CheckedLog
from operations.decisions.evaluate import PolicyEvaluation
from operations.experiments.look import Look
from operations.experiments.plan import Stages
from operations.replay.figures import Figures
from operations.signals.show import LookShown
from operations.timeline.entries import Entry
from operations.why.answer import Answer
from runtime.blocked import Block
from scripts.artefacts_page import WIDTH, keys_of
from scripts.doctor_checks import Findings
from scripts.markdown_text import NOTE, item
from workflows.shop.simulate import Simulation

__all__ = ["SHOWN", "json_page"]


class Shown(NamedTuple):
    """What a command prints: a sentence, and the types whose keys are listed."""

    words: str
    kinds: tuple[Any, ...] = ()


METRICS = "[What each number means](NUMBERS.md)."
SHOWN: Mapping[str, Shown] = {
    "block": Shown("Without an item: a list of the blocked ones, oldest first.", (Block,)),
    "doctor": Shown("An object.", (Findings,)),
    "evaluate": Shown(f"The content of report/metrics.json. {METRICS}"),
    "evaluate-policy": Shown("An object.", (PolicyEvaluation,)),
    "experiment check": Shown("A list, of each experiment of the config.", (Stages,)),
    "experiment status": Shown("The latest look; its differences are left out where users were lost.", (Look,)),
    "exposure": Shown("All values, and the share of each place.", (Exposure,)),
    "gate": Shown("The content of [gate.json](ARTEFACTS.md#gatejson-cascade-gate-in-the-run-directory-of-no-stage)."),
    "log check": Shown("An object.", (CheckedLog,)),
    "monitor": Shown("With --once: an object.", (LookShown,)),
    "recommend": Shown("A list, of each user as asked; keys of features that the server lacks are absent.", (Slate,)),
    "replay": Shown("An object.", (Figures,)),
    "shadow": Shown("The content of MON/shadow.json, see [the artefacts](ARTEFACTS.md)."),
    "simulate": Shown("An object.", (Simulation,)),
    "slates status": Shown("An object.", (CacheStatus,)),
    "stream status": Shown("Of a folder of events, or of a topic and its state:", (FolderStatus, SharedStatus)),
    "tables": Shown(f"run -> the content of its report/metrics.json, of the sources the chosen columns. {METRICS}"),
    "timeline": Shown("An object a line.", (Entry,)),
    "why": Shown("An object.", (Answer,)),
}
HEAD = (
    NOTE.format("the types that are printed")
    + """# What --json prints

Standard output holds JSON and nothing else; what a command says of its work goes to standard error, and the exit code
is that of the table. A number that cannot be stated is null. Keys stay from release to release; new ones may come.
"""
)


def json_page() -> str:
    """The whole page.

    Raises:
        ValueError: a key has no line in the docstring of its type.
    """
    return HEAD + "".join(
        f"\n## cascade {name} --json\n\n{textwrap.fill(shown.words, WIDTH)}\n" + "".join(map(_keys, shown.kinds))
        for name, shown in SHOWN.items()
    )


def _keys(kind: Any) -> str:
    lines = [item(", ".join(f"`{path}`" for path in paths), words, meaning) for paths, words, meaning in keys_of(kind)]
    return "\n" + "".join(lines)

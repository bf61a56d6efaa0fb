"""What a search leaves to read: search.json and search.md, rewritten after every trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ensemble.search.objective import ERROR

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["write_table"]

STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


def write_table(folder: Path, study: Study, metric: str, params: dict[str, str]) -> dict[str, Any]:
    """Write the trials, best first, then the pruned by their last value, then the others.

    Args:
        folder: of the search.
        study: with any number of trials.
        metric: what was searched for.
        params: config key -> distribution.

    Returns:
        The content of search.json.
    """
    largest = study.direction.name == "MAXIMIZE"
    trials = sorted((_record(trial) for trial in study.trials), key=lambda record: _place(record, largest))
    best = next((trial for trial in trials if trial["state"] == "finished"), None)
    content = {
        "study": study.study_name,
        "metric": metric,
        "larger_is_better": largest,
        "params": params,
        "best": best,
        "trials": trials,
    }
    (folder / "search.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
    (folder / "search.md").write_text(_markdown(content), encoding="utf-8")
    return content


def _record(trial: FrozenTrial) -> dict[str, Any]:
    seen = trial.intermediate_values
    value = trial.value if trial.value is not None else (seen[max(seen)] if seen else None)
    return {
        "number": trial.number,
        "state": STATES[trial.state.name],
        "value": value,
        "epochs": len(seen),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "params": dict(trial.params),
        "error": trial.user_attrs.get(ERROR),
    }


def _place(record: dict[str, Any], largest: bool) -> tuple[int, float, int]:
    order = ("finished", "pruned").index(record["state"]) if record["state"] in ("finished", "pruned") else 2
    value = record["value"] if record["value"] is not None else float("-inf" if largest else "inf")
    return order, -value if largest else value, record["number"]


def _markdown(content: dict[str, Any]) -> str:
    keys = list(content["params"])
    header = ["trial", "state", content["metric"], "epochs", "s", *keys]
    lines = ["| " + " | ".join(header) + " |", "|---:|---|---:|---:|---:|" + "---|" * len(keys)]
    for trial in content["trials"]:
        value = "-" if trial["value"] is None else f"{trial['value']:.5f}"
        seconds = "-" if trial["seconds"] is None else f"{trial['seconds']:.0f}"
        cells = [str(trial["number"]), trial["state"], value, str(trial["epochs"]), seconds]
        lines.append("| " + " | ".join([*cells, *(_number(trial["params"].get(key, "-")) for key in keys)]) + " |")
    return "\n".join(lines) + "\n"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

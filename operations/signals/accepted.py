"""ops/accepted.json of MON: changes that somebody has called the new normal, dated and with the reason."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from operations.folder import read_json
from workflows.core.errors import ArtefactError

__all__ = ["ACCEPTED", "accept", "accepted", "accepted_days"]

ACCEPTED = Path("ops", "accepted.json")
DAY_S = 86_400


def accept(folder: Path, name: str, reason: str) -> str:
    """Call the values of a signal since its alarm the new normal; what was before them teaches nothing from now on.

    Args:
        folder: MON.
        name: of a signal that is out of its limits, as the page writes it.
        reason: for people.

    Returns:
        The day from which on they are.

    Raises:
        ArtefactError: the signal is within its limits or not known, or no reason is given.
    """
    from operations.signals.monitor import alarms, current, date, monitored
    from operations.signals.table import load, save, with_states

    if not reason.strip():
        raise ArtefactError("a reason is needed: whoever reads the page later wants to know why this is normal")
    with monitored(folder):
        rows = load(folder)
        out = {row.name: row for row in alarms(rows)}
        if name not in out:
            is_known = name in {row.name for row in current(rows)}
            what = "is within its limits" if is_known else "is no signal of the latest window"
            raise ArtefactError(f"{name} {what}; out of theirs are: {', '.join(out) or 'none'}")
        record = {
            "name": name,
            "from": out[name].since,
            "accepted_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "value": out[name].measured.value,
            "reason": reason.strip(),
        }
        path = folder / ACCEPTED
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps([*accepted(folder), record], indent=1))
        fresh.replace(path)
        save(folder, with_states(rows, accepted_days(folder)))
    return date(out[name].since)


def accepted(folder: Path) -> list[dict[str, Any]]:
    """What was accepted: name, from (days since 1970), accepted_at, value, reason.

    Raises:
        ArtefactError: the file cannot be read.
    """
    found: list[dict[str, Any]] = read_json(folder / ACCEPTED, [])
    return found


def accepted_days(folder: Path) -> dict[str, list[int]]:
    """Name -> days from which on its values are the new normal."""
    found = defaultdict(list)
    for record in accepted(folder):
        found[record["name"]].append(int(record["from"]))
    return dict(found)

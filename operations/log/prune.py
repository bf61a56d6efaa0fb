"""`cascade log prune`: requests of days that are long past leave MON, and versions need not be kept for them."""

from __future__ import annotations

import shutil
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

from operations.folder import PRUNED, REQUESTS, STATUS, Change, held, open_parquet, parquet_files, read_json, readable
from operations.log.chains import drop_unnamed
from runtime.log.folder import old_salts
from workflows.core import console
from workflows.core.disk import writing

__all__ = ["prune"]


def prune(folder: Path, days: int) -> int:
    """Remove the requests of the days before the last `days`, and the salts of which none is left.

    Args:
        folder: MON.
        days: kept, today among them.

    Returns:
        The number of days and chains that were removed.

    Raises:
        ArtefactError: there is no MON, or another process holds it.
    """
    first_kept = datetime.now(timezone.utc).date() - timedelta(days=days - 1)
    with writing("log prune", folder), held(folder, "pruned"):
        passed = [path for path in (folder / REQUESTS).glob("chain=*/date=*") if _date(path) < first_kept]
        of_feedback = (*folder.glob("joined/chain=*/date=*"), *folder.glob("feedback/date=*"))
        for path in (*passed, *(path for path in of_feedback if _date(path) < first_kept)):
            shutil.rmtree(path)
        for path in (*(folder / REQUESTS).glob("chain=*"), *folder.glob("joined/chain=*")):
            if not any(path.iterdir()):
                path.rmdir()
        change = Change(folder)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        change.place_json(folder / PRUNED, {"before": str(first_kept), "at": now})
        change.commit()
        drop_unnamed(folder)
        num_salts = _drop_salts(folder)
    salts = f"; {num_salts} salts of which no request is left are gone" if num_salts else ""
    console.say(f"log prune: {len(passed)} days of a chain before {first_kept} are gone{salts}")
    return len(passed)


def _date(path: Path) -> date:
    return date.fromisoformat(path.name.removeprefix("date="))


def _drop_salts(folder: Path) -> int:
    """Remove old salts that no request was logged with; without its salt no user key can be made again."""
    kept = [salt for log in read_json(folder / STATUS, {})["logs"] for salt in old_salts(Path(log))]
    if not kept:
        return 0
    used: set[str] = set()
    for path in parquet_files(folder):
        with readable(path):
            used.update(open_parquet(path).read(["salt_id"])["salt_id"].to_pylist())
    unused = [path for path in kept if path.name not in used]
    for path in unused:
        path.unlink()
    return len(unused)

"""ops/index.html of MON: what changed, since when, and the command that says more. It fetches nothing."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ensemble.html_pages import html_pages
from operations.signals.accepted import accepted
from operations.signals.feedback import quality_of
from operations.signals.kinds import FAMILIES, KINDS, diagnosis
from operations.signals.table import Row
from operations.timeline.entries import timeline

if TYPE_CHECKING:
    from operations.signals.monitor import Found

__all__ = ["FOLDER", "render", "values_of", "write_page"]

FOLDER = Path(__file__).parent

TEMPLATE, PAGE = "page.html.j2", "index.html"
SHOWN_DAYS, SHOWN_ENTRIES = 56, 50
WIDTH, HEIGHT, EDGE = 220, 44, 3
# A page that old is not of today's service.
STALE_DAYS = 2


def write_page(folder: Path, found: Found) -> None:
    """Write MON/ops/index.html, as a whole or not at all."""
    from operations.signals.monitor import OPS

    path = folder / OPS / PAGE
    fresh = path.with_name(f".{PAGE}.new")
    fresh.write_text(render(folder, found), encoding="utf-8")
    fresh.replace(path)


def render(folder: Path, found: Found) -> str:
    """The page."""
    from operations.signals.monitor import date

    environment = html_pages(FOLDER, {"date": date, "number": _number, "percent": _percent})
    return environment.get_template(TEMPLATE).render(values_of(folder, found))


def values_of(folder: Path, found: Found) -> dict[str, Any]:
    """What signals_body.html.j2 names."""
    from operations.signals.monitor import alarms, current, date

    latest, days = current(found.rows), sorted({row.day for row in found.rows})
    happened = timeline(folder)
    age = found.now / 86_400 - days[-1] - 1 if days else 0.0
    past: dict[str, list[Row]] = {}
    for row in found.rows:
        past.setdefault(row.name, []).append(row)
    return {
        "made_at": datetime.fromtimestamp(found.now, timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "days": days,
        "age": age,
        "is_stale": age > STALE_DAYS,
        "gaps": [date(day) for before, after in itertools.pairwise(days) for day in range(before + 1, after)],
        "versions": sorted({(row.model_version, row.chain_key[:16]) for row in latest}),
        "notes": [*found.notes, *happened.notes],
        "alarms": [_shown(row, past[row.name], folder) for row in alarms(found.rows)],
        "families": [(f, [_shown(r, past[r.name], folder) for r in latest if _family(r) == f]) for f in FAMILIES],
        "accepted": accepted(folder),
        "quality": quality_of(folder),
        "happened": happened.entries[: -SHOWN_ENTRIES - 1 : -1],
        "repositories": [shlex.quote(str(place)) for place in happened.repositories],
    }


def _family(row: Row) -> str:
    return KINDS[row.measured.signal].family


def _shown(row: Row, rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """A signal now; the rows are those of its name."""
    kind = KINDS[row.measured.signal]
    past = [r for r in rows if not kind.of_version or r.chain_key == row.chain_key]
    by_day = {each.day: each for each in sorted(past, key=lambda each: each.num_rows)}
    shown = [by_day[day] for day in sorted(by_day)][-SHOWN_DAYS:]
    return {
        "row": row,
        "kind": kind,
        "command": diagnosis(folder, row.name),
        "line": Markup("".join(_line(shown))),
        "label": f"{row.name}, {len(shown)} days, now {_number(row.measured.value)}",
    }


def _line(rows: Sequence[Row]) -> Iterator[str]:
    """An SVG of values, the band of their limits behind them, alarms as dots."""
    values = np.array([[row.measured.value, row.limit_low, row.limit_high] for row in rows])
    values[~np.isfinite(values)] = np.nan
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">'
    if np.isfinite(values[:, 0]).any():
        low, high = np.nanmin(values), np.nanmax(values)
        room = (high - low) or 1.0
        first, span = rows[0].day, max(rows[-1].day - rows[0].day, 1)
        x = [EDGE + (row.day - first) / span * (WIDTH - 2 * EDGE) for row in rows]
        y = HEIGHT - EDGE - (values - low) / room * (HEIGHT - 2 * EDGE)
        for side in (1, 2):
            yield _path(x, y[:, side].tolist(), "limit")
        yield _path(x, y[:, 0].tolist(), "value")
        for at, (row, place) in enumerate(zip(rows, y[:, 0].tolist(), strict=True)):
            if row.is_alarm:
                yield f'<circle class="out" cx="{x[at]:.1f}" cy="{place:.1f}" r="2.6"/>'
    yield "</svg>"


def _path(x: Sequence[float], y: Sequence[float], name: str) -> str:
    steps, is_on = [], False
    for at, (across, down) in enumerate(zip(x, y, strict=True)):
        if np.isnan(down):
            is_on = False
            continue
        alone = at + 1 == len(y) or np.isnan(y[at + 1])
        steps.append(f"{'L' if is_on else 'M'}{across:.1f} {down:.1f}" + ("h.1" if alone and not is_on else ""))
        is_on = True
    return f'<path class="{name}" d="{"".join(steps)}"/>' if steps else ""


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "-"


def _percent(value: float) -> str:
    return f"{value:.2%}" if np.isfinite(value) else "-"

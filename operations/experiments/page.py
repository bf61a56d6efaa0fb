"""MON/experiments/NAME.html: an experiment on one page, which fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ensemble.html_pages import html_pages
from operations.experiments.look import Compared, History, metric_words
from operations.experiments.record import Running
from operations.experiments.show import is_hidden, verdict
from workflows.core.disk import writing

__all__ = ["FOLDER", "render", "values_of", "write_page"]

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.j2"
WIDTH, HEIGHT = 600.0, 160.0


def write_page(folder: Path, running: Running, history: History) -> None:
    """Write the page of the latest look, as a whole or not at all."""
    path = folder / "experiments" / f"{running.name}.html"
    with writing("experiment", path.parent):
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(render(running, history), encoding="utf-8")
        fresh.replace(path)


def render(running: Running, history: History) -> str:
    """The page; there is a look."""
    environment = html_pages(FOLDER, {"number": lambda value: f"{value:.3g}", "percent": _percent})
    return environment.get_template(TEMPLATE).render(values_of(running, history))


def values_of(running: Running, history: History) -> dict[str, Any]:
    """What experiment_body.html.j2 names; there is a look."""
    taken = history.looks[-1]
    return {
        "running": running,
        "history": history,
        "taken": taken,
        "metric": metric_words(running),
        "hidden": is_hidden(taken, history),
        "verdict": verdict(running, taken, history),
        "drawings": list(_drawings(running, history)),
    }


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.3g}%"


def _drawings(running: Running, history: History) -> Iterator[tuple[str, Markup]]:
    """The interval of each variant, look by look."""
    for side in running.variants[1:]:
        looks = [each for look in history.looks for each in look.metric if each.variant == side.name]
        known = [each for each in looks if each.low is not None and each.high is not None]
        if len(known) > 1:
            yield side.name, _drawing(known)


def _drawing(looks: list[Compared]) -> Markup:
    lows, highs = [each.low or 0.0 for each in looks], [each.high or 0.0 for each in looks]
    bottom, top = min(*lows, 0.0), max(*highs, 0.0)
    scale = HEIGHT / ((top - bottom) or 1.0)

    def points(values: list[float]) -> list[str]:
        step = WIDTH / (len(values) - 1)
        return [f"{place * step:.1f},{(top - value) * scale:.1f}" for place, value in enumerate(values)]

    band = " L".join([*points(highs), *reversed(points(lows))])
    line = " L".join(points([each.difference or 0.0 for each in looks]))
    zero = top * scale
    words = f"from {100 * lows[-1]:.3g} to {100 * highs[-1]:.3g} percentage points at the latest look"
    # Numbers alone are put in.
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img" aria-label="{words}">'
        f'<path class="band" d="M{band} Z"/><path class="zero" d="M0,{zero:.1f} L{WIDTH:g},{zero:.1f}"/>'
        f'<path class="value" d="M{line}"/></svg><p class="soft">{words}</p>'
    )

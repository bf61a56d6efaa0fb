"""Grafana's dashboards, as the JSON that it imports: every panel asks Prometheus for what `cascade monitor` exports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["DASHBOARDS", "Panel", "dashboard", "expressions", "write_dashboards"]

# The oldest Grafana that takes this form.
SCHEMA_VERSION = 39
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT, COLUMNS = 12, 8, 24


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: what it shows.
        queries: PromQL -> legend.
        unit: Grafana's name of it.
        about: when to look at it.
        kind: timeseries, stat or table.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    about: str = ""
    kind: str = "timeseries"


SERVING = (
    Panel("Requests a second", {"sum(cascade:requests:rate5m)": "requests"}, "reqps"),
    Panel(
        "Failed requests",
        {"cascade:errors:ratio5m": "5 minutes", "cascade:errors:ratio1h": "an hour"},
        "percentunit",
        "CascadeErrors is an alert from 1.44% on.",
    ),
    Panel(
        "Time in the model, layout fused",
        {"cascade:latency:p50_5m": "p50 {{consumer}}", "cascade:latency:p99_5m": "p99 {{consumer}}"},
        "s",
    ),
    Panel(
        "Requests over 100 ms", {"cascade:slow:ratio5m": "5 minutes", "cascade:slow:ratio1h": "an hour"}, "percentunit"
    ),
    Panel("What slates are made from", {"cascade:slates:rate5m": "{{path}}"}, "ops"),
    Panel(
        "Slates without live events",
        {"cascade:not_live:ratio5m": "not live"},
        "percentunit",
        "Of chains with [stream].",
    ),
    Panel("Empty slates", {"cascade:empty_slates:ratio5m": "empty"}, "percentunit", "Over 1% is an alert."),
    Panel("Processes", {"cascade_processes": "version {{version}} {{layout}} {{step}}"}, kind="stat"),
    Panel(
        "Requests that were not logged",
        {'sum by (what) (rate(cascade_log_records_total{what=~"dropped_.*|failed|without_id"}[5m]))': "{{what}}"},
        "ops",
    ),
)
USAGE = (
    Panel("Requests a second by consumer", {"cascade:requests:rate5m": "{{consumer}}"}, "reqps"),
    Panel(
        "Requests of the last day by consumer",
        {"sum by (consumer) (increase(cascade_requests_total[1d]))": "{{consumer}}"},
        kind="table",
    ),
    Panel("Refused requests by consumer", {"cascade:refused:ratio5m": "{{consumer}}"}, "percentunit"),
    Panel(
        "Slates a second by consumer",
        {"sum by (consumer) (rate(cascade_slates_total[5m]))": "{{consumer}}"},
        "ops",
    ),
    Panel(
        "Slates that are not full, by consumer",
        {
            'sum by (consumer) (rate(cascade_slates_total{fullness!="full"}[5m]))'
            " / (sum by (consumer) (rate(cascade_slates_total[5m])) > 0)": "{{consumer}}"
        },
        "percentunit",
    ),
    Panel("p99 in the model by consumer", {"cascade:latency:p99_5m": "{{consumer}}"}, "s"),
)
SIGNALS = (
    Panel("Signals out of their limits", {"count(cascade_signal_alarm == 1) or vector(0)": "alarms"}, kind="stat"),
    Panel(
        "Which",
        {"cascade_signal_alarm == 1 or on () vector(0)": "{{family}}: {{signal}} {{slice}}"},
        kind="table",
        about="`cascade monitor MON show SIGNAL` says what moved.",
    ),
    Panel(
        "Signal and its limits",
        {
            'cascade_signal{signal="$signal"}': "{{slice}}",
            'cascade_signal_limit{signal="$signal"}': "{{side}} limit {{slice}}",
        },
    ),
    Panel("Signals by family", {"count by (family) (cascade_signal)": "{{family}}"}, kind="stat"),
)
QUALITY = (
    Panel("Version", {"cascade_model_info": "version {{version}}, chain {{chain_key}}"}, kind="table"),
    Panel("Age of model and data", {'cascade_signal{signal=~"model_age_days|data_age_days"}': "{{signal}}"}, "d"),
    Panel("Slates that do not come again", {'cascade_signal{signal="replay_mismatch"}': "mismatches"}, kind="stat"),
    Panel("Slates a second by path", {"cascade:slates:rate5m": "{{path}}"}, "ops"),
    Panel(
        "Click-through, and its estimate before labels come",
        {'cascade_quality{metric="ctr"}': "{{label}} {{how}}"},
        "percentunit",
        "Provisional is of a day whose labels have yet to come.",
    ),
    Panel(
        "Slates with a hit", {'cascade_quality{metric="hit"}': "{{label}} in the first {{k}}, {{how}}"}, "percentunit"
    ),
    Panel("Calibration", {'cascade_quality{metric=~"copc|ece"}': "{{metric}} {{label}} {{how}}"}),
    Panel("Events that found their slate", {"cascade_feedback_joined_ratio": "joined"}, "percentunit"),
)
# File name -> title, panels, and variables: name -> the query of its values.
DASHBOARDS: Mapping[str, tuple[str, Sequence[Panel], Mapping[str, str]]] = {
    "serving": ("Cascade: serving", SERVING, {}),
    "usage": ("Cascade: usage", USAGE, {}),
    "signals": ("Cascade: signals", SIGNALS, {"signal": "label_values(cascade_signal, signal)"}),
    "quality": ("Cascade: quality and release", QUALITY, {}),
}


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    title, panels, variables = DASHBOARDS[name]
    return {
        "uid": f"cascade-{name}",
        "title": title,
        "tags": ["cascade"],
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(*each) for each in variables.items())]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels, 1)],
    }


def expressions(name: str) -> Iterator[tuple[str, str]]:
    """Title of the panel and PromQL of every query of a dashboard."""
    for panel in DASHBOARDS[name][1]:
        for expression in panel.queries:
            yield panel.title, expression


def write_dashboards(folder: Path) -> list[Path]:
    """Write every dashboard to a folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in DASHBOARDS:
        path = folder / f"{name}.json"
        path.write_text(json.dumps(dashboard(name), indent=2) + "\n")
        written.append(path)
    return written


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    place = number - 1
    targets = [
        {
            "refId": chr(ord("A") + letter),
            "datasource": SOURCE,
            "expr": expression,
            "legendFormat": legend,
            **({"format": "table", "instant": True} if panel.kind == "table" else {}),
        }
        for letter, (expression, legend) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"x": place * WIDTH % COLUMNS, "y": place * WIDTH // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": targets,
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }

"""Rules, routes and dashboards belong together: what one names, another has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations import monitoring
from operations.monitoring.dashboards import DASHBOARDS, dashboard, expressions, write_dashboards
from scripts.cli import app

FOLDER = Path(monitoring.__file__).parent
ROOT = Path(__file__).parents[3]
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]


def test_the_dashboards_in_the_repository_are_those_of_the_code(tmp_path) -> None:
    written = {path.name: json.loads(path.read_text()) for path in write_dashboards(tmp_path)}
    assert written == {path.name: json.loads(path.read_text()) for path in (FOLDER / "dashboards").glob("*.json")}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_lie_on_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in dashboard(name)["panels"]]
    cells = [(x, place["y"]) for place in places for x in range(place["x"], place["x"] + place["w"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard(name)["panels"]}) == len(places)


def test_every_recorded_name_that_is_read_is_recorded() -> None:
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    asked = [expression for name in DASHBOARDS for _, expression in expressions(name)]
    asked += [rule["expr"] for rule in RULES]
    read = {name for expression in asked for name in re.findall(r"cascade:[a-z0-9_:]+", expression)}
    assert read <= recorded and recorded - read == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_section_of_the_runbook_and_a_command_that_exists(alert: dict[str, Any]) -> None:
    page, _, section = alert["annotations"]["runbook"].partition("#")
    sections = {line[3:].strip().lower() for line in (ROOT / page).read_text().splitlines() if line.startswith("## ")}
    assert section in sections
    cascade, name, *_ = alert["annotations"]["command"].split()
    commands = {command.name for command in app.registered_commands}
    groups = {group.typer_instance.info.name for group in app.registered_groups if group.typer_instance}
    assert cascade == "cascade" and name in commands | groups
    assert alert["labels"]["severity"] in ("page", "ticket")


def test_every_section_of_the_runbook_is_of_an_alert() -> None:
    sections = re.findall(r"^## (Cascade\w+)$", (ROOT / "docs/RUNBOOK.md").read_text(), re.MULTILINE)
    assert set(sections) <= {alert["alert"] for alert in ALERTS} and len(sections) == len(set(sections))

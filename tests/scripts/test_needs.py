"""Every command in an environment without its packages: one sentence, before anything is read or written."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

from scripts import needs
from scripts.cli import app

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
IMPORTS = sorted({package.split(".")[0] for group in needs.PACKAGES.values() for package in group})
# Runs commands in a Python where only the light dependencies are installed; one process for all, which saves seconds.
BARE = f"""
import contextlib, io, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {IMPORTS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from scripts.cli import app

def run(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(arguments)
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()

print(json.dumps([run(arguments) for arguments in json.loads(sys.argv[1])]))
"""
GROUPED = {
    f"{group.typer_instance.info.name} {command.name}"
    for group in app.registered_groups
    for command in (group.typer_instance or app).registered_commands
}
COMMANDS = [*(str(command.name) for command in app.registered_commands), *GROUPED]
TRAINING = [command for command, found in needs.COMMANDS.items() if "training" in found.groups]
STAGE = ["--config", "configs/smoke.toml", "--out", "RUN"]
ARGUMENTS = {"serve": ["RUN"], "recommend": ["--user-id", "1"], "reload": [], "rollback": ["RUN"]}
ARGUMENTS |= {command: ["5", "--repo", "RUN"] for command in ("block", "unblock")}
ARGUMENTS["why"] = ["7", "RUN", "--user-id", "1"]
ARGUMENTS["console"] = ARGUMENTS["monitor"] = ARGUMENTS["feedback"] = ARGUMENTS["timeline"] = ["RUN"]
ARGUMENTS |= {command: ["RUN"] for command in GROUPED} | {"stream forget": ["7", "RUN"]}
ARGUMENTS |= {f"slates {name}": ["RUN", "--cache", "lmdb:cache"] for name in ("build", "refresh")}
ARGUMENTS |= {"log collect": ["RUN", "--out", "RUN"], "log forget": ["RUN", "--user-id", "7"]}
ARGUMENTS["log import"] = ["RUN", "--out", "RUN"]
ARGUMENTS["simulate"] = []
ARGUMENTS["exposure"] = [*STAGE, "--column", "brand"]
ARGUMENTS["init"] = ["log.csv"]
ARGUMENTS["train-send-gate"] = ["log", "--out", "gate"]
ARGUMENTS["export-send-gate"] = ["gate", "--publish", "RUN"]
ARGUMENTS["notify"] = ["gate", "--candidates", "today.parquet", "--log", "log"]
ARGUMENTS["replay"] = ["RUN", "--last", "1"]
ARGUMENTS["shadow"] = ["RUN", "--run", "RUN"]
ARGUMENTS["retrain"] = [*STAGE, "--publish", "RUN"]
ARGUMENTS["gate"] = ["RUN", "--against", "RUN"]
ARGUMENTS["evaluate-policy"] = ["RUN", "--policy", "RUN"]
ARGUMENTS |= {"experiment check": ["--config", "RUN"], "experiment start": ["e", "--config", "RUN"]}
ARGUMENTS |= {f"experiment {name}": ["e", "--log", "RUN", "--repo", "RUN"] for name in ("status", "advance", "watch")}
ARGUMENTS["experiment stop"] = ["e", "--repo", "RUN"]
ARGUMENTS["slates status"] = ["--cache", "lmdb:cache"]
ARGUMENTS["slates allot"] = ["RUN", "--units", "units.csv", "--out", "slates.parquet"]


def bare(folder: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each command; RUN in its arguments is a folder that is not there."""
    given = [[str(folder / "run") if word == "RUN" else word for word in words] for words in commands]
    run = [sys.executable, "-c", BARE, json.dumps(given)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]


def test_a_command_without_its_packages_says_so_in_one_sentence(tmp_path: Path) -> None:
    commands = [[*command.split(), *ARGUMENTS.get(command, STAGE)] for command in needs.COMMANDS]
    for command, (status, out, err) in zip(needs.COMMANDS, bare(tmp_path, *commands), strict=True):
        assert (status, out) == (1, ""), err
        assert re.fullmatch(r"error: .*\n", err), err
        if command in TRAINING and not needs.trains_here():
            assert err.startswith(f"error: cascade {command} is a part of training; training needs Python 3.10 or 3.11")
            assert f"this is {platform.python_version()}: " in err
        else:
            assert err.startswith(f"error: cascade {command} needs ") and "make setup" in err
    assert not (tmp_path / "run").exists()


def test_the_light_dependencies_are_enough_for_help_doctor_and_tables(tmp_path: Path) -> None:
    help_, doctor, wrong, tables = bare(
        tmp_path, ["--help"], ["doctor", "--for", "serve"], ["doctor", "--for", "cook"], ["tables", "RUN"]
    )
    assert help_[0] == 0 and "train-retrieval" in help_[1]
    assert doctor[0] == 1 and "to serve" in doctor[1]
    assert wrong == (1, "", "error: --for cook: expected one of train, evaluate, export, serve\n")
    assert tables[2].startswith(f"error: {tmp_path}/run/report holds no manifest.json")


def test_the_packages_of_a_command_are_in_the_extras_that_its_sentence_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {**project["optional-dependencies"], "": project["dependencies"]}

    def brought(extra: str) -> set[str]:
        names: set[str] = set()
        for line in extras[extra]:
            if inner := re.match(r"cascade\[([a-z,]+)\]", line):
                names |= set().union(*map(brought, inner[1].split(",")))
            else:
                names.add(re.split(r"[\[=<>;~! ]", line)[0])
        return names

    for command, (named, groups) in needs.COMMANDS.items():
        there = brought("").union(*map(brought, named.split(",")))
        for group in groups:
            for distributions in needs.PACKAGES[group].values():
                assert there & set(distributions), (command, group, distributions)


def test_every_command_that_needs_packages_exists() -> None:
    assert set(needs.COMMANDS) <= set(COMMANDS)
    assert set(COMMANDS) - set(needs.COMMANDS) == {"doctor", "log renew-salt", "monitor-files", "tables"}


def test_the_old_bounds_are_those_of_training_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.10,<3.14"
    for extra in ("merlin", "cpu", "gpu"):
        own = [line for line in project["optional-dependencies"][extra] if not line.startswith("cascade[")]
        assert own and all("; python_version < '3.12'" in line for line in own)

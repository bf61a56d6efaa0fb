"""The commands by what one does with them, and an example of each, for `--help`."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EXAMPLES", "EXIT_CODES", "EXIT_CODES_LINE", "epilog_of", "panel_of", "place_of"]

# Status of a process -> what it means, of every command.
EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "an expected error, said in one sentence, or a check that found something",
    2: "a command line that cannot be read, or (replay) requests that cannot be asked again",
    3: "not now: HOLD, an alarm, no number",
    4: "no: REJECT, every variant withdrawn",
    130: "stopped by Ctrl-C, what is finished is kept",
    141: "nobody reads the output",
}
EXIT_CODES_LINE = (
    "Exit codes: " + "; ".join(f"{code} {words}" for code, words in EXIT_CODES.items()) + ". A traceback is a bug."
)
# As they stand they work behind `make demo`, but for those that name files of yours or a second run.
STAGE = "--config configs/demo.toml --out runs/demo"
PANELS: Mapping[str, Mapping[str, str]] = {
    "Start": {
        "init": "init events.csv items.csv users.csv --out mine.toml",
        "run": f"run {STAGE}",
        "demo": "demo",
        "doctor": "doctor --for serve",
    },
    "Train, stage by stage": {
        "prepare": f"prepare {STAGE}",
        "train-retrieval": f"train-retrieval {STAGE} --set retrieval.embedding_dim=64",
        "fit-neighbours": f"fit-neighbours {STAGE}",
        "fit-sources": f"fit-sources {STAGE}",
        "build-index": f"build-index {STAGE}",
        "train-ranking": f"train-ranking {STAGE}",
        "evaluate": f"evaluate {STAGE} --baselines",
        "export": f"export {STAGE} --publish triton_repo",
        "exposure": f"exposure {STAGE} --column brand",
        "search": f"search {STAGE} --param 'retrieval.temperature=loguniform(0.05, 0.5)' --trials 20",
        "tables": "tables runs/demo runs/shop --column recall@10",
    },
    "Serve": {
        "serve": "serve runs/demo --log log",
        "recommend": "recommend --url localhost:8001 --user-id 17 --user-id 42 --json",
        "reload": "reload --url localhost:8001",
        "rollback": "rollback triton_repo --reason 'wrong prices'",
        "block": "block 7531 --repo triton_repo --reason 'recalled'",
        "unblock": "unblock 7531 --repo triton_repo",
        "events send": "events send today.jsonl --url localhost:8001",
        "stream status": "stream status runs/demo",
        "stream replay": "stream replay runs/demo --check",
        "stream audit": "stream audit runs/demo",
        "stream backfill": "stream backfill runs/demo --days 30",
        "stream compact": "stream compact runs/demo --keep-days 400",
        "stream forget": "stream forget 17 runs/demo",
        "stream rebuild": "stream rebuild runs/demo",
        "stream run": "stream run runs/demo --source kafka://broker/events --store redis://state",
        "slates build": "slates build runs/demo --cache lmdb:slates",
        "slates refresh": "slates refresh runs/demo --cache lmdb:slates --follow",
        "slates status": "slates status --cache lmdb:slates",
        "slates allot": "slates allot runs/shop --units units.csv --out slates.parquet",
    },
    "Watch": {
        "console": "console runs/demo",
        "why": "why 7531 runs/demo --user-id 42",
        "log collect": "log collect log --out mon",
        "log verify": "log verify log",
        "log check": "log check mon",
        "log import": "log import obd.csv --out logged",
        "log prune": "log prune mon --days 90",
        "log forget": "log forget mon --user-id 42",
        "log renew-salt": "log renew-salt log",
        "replay": "replay mon --last 1000",
        "feedback": "feedback mon --events runs/demo/events",
        "monitor": "monitor mon --once",
        "monitor-files": "monitor-files prometheus",
        "timeline": "timeline triton_repo --last 20",
    },
    "Decide": {
        "gate": "gate runs/shop --against triton_repo",
        "shadow": "shadow mon --run runs/demo",
        "retrain": "retrain --config configs/demo.toml --out retrained --publish triton_repo",
        "evaluate-policy": "evaluate-policy mon --policy runs/demo",
        "experiment check": "experiment check --config experiment.toml",
        "experiment start": "experiment start prices --config experiment.toml --repo triton_repo",
        "experiment status": "experiment status prices --log mon",
        "experiment advance": "experiment advance prices --log mon",
        "experiment stop": "experiment stop prices --repo triton_repo",
        "experiment watch": "experiment watch prices --log mon --repo triton_repo",
        "simulate": "simulate --days 180",
        "train-send-gate": "train-send-gate pushes --out gate",
        "export-send-gate": "export-send-gate gate --publish triton_repo",
        "notify": "notify gate --candidates today.parquet --log sent",
    },
}
EXAMPLES: Mapping[str, str] = {name: f"cascade {line}" for panel in PANELS.values() for name, line in panel.items()}


PLACES = {name: place for place, name in enumerate(EXAMPLES)}


def place_of(command: str) -> int:
    """The place of a command in the help; after the others where it has no example yet."""
    return PLACES.get(command, len(PLACES))


def epilog_of(command: str) -> str | None:
    """What stands below the help of a command."""
    return f"Example: {EXAMPLES[command]}" if command in EXAMPLES else None


def panel_of(command: str) -> str | None:
    """The panel of a command, or of a group of commands by the first of them."""
    first = f"{command} "
    return next((panel for panel, lines in PANELS.items() if any(f"{n} ".startswith(first) for n in lines)), None)

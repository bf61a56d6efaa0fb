"""A synthetic run with events of its users, exported, as benchmarks of requests need one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.config import Config
from ensemble.export.stage import export
from tests.ensemble.synthetic import make_run
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

NUM_USERS, NUM_ITEMS, LAST_DAY = 400, 300, 19_999


def exported_shop(root: Path, *, takes_events: bool = False) -> tuple[Run, Config]:
    """Make a run whose splits hold an event of each user, and export it."""
    run, config = make_run(root, num_users=NUM_USERS, num_items=NUM_ITEMS)
    random = np.random.default_rng(0)
    events = {
        "user_row": np.arange(NUM_USERS),
        "item_row": random.integers(0, NUM_ITEMS, NUM_USERS),
        "at": np.full(NUM_USERS, LAST_DAY * 86_400 * 10**9),
        "device": random.choice(["desktop", "phone"], NUM_USERS).tolist(),
        "hour": random.integers(0, 24, NUM_USERS),
        "temperature": random.normal(15, 8, NUM_USERS),
    }
    for part in ("valid", "test"):
        path = run.folder("data") / part / "part_000.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(events), path)
    if takes_events:
        config = msgspec.structs.replace(config, stream=StreamConfig())
    export(run, config)
    return run, config

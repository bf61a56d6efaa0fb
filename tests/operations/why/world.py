"""A synthetic run, its compiled chain, and questions to it as `cascade why` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from operations.why.answer import Change
from operations.why.asking import Asking
from operations.why.changes import changes_of
from operations.why.deep import deep_ranks
from operations.why.nodes import nodes_of
from operations.why.question import RawQuestion
from operations.why.rules import read_rules
from operations.why.trace import lost_at
from operations.why.way import Standing
from runtime.chain import Chain
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.operations.why.oracle import WhyOracle

__all__ = ["STRANGER", "World"]

STRANGER = 10_000


class World:
    """One chain."""

    def __init__(self, root: Path, chain: ChainConfig | None = None, rules: Any = (), **variant: Any) -> None:
        self.text_ids = variant.get("text_ids", False)
        self.run, self.config = make_run(root / "run", chain=chain, **variant)
        self.folder = root / "chain"
        compile_chain(self.run, self.config, self.folder, "serve")
        self.chain = Chain.load(self.folder)
        self.nodes = nodes_of(self.chain, self.folder)
        self.ids = np.load(self.folder / "ids/items.npy")
        self.oracle = WhyOracle(self.run.root, self.config.chain, "serve", rules)

    def user(self, row: int) -> Any:
        return user_id(row, self.text_ids)

    def items(self, rows: Any) -> list:
        return [item_id(row, self.text_ids) for row in rows]

    def ask(self, user: int, item: int, **request: Any) -> Asking:
        """A question of rows; recent and excluded are rows too."""
        who, what = (_typed(value) for value in (self.user(user), item_id(item, self.text_ids)))
        lists = {name: [_typed(i) for i in self.items(request.get(name, ()))] for name in ("recent", "excluded")}
        asked = RawQuestion(what, who, request.get("context", {}), slate_size=request.get("size"), **lists)
        return Asking(self.nodes, asked.checked(self.chain, self.ids))

    def changes(self, asking: Asking) -> dict[str, Change]:
        """What would have changed the answer, by kind; of rules the last one."""
        deep = deep_ranks(asking.way)
        rules = read_rules(self.run.folder("data") / "items.parquet", self.config)
        filters = self.nodes.spec.filter_seen
        return {change.kind: change for change in changes_of(asking, rules, lost_at(asking.way, deep), deep, filters)}

    def found(self, asking: Asking) -> tuple[str, dict[str, Standing | None]]:
        """Where the item is lost, and where it stands in the sources, by name."""
        deep = deep_ranks(asking.way)
        by_name = {self.nodes.opened[place].step.name: found for place, found in deep.items()}
        return lost_at(asking.way, deep), by_name


def _typed(value: Any) -> int | str:
    return value.decode() if isinstance(value, bytes) else value

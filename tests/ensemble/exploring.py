"""A chain that explores, and its draws worked out by hand: integers of Python, sorted lists, math.exp."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from ensemble.config import ChainConfig, Config
from ensemble.config_order import OrderConfig
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import make_run
from workflows.core.run import Run

__all__ = ["SHARE", "TEMPERATURE", "DrawnOracle", "make_exploring_run", "mixed", "uniform"]

TEMPERATURE, SHARE = 0.7, 0.5
CHAIN = ChainConfig(
    num_candidates=30,
    slate_size=5,
    max_slate_size=20,
    instances=1,
    order=OrderConfig(explore="softmax", temperature=TEMPERATURE, share=SHARE),
)
ALL = (1 << 64) - 1


def make_exploring_run(root: Path, **given: object) -> tuple[Run, Config]:
    """A synthetic run whose chain draws half of its slates."""
    run, config = make_run(root, **given)
    return run, msgspec.structs.replace(config, chain=CHAIN)


def hashed(value: int) -> int:
    """splitmix64 of one integer."""
    value = (value + 0x9E3779B97F4A7C15) & ALL
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & ALL
    return value ^ (value >> 31)


def mixed(one: int, other: int) -> int:
    return hashed((hashed(one & ALL) + other) & ALL)


def uniform(value: int) -> float:
    return ((value >> 12) + 0.5) / 2.0**52


class DrawnOracle(Oracle):
    """Answers one user at a time, with a seed."""

    def drawn(
        self, user, seed: int, policy: str = "", size: int | None = None, **asked: object
    ) -> tuple[list, list[float], list[float], bool]:
        """Raw item ids, scores, log propensities, and whether the slate was drawn."""
        size = size or self.chain.slate_size
        row = self.users.index(user) if user in self.users else -1
        key = mixed(seed, row)
        if policy == "deterministic" or (not policy and uniform(mixed(key, -1)) >= SHARE):
            ids, scores, _ = self.slate(user, size=size, **asked)
            return ids, scores, [0.0] * len(ids), False
        ids, scores, path = self.slate(user, size=self.chain.num_candidates, **asked)
        if path == "popularity":
            utilities = [math.log(max(score, 1e-9)) for score in scores]
        else:
            utilities = [math.log(score / (1 - score)) for score in scores]
        noise = [-math.log(-math.log(uniform(mixed(mixed(key, 0), self.items.index(item))))) for item in ids]
        order = sorted(range(len(ids)), key=lambda i: -(utilities[i] / TEMPERATURE + noise[i]))[:size]
        weights, logs = [math.exp(utility / TEMPERATURE) for utility in utilities], []
        for place in order:
            logs.append(math.log(weights[place] / sum(weights)))
            weights[place] = 0.0
        return [ids[i] for i in order], [scores[i] for i in order], logs, True

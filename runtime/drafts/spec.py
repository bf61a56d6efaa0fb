"""draft.json: whose slates a model drafts from, and what it says of a drafted slate."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime.records import from_record, read_versioned
from runtime.spec import SEED, ChainSpec
from runtime.tensor import Tensor

__all__ = ["BOTH", "DRAFT_FILE", "NEITHER", "TEAM", "VARIANT", "DraftSpec", "Team", "drafted_spec"]

DRAFT_FILE = "draft.json"
FORMAT_VERSION = 1
# Outputs beside those of a chain: who chose each place, and whose slate it is: BOTH, or the name of the one team that
# answered.
TEAM, VARIANT = "team", "variant"
BOTH = "both"
# Of a slate of what is served now, which was published since the experiment began: it says nothing of either.
NEITHER = ""


@dataclass(frozen=True)
class Team:
    """A version whose slates are drafted from.

    Attributes:
        name: of the variant.
        model: of Triton.
        version: of that.
        inputs: that it takes.
        explores: whether it draws slates at random, unless it is asked not to.
    """

    name: str
    model: str
    version: int
    inputs: tuple[str, ...]
    explores: bool


@dataclass(frozen=True)
class DraftSpec:
    """What a drafting model knows.

    Attributes:
        experiment: its name.
        salt: of the tosses.
        teams: the control first.
    """

    experiment: str
    salt: str
    teams: tuple[Team, ...]

    @classmethod
    def load(cls, folder: Path) -> DraftSpec:
        """Read `folder`/draft.json.

        Raises:
            ValueError: of another format version, or damaged.
            OSError: it is missing.
        """
        _, record = read_versioned(folder / DRAFT_FILE, (FORMAT_VERSION,))
        return from_record(cls, record, DRAFT_FILE)

    def save(self, folder: Path) -> None:
        """Write `folder`/draft.json."""
        (folder / DRAFT_FILE).write_text(json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=1))

    def request(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The inputs, of the chain.json beside this file; a seed is taken and not needed, since nothing is drawn."""
        seed = Tensor(SEED, "INT64", optional=True)
        return (*spec.request, *([seed] if any(team.explores for team in self.teams) else []))

    def response(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The outputs, of the chain.json beside this file."""
        return (*spec.response, Tensor(TEAM, "INT32", -1), Tensor(VARIANT, "BYTES"))


def drafted_spec(first: ChainSpec, second: ChainSpec) -> ChainSpec:
    """The chain.json of a model that drafts from two chains: the inputs of either, and what both say of a slate.

    Raises:
        ValueError: a request that the first takes, the second would refuse; the sentence says which.
    """
    columns = {column.name: column for column in first.context_columns}
    for column in second.context_columns:
        if columns.setdefault(column.name, column).dtype != column.dtype:
            raise ValueError(f"{column.name} is {columns[column.name].dtype} of one and {column.dtype} of the other")
    for name in ("user_id_dtype", "item_id_dtype"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise ValueError(f"{name} is {ours} of one and {theirs} of the other")
    for name in ("max_slate_size", "max_batch_size", "max_list_length"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if theirs < ours:
            raise ValueError(f"chain.{name} is {ours} of what is served and {theirs} of the other")
    optional = (replace(column, optional=True) for column in columns.values())
    return replace(first, context_columns=tuple(optional), order=None)

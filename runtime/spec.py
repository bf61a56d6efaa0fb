"""chain.json: sizes, names and dtypes of one compiled chain. Written by export, read by every step."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runtime.index.settings import Settings
from runtime.order_spec import OrderSpec
from runtime.ranker.spec import RankerSpec
from runtime.records import from_record, known_keys, read_versioned
from runtime.slate_spec import leave_out_defaults
from runtime.stream.features import LiveFeature
from runtime.stream.spec import StreamSpec
from runtime.tensor import FLOATS, Tensor

__all__ = [
    "ASKED_OF_DRAW",
    "CANDIDATE_UTILITY",
    "CHAIN_FILE",
    "DRAWN",
    "DRAW_POLICY",
    "DRAW_SEED",
    "ENCODED",
    "FLOATS",
    "FORCE_POLICY",
    "FORMAT_VERSION",
    "LIVE_AGE",
    "LIVE_AT",
    "LIVE_OFFSET",
    "LIVE_SEEN",
    "PATHS",
    "SEED",
    "UTILITY",
    "ChainSpec",
    "Instances",
    "LiveSpec",
    "SourceSpec",
    "Tensor",
    "encoded",
]

CHAIN_FILE = "chain.json"
# Before the names of model inputs between steps: `user_id` is raw in the request and a code behind the first step.
ENCODED = "encoded_"
FORMAT_VERSION = 2
# What a slate rests on; `path_code` is the position here.
PATHS = ("known_user", "history", "context", "popularity")
KNOWN_USER, HISTORY, CONTEXT, POPULARITY = range(len(PATHS))

# Arrays between the steps of a chain with a live state: its position, the age of the user's record, and item rows that
# the user has seen besides those of the export and the recent ones; and the instant that the slate is for, nanoseconds.
LIVE_OFFSET, LIVE_AGE, LIVE_SEEN, LIVE_AT = "live_offset", "live_age_ms", "live_seen_rows", "live_at"

# Of a chain that explores: what a request may ask for, and what a response says. No name is in both: the tensors of a
# Triton ensemble share one space of names.
SEED, FORCE_POLICY = "seed", "force_policy"
ASKED_OF_DRAW = (Tensor(SEED, "INT64", optional=True), Tensor(FORCE_POLICY, "BYTES", optional=True))
DRAWN = (
    Tensor("policy", "BYTES"),
    Tensor("explored", "BOOL"),
    Tensor("log_propensity", "FP32", -1),
    Tensor("slate_seed", "INT64"),
)
# Between its steps: the seed of each slate, and the place in `runtime.order_spec.POLICIES` that it asks for.
DRAW_SEED, DRAW_POLICY = "draw_seed", "draw_policy"


# What candidates, and the items of a slate, are worth on average, where the config says what that is. (The tensors of
# a Triton ensemble share one space of names.)
CANDIDATE_UTILITY, UTILITY = "candidate_utility", "utility"


def encoded(name: str) -> str:
    """The name of a model input between two steps."""
    return ENCODED + name


@dataclass(frozen=True)
class Instances:
    """The processes of a Triton model.

    Attributes:
        count: of them; on a GPU, of each.
        device: "cpu" or "gpu".
        queue_delay_us: microseconds that a request waits for others on a GPU.
    """

    count: int = 1
    device: str = "cpu"
    queue_delay_us: int = 0


@dataclass(frozen=True)
class SourceSpec:
    """A retrieval source of a chain.

    Attributes:
        name: of the source.
        step: "module:class", a `runtime.sources.base.Source`.
        weight: of its score in the merged retrieval score.
        quota: candidates that are its best, whatever their merged score.
    """

    name: str
    step: str
    weight: float = 0.0
    quota: int = 0


@dataclass(frozen=True)
class LiveSpec:
    """What a chain takes from the live state, and what of it its own files hold already.

    Attributes:
        stream: whose state it is.
        known_log: the id of the log that the data were read from; empty: from none.
        known_offset: events of that log below it are in the chain's files; in any other log all are news.
        known_at: events up to this instant (nanoseconds since 1970) are: the data were tables.
        user_features: raw context columns that the user's record gives, beside those of a request.
        item_features: of candidates; `runtime.ranker.pairs.STREAM` and their names are pair features of the ranker.
        popular_by: the count that orders the items for users of whom nothing is known; None: the export does.
    """

    stream: StreamSpec
    known_log: str = ""
    known_offset: int = 0
    known_at: int = -(2**63)
    user_features: tuple[LiveFeature, ...] = ()
    item_features: tuple[LiveFeature, ...] = ()
    popular_by: LiveFeature | None = None


@dataclass(frozen=True)
class ChainSpec:
    """Everything about a chain but its arrays.

    Attributes:
        num_items: N.
        num_users: U.
        item_id_dtype: INT64 or BYTES.
        user_id_dtype: the same for users.
        history_length: L.
        embedding_dim: D.
        num_candidates: C.
        slate_size, max_slate_size: S where the request names none, and the largest it may name.
        max_batch_size: users in one request.
        num_instances: processes that serve the whole chain, or one of its heavy steps.
        max_list_length: longest exclude_item_ids; a longer recent_item_ids is cut to its latest items.
        filter_seen: whether seen items are never shown.
        user_features, context_features: model inputs of those sides, in schema order.
        history_feature: the model input that holds item id codes.
        context_columns: raw context columns that a request may carry.
        tower_inputs: model inputs of the query tower.
        index: how it is searched.
        recency_boost, recency_decay: how much more a user's latest items count in the item-item score.
        sources: what candidates come from.
        fallback: the source for users of whom nothing is known.
        ranker: its inputs and shape.
        live: where users' live events count; None: a chain that knows what it was exported with.
        order: what the last step does besides sorting by score; None: nothing.
        device: where the heavy steps run, "cpu" or "gpu".
        queue_delay_us: of a request on a GPU.
        device_precision: of the embeddings on a GPU, "float32" or "float16".
        device_or_cpu: whether the CPU answers where the GPU's memory is too small, since "auto" chose the GPU.
    """

    num_items: int
    num_users: int
    item_id_dtype: str
    user_id_dtype: str
    history_length: int
    embedding_dim: int
    num_candidates: int
    slate_size: int
    max_slate_size: int
    max_batch_size: int
    num_instances: int
    max_list_length: int
    filter_seen: bool
    user_features: tuple[Tensor, ...]
    context_features: tuple[Tensor, ...]
    history_feature: str
    context_columns: tuple[Tensor, ...]
    tower_inputs: tuple[str, ...]
    index: Settings
    recency_boost: float
    recency_decay: float
    sources: tuple[SourceSpec, ...]
    fallback: str
    ranker: RankerSpec
    live: LiveSpec | None = None
    order: OrderSpec | None = None
    device: str = "cpu"
    queue_delay_us: int = 0
    device_precision: str = "float32"
    device_or_cpu: bool = False

    @property
    def instances(self) -> Instances:
        """The processes of the whole chain, or of one of its heavy steps."""
        return Instances(self.num_instances, self.device, self.queue_delay_us)

    @property
    def explores(self) -> bool:
        """Whether slates may be drawn at random."""
        return self.order is not None and self.order.explore is not None

    @property
    def utility(self) -> str:
        """The formula by which slates are ordered; empty: by the ranker's score."""
        return self.order.utility if self.order is not None else ""

    @property
    def request(self) -> tuple[Tensor, ...]:
        """The inputs of a request, user_id first."""
        return (
            Tensor("user_id", self.user_id_dtype),
            *self.context_columns,
            Tensor("recent_item_ids", self.item_id_dtype, -1, optional=True),
            Tensor("exclude_item_ids", self.item_id_dtype, -1, optional=True),
            Tensor("slate_size", "INT32", optional=True),
            *([Tensor("min_offset", "INT64", optional=True)] if self.live is not None else []),
            *(ASKED_OF_DRAW if self.explores else ()),
        )

    @property
    def live_stock(self) -> bool:
        """Whether events say what is in stock."""
        return self.live is not None and bool(self.live.stream.stock)

    @property
    def query_features(self) -> tuple[Tensor, ...]:
        """The model inputs of the query side: user, context, history, under their own names."""
        history = Tensor(self.history_feature, "INT32", self.history_length)
        return (*self.user_features, *self.context_features, history)

    @property
    def response(self) -> tuple[Tensor, ...]:
        """The outputs of a request."""
        return (
            Tensor("item_id", self.item_id_dtype, -1),
            Tensor("score", "FP32", -1),
            Tensor("num_items", "INT32"),
            Tensor("path", "BYTES"),
            *([Tensor(UTILITY, "FP32", -1)] if self.utility else []),
            *([Tensor("stream_offset", "INT64"), Tensor("state_age_ms", "INT64")] if self.live is not None else []),
            *(DRAWN if self.explores else ()),
        )

    def features(self, names: tuple[str, ...] | list[str]) -> tuple[Tensor, ...]:
        """The named query features as they travel between steps, in the order of `query_features`."""
        return tuple(
            replace(tensor, name=encoded(tensor.name)) for tensor in self.query_features if tensor.name in names
        )

    def save(self, folder: Path) -> None:
        """Write `folder`/chain.json."""
        record = {"format_version": FORMAT_VERSION, **asdict(self)}
        if self.order is None:  # a chain that sorts has the file that it had before others could do more
            del record["order"]
        elif self.order.slates is not None:
            leave_out_defaults(record["order"]["slates"])
        if self.device == "cpu":
            del record["device"], record["queue_delay_us"]
        if self.device_precision == "float32":
            del record["device_precision"]
        if not self.device_or_cpu:
            del record["device_or_cpu"]
        if not self.ranker.tasks:
            del record["ranker"]["tasks"]
        (folder / CHAIN_FILE).write_text(json.dumps(record, indent=1))

    @classmethod
    def load(cls, folder: Path) -> ChainSpec:
        """Read `folder`/chain.json.

        Raises:
            ValueError: written in another format version, or a key is missing, unknown or of another type.
            OSError: the file is missing.
        """
        version, record = read_versioned(folder / CHAIN_FILE, (1, FORMAT_VERSION))
        if version == 1:
            record = {**record, **sources_of_format_1(record)}
            for name in ("tower_weight", "neighbour_weight"):
                record.pop(name, None)
        # Written by earlier releases, these two hold more of index/meta.json and ranking/meta.json than is read here.
        parts = {name: (kind, record.get(name)) for name, kind in (("index", Settings), ("ranker", RankerSpec))}
        narrowed = {name: known_keys(kind, part) for name, (kind, part) in parts.items() if isinstance(part, dict)}
        return from_record(cls, {**record, **narrowed}, CHAIN_FILE)


def sources_of_format_1(record: dict[str, Any]) -> dict[str, Any]:
    """The keys of this format for a chain of the first, whose sources were the code's."""
    sources: list[dict[str, Any]] = [
        {"name": "towers", "step": "runtime.sources.towers:TwoTowers", "weight": record.get("tower_weight")},
        {
            "name": "neighbours",
            "step": "runtime.sources.neighbours:Neighbours",
            "weight": record.get("neighbour_weight"),
        },
        {"name": "popularity", "step": "runtime.sources.item_scores:Popularity"},
    ]
    return {"sources": sources, "fallback": "popularity"}

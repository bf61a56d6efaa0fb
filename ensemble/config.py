"""The [chain] section and the whole config of a run: one TOML file, typed, with `--set a.b=c` on top."""

from __future__ import annotations

from typing import Literal

from ensemble.config_conditions import FilterRule
from ensemble.config_experiments import ExperimentConfig, HoldoutConfig
from ensemble.config_order import BoostRule, CapRule, FloorRule, OrderConfig, PinRule
from ensemble.evaluation.config import EvaluateConfig
from ensemble.evaluation.gate_config import GateConfig
from ensemble.search.config import SearchConfig
from models.index.config import IndexConfig
from models.neighbours.config import NeighboursConfig
from models.ope.config import OpeConfig
from models.ranking.config import RankingConfig
from models.retrieval.config import RetrievalConfig
from models.send_gate.config import SendGateConfig
from models.sources.config import SourcesConfig
from workflows.core.given import Given
from workflows.core.section import Count, NonNegative, Section
from workflows.features.config import FeaturesConfig
from workflows.shop.config import ShopConfig
from workflows.stream.config import StreamConfig
from workflows.tables.config import DataConfig, SplitConfig

__all__ = ["ChainConfig", "Config", "FilterRule", "OnnxSteps", "Sections"]

OnnxSteps = Literal["python", "onnxruntime", "tensorrt"]


class ChainConfig(Section, frozen=True):
    """The served chain: retrieve, filter, rank, order.

    Attributes:
        num_candidates: C, items retrieved for the ranker.
        slate_size: S, items returned unless the request asks for another number.
        max_slate_size: the largest a request may ask for; at most num_candidates.
        max_batch_size: users in one request or one dynamic batch.
        instances: processes that serve the chain, each on one thread; 0: as many as the machine that exports has cores,
            on GPUs one each.
        device: where Triton finds and ranks candidates: "gpu" needs CuPy in the server, and answers on the CPU without;
            "auto": there if build-index measured it to be faster, on a GPU of the machine that it ran on.
        device_precision: of the item embeddings on a GPU: "float16" takes half of the memory and of what a search
            reads; what it finds is scored again from float32 embeddings in the host's memory.
        queue_delay_us: microseconds that a request to a GPU waits for others, whose users are then answered together.
        max_list_length: longest exclude_item_ids accepted; a longer recent_item_ids is cut to its latest items.
        filter_seen: drop the items that the user has already interacted with.
        rules: eligibility rules on item columns; together with the stock they must leave at least one item.
        graph: the function that draws the graph, "module:function"; see `ensemble.graph.chain`, the default.
        order: what orders a slate beside the scores of its items.
        boosts: items whose utility is raised or lowered.
        pins: items with a place of their own.
        caps: columns of which a slate shows at most so many items of one value.
        floors: items of which a slate shows at least so many.
        layouts: which repository layouts export writes: "fused", "ensemble" or both, and beside them "merlin", the
            reference in Merlin Systems' own operators, which needs TensorFlow where it is served.
        onnx_steps: which Triton backend runs the ONNX steps of the ensemble layout: "python" (the Python backend with
            onnxruntime inside, runs everywhere), "onnxruntime" (Triton's own backend, in the official images) or
            "tensorrt" (the same, compiled by TensorRT on a GPU).
    """

    num_candidates: Count = 200
    slate_size: Count = 10
    max_slate_size: Count = 100
    max_batch_size: Count = 64
    instances: NonNegative = 0
    device: Literal["cpu", "gpu", "auto"] = "cpu"
    device_precision: Literal["float32", "float16"] = "float32"
    queue_delay_us: NonNegative = 0
    max_list_length: Count = 20_000
    filter_seen: bool = True
    rules: list[FilterRule] = []
    graph: str = "ensemble.graph:chain"
    order: OrderConfig = OrderConfig()
    boosts: list[BoostRule] = []
    pins: list[PinRule] = []
    caps: list[CapRule] = []
    floors: list[FloorRule] = []
    layouts: tuple[Literal["fused", "ensemble", "merlin"], ...] = ("fused", "ensemble")
    onnx_steps: OnnxSteps = "python"

    @property
    def product_layouts(self) -> tuple[Literal["fused", "ensemble"], ...]:
        """The layouts that are published: all but the reference."""
        return tuple(layout for layout in self.layouts if layout != "merlin")


class Sections(Section, frozen=True):
    """What a config file holds, one attribute a section.

    Attributes:
        stream: None, where the file has no [stream]: nothing live is served.
        experiments: by name, one table each.
    """

    data: DataConfig = DataConfig()
    shop: ShopConfig = ShopConfig()
    split: SplitConfig = SplitConfig()
    features: FeaturesConfig = FeaturesConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    neighbours: NeighboursConfig = NeighboursConfig()
    sources: SourcesConfig = SourcesConfig()
    index: IndexConfig = IndexConfig()
    ranking: RankingConfig = RankingConfig()
    chain: ChainConfig = ChainConfig()
    stream: StreamConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    ope: OpeConfig = OpeConfig()
    experiments: dict[str, ExperimentConfig] = {}
    holdout: HoldoutConfig = HoldoutConfig()
    search: SearchConfig = SearchConfig()
    send_gate: SendGateConfig = SendGateConfig()


class Config(Sections, frozen=True):
    """The resolved config of a run.

    Attributes:
        given: the keys that the file and `--set` hold; the others have their defaults.
    """

    given: Given = Given()

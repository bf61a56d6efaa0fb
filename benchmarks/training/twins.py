"""The DLRM and the two towers in plain PyTorch: the same widths, dropouts, losses and optimizer. Imports PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.ranking.settled import RankerTraining
from models.retrieval.settled import TowerTraining
from models.retrieval.towers import feature_width
from workflows.features.schema import HISTORY, ITEM_ID, OOV, PADDING, USER_ID, Feature, FeatureSchema

__all__ = ["TorchRanker", "TorchTowers", "torch_step"]

Columns = dict[str, Tensor]


class TorchRanker(nn.Module):
    """`models.ranking.model.Ranker` without pair features."""

    def __init__(self, schema: FeatureSchema, config: RankerTraining) -> None:
        super().__init__()
        self.query = [feature for feature in schema.query if feature.name != USER_ID]
        self.item = list(schema.side("item"))
        self.id_dropout = config.id_dropout
        dim = config.embedding_dim
        sizes = {f.domain: f.cardinality for f in [*self.query, *self.item] if f.kind == "categorical"}
        self.tables = nn.ModuleDict({domain: nn.Embedding(size, dim) for domain, size in sizes.items()})
        self.bottoms = nn.ModuleList([_mlp(_numbers(side), [*config.bottom, dim]) for side in (self.query, self.item)])
        num_fields = sum(f.kind == "categorical" for f in [*self.query, *self.item]) + 2
        p, q = torch.triu_indices(num_fields, num_fields, 1)
        self.register_buffer("pairs", p * num_fields + q)
        width = num_fields * (num_fields - 1) // 2 + 2 * dim
        layers: list[nn.Module] = []
        for wide, narrow in zip([width, *config.top], config.top, strict=False):
            layers += [nn.Linear(wide, narrow), nn.ReLU(), nn.Dropout(config.dropout)]
        self.top = nn.Sequential(*layers, nn.Linear(config.top[-1], 1))

    def forward(self, columns: Columns) -> Tensor:
        """Binary cross-entropy of a batch."""
        query, item = (self._fields(*side) for side in ((0, self.query, columns), (1, self.item, columns)))
        fields = torch.cat([query, item], 1)  # (B, F, D)
        dots = torch.bmm(fields, fields.transpose(1, 2)).flatten(1).index_select(1, self.pairs)  # type: ignore[arg-type]
        logits = self.top(torch.cat([dots, query[:, -1], item[:, -1]], 1))[:, 0]
        return functional.binary_cross_entropy_with_logits(logits, columns["label"])

    def _fields(self, side: int, features: Sequence[Feature], columns: Columns) -> Tensor:
        fields = [self._embed(f, columns[f.name]) for f in features if f.kind == "categorical"]
        numbers = torch.cat([columns[f.name] for f in features if f.kind == "continuous"], 1)
        return torch.stack([*fields, self.bottoms[side](numbers)], 1)

    def _embed(self, feature: Feature, codes: Tensor) -> Tensor:
        if feature.name == ITEM_ID:
            codes = torch.where(torch.rand(codes.shape) < self.id_dropout, OOV, codes)
        return _pooled(feature, codes, self.tables[feature.domain](codes))


class TorchTowers(nn.Module):
    """`models.retrieval.towers.Towers` with the in-batch loss."""

    def __init__(self, schema: FeatureSchema, config: TowerTraining, log_share: Tensor) -> None:
        super().__init__()
        self.query = [feature for feature in schema.query if feature.name != USER_ID]
        self.item = list(schema.side("item"))
        self.config = config
        self.register_buffer("log_share", log_share)
        ids = (ITEM_ID, HISTORY)
        widths = {
            f.domain: config.embedding_dim if f.name in ids else feature_width(f.cardinality)
            for f in [*self.query, *self.item]
        }
        sizes = {f.domain: f.cardinality for f in [*self.query, *self.item] if f.kind == "categorical"}
        self.tables = nn.ModuleDict({domain: nn.Embedding(size, widths[domain]) for domain, size in sizes.items()})
        self.towers = nn.ModuleList(
            [
                _mlp(
                    sum(widths[f.domain] if f.kind == "categorical" else 1 for f in side),
                    [*config.hidden, config.embedding_dim],
                )
                for side in (self.query, self.item)
            ]
        )

    def forward(self, columns: Columns) -> Tensor:
        """The in-batch softmax with logQ correction; the same item is never its own negative."""
        query, item = (self._encode(*side) for side in ((0, self.query, columns), (1, self.item, columns)))
        rows = columns["item_row"]
        logits = query @ item.T / self.config.temperature - self.log_share[rows]  # type: ignore[index]
        hits = (rows[:, None] == rows[None, :]).fill_diagonal_(False)
        return functional.cross_entropy(logits.masked_fill(hits, -1e9), torch.arange(len(rows)))

    def _encode(self, tower: int, features: Sequence[Feature], columns: Columns) -> Tensor:
        fields = [self._field(f, columns[f.name]) for f in features]
        return functional.normalize(self.towers[tower](torch.cat(fields, 1)), dim=1)

    def _field(self, feature: Feature, values: Tensor) -> Tensor:
        if feature.kind == "continuous":
            return values
        share, code = {ITEM_ID: (self.config.id_dropout, OOV), HISTORY: (self.config.history_dropout, PADDING)}.get(
            feature.name, (0.0, 0)
        )
        codes = torch.where(torch.rand(values.shape) < share, code, values) if share else values
        return _pooled(feature, codes, self.tables[feature.domain](codes))


def torch_step(model: nn.Module, learning_rate: float) -> Callable[[Columns], float]:
    """One step of fused Adam."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, eps=1e-7, fused=True)

    def step(columns: Columns) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = model(columns)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _numbers(features: Sequence[Feature]) -> int:
    return sum(feature.kind == "continuous" for feature in features)


def _mlp(width: int, widths: Sequence[int]) -> nn.Sequential:
    """ReLU between the layers, none after the last."""
    layers: list[nn.Module] = []
    for wide, narrow in zip([width, *widths], widths, strict=False):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _pooled(feature: Feature, codes: Tensor, vectors: Tensor) -> Tensor:
    """[B, L, D] -> [B, D]: the only one, or the mean of a list without its padding."""
    if not feature.length:
        return vectors[:, 0]
    mask = (codes != PADDING)[..., None].to(vectors.dtype)
    return (vectors * mask).sum(1) / mask.sum(1).clamp(min=1.0)

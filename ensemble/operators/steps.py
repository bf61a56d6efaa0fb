"""One operator a step."""

from __future__ import annotations

from ensemble.operators.base import ChainOperator
from runtime.steps import features, order, query, rank, retrieve

__all__ = ["EncodeRequest", "Order", "QueryTower", "Rank", "Retrieve"]


class EncodeRequest(ChainOperator):
    """Raw request -> encoded user, context and history features, the path, the request's item rows."""

    step = features.EncodeRequest


class QueryTower(ChainOperator):
    """Encoded features -> query embedding."""

    step = query.QueryTower


class Retrieve(ChainOperator):
    """Query embedding -> candidates [B, C], filtered inside the search."""

    step = retrieve.Retrieve


class Rank(ChainOperator):
    """Candidates -> ranking scores [B, C]."""

    step = rank.Rank


class Order(ChainOperator):
    """Ranking scores -> slates [B, S] of raw ids."""

    step = order.Order

"""The [sources] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflows.core.section import Count, Fraction, NonNegative, Positive, Section

__all__ = ["ContentConfig", "LatestConfig", "PlaceConfig", "SourcesConfig", "TrendingConfig"]

Auto = Literal["auto"]
Positives = Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)]


class PlaceConfig(Section, frozen=True):
    """The place of a source among the candidates.

    Attributes:
        weight: of its score, 0 to 1, in the merged retrieval score; "auto": chosen on the valid split.
        quota: share of the candidates that are its best, whatever their merged score; "auto": chosen on valid.
    """

    weight: Annotated[float, msgspec.Meta(ge=0.0)] | Auto = "auto"
    quota: Fraction | Auto = "auto"


class TrendingConfig(PlaceConfig, frozen=True):
    """What was a positive lately: each counts half as much with every half-life.

    Attributes:
        half_life_days: to choose from on the valid split.
    """

    half_life_days: Positives = (1.0, 7.0, 30.0)


class LatestConfig(PlaceConfig, frozen=True):
    """The newest items.

    Attributes:
        column: of the items table, a date, a timestamp or a number; empty: the first event of an item is its date.
    """

    column: str = ""


class ContentConfig(PlaceConfig, frozen=True):
    """Items with few events, by their features alone.

    Attributes:
        max_events: an item with more positives is left to the other sources.
        l2: ridges to choose from, by the error on items that the regression has not seen.
        max_columns: one-hot columns of the item features, the most frequent ones.
        max_items: the most items that it looks at in a request, those with most events.
    """

    max_events: NonNegative = 5
    l2: Positives = (1.0, 10.0, 100.0)
    max_columns: Count = 2_000
    max_items: Count = 20_000


class SourcesConfig(Section, frozen=True):
    """Retrieval sources beside the two towers and the item-item lists; each has a section of its own.

    A source whose weight and quota are chosen gets a place only where recall on valid gains by more than chance.

    Attributes:
        popularity, trending, latest, content: the built-in ones.
        own: further ones and their places, "module:class" each, see docs/ADD_A_SOURCE.md.
        fallback: the source for users of whom nothing is known.
        quotas: shares of the candidates to choose from.
        weights: to choose from, in units of the distance of the first and the last candidate's merged score.
        validation_users: users drawn for the choice.
        seed: of every draw.
    """

    popularity: PlaceConfig = PlaceConfig()
    trending: TrendingConfig = TrendingConfig()
    latest: LatestConfig = LatestConfig()
    content: ContentConfig = ContentConfig()
    own: dict[str, PlaceConfig] = {}
    fallback: Literal["popularity", "trending", "latest"] = "popularity"
    quotas: Annotated[tuple[Fraction, ...], msgspec.Meta(min_length=1)] = (0.05, 0.1)
    weights: Positives = (0.1, 0.3)
    validation_users: Count = 2_000
    seed: NonNegative = 1

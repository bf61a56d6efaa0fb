"""The base of every config section: typed, frozen, unknown keys refused."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Count", "Fraction", "NonNegative", "NonNegativeFloat", "Positive", "Section", "Share"]

Count = Annotated[int, msgspec.Meta(ge=1)]
NonNegative = Annotated[int, msgspec.Meta(ge=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0.0)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the config. Range checks are msgspec constraints; combinations are checked in `problems`."""

"""The features that the models see: names, sides, sizes and domains. Written by prepare, read by every later stage."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Literal

import msgspec

from workflows.core.errors import ArtefactError

__all__ = ["HISTORY", "ITEM_ID", "NULL", "OOV", "PADDING", "USER_ID", "Feature", "FeatureSchema", "Side", "input_name"]

# Categorify's code convention; real values start at 3.
PADDING, NULL, OOV = 0, 1, 2

USER_ID, ITEM_ID, HISTORY = "user_id", "item_id", "recent_item_ids"

Side = Literal["user", "item", "context", "history"]
MAX_NAME = 40


def input_name(side: Side, number: int, column: str, taken: Container[str] = ()) -> str:
    """A name for a column in models, graphs and files.

    Columns may be called anything: `labels`, `self` or `device.type` mean something else to Keras, two names may differ
    in case alone, and a slash is a folder. The number keeps names apart, so that the rest is only there to be read.

    Args:
        side: of the feature.
        number: of the feature on its side, from 1.
        column: the user's name.
        taken: names that are columns of the same files.

    Returns:
        Lower-case ASCII letters, digits and underscores, such as "context_1_device_type".
    """
    readable = re.sub(r"[^a-z0-9]+", "_", column.lower())[:MAX_NAME].strip("_")
    name = f"{side}_{number}_{readable}".rstrip("_")
    while name in taken:
        name += "_"
    return name


class Feature(msgspec.Struct, frozen=True):
    """One model input.

    Attributes:
        name: of the input, safe and unique over all sides (`input_name`); what models, graphs and files call it.
        side: the part of a request or table it comes from.
        kind: an integer code or a normalised float.
        cardinality: rows that an embedding table of it needs (largest code + 1); 0 for continuous.
        length: 0 for a scalar, else the fixed length of a padded list.
        domain: features of one domain share a vocabulary.
        column: the user's name of it; empty where `name` is that.
    """

    name: str
    side: Side
    kind: Literal["categorical", "continuous"]
    cardinality: int
    length: int
    domain: str
    column: str = ""


class FeatureSchema(msgspec.Struct, frozen=True):
    """All features and the columns of the events that are not features.

    Attributes:
        features: the model inputs, in the order in which every model and graph takes them.
        labels: the label columns, the first of which tells a positive event.
        position: the column with the place on the slate; null without one.
        history_length: L, items of a history.
    """

    features: list[Feature]
    labels: list[str]
    position: str | None
    history_length: int

    def side(self, *sides: Side) -> list[Feature]:
        """Features of the given sides, in schema order."""
        return [feature for feature in self.features if feature.side in sides]

    @property
    def query(self) -> list[Feature]:
        """User, context and history features, in schema order: what the query tower sees."""
        return self.side("user", "context", "history")

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    def save(self, path: Path) -> None:
        """Write schema.json."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> FeatureSchema:
        """Read schema.json.

        Raises:
            ArtefactError: missing or unreadable.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise ArtefactError(f"{path} cannot be read ({error}); run cascade prepare again") from None

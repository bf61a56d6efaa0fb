"""What the manifest of features/ reports of the encoded tables."""

from __future__ import annotations

from typing import ClassVar, Literal

from workflows.core.record import Info

__all__ = ["FeaturesInfo"]


class FeaturesInfo(Info, frozen=True, kw_only=True):
    """The encoded tables.

    Attributes:
        device: where NVTabular ran.
        num_rows: rows of each table: "users", "items" and the splits.
        rows_per_s: rows of each that were encoded in a second.
        num_train_users, num_train_items: how many of them have a training event.
    """

    stage: ClassVar[str] = "features"

    device: Literal["cpu", "gpu"]
    num_rows: dict[str, int]
    rows_per_s: dict[str, float]
    num_train_users: int
    num_train_items: int

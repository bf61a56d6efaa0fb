"""What came of requests that were asked again, as `cascade replay` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from operations.replay.replay import Replayed

__all__ = ["Differing", "Figures", "figures_of", "lines"]

SHOWN = 5


class Differing(msgspec.Struct, frozen=True):
    """A request that is answered otherwise now.

    Attributes:
        request_id: of it.
        what: the first difference, in words.
    """

    request_id: str
    what: str


class Figures(msgspec.Struct, frozen=True):
    """What `cascade replay --json` prints.

    Attributes:
        num_requests: that were asked again.
        num_identical: of these, bit for bit.
        num_rounded: of these, with the same slates and scores that differ in rounding: another processor, ONNX Runtime
            or NumPy answers here.
        num_differing: of these.
        overlap: mean share of the items that both answers have.
        versions: which answered.
        left_out: why -> requests that could not be asked again.
        differing: those that differ.
    """

    num_requests: int
    num_identical: int
    num_rounded: int
    num_differing: int
    overlap: float
    versions: list[str]
    left_out: dict[str, int]
    differing: list[Differing]


def figures_of(found: Replayed) -> Figures:
    """Count."""
    differing, rounded = len(found.differing), len(found.rounded)
    return Figures(
        num_requests=found.num_requests,
        num_identical=found.num_requests - differing - rounded,
        num_rounded=rounded,
        num_differing=differing,
        overlap=found.overlap,
        versions=found.versions,
        left_out=found.left_out,
        differing=[Differing(name, one.what) for (name, _), one in found.differing.items()],
    )


def lines(folder: Path, found: Figures) -> Iterator[str]:
    """The same in words, with the first of those that differ.

    Args:
        folder: MON, that was read.
        found: what came of it.
    """
    if not found.num_requests:
        yield f"no request of {folder} differed when it was asked last"
        return
    for one in found.differing[:SHOWN]:
        yield f"{one.request_id}: {one.what}"
    asked = f"{found.num_identical:,} of {found.num_requests:,} requests"
    yield f"{asked} are identical, bit for bit: {', '.join(found.versions)}"
    if found.num_rounded:
        yield (
            f"{found.num_rounded:,} have the same slates and scores that differ in rounding: another processor, ONNX "
            "Runtime or NumPy answers here"
        )
    if found.num_differing:
        yield f"{found.num_differing:,} differ; {found.overlap:.1%} of the items are the same"

"""What the serving benchmark has seen, before it is put into tables."""

from __future__ import annotations

import msgspec

from benchmarks.serving.rounds import Figures

__all__ = ["Agreement", "Findings", "ServerFacts"]


class ServerFacts(msgspec.Struct, frozen=True):
    """One server.

    Attributes:
        ready_s: from its start to ready.
        resident_bytes: proportional set size of its processes, after every load.
        artefact_bytes: of its model repository.
    """

    ready_s: float
    resident_bytes: int
    artefact_bytes: int

    @property
    def bytes_above_artefacts(self) -> int:
        """Memory that is not the repository's own files, mapped or read."""
        return self.resident_bytes - self.artefact_bytes


class Agreement(msgspec.Struct, frozen=True):
    """Whose slates are whose.

    Attributes:
        compared: users.
        like_chain: variant -> whether every slate and score equals the chain's in this process, one user at a time.
        like_reference: slates of the chain that NumPy gives too, over the items that the index reaches.
        chain_overlap: mean share of the exact slate, over the whole catalogue, that the chain has.
        stock_overlap: the same of stock; null where it was not measured.
        stock_score_difference: the largest difference of a probability that stock answered from the reference's.
        merlin_overlap: as stock_overlap, of the layout `merlin`.
        merlin_score_difference: as stock_score_difference.
    """

    compared: int
    like_chain: dict[str, bool]
    like_reference: int
    chain_overlap: float
    stock_overlap: float | None = None
    stock_score_difference: float | None = None
    merlin_overlap: float | None = None
    merlin_score_difference: float | None = None

    @property
    def identical(self) -> bool:
        """Whether all of ours equal the reference."""
        return all(self.like_chain.values()) and self.like_reference == self.compared


class Findings(msgspec.Struct, frozen=True):
    """Everything.

    Attributes:
        figures: by variant and name of the load.
        servers: by name.
        agreement: of the answers.
        steps: milliseconds a user that each step of the chain takes in a loop, by users a request.
    """

    figures: dict[tuple[str, str], Figures]
    servers: dict[str, ServerFacts]
    agreement: Agreement
    steps: dict[int, dict[str, float]] = {}

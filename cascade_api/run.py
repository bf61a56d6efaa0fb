"""A finished run, or a published repository, as Python has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade_api import frames
from cascade_api.given import mapping, several
from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import STAGES
from workflows.core.run import Run as RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from operations.why.answer import Answer
    from operations.why.explain import Explainer
    from operations.why.request import RawRequest

__all__ = ["Funnel", "Run"]

Id = int | str


@dataclass(frozen=True)
class Funnel:
    """How a slate came about, a frame a step.

    Attributes:
        rests_on: known_user, history, context or popularity: what is known of the user.
        steps: the items that each step left: step, items, what.
        dropped: the items that each filter drops, those that several drop counted for each: reason, items.
        sources: what each source found: source, weight, quota, found, candidates, alone, shown.
        history: what the models see of the user, the latest first: item_id, known_from.
        slate: as `Run.slate` gives it.
    """

    rests_on: str
    steps: pd.DataFrame
    dropped: pd.DataFrame
    sources: pd.DataFrame
    history: pd.DataFrame
    slate: pd.DataFrame


class Run:
    """A finished run, or a published repository.

    Args:
        path: a run directory, as `cascade run --out` makes it, or what `cascade export --publish` wrote.
        run: the run that a published repository's version was exported from; it has the tables and the figures.
        events: folder of live events that are to count; by default that of the run, where it is there.

    Attributes:
        path: as given.

    Raises:
        ArtefactError: there is no such folder.

    Example:
        >>> from cascade_api import Run
        >>> run = Run("runs/shop")                                      # doctest: +SKIP
        >>> run.slate(17, context={"device": "mobile"}, size=10)        # doctest: +SKIP
    """

    def __init__(self, path: str | Path, *, run: str | Path | None = None, events: str | Path | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ArtefactError(f"{path} is no folder; give a run directory, or what `cascade export --publish` wrote")
        self._run, self._events = (None if each is None else Path(each) for each in (run, events))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def stages(self) -> pd.DataFrame:
        """The stages that have finished, by name: made_at (UTC), fingerprint.

        Raises:
            ArtefactError: a manifest cannot be read.
        """
        folders = [self._root / name for name in STAGES]
        there = {each.name: read_manifest(each) for each in folders if (each / MANIFEST_NAME).is_file()}
        made = [(name, manifest.created_at, manifest.fingerprint) for name, manifest in there.items()]
        return frames.table(made, ("stage", "made_at", "fingerprint")).set_index("stage")

    @property
    def metrics(self) -> pd.DataFrame:
        """The figures of the report, a row a source and metric.

        Its columns: displayed_by ("policy": all that was displayed, which favours what is like the policy that chose
        it; "chance": what chance displayed, where the data say so), source, metric, value, low, high (95%; NaN: none).

        Raises:
            ArtefactError: the run has no report, or it cannot be read.
        """
        return frames.metrics(self._report)

    @property
    def report(self) -> dict[str, Any]:
        """The whole of report/metrics.json.

        Raises:
            ArtefactError: see `metrics`.
        """
        return self._report

    @property
    def items(self) -> pd.DataFrame:
        """The table of the items that the run was made from, in the order of item rows.

        Raises:
            ArtefactError: it is not there.
        """
        return self._table("items")

    @property
    def users(self) -> pd.DataFrame:
        """The same of the users."""
        return self._table("users")

    @property
    def item_ids(self) -> NDArray:
        """[N] raw item ids by row: int64, or bytes of UTF-8.

        Raises:
            ArtefactError: the run has no export, or it cannot be opened.
        """
        return self._explainer.ids

    @property
    def user_ids(self) -> NDArray:
        """[U] the same of the users."""
        found: NDArray = np.load(self._explainer.served.folder / "ids/users.npy", mmap_mode="r", allow_pickle=False)
        return found

    def slate(
        self,
        user: Id,
        *,
        context: Mapping[str, Any] | None = None,
        recent: Sequence[Id] = (),
        exclude: Sequence[Id] = (),
        size: int | None = None,
    ) -> pd.DataFrame:
        """The slate of a user, as a server would give it; where the chain draws at random, the slate without drawing.

        Args:
            user: raw id; one that the export does not know is a visitor.
            context: values by context column.
            recent: raw ids of the items that the user has interacted with just now, oldest first.
            exclude: raw ids of items that are not to be in it.
            size: of the slate; None: the chain's own.

        Returns:
            A row an item, by place from 1 on: item_id, score, merged_place (before the ranker; NA without a merge),
            sources (that found it, and the place in each), and what the run's table says of it.

        Raises:
            RequestError: a value is not of its type, or the chain refuses the request.
            ArtefactError: the run has no export, or it cannot be opened.
        """
        return self.funnel(user, context=context, recent=recent, exclude=exclude, size=size).slate

    def slates(self, users: Sequence[Id], *, size: int | None = None) -> pd.DataFrame:
        """The slates of many users of whom a request says nothing more; faster than one by one.

        Args:
            users: raw ids.
            size: see `slate`.

        Returns:
            A row an item, users in the order given: user_id, place, item_id, score, path.

        Raises:
            RequestError: see `slate`.
        """
        from cascade_api.many import slates

        return frames.table(
            slates(self._explainer, several("users", users), size), ("user_id", "place", "item_id", "score", "path")
        )

    def funnel(
        self,
        user: Id,
        *,
        context: Mapping[str, Any] | None = None,
        recent: Sequence[Id] = (),
        exclude: Sequence[Id] = (),
        size: int | None = None,
        without: Sequence[Id] = (),
    ) -> Funnel:
        """How a slate came about; the arguments are those of `slate`.

        Args:
            user: see `slate`.
            context: see `slate`.
            recent: see `slate`.
            exclude: see `slate`.
            size: see `slate`.
            without: raw ids of items that the user is to have had nothing to do with.

        Raises:
            RequestError: see `slate`; or the catalogue lacks an item of `without`.
        """
        request = _request(user, context, recent, exclude, size)
        found = self._explainer.funnel(request, without=several("without", without), names=_names())
        ids = self._explainer.ids
        return Funnel(
            rests_on=found.path,
            steps=frames.table(
                [(each.name, each.count, each.what) for each in found.stages], ("step", "items", "what")
            ),
            dropped=frames.table([(each.reason, each.count) for each in found.held_back], ("reason", "items")),
            sources=frames.sources(found),
            history=frames.history(found, ids),
            slate=frames.slate(found, ids, self._described),
        )

    def why(
        self,
        item: Id,
        user: Id,
        *,
        context: Mapping[str, Any] | None = None,
        recent: Sequence[Id] = (),
        exclude: Sequence[Id] = (),
        size: int | None = None,
    ) -> Answer:
        """Why an item is in a user's slate, or why not: what `cascade why` says.

        Args:
            item: raw id.
            user: see `slate`.
            context: see `slate`.
            recent: see `slate`.
            exclude: see `slate`.
            size: see `slate`.

        Returns:
            An answer; its `summary` is one sentence, `steps` the way of the item, `changes` what would change it.

        Raises:
            RequestError: see `slate`; or the catalogue lacks the item.
        """
        from operations.why.question import RawQuestion

        asked = RawQuestion(item, user, mapping(context), several("recent", recent), several("exclude", exclude), size)
        return self._explainer.asked(asked, counts_candidates=False)

    def neighbours(self, item: Id, count: int = 10, *, by: str = "embedding") -> pd.DataFrame:
        """The items near an item.

        Args:
            item: raw id.
            count: at most.
            by: "embedding": most alike by the item tower; "raises": whose score an interaction with it raises most;
                "raised_by": with which an interaction raises its own score most.

        Returns:
            The nearest first: item_id, weight, and what the run's table says of it.

        Raises:
            RequestError: the catalogue lacks the item.
            ValueError: `by` is none of these, or `count` is no number from 0 on.
        """
        from operations.why import near
        from operations.why.question import row_of

        ways = {"embedding": near.alike, "raises": near.raises, "raised_by": near.raised_by}
        if by not in ways:
            raise ValueError(f"by must be one of {', '.join(ways)}, got {by!r}")
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
            raise ValueError(f"count must be a whole number from 0 on, got {count!r}")
        row = row_of(item, self._explainer.nodes.spec, self._explainer.ids)
        found = ways[by](self._explainer.served.folder, row, count)
        columns = {"weight": found.weights}
        return frames.of_items(found.rows, self._explainer.ids, columns, self._described)

    @cached_property
    def _explainer(self) -> Explainer:
        from operations.why.explain import Explainer

        return Explainer(self.path, self._run, self._events)

    @property
    def _root(self) -> Path:
        """The run's folder.

        Raises:
            ArtefactError: a published repository of which nobody says which run it is of.
        """
        root = self._run or self.path
        if not any((root / name / MANIFEST_NAME).is_file() for name in STAGES):
            raise ArtefactError(
                f"{root} is no run directory; of a published repository say which: Run(..., run='runs/X')"
            )
        return root

    @cached_property
    def _report(self) -> dict[str, Any]:
        from ensemble.evaluation.metrics_file import read_metrics

        folder = RunFolder(self._root).folder("report")
        if not (folder / MANIFEST_NAME).is_file():
            raise ArtefactError(f"{self._root} has no report; `cascade evaluate` writes one")
        return read_metrics(RunFolder(self._root).require("report"))

    def _table(self, name: str) -> pd.DataFrame:
        path = self._root / "data" / f"{name}.parquet"
        if not path.is_file():
            raise ArtefactError(f"{path} is not there: the config of the run has no table of {name}")
        return frames.parquet(path)

    @cached_property
    def _described(self) -> pd.DataFrame | None:
        """What is said of items beside their ids; None where no table of them is known."""
        root = self._explainer.served.root
        path = None if root is None else root / "data" / "items.parquet"
        if path is None or not path.is_file():
            return None
        found = frames.parquet(path)
        own = self._explainer.served.manifest.config.get("data", {}).get("item_id", "item_id")
        return found.drop(columns=own, errors="ignore") if len(found) == len(self._explainer.ids) else None


def _request(
    user: Id, context: Mapping[str, Any] | None, recent: Sequence[Id], exclude: Sequence[Id], size: int | None
) -> RawRequest:
    from operations.why.request import RawRequest

    return RawRequest(user, mapping(context), several("recent", recent), several("exclude", exclude), size)


def _names() -> Any:
    from operations.why.request import Names

    return Names("user", "context", "recent", "exclude")

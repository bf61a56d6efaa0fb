"""One request as several: users of different models apart, their slates together again in the order asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cascade_client.assignment import Experiments
from cascade_client.errors import RequestRefused
from cascade_client.request import Request
from cascade_client.slates import Id, Slate, Slates

__all__ = ["Part", "join_parts", "split"]

# Behind the id of a request that another model was asked before: the server's log tells the two apart.
AGAIN = ".again"


@dataclass(frozen=True)
class Part:
    """The users of a request who are asked of one model.

    Attributes:
        model: its name; "": the client's own.
        request: of these users alone.
        places: where they were in the whole.
        labels: what each is in, see Assigned.
    """

    model: str
    request: Request
    places: Sequence[int]
    labels: Sequence[str]

    @property
    def again(self) -> Request:
        """The request for the client's own model, after that of the part could not be asked."""
        return replace(self.request, request_id=self.request.request_id + AGAIN)


def split(request: Request, experiments: Experiments, units: Sequence[Id] | None) -> list[Part]:
    """The parts of a request, that of the client's own model first; a request with none is one part.

    Args:
        request: with an id.
        experiments: that run now.
        units: what users are assigned by, one a user; None: their ids.

    Raises:
        RequestRefused: there are more or fewer units than users.
    """
    users = request.user_ids
    if not _is_whole(request):
        # It is refused by what would send it, in the words that it has for that.
        return [Part("", request, (), ())]
    if units is not None and (isinstance(units, (str, bytes)) or len(units) != len(users)):
        raise RequestRefused(f"experiment_units must have one value for each of the user ids, got {units!r:.80}")
    # Who asks for a policy wants that one, and not what an experiment would show.
    known = Experiments() if request.policy else experiments
    assigned = known.assign_many(users if units is None else units)
    places: dict[str, list[int]] = {"": []}
    for place, each in enumerate(assigned):
        places.setdefault(each.model, []).append(place)
    parts: list[Part] = []
    for model, chosen in places.items():
        if chosen or len(places) == 1:
            labels = [assigned[place].label for place in chosen]
            parts.append(Part(model, _part(request, chosen, labels, len(parts)), chosen, labels))
    return parts


def join_parts(request: Request, parts: Sequence[tuple[Part, Slates, bool]]) -> Slates:
    """The slates of all parts, each with what its user is in where that acted."""
    slates: dict[int, Slate] = {}
    for part, answer, acted in parts:
        is_own = answer.request_id == request.request_id and len(parts) == 1
        for position, (place, slate) in enumerate(zip(part.places, answer)):
            where: dict[str, Any] = {} if is_own else {"request_id": answer.request_id, "position": position}
            slates[place] = replace(slate, experiment=part.labels[position] if acted else "", **where)
    return Slates([slates[place] for place in sorted(slates)], request.request_id)


def _is_whole(request: Request) -> bool:
    """Whether there is one value a user of everything that there is."""
    columns = [request.user_ids, *request.context.values(), request.recent_item_ids, request.exclude_item_ids]
    columns += [] if isinstance(request.seed, int) else [request.seed]
    given = [each for each in columns if each is not None]
    if any(isinstance(each, (str, bytes)) or not hasattr(each, "__len__") for each in given):
        return False
    return len({len(each) for each in given}) == 1 and len(request.user_ids) > 0


def _part(request: Request, places: Sequence[int], labels: Sequence[str], number: int) -> Request:
    """A request of some of the users."""
    label = ",".join(labels) if any(labels) else ""
    if len(places) == len(request.user_ids):
        return replace(request, experiment=label)

    def of(values: Any) -> Any:
        return None if values is None else [values[place] for place in places]

    context: Mapping[str, Any] = {name: of(values) for name, values in request.context.items()}
    return replace(
        request,
        user_ids=of(request.user_ids),
        context=context,
        recent_item_ids=of(request.recent_item_ids),
        exclude_item_ids=of(request.exclude_item_ids),
        seed=request.seed if isinstance(request.seed, int) else of(request.seed),
        request_id=f"{request.request_id}.{number}" if number else request.request_id,
        experiment=label,
    )

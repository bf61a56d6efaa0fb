"""A request as the caller means it, and the tensors that it becomes for a server's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_client.errors import RequestRefused
from cascade_client.failures import not_cascade
from cascade_client.slates import Id
from cascade_client.tensors import Tensor, encode_column, encode_context, encode_lists

__all__ = ["Inputs", "Request", "context_features", "explores", "read_inputs", "read_version"]

USERS, RECENT, EXCLUDED, SIZE = "user_id", "recent_item_ids", "exclude_item_ids", "slate_size"
MIN_OFFSET = "min_offset"
# Inputs of models that explore; with one of them alone, a column of the context is called so.
EXPLORING = ("seed", "force_policy")
# The parameter that says who asks.
CONSUMER = "consumer"
# The parameter that says what each user is in: one text, or one a user with "," between them.
EXPERIMENT = "experiment"
OWN = (USERS, RECENT, EXCLUDED, SIZE, MIN_OFFSET)
# Datatype by name of what a model takes: INT64, INT32, FP32, FP64 or BYTES.
Inputs = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """The slates that are wanted; see CascadeClient.recommend."""

    user_ids: Sequence[Id]
    context: Mapping[str, Sequence[Any]]
    recent_item_ids: Sequence[Sequence[Id]] | None
    exclude_item_ids: Sequence[Sequence[Id]] | None
    slate_size: int | None
    min_offset: int | None = None
    request_id: str = ""
    consumer: str = ""
    seed: int | Sequence[int] | None = None
    policy: str | None = None
    experiment: str = ""

    def parameters(self) -> dict[str, str]:
        """What is sent beside the tensors."""
        given = {CONSUMER: self.consumer, EXPERIMENT: self.experiment}
        return {name: value for name, value in given.items() if value}

    def tensors(self, inputs: Inputs) -> list[Tensor]:
        """What is sent to a model of these inputs; `user_id` comes first.

        Raises:
            RequestRefused: a value does not fit, or the model takes no such input.
            WrongServer: an input has a datatype that this client does not know.
        """
        if isinstance(self.user_ids, (str, bytes)) or not hasattr(self.user_ids, "__len__") or len(self.user_ids) == 0:
            raise RequestRefused(f"user_ids must be a list of at least one user id, got {self.user_ids!r}")
        columns: dict[str, Sequence[Any]] = {USERS: self.user_ids}
        for name, number in ((SIZE, self.slate_size), (MIN_OFFSET, self.min_offset)):
            if number is not None:
                columns[name] = [number] * len(self.user_ids)
        columns |= self._exploring(inputs)
        lists = {RECENT: self.recent_item_ids, EXCLUDED: self.exclude_item_ids}
        tensors = [encode_column(*self._checked(name, values, inputs)) for name, values in columns.items()]
        tensors += self._context(inputs)
        given = {name: rows for name, rows in lists.items() if rows is not None}
        return tensors + [encode_lists(*self._checked(name, rows, inputs)) for name, rows in given.items()]

    def _exploring(self, inputs: Inputs) -> dict[str, Sequence[Any]]:
        """The seeds and the policy, one a user."""
        columns: dict[str, Sequence[Any]] = {}
        given = {"seed": self.seed, "policy": self.policy}
        for name, (said, value) in zip(EXPLORING, given.items()):
            if value is None:
                continue
            if not explores(inputs):
                raise RequestRefused(
                    f"the model takes no {said}: it draws no slates at random, which [chain.order] in a config adds"
                )
            columns[name] = [value] * len(self.user_ids) if isinstance(value, (int, str)) else value
        return columns

    def _context(self, inputs: Inputs) -> list[Tensor]:
        known = context_features(inputs)
        for name in self.context:
            if name not in known:
                raise _no_input(name, known)
        return [encode_context(*self._checked(name, values, inputs)) for name, values in self.context.items()]

    def _checked(self, name: str, values: Sequence[Any], inputs: Inputs) -> tuple[str, Sequence[Any], str]:
        """The name, the values and the datatype of an input that the model has, one value a user."""
        if name not in inputs:
            raise _no_input(name, context_features(inputs))
        num_users = len(self.user_ids)
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or len(values) != num_users:
            raise RequestRefused(f"{name} must have one value for each of the {num_users} user ids, got {values!r:.80}")
        return name, values, inputs[name]


def context_features(inputs: Inputs) -> dict[str, str]:
    """Datatype by name of the context features among a model's inputs."""
    own = (*OWN, *EXPLORING) if explores(inputs) else OWN
    return {name: kind for name, kind in inputs.items() if name not in own}


def explores(inputs: Inputs) -> bool:
    """Whether a model draws slates at random, and so takes a seed and a policy."""
    return all(name in inputs for name in EXPLORING)


def read_inputs(metadata: Any, address: object) -> dict[str, str]:
    """The inputs that a model's metadata states.

    Raises:
        WrongServer: it states none.
    """
    try:
        return {str(entry["name"]): str(entry["datatype"]) for entry in metadata["inputs"]}
    except (KeyError, TypeError) as error:
        raise not_cascade(address, f"it states no inputs of a model: {metadata!r}") from error


def read_version(metadata: Any, address: object) -> str:
    """The version that a model's metadata states, the latest of several.

    Raises:
        WrongServer: it states none.
    """
    try:
        return str(max(metadata["versions"], key=int))
    except (KeyError, TypeError, ValueError) as error:
        raise not_cascade(address, f"it states no version of a model: {metadata!r}") from error


def _no_input(name: str, known: Mapping[str, str]) -> RequestRefused:
    if name == MIN_OFFSET:
        return RequestRefused("the model takes no min_offset: it knows no live events, which [stream] in a config adds")
    return RequestRefused(f"the model takes no input '{name}'; its context features are: {', '.join(known) or 'none'}")

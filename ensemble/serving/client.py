"""The typed Python client: users in, slates out, over gRPC or HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

from ensemble.serving.address import Protocol, parse_url
from ensemble.serving.repository import MODEL_NAME
from ensemble.serving.slates import Id, Slate, Slates
from ensemble.serving.tensors import Tensor, decode, encode_column, encode_context, encode_lists
from ensemble.serving.transport import connect, unreadable
from workflows.core.errors import RequestError, ServingError

__all__ = ["TIMEOUT_S", "CascadeClient", "Slate", "Slates"]

TIMEOUT_S = 10.0
USERS, RECENT, EXCLUDED, SIZE = "user_id", "recent_item_ids", "exclude_item_ids", "slate_size"


class CascadeClient:
    """A client of one server. Use as a context manager, or call close().

    Nothing is retried: a failed call raises, and the caller decides. Over gRPC it may be shared between threads, over
    HTTP each thread needs its own.

    Args:
        url: `host:port`, `grpc://host:port` or `http://host:port`; without a scheme port 8000 means HTTP, others gRPC.
        protocol: says it where the URL does not.
        timeout_s: longest wait for an answer.
        model: name of the served model.
    """

    def __init__(
        self, url: str, protocol: Protocol | None = None, *, timeout_s: float = TIMEOUT_S, model: str = MODEL_NAME
    ) -> None:
        if timeout_s <= 0:
            raise ServingError(f"timeout_s must be above 0, got {timeout_s}")
        self.address = parse_url(url, protocol)
        self._transport = connect(self.address, model, timeout_s)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Datatype by input name, as the server states them ("INT64", "BYTES", ...)."""
        metadata = self._transport.metadata()
        try:
            return {str(entry["name"]): str(entry["datatype"]) for entry in metadata["inputs"]}
        except (KeyError, TypeError):
            raise unreadable(self.address, f"it states no inputs of a model: {metadata!r}") from None

    @property
    def context_features(self) -> dict[str, str]:
        """Datatype by name of the context features that the model takes."""
        return {name: kind for name, kind in self.inputs.items() if name not in (USERS, RECENT, EXCLUDED, SIZE)}

    def recommend(
        self,
        user_ids: Sequence[Id],
        *,
        context: Mapping[str, Sequence[Any]] | None = None,
        recent_item_ids: Sequence[Sequence[Id]] | None = None,
        exclude_item_ids: Sequence[Sequence[Id]] | None = None,
        slate_size: int | None = None,
    ) -> Slates:
        """Ask for the slates of some users in one request.

        Args:
            user_ids: B raw user ids, integers or strings as in the data; unknown ones get a slate as well.
            context: B values by name of a context feature; any may be left out; None is a value that is not known.
            recent_item_ids: B lists of raw item ids, oldest first; any lengths.
            exclude_item_ids: B lists of raw item ids that must not come; any lengths.
            slate_size: items wanted, the same for all users; the server's own number by default.

        Returns:
            One slate a user in the order asked; a slate is shorter when too few items are eligible.

        Raises:
            RequestError: a value does not fit, or the server refused the request.
            ServingError: no server answered, or not in time.
        """
        if isinstance(user_ids, str | bytes) or len(user_ids) == 0:
            raise RequestError(f"user_ids must be a list of at least one user id, got {user_ids!r}")
        columns = {USERS: user_ids}
        if slate_size is not None:
            columns[SIZE] = [slate_size] * len(user_ids)
        lists = {RECENT: recent_item_ids, EXCLUDED: exclude_item_ids}
        tensors = [encode_column(*self._checked(name, values, len(user_ids))) for name, values in columns.items()]
        tensors += self._context(context or {}, len(user_ids))
        tensors += self._lists({name: rows for name, rows in lists.items() if rows is not None}, len(user_ids))
        return decode(list(user_ids), self._transport.infer(tensors))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> CascadeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lists(self, named: Mapping[str, Sequence[Sequence[Id]]], num_users: int) -> list[Tensor]:
        return [encode_lists(*self._checked(name, rows, num_users)) for name, rows in named.items()]

    def _context(self, named: Mapping[str, Sequence[Any]], num_users: int) -> list[Tensor]:
        known = self.context_features
        for name in named:
            if name not in known:
                raise _no_input(name, known)
        return [encode_context(*self._checked(name, values, num_users)) for name, values in named.items()]

    def _checked(self, name: str, values: Sequence[Any], num_users: int) -> tuple[str, Sequence[Any], str]:
        """The name, the values and the datatype of an input that the model has, one value a user."""
        if name not in self.inputs:
            raise _no_input(name, self.context_features)
        if isinstance(values, str | bytes) or not hasattr(values, "__len__") or len(values) != num_users:
            raise RequestError(f"{name} must have one value for each of the {num_users} user ids, got {values!r:.80}")
        return name, values, self.inputs[name]


def _no_input(name: str, known: Mapping[str, str]) -> RequestError:
    return RequestError(f"the model takes no input '{name}'; its context features are: {', '.join(known) or 'none'}")

"""What the address of the User page asks: a request, what is changed in it, and the item to explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urlencode

from operations.why.request import Names, RawRequest
from workflows.core.errors import RequestError

__all__ = ["NAMES", "Query", "UserForm"]

CONTEXT = "context."
NAMES = Names("user id", "context", "recent items", "excluded items")


class Query(Protocol):
    """The parameters of an address, each perhaps several times."""

    def get(self, key: str, default: str) -> str:
        """The last value of a parameter."""

    def getlist(self, key: str) -> list[str]:
        """All values of a parameter."""

    def __iter__(self) -> Iterator[str]:
        """The names of the parameters."""


@dataclass(frozen=True)
class UserForm:
    """One address of the User page.

    Attributes:
        user: raw id; empty: nobody yet.
        context: values by context column; empty ones are left out.
        recent: items that the request names as the latest, oldest first.
        excluded: items that it excludes.
        without: items that the user is to have had nothing to do with.
        slate_size: as typed; empty: the chain's own.
        item: that is to be explained; empty: none.
        is_thorough: whether also by how many candidates the item would be one, which takes some seconds.
    """

    user: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    recent: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    slate_size: str = ""
    item: str = ""
    is_thorough: bool = False

    @classmethod
    def of(cls, query: Query) -> UserForm:
        """What an address asks; lists come as one parameter an item, or as lines of one."""
        names = dict.fromkeys(name for name in query if name.startswith(CONTEXT))
        values = {name[len(CONTEXT) :]: query.get(name, "") for name in names}
        return cls(
            user=query.get("user", "").strip(),
            context={name: value for name, value in values.items() if value.strip()},
            recent=_lines(query.getlist("recent")),
            excluded=_lines(query.getlist("exclude")),
            without=_lines(query.getlist("without")),
            slate_size=query.get("size", "").strip(),
            item=query.get("item", "").strip(),
            is_thorough=query.get("thorough", "") == "1",
        )

    @property
    def is_changed(self) -> bool:
        """Whether it asks for anything but the slate of a user."""
        return bool(self.context or self.recent or self.excluded or self.without or self.slate_size)

    @property
    def names_nothing(self) -> bool:
        """Whether nothing is said of the user but the id."""
        return not (self.context or self.recent)

    def request(self) -> RawRequest:
        """The request.

        Raises:
            RequestError: the slate size is no number.
        """
        size = None
        if self.slate_size:
            try:
                size = int(self.slate_size)
            except ValueError:
                raise RequestError(f"slate size must be a whole number, got {self.slate_size!r}") from None
            if not -(2**31) <= size < 2**31:
                raise RequestError(f"slate size {size} is not one that a chain can have")
        return RawRequest(self.user, self.context, self.recent, self.excluded, size)

    def unchanged(self) -> UserForm:
        """The same user, with nothing changed."""
        return UserForm(user=self.user, item=self.item)

    def explaining(self, item: str) -> str:
        """The address that explains an item too."""
        return f"{replace(self, item=item, is_thorough=False).address()}#why"

    def thorough(self) -> str:
        """The address that also says how many candidates it would take."""
        return f"{replace(self, is_thorough=True).address()}#why"

    def clicking(self, item: str) -> str:
        """The address at which the user has interacted with an item just now."""
        return replace(self, recent=(*self.recent, item), without=tuple(i for i in self.without if i != item)).address()

    def excluding(self, item: str) -> str:
        """The address that excludes an item too."""
        return replace(self, excluded=(*self.excluded, item)).address()

    def forgetting(self, item: str) -> str:
        """The address at which the user has had nothing to do with an item."""
        recent = tuple(other for other in self.recent if other != item)
        return replace(self, recent=recent, without=(*self.without, item)).address()

    def remembering(self, item: str) -> str:
        """The address at which the user's history has an item again."""
        return replace(self, without=tuple(other for other in self.without if other != item)).address()

    def address(self) -> str:
        """Of the page that asks this."""
        pairs = [("user", self.user), *((CONTEXT + name, value) for name, value in self.context.items())]
        for name, items in (("recent", self.recent), ("exclude", self.excluded), ("without", self.without)):
            pairs += [(name, item) for item in items]
        pairs += [("size", self.slate_size), ("item", self.item), ("thorough", "1" if self.is_thorough else "")]
        return f"/user?{urlencode([(name, value) for name, value in pairs if value])}"


def _lines(values: Iterable[str]) -> tuple[str, ...]:
    """The items of a list, one a line; blank lines and what stands around an id are no part of it."""
    lines = [line.strip() for value in values for line in value.splitlines()]
    return tuple(line for line in lines if line)

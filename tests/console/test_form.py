"""An address of the User page and what it asks say the same."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from console.form import UserForm
from workflows.core.errors import RequestError


class Query(dict[str, list[str]]):
    """An address as the web server reads it."""

    @classmethod
    def of(cls, address: str) -> Query:
        return cls(parse_qs(urlsplit(address).query, keep_blank_values=True))

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
        return self[key][-1] if key in self else default

    def getlist(self, key: str) -> list[str]:
        return super().get(key, [])


FULL = UserForm(
    user="ü & 7",
    context={"device": "a=b&c", "hour": "7"},
    recent=("item 1", "2"),
    excluded=("#3",),
    without=("4/5",),
    slate_size="6",
    item="?7",
    is_thorough=True,
)


@pytest.mark.parametrize("asked", [FULL, UserForm("1"), UserForm()])
def test_an_address_asks_what_it_was_made_of(asked: UserForm) -> None:
    assert UserForm.of(Query.of(asked.address())) == asked


def test_a_list_is_typed_as_lines_and_linked_as_parameters() -> None:
    query = Query.of("/user?user=+5+&recent=1%0D%0A2%0D%0A%0D%0A&recent=3&context.device=&context.hour=+")
    assert UserForm.of(query) == UserForm(user="5", recent=("1", "2", "3"))


def test_what_one_can_do_with_an_item() -> None:
    asked = UserForm("1", recent=("2", "3"), without=("4",))

    def then(address: str) -> UserForm:
        return UserForm.of(Query.of(address))

    assert then(asked.clicking("4")) == UserForm("1", recent=("2", "3", "4"))
    assert then(asked.excluding("5")).excluded == ("5",)
    assert then(asked.forgetting("3")) == UserForm("1", recent=("2",), without=("4", "3"))
    assert then(asked.remembering("4")) == UserForm("1", recent=("2", "3"))
    assert then(asked.explaining("9")).item == "9"
    assert then(asked.thorough()).is_thorough and not then(FULL.explaining("9")).is_thorough
    assert asked.unchanged() == UserForm("1") and asked.is_changed and not UserForm("1", item="2").is_changed


@pytest.mark.parametrize("size", ["x", "1.5", "99999999999"])
def test_a_slate_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(RequestError, match="slate size"):
        UserForm("1", slate_size=size).request()

"""A request of users of several variants: split by model, joined in the order asked, with every value with its user."""

from __future__ import annotations

import pytest

from cascade_client.assignment import Experiment, Experiments, Variant
from cascade_client.errors import RequestRefused
from cascade_client.request import Request
from cascade_client.slates import Slate, Slates
from cascade_client.split import join_parts, split

HALVES = Experiments(
    (Experiment("m", "m-1", "serving", 0.0, 1.0, (Variant("a", 0.0, 0.5), Variant("b", 0.5, 1.0, "cascade_v2"))),)
)
USERS = list(range(8))


def asked(**changed) -> Request:
    given = {
        "user_ids": USERS,
        "context": {"hour": [10 * user for user in USERS]},
        "recent_item_ids": [[user] for user in USERS],
        "exclude_item_ids": None,
        "slate_size": 3,
        "request_id": "r",
        "consumer": "web",
    }
    return Request(**{**given, **changed})


def answered(request: Request) -> Slates:
    return Slates([Slate(user, [user], [1.0], "known_user") for user in request.user_ids], request.request_id)


def test_every_value_goes_with_its_user() -> None:
    parts = split(asked(), HALVES, None)
    assert [part.model for part in parts] == ["", "cascade_v2"]
    assert sorted(place for part in parts for place in part.places) == USERS
    for part in parts:
        request = part.request
        assert request.user_ids == list(part.places)
        assert request.context == {"hour": [10 * user for user in part.places]}
        assert request.recent_item_ids == [[user] for user in part.places]
        assert (request.exclude_item_ids, request.slate_size, request.consumer) == (None, 3, "web")
        assert request.parameters()["experiment"].split(",") == list(part.labels)
        assert set(part.labels) == {"m=b" if part.model else "m=a"}
    assert [part.request.request_id for part in parts] == ["r", "r.1"]


def test_slates_are_in_the_order_asked_and_say_where_the_log_has_them() -> None:
    parts = split(asked(), HALVES, None)
    slates = join_parts(asked(), [(part, answered(part.request), True) for part in parts])
    assert [slate.user_id for slate in slates] == USERS and slates.request_id == "r"
    for part in parts:
        for position, place in enumerate(part.places):
            slate = slates[place]
            assert (slate.request_id, slate.position) == (part.request.request_id, position)
            assert slate.experiment == part.labels[position]


def test_what_another_model_answered_is_of_no_variant() -> None:
    user = next(user for user in USERS if HALVES.assign(user).model)
    whole = asked(user_ids=[user], context={}, recent_item_ids=None)
    [part] = split(whole, HALVES, None)
    [slate] = join_parts(whole, [(part, answered(part.again), False)])
    assert (slate.experiment, slate.request_id, slate.position) == ("", "r.again", 0)
    # The log is told of the variant all the same: that it could not be asked counts against it.
    assert part.again.parameters()["experiment"] == "m=b"


def test_one_user_is_one_request_with_its_own_id() -> None:
    for user in USERS:
        whole = asked(user_ids=[user], context={}, recent_item_ids=None)
        [part] = split(whole, HALVES, None)
        [slate] = join_parts(whole, [(part, answered(part.request), True)])
        assert (slate.request_id, slate.position) == (None, None)
        assert slate.experiment == HALVES.assign(user).label


def test_users_of_no_experiment_are_asked_as_ever() -> None:
    [part] = split(asked(), Experiments(), None)
    assert part.model == "" and part.request == asked() and part.request.parameters() == {"consumer": "web"}


def test_visitors_are_assigned_by_what_is_given() -> None:
    user = next(user for user in USERS if HALVES.assign(user).model)
    other = next(user for user in USERS if not HALVES.assign(user).model)
    [part] = split(asked(user_ids=[user], context={}, recent_item_ids=None), HALVES, [other])
    assert part.model == "" and part.request.user_ids == [user]
    with pytest.raises(RequestRefused, match="one value for each of the user ids"):
        split(asked(), HALVES, [1, 2])


@pytest.mark.parametrize(
    "wrong", [{"user_ids": "abc"}, {"user_ids": []}, {"context": {"hour": [1]}}, {"recent_item_ids": 5}]
)
def test_what_does_not_fit_is_left_to_whoever_sends_it(wrong: dict) -> None:
    [part] = split(asked(**wrong), HALVES, None)
    assert part.model == "" and part.request == asked(**wrong)


def test_who_asks_for_a_policy_is_in_no_experiment() -> None:
    [part] = split(asked(policy="deterministic"), HALVES, None)
    assert (part.model, set(part.labels)) == ("", {""}) and "experiment" not in part.request.parameters()

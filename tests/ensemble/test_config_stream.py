"""[features.stream]: names, labels and lengths of time that cannot work are refused before any table is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ensemble.config_file import load_config
from workflows.core.errors import ConfigError

SHOP = Path(__file__).parents[2] / "configs" / "shop.toml"
SINCE = "{key='user', since='any'}"
COUNT = "{key='user', count='click', windows=['1h']}"


def of(name: str, feature: str) -> str:
    return f"features.stream={{{name}={feature}}}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"features.stream={{a={COUNT}, a_1h={SINCE}}}", "a and a_1h both make a column 'a_1h'; rename one"),
        (f"features.stream={{Idle={SINCE}, idle={SINCE}}}", "Idle and idle both make a column 'idle'"),
        *(
            (of(name, SINCE), f"makes a column '{name}', and the events have a column of that name; rename the feature")
            for name in ("device", "click", "position", "propensity", "timestamp", "user_id", "at", "History", "__n")
        ),
        (of("a", "{key='user', count='click', windows=['1h', '60m']}"), "'1h' and '60m' are one length of time"),
        (of("a", "{key='user', count='click', windows=['1h', '1h']}"), "a.windows names a length of time twice"),
        (of("a", "{key='user', count='click', windows=['40000d']}"), "is at most 36500d, got '40000d'"),
        (of("a", "{key='user', since='any', ttl='9999999d'}"), "a.ttl: a length of time is at most 36500d"),
        (of("a", "{key='item', rate=['click', 'click'], windows=['1h']}"), "a.rate: 'click' to itself says nothing"),
        (
            of("a", "{key='item', rate=['click', 'impression'], windows=['1h'], prior=inf}"),
            "a.prior: expected a finite number, got inf",
        ),
        (of("a", "{key='item', count='click', windows=['1h'], prior=5}"), "a.prior has no effect, since only a rate"),
        (of("a", "{key='user', since='like'}"), "a counts 'like', which is no label; there are any, click"),
        (of('""', SINCE), "features.stream has the key '': a feature has a name"),
        (of('"a\\u0000b"', SINCE), "features.stream has the key 'a\\x00b': a feature has a name"),
    ],
)
def test_a_stream_feature_that_cannot_be_is_refused_with_its_path(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(SHOP, ["stream={}", override])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_stock_column_called_like_a_field_of_live_events_is_refused() -> None:
    load_config(SHOP, ["stream={}"])
    load_config(SHOP, ["data.stock=units"])
    with pytest.raises(ConfigError, match=r"data\.stock = 'kind' is the name of a field of live events \(user_id"):
        load_config(SHOP, ["stream={}", "data.stock=kind"])


@pytest.mark.parametrize(("name", "meaning"), [("any", "every event"), ("impression", "every row of the events")])
def test_a_label_whose_name_means_more_than_it_is_refused_where_it_is_counted(name: str, meaning: str) -> None:
    overrides = ["stream={}", f"data.labels=['click', 'purchase', '{name}']"]
    load_config(SHOP, [*overrides, of("a", COUNT)])
    with pytest.raises(ConfigError, match=f"counts '{name}', which means {meaning} and is one of data.labels as well"):
        load_config(SHOP, [*overrides, of("a", f"{{key='user', since='{name}'}}")])


def test_stream_features_may_be_called_almost_anything() -> None:
    names = ['"a b"', '"../x"', '"ü"', "labels", "age_group", "stream_known", "score"]
    config = load_config(SHOP, ["stream={}", f"features.stream={{{', '.join(f'{n}={SINCE}' for n in names)}}}"])
    assert len(config.features.stream) == len(names)

"""Where events and their state are: flags before the environment before the config, and no secret in any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ensemble.config_file import load_config
from ensemble.stream.addresses import filled, source_url, store_url
from runtime.stream.topic_url import TopicError, read_topic_url
from tests.ensemble.every_key.case import BASES
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.errors import ConfigError

SOURCE = "kafka://broker:9092/clicks?sasl.password=${KAFKA_PASSWORD}"
STORE = "redis://app:${REDIS_PASSWORD}@host:6379/0"


@pytest.fixture
def run(tmp_path) -> Path:
    (tmp_path / "repo").mkdir()
    config = {"stream": {"source": SOURCE, "store": STORE}}
    write_manifest(tmp_path / "repo", Manifest("repo", "x", "now", {}, config, []))
    return tmp_path


def load(tmp_path: Path, *overrides: str):
    path = tmp_path / "config.toml"
    path.write_text(BASES["ordered"])
    return load_config(path, ["stream={}", *overrides])


def test_a_flag_comes_before_the_environment_and_that_before_the_config(run, tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_PASSWORD", "geheim")
    monkeypatch.setenv("KAFKA_PASSWORD", "auch")
    assert store_url(run) == "redis://app:geheim@host:6379/0"
    assert source_url(run) == "kafka://broker:9092/clicks?sasl.password=auch"
    monkeypatch.setenv("CASCADE_STORE", "redis://other")
    assert store_url(run) == "redis://other"
    assert store_url(run, "redis://${REDIS_PASSWORD}") == "redis://geheim"
    monkeypatch.delenv("CASCADE_STORE")
    assert (store_url(tmp_path / "published"), source_url(tmp_path / "published")) == ("", "")


def test_a_variable_that_is_not_set_is_named(run):
    with pytest.raises(ConfigError, match=r"stream.store names \$\{REDIS_PASSWORD\}.* set REDIS_PASSWORD"):
        store_url(run)
    with pytest.raises(ConfigError, match="--store names"):
        filled("redis://${NOT_SET_ANYWHERE}", "--store")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["stream.store=redis://host"], "go together"),
        (["stream.source=kafka://b/t"], "go together"),
        (["stream.source=kafka://b/t", "stream.store=http://host"], "stream.store must be 'embedded' or a URL"),
        (["stream.source=pulsar://b/t", "stream.store=redis://host"], "stream.source must be 'embedded' or a URL"),
        (["stream.source=kafka://b/t", "stream.store=redis://u:geheim@host"], "stream.store holds a password"),
        (
            ["stream.source=kafka://b/t?sasl.password=geheim", "stream.store=redis://h"],
            "source holds a password",
        ),
        (["stream.source=kafka://b/t?sasl.password=${A}geheim", "stream.store=redis://h"], "holds a password"),
    ],
)
def test_what_cannot_be_used_is_refused_without_what_may_be_a_secret(tmp_path, overrides, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load(tmp_path, *overrides)
    assert "geheim" not in str(caught.value)


def test_both_together_with_names_of_secrets_are_taken(tmp_path):
    config = load(tmp_path, f"stream.source={SOURCE}", f"stream.store={STORE}")
    assert config.stream is not None and (config.stream.source, config.stream.store) == (SOURCE, STORE)


@pytest.mark.parametrize(
    "text",
    [
        "kafka://broker",
        "kafka:///topic",
        "redis://b/t",
        "kafka://a,,b/t",
        "kafka://geheim@b/t",
        "kafka://b/t t",
        "kafka://[b/t",
        "kafka://b/t?sasl.password=a&geheim",
        "kafka://b/t?sasl.password=a#geheim",
        "kafka://:geheim/t",
    ],
)
def test_a_source_that_is_none_is_refused(text):
    with pytest.raises(TopicError, match="must name brokers and a topic") as caught:
        read_topic_url(text)
    assert "geheim" not in str(caught.value)


def test_options_of_a_source_go_to_librdkafka_but_what_a_worker_decides():
    url = read_topic_url("kafka://a:1,b:2/clicks?group=g&security.protocol=SSL")
    assert (url.brokers, url.topic, url.group, dict(url.options)) == (
        *("a:1,b:2", "clicks", "g"),
        {"security.protocol": "SSL"},
    )
    assert url.shown == "kafka://a:1,b:2/clicks"
    with pytest.raises(TopicError, match=r"may not set enable\.auto\.commit"):
        read_topic_url("kafka://a/clicks?enable.auto.commit=true")


def test_a_config_may_name_sentinels_and_the_password_as_a_variable(tmp_path):
    store = "redis+sentinel://app:${REDIS_PASSWORD}@one,two:26379/shop/0"
    config = load(tmp_path, f"stream.source={SOURCE}", f"stream.store={store}")
    assert config.stream is not None and config.stream.store == store
    with pytest.raises(ConfigError, match=r"stream\.store holds a password"):
        load(tmp_path, f"stream.source={SOURCE}", "stream.store=redis+sentinel://app:geheim@one/shop")

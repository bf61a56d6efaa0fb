"""Where the live events of a product are when one machine does not have them: a topic, and a state on Redis."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ensemble.serving.repository import events_folder, find_repository, takes_events
from ensemble.stream.addresses import source_topic, store_url
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.record import RecordError
from runtime.stream.redis import WRITE_TIMEOUT_S, RedisStore
from runtime.stream.redis_url import read_url
from runtime.stream.spec import StreamSpec
from runtime.stream.store import StoreError
from runtime.stream.topic_url import TopicError, TopicUrl
from workflows.core.errors import ArtefactError, ConfigError, ServingError, SetupError

__all__ = ["Shared", "find_shared", "needs", "one_sentence", "open_store", "stream_spec"]

# Import name -> distribution, of the extras kafka and redis.
PACKAGES = {"confluent_kafka": "confluent-kafka", "redis": "redis"}


class Shared(NamedTuple):
    """A product whose events come over a topic.

    Attributes:
        spec: of its stream.
        topic: where its events are.
        store: the URL of its state.
        folder: where a worker on this machine keeps refused events.
    """

    spec: StreamSpec
    topic: TopicUrl
    store: str
    folder: Path


def find_shared(
    path: Path, source: str | None, store: str | None, what: str, events: Path | None = None
) -> Shared | None:
    """The topic and the state of a run or published repository; None where its machine has both.

    Args:
        path: of it; a folder of live events has its own log and state.
        source: on the command line; None: the environment, else the config.
        store: the same.
        what: which command asks, for sentences.
        events: the folder where refused events are kept; None: that of the run.

    Raises:
        SetupError: a package is missing.
        ArtefactError: the path takes no live events.
        ConfigError: one URL is there without the other, or cannot be read.
    """
    if not (source or store) and (path / "log").is_dir():
        return None
    topic, url = source_topic(path, source), store_url(path, store)
    if topic is None and not url:
        return None
    needs(what)
    if topic is None or not url:
        option = "--store redis://host:6379" if topic else "--source kafka://broker:9092/topic"
        raise ConfigError(f"give {option}, the environment variable for it, or both URLs in [stream] of the config")
    repository = find_repository(path)
    return Shared(stream_spec(path, repository), topic, url, events or events_folder(path, repository))


def needs(what: str) -> None:
    """See that what speaks to a topic and to Redis is installed.

    Raises:
        SetupError: it is not.
    """
    absent = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if absent:
        names = ", ".join(PACKAGES[package] for package in absent)
        raise SetupError(f"{what} needs {names}, not installed here; uv pip install '.[serve,kafka,redis]'")


def stream_spec(path: Path, repository: Path) -> StreamSpec:
    """The stream of the latest version in a repository.

    Raises:
        ArtefactError: it takes no live events.
    """
    if not takes_events(repository):
        raise ArtefactError(f"{path} takes no live events; put [stream] into the config and run `cascade export`")
    versions: Sequence[int] = [int(each.name) for each in (repository / EVENTS_MODEL).iterdir() if each.name.isdigit()]
    return StreamSpec.load(repository / EVENTS_MODEL / str(max(versions)))


@contextmanager
def open_store(shared: Shared) -> Iterator[RedisStore]:
    """The state, for the time of a with block.

    Raises:
        ServingError: it is away, or cannot be read.
    """
    with one_sentence():
        store = RedisStore(read_url(shared.store), shared.spec, WRITE_TIMEOUT_S)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def one_sentence() -> Iterator[None]:
    """Say what a topic or a state says as an error of ours.

    Raises:
        ServingError: one of them cannot be used, or a record is damaged.
    """
    try:
        yield
    except (StoreError, TopicError, RecordError) as error:
        raise ServingError(str(error)) from error

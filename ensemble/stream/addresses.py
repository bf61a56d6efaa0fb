"""Where events come from and where their state is: from the command line, the environment or the config, in this order.

The config may name secrets, as ${NAME}, and hold none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from runtime.stream.redis_url import STORE_VARIABLE
from runtime.stream.topic_url import SOURCE_VARIABLE, TopicError, TopicUrl, read_topic_url
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError, ConfigError
from workflows.core.run import Run
from workflows.stream.config import EMBEDDED, StreamConfig

__all__ = ["address_problems", "filled", "source_topic", "source_url", "store_url"]

VARIABLE = re.compile(r"\$\{(\w+)\}")
SCHEMES = {"source": ("kafka",), "store": ("redis", "rediss", "redis+sentinel", "rediss+sentinel")}
# Options of a URL that may hold a secret, by how they are called.
SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)


def store_url(path: Path, given: str | None = None) -> str:
    """The URL of the shared state; "" where it is on this machine.

    Args:
        path: of a run or a published repository.
        given: on the command line.

    Raises:
        ConfigError: it names an environment variable that is not set.
    """
    return _address(path, "store", given, STORE_VARIABLE)


def source_url(path: Path, given: str | None = None) -> str:
    """The URL of the topic that events come from; "" where `cascade_events` takes them in. See `store_url`."""
    return _address(path, "source", given, SOURCE_VARIABLE)


def source_topic(path: Path, given: str | None = None) -> TopicUrl | None:
    """The topic that events come from; None where `cascade_events` takes them in. See `source_url`.

    Raises:
        ConfigError: the URL cannot be read.
    """
    url = source_url(path, given)
    try:
        return read_topic_url(url) if url else None
    except TopicError as error:
        raise ConfigError(str(error)) from None


def filled(text: str, name: str) -> str:
    """A URL with every ${NAME} replaced by its environment variable.

    Raises:
        ConfigError: one of them is not set.
    """
    absent = [variable for variable in VARIABLE.findall(text) if variable not in os.environ]
    if absent:
        raise ConfigError(f"{name} names ${{{absent[0]}}}, which is no environment variable; set {absent[0]}")
    return VARIABLE.sub(lambda found: os.environ[found[1]], text)


def address_problems(stream: StreamConfig) -> Iterator[str]:
    """What is wrong with the two URLs of the config, a sentence each."""
    for name, url in (("source", stream.source), ("store", stream.store)):
        if url == EMBEDDED:
            continue
        schemes = " or ".join(f"{scheme}://" for scheme in SCHEMES[name])
        if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES[name])):
            yield f"stream.{name} must be 'embedded' or a URL that begins with {schemes}"
        elif _holds_secret(url):
            yield (
                f"stream.{name} holds a password, and the config is copied into manifests; write ${{NAME}} in its "
                "place and set that environment variable"
            )
    if (stream.source == EMBEDDED) != (stream.store == EMBEDDED):
        yield (
            "stream.source and stream.store go together: events of a topic have their state on Redis, and those that "
            "cascade_events takes in have it on its machine; set both, or neither"
        )


def _holds_secret(url: str) -> bool:
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    options = [value for name, value in parse_qsl(parts.query) if SECRET.search(name)]
    return any(value and not VARIABLE.fullmatch(value) for value in (password, *options))


def _address(path: Path, name: str, given: str | None, variable: str) -> str:
    if given:
        return filled(given, f"--{name}")
    if os.environ.get(variable):
        return filled(os.environ[variable], variable)
    found = str(_configured(path).get(name, EMBEDDED))
    return "" if found == EMBEDDED else filled(found, f"stream.{name}")


def _configured(path: Path) -> Mapping[str, object]:
    """The [stream] that a run was exported with."""
    try:
        config = read_manifest(Run(path).folder("repo")).config
    except ArtefactError:
        return {}
    stream = config.get("stream")
    return stream if isinstance(stream, dict) else {}

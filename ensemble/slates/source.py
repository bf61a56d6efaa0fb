"""Who makes the slates: a run or a repository, a running server, or both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from cascade_client import CascadeClientError, parse_url
from ensemble.serving.repository import MODEL_NAME, events_folder, find_repository, served_file, served_number
from ensemble.serving.triton import TritonServer
from ensemble.stream.addresses import store_url
from runtime.spec import CHAIN_FILE, ChainSpec
from workflows.core import console
from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.errors import ArtefactError

__all__ = ["Source", "find_source"]

CONTENT_DIGITS = 8


class Source(msgspec.Struct, frozen=True):
    """Who makes the slates.

    Attributes:
        repository: the model repository; None where a server alone is known.
        url: of the running server; None: one is started on the repository.
        events: the folder of live events, where it is on this machine.
        version: that the repository serves, with its content; "" without one.
        spec: of its chain; None without one.
        users: raw ids of its users, int64 or bytes; None without a repository.
        store: the URL of the live state where servers share it; "" where it is in the folder, or not known.
    """

    repository: Path | None
    url: str | None
    events: Path | None
    version: str
    spec: ChainSpec | None
    users: NDArray | None
    store: str = ""

    @contextmanager
    def server(self) -> Iterator[str]:
        """The URL of a server that answers, for the time of a with block.

        Raises:
            ServingError: it cannot be started.
        """
        if self.url is not None:
            yield self.url
            return
        assert self.repository is not None
        console.say(f"slates: starting a server on {self.repository}")
        with TritonServer(self.repository, reads_events=self.events, store=self.store) as server:
            yield server.grpc_url


def find_source(target: str, url: str | None, events: Path | None) -> Source:
    """What a target on the command line stands for.

    Args:
        target: a run directory, a model repository, or the URL of a running server.
        url: of a running server of that run or repository.
        events: folder of live events; by default that of the run or the repository, where it is there.

    Raises:
        ArtefactError: there is no such repository, and it is no URL; or a file is missing or altered.
    """
    path = Path(target)
    if not path.exists() and ":" in target:
        try:
            parse_url(target)
        except CascadeClientError as error:
            raise ArtefactError(f"{target} is neither a folder nor the URL of a server: {error}") from error
        return Source(None, url or target, _existing(events, events), "", None, None)
    repository = find_repository(path)
    number = served_number(repository)
    users, chain = served_file(repository, "ids/users.npy"), served_file(repository, CHAIN_FILE)
    if users is None or chain is None:
        raise ArtefactError(f"{repository} has no chain/ids/users.npy; export it again")
    spec = ChainSpec.load(chain.parent)
    version = f"{number}.{_content(repository, number)}"
    store = store_url(path) if spec.live is not None and events is None else ""
    folder = None if store else _existing(events, events or events_folder(path, repository))
    return Source(repository, url, folder, version, spec, np.load(users, allow_pickle=False), store)


def _existing(given: Path | None, folder: Path | None) -> Path | None:
    """A folder of live events; None where nobody gave one and the usual one is not there.

    Raises:
        ArtefactError: the one that was given is not there.
    """
    if folder is not None and (folder / "log").is_dir():
        return folder
    if given is not None:
        raise ArtefactError(f"--events {given} holds no live events; give the folder that `cascade serve` writes")
    return None


def _content(repository: Path, number: str) -> str:
    """What tells two exports apart that have the same number."""
    for folder in (repository / MODEL_NAME / number, repository, repository.parent):
        if (folder / MANIFEST_NAME).is_file():
            return read_manifest(folder).content[:CONTENT_DIGITS]
    raise ArtefactError(f"{repository} has no {MANIFEST_NAME}; export it again")

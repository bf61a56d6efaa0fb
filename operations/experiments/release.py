"""What an experiment's commands do to a repository and its servers: start, the next stage, end, withdraw a variant.

A version serves under its own name before the first user is sent to it, and goes on until after the last: a request is
answered at every instant. Clients look at the file of experiments every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cascade_client import parse_url
from cascade_client.experiments import LOOK_EACH_S
from ensemble.config import Config
from ensemble.export.layouts import MODEL_NAME
from ensemble.history import note_withdrawn
from ensemble.publish import promote, publish, withdraw
from ensemble.publish_draft import check_draft, publish_draft
from ensemble.serving.client_errors import as_ours
from ensemble.serving.control import ModelControl
from ensemble.serving.reload import TIMEOUT_S, reload_model
from ensemble.serving.repository import served_file, served_number
from ensemble.variants import model_of
from operations.experiments.plan import planned, seen_before
from operations.experiments.record import Running, changing, now_text, read_record
from runtime.drafts.spec import BOTH
from runtime.spec import CHAIN_FILE, ChainSpec
from workflows.core import console
from workflows.core.errors import ArtefactError, CascadeError, ServingError
from workflows.core.run import Run

__all__ = ["Servers", "keep", "start", "stop", "to_stage", "withdraw_variant"]

# From the look of a client at the file to the answer of the last request that it sent by what it saw.
DRAIN_S = 2 * LOOK_EACH_S


class Servers:
    """The running servers of a repository.

    Args:
        urls: of their gRPC endpoints; none: they take what is published when they are started.
        admin_key: their CASCADE_ADMIN_KEY.
        drain_s: how long a model serves on after clients may have been told of its end.
    """

    def __init__(self, urls: Sequence[str], admin_key: str, drain_s: float = DRAIN_S) -> None:
        self._urls, self._key, self._drain_s = list(urls), admin_key, drain_s

    @property
    def are_known(self) -> bool:
        """Whether there is one that can be told."""
        return bool(self._urls)

    def load(self, models: Sequence[str]) -> None:
        """Have all of them serve models.

        Raises:
            ServingError: one is not reached, or refuses the key.
            RequestError: one cannot load a model.
        """
        for url in self._urls:
            with self._control(url) as control:
                for model in models:
                    control.load(model)
                    console.say(f"experiment: {url} serves {model}")

    def unload(self, models: Sequence[str], served: str) -> None:
        """Have all of them serve models no more, some seconds from now; the steps of the served one stay."""
        if self._urls and models:
            time.sleep(self._drain_s)
        for url in self._urls:
            with self._control(url) as control:
                loaded = {each.model for each in control.index() if each.state == "READY"}
                for model in models:
                    # What it is made of, too, in the layout of steps.
                    steps = {each for each in loaded if each.startswith(f"{model}_") and model != served}
                    for name in sorted(steps | ({model} & loaded)):
                        control.unload(name)
                        console.say(f"experiment: {url} serves {name} no more")

    def reload(self) -> None:
        """Have all of them take the published version."""
        for url in self._urls:
            version = reload_model(url, self._key).version
            console.say(f"experiment: {url} serves version {version} to all")

    @contextmanager
    def _control(self, url: str) -> Iterator[ModelControl]:
        with as_ours():
            address = parse_url(url)
        if address.protocol != "grpc":
            raise ServingError(f"models are loaded over gRPC, got {url}; give the gRPC endpoint, as localhost:8001")
        with ModelControl(address, self._key, TIMEOUT_S) as control:
            yield control


def start(config: Config, name: str, repository: Path, layout: str, servers: Servers) -> Running:
    """Publish the runs of the variants beside the served version, and send the first stage's users to them.

    Args:
        config: that has [experiments.NAME].
        name: of the experiment.
        repository: published.
        layout: of the export, "fused" or "ensemble".
        servers: that run on it.

    Raises:
        CascadeError: it cannot start; nothing is changed then.
    """
    before = read_record(repository)
    running = planned(config, name, before)
    if why := seen_before(running, before):
        console.say(f"experiment: {why}")
    runs = {variant.name: variant.run for variant in config.experiments[name].variants if variant.run}
    for variant, run in runs.items():
        if not (Path(run) / "repo" / layout / MODEL_NAME).is_dir():
            raise ArtefactError(f"variant '{variant}': {run} has no export with the layout '{layout}'; export it first")
        if _live_state(Path(run) / "repo" / layout) != _live_state(repository):
            raise ArtefactError(
                f"variant '{variant}': {run} keeps other things of live events than what {repository} serves, and a "
                "server has one state of them; export it with the same [stream] and [features.stream]"
            )
        if running.interleaves:
            check_draft(repository, Path(run) / "repo" / layout)
    running.control.version = int(served_number(repository))
    # The experiment is there, with nobody in it, before its first version: whoever publishes meanwhile leaves them.
    with changing(repository) as record:
        record.holdout.salt, record.holdout.share = config.holdout.salt, config.holdout.share
        record.experiments.append(planned(config, name, record))
        record.experiments[-1].control.version = running.control.version
    try:
        for variant, run in runs.items():
            publish(
                *(Run(Path(run)), config, repository, layout),
                info={"experiment": name, "variant": variant},
                beside=partial(_name, repository, name, variant),
            )
        if running.interleaves:
            _publish_draft(repository, read_record(repository).find(name))
        servers.load([model for model in _models(read_record(repository).find(name)).values() if model])
    except BaseException:
        _remove(repository, name, servers)
        raise
    with changing(repository) as record:
        started = record.find(name)
        started.started_at = now_text()
        started.set_stage(0)
    models = ", ".join(model for model in _models(started).values() if model)
    if models and not servers.are_known:
        console.say(
            f"experiment: without --url no running server was told: it has {models} once it is started again, "
            "and until then their users are served as all others are"
        )
    return started


def to_stage(repository: Path, name: str, stage: int) -> Running:
    """Give the variants the ranges of a stage.

    Raises:
        CascadeError: there is no such stage.
    """
    with changing(repository) as record:
        running = record.find(name)
        if not 0 <= stage < len(running.stages):
            raise CascadeError(f"experiment '{name}' is at its last stage; cascade experiment stop {name} ends it")
        running.set_stage(stage)
    return running


def withdraw_variant(repository: Path, name: str, variant: str, reason: str, servers: Servers) -> None:
    """Send a variant's users back to the served version at once, then take its version away."""
    with changing(repository) as record:
        running = record.find(name)
        gone = [side for side in running.withdraw(variant, reason) if side.model]
        models, versions = [side.model for side in gone], [side.version for side in gone]
    console.say(f"experiment: {variant} of {name} has no users any more: {reason}")
    if not models:
        return
    served = int(served_number(repository))
    for version in versions:
        note_withdrawn(repository, version, served, f"experiment {name}: {reason}")
    try:
        servers.unload(models, model_of(served))
    except CascadeError as error:
        # Its users are away already; the looks at the other variants go on.
        console.say(f"experiment: {', '.join(models)} stays until cascade experiment stop {name}: {error}")
        return
    with changing(repository) as record:
        for side in record.find(name).variants:
            side.model = "" if side.model in models else side.model
    for version in versions:
        withdraw(repository, version)


def keep(repository: Path, name: str, variant: str, servers: Servers) -> None:
    """Serve a variant to all and end the experiment.

    Raises:
        CascadeError: the variant has no version of its own, or is withdrawn, or a newer version is served.
    """
    side = read_record(repository).find(name).variant(variant)
    if side.name == BOTH:
        raise CascadeError(f"'{BOTH}' is no version but slates of two; --keep takes the one to serve to all")
    if not side.model:
        raise CascadeError(f"variant '{variant}' is what is served already; stop '{name}' without --keep")
    promote(repository, side.version, f"experiment {name} keeps {variant}")
    servers.reload()
    stop(repository, name, servers)


def stop(repository: Path, name: str, servers: Servers) -> None:
    """End an experiment: all users are served what those of no experiment are.

    Raises:
        CascadeError: no such experiment runs.
    """
    read_record(repository).find(name)
    with changing(repository) as record:
        for side in record.find(name).variants:
            side.end = side.start
    _remove(repository, name, servers)


def _remove(repository: Path, name: str, servers: Servers) -> None:
    with changing(repository) as record:
        running = record.find(name)
        record.experiments.remove(running)
        if running.stage >= 0 and running.salt not in record.used:
            record.used.append(running.salt)
    served = int(served_number(repository))
    try:
        servers.unload([model for model in _models(running).values() if model], model_of(served))
    except CascadeError as error:
        # Nobody is sent there any more, and what is loaded ends with the server.
        console.say(f"experiment: a server was not told that {name} has ended: {error}")
    for side in running.variants:
        if side.model:
            if side.version != served:
                note_withdrawn(repository, side.version, served, f"experiment {name} has ended")
            withdraw(repository, side.version)


def _publish_draft(repository: Path, running: Running) -> None:
    """The model that asks both."""
    control, other, _ = running.variants
    teams = (control.name, control.version), (other.name, other.version)
    publish_draft(repository, running.name, running.salt, teams, partial(_name, repository, running.name, BOTH))


def _live_state(repository: Path) -> str:
    """The version of the state of live events that the served chain reads; "" where it reads none."""
    found = served_file(repository, CHAIN_FILE)
    live = None if found is None else ChainSpec.load(found.parent).live
    return "" if live is None else live.stream.state_version


def _models(running: Running) -> Mapping[str, str]:
    return {side.name: side.model for side in running.variants}


def _name(repository: Path, name: str, variant: str, version: int) -> None:
    with changing(repository) as record:
        side = record.find(name).variant(variant)
        side.model, side.version = model_of(version), version

"""Versions beside the served one: never served to all by accident, swept by nobody, promoted or taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ensemble.config import Config
from ensemble.export.pbtxt import served_version
from ensemble.export.stage import export
from ensemble.publish import promote, publish, rollback, withdraw
from ensemble.serving.repository import find_repository
from ensemble.variants import EXPERIMENTS_FILE, model_of, variant_versions, write_experiments
from runtime.log.identity import chain_key, served_chain
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

LAYOUTS = pytest.mark.parametrize("layout", ["fused", "ensemble"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Run, Config]:
    run, config = make_run(tmp_path_factory.mktemp("variants") / "run", num_users=20, num_items=60)
    export(run, config)
    return run, config


def name(target: Path, *versions: int) -> None:
    """A file of experiments that names versions."""
    variants = [{"model": ""}, *({"model": model_of(version)} for version in versions)]
    write_experiments(target, {"experiments": [{"variants": variants}]})


def served(target: Path) -> int:
    return served_version((target / "cascade/config.pbtxt").read_text())


def folders(target: Path) -> set[str]:
    return {path.name for path in (target / "cascade").iterdir() if path.is_dir() and not path.name.startswith(".l")}


@LAYOUTS
def test_a_variant_is_a_model_of_its_own_and_the_served_version_stays(exported, tmp_path, layout) -> None:
    assert publish(*exported, tmp_path, layout) == 1
    assert publish(*exported, tmp_path, layout, beside=lambda version: name(tmp_path, version)) == 2
    assert served(tmp_path) == 1 and variant_versions(tmp_path) == {2}
    config = (tmp_path / "cascade_v2/config.pbtxt").read_text()
    assert 'name: "cascade_v2"' in config and 'name: "cascade"\n' not in config and served_version(config) == 2
    assert (tmp_path / "cascade_v2/2/manifest.json").read_bytes() == (tmp_path / "cascade/2/manifest.json").read_bytes()
    # The log knows which version that is.
    found = served_chain(tmp_path / "cascade_v2", "2")
    assert (found.version, found.chain_key) == (2, chain_key(tmp_path / "cascade/2"))
    assert find_repository(tmp_path) == tmp_path.resolve()


@LAYOUTS
def test_it_stays_while_others_are_published_and_rolled_back(exported, tmp_path, layout) -> None:
    publish(*exported, tmp_path, layout)
    publish(*exported, tmp_path, layout, beside=lambda version: name(tmp_path, version))
    for expected in (3, 4, 5):
        assert publish(*exported, tmp_path, layout, keep=1) == expected == served(tmp_path)
    assert {"2", "5"} <= folders(tmp_path) and (tmp_path / "cascade_v2").is_dir()
    # A rollback goes to what was served before, never to a variant.
    with pytest.raises(ArtefactError, match="no version older than 5"):
        rollback(tmp_path)
    with pytest.raises(ArtefactError, match="newer than version 2"):
        promote(tmp_path, 2, "")


@LAYOUTS
def test_a_promoted_one_is_served_to_all(exported, tmp_path, layout) -> None:
    publish(*exported, tmp_path, layout)
    publish(*exported, tmp_path, layout, beside=lambda version: name(tmp_path, version))
    promote(tmp_path, 2, "")
    name(tmp_path)
    withdraw(tmp_path, 2)
    assert served(tmp_path) == 2 and (tmp_path / "cascade/2").is_dir()
    assert publish(*exported, tmp_path, layout) == 3
    assert not (tmp_path / "cascade_v2").exists()
    assert rollback(tmp_path) == 2


@LAYOUTS
def test_one_that_is_withdrawn_is_gone_and_its_number_with_it(exported, tmp_path, layout) -> None:
    publish(*exported, tmp_path, layout)
    publish(*exported, tmp_path, layout, beside=lambda version: name(tmp_path, version))
    withdraw(tmp_path, 2)
    assert (tmp_path / "cascade_v2").is_dir(), "an experiment names it still"
    name(tmp_path)
    withdraw(tmp_path, 2)
    assert not (tmp_path / "cascade_v2").exists() and "2" not in folders(tmp_path)
    assert publish(*exported, tmp_path, layout) == 3


def test_what_fails_leaves_nothing(exported, tmp_path) -> None:
    with pytest.raises(ArtefactError, match="serves nothing yet"):
        publish(*exported, tmp_path, "fused", beside=lambda version: name(tmp_path, version))
    publish(*exported, tmp_path, "fused")

    def fails(version: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(*exported, tmp_path, "fused", beside=fails)
    assert folders(tmp_path) == {"1"} and not (tmp_path / "cascade_v2").exists()


def test_an_altered_variant_is_not_promoted_and_costs_the_served_version_nothing(exported, tmp_path) -> None:
    publish(*exported, tmp_path, "fused")
    publish(*exported, tmp_path, "fused", beside=lambda version: name(tmp_path, version))
    (tmp_path / "cascade/2/model.py").write_text("pass\n")
    assert find_repository(tmp_path) == tmp_path.resolve()
    with pytest.raises(ArtefactError):
        promote(tmp_path, 2, "")


@pytest.mark.parametrize("content", ["{", "[]", '{"experiments": 5}', '{"experiments": [{"variants": [{}]}]}'])
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, content) -> None:
    (tmp_path / EXPERIMENTS_FILE).write_text(content)
    with pytest.raises(ArtefactError, match="put a copy of it back, or remove it"):
        variant_versions(tmp_path)


def test_without_a_file_there_are_none(tmp_path) -> None:
    assert variant_versions(tmp_path) == set()

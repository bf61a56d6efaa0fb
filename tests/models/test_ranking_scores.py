"""The settings that made a ranker are read from its folder, also where an earlier release named them otherwise."""

from __future__ import annotations

import msgspec
import pytest

from models.ranking.config import RankingConfig
from models.ranking.scores import recorded_config
from workflows.core.errors import ArtefactError
from workflows.core.run import Run, run_stage


def made_with(tmp_path, settings):
    """The folder of a ranking stage with this section."""
    run = Run(tmp_path)
    run_stage(run, "ranking", config={"ranking": settings}, after=(), body=lambda folder: {})
    return run.folder("ranking")


CONFIG = RankingConfig(training_examples="sampled", candidate_pool=7, label="buy")


def test_the_settings_are_those_that_were_written(tmp_path):
    assert recorded_config(made_with(tmp_path, CONFIG)) == CONFIG


def test_a_key_by_its_former_name_is_read(tmp_path):
    settings = msgspec.to_builtins(CONFIG)
    settings["training_rows"] = settings.pop("training_examples")
    assert recorded_config(made_with(tmp_path, settings)) == CONFIG


@pytest.mark.parametrize("change", [{"colour": "red"}, {"candidate_pool": "many"}])
def test_settings_that_are_unknown_are_one_sentence_with_the_command(tmp_path, change):
    folder = made_with(tmp_path, msgspec.to_builtins(CONFIG) | change)
    with pytest.raises(ArtefactError, match=rf"ranking was made with .*{next(iter(change))}.*train-ranking again"):
        recorded_config(folder)

"""The profile of an export: it counts what is there, travels with the version, and reads whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.profile.make import write_profile
from ensemble.profile.profile import NO_EVENTS, PROFILE_FILE, Profile
from models.dataset.features import load_state
from runtime.chain import Chain
from tests.ensemble.synthetic import make_run, user_id
from workflows.core.errors import ArtefactError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and in `chain` its compiled chain with a profile."""
    root = tmp_path_factory.mktemp("profile")
    run, config = make_run(root / "run", text_ids=True)
    compile_chain(run, config, root / "chain", "serve")
    write_profile(run, root / "chain")
    return root


def test_what_it_counts_is_there(made: Path) -> None:
    profile = Profile.load(made / "chain" / PROFILE_FILE)
    info = profile.info
    assert (info.split, info.num_events, info.num_queries) == ("train", 1, 1)
    assert (info.num_items, info.slate_size, info.newest_event) == (300, 5, 0)
    assert profile.columns["device"].bins.names == ["phone", "other values", "null"]
    assert profile.columns["device"].counts.tolist() == [1, 0, 0]
    assert profile.columns["temperature"].counts.sum() == 1
    assert set(profile.features) == {"user_id", "age_group", "spend", "device", "hour", "temperature", "history_length"}
    assert profile.centroid.shape == (len(profile.directions),)
    assert profile.shown_deciles.sum() == 5


def test_deciles_hold_a_tenth_of_the_positive_events_each(made: Path) -> None:
    from workflows.core.run import Run

    decile = Profile.load(made / "chain" / PROFILE_FILE).item_decile
    popularity = load_state(Run(made / "run"), "serve").popularity
    assert (decile[popularity == 0] == NO_EVENTS).all()
    shares = np.array([popularity[decile == d].sum() for d in range(10)]) / popularity.sum()
    assert shares.max() <= 0.1 + popularity.max() / popularity.sum()
    order = np.argsort(-popularity, kind="stable")
    assert (np.diff(decile[order].astype(int)) >= 0).all()


def test_the_slates_are_those_of_the_chain(made: Path) -> None:
    profile, chain = Profile.load(made / "chain" / PROFILE_FILE), Chain(made / "chain")
    request = {
        "user_id": np.array([[user_id(0, text_ids=True)]], object),
        "device": np.array([[b"phone"]], object),
        "hour": np.array([[3]], np.int64),
        "temperature": np.array([[20.0]], np.float32),
    }
    answer = chain.recommend(request)
    bins = profile.scores["all"].bins
    assert (
        np.bincount(bins.codes(answer["score"][0]), minlength=bins.size).tolist()
        == profile.scores["all"].counts.tolist()
    )


def test_the_same_run_gives_the_same_bytes(made: Path) -> None:
    before = (made / "chain" / PROFILE_FILE).read_bytes()
    from workflows.core.run import Run

    write_profile(Run(made / "run"), made / "chain")
    assert (made / "chain" / PROFILE_FILE).read_bytes() == before


@pytest.mark.parametrize("kept", [0, 10, 500, -1])
def test_a_truncated_one_is_refused_in_one_sentence(made: Path, tmp_path: Path, kept: int) -> None:
    packed = (made / "chain" / PROFILE_FILE).read_bytes()
    (tmp_path / PROFILE_FILE).write_bytes(packed[:kept])
    with pytest.raises(ArtefactError, match=r"cannot be read as a profile .*; export and publish again"):
        Profile.load(tmp_path / PROFILE_FILE)


def test_an_absent_one_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="export and publish again"):
        Profile.load(tmp_path / PROFILE_FILE)


def test_it_travels_with_each_layout(tmp_path: Path) -> None:
    run, config = make_run(tmp_path / "run")
    export(run, config)
    fused, ensemble = (run.folder("repo") / layout / "cascade/1" for layout in ("fused", "ensemble"))
    packed = (fused / "chain" / PROFILE_FILE).read_bytes()
    assert (ensemble / PROFILE_FILE).read_bytes() == packed
    assert len(list(run.folder("repo").rglob(PROFILE_FILE))) == 2

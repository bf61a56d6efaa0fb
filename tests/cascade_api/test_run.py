"""A run in Python: slates of brute force, frames of its figures, and nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cascade_api import ArtefactError, RequestError, Run
from ensemble.export.stage import export
from operations.blocks import change_blocks
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import item_id, make_run, user_id
from workflows.core.run import Run as RunFolder
from workflows.core.run import run_stage

USER = 9


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "texts"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    run, config = make_run(tmp_path_factory.mktemp("api") / "run", text_ids=request.param)
    export(run, config)
    return run, config, request.param


def said(value):
    return value.decode() if isinstance(value, bytes) else value


def test_a_slate_is_that_of_brute_force(world) -> None:
    made, config, is_text = world
    run, oracle = Run(made.root), Oracle(made.root, config.chain, "serve")
    for row in (USER, 2, 0):
        items, scores, path = oracle.slate(user_id(row, is_text))
        frame = run.slate(said(user_id(row, is_text)))
        assert frame["item_id"].tolist() == [said(item) for item in items] and frame.index.tolist() == [1, 2, 3, 4, 5]
        assert np.allclose(frame["score"], scores, atol=1e-5)
        assert run.funnel(said(user_id(row, is_text))).rests_on == path
    asked = {"context": {"device": "phone"}, "recent": [item_id(3, is_text)], "exclude": [item_id(8, is_text)]}
    items, _, _ = oracle.slate(user_id(USER, is_text), *asked.values(), 7)
    text = {"context": asked["context"], **{key: [said(each) for each in asked[key]] for key in ("recent", "exclude")}}
    assert run.slate(said(user_id(USER, is_text)), **text, size=7)["item_id"].tolist() == [said(item) for item in items]


def test_many_slates_are_those_of_each_user(world) -> None:
    made, _, is_text = world
    run = Run(made.root)
    users = [said(user_id(row, is_text)) for row in range(60)] + ["nobody" if is_text else -5]
    frame = run.slates(users, size=3)
    assert frame.columns.tolist() == ["user_id", "place", "item_id", "score", "path"]
    assert frame["user_id"].unique().tolist() == users and frame.groupby("user_id").size().eq(3).all()
    for user in (users[0], users[USER], users[-1]):
        expected = run.slate(user, size=3)
        assert frame[frame["user_id"] == user]["item_id"].tolist() == expected["item_id"].tolist()


def test_a_blocked_item_is_in_no_slate(world, tmp_path: Path) -> None:
    made, _, is_text = world
    run, user = Run(made.root), said(user_id(USER, is_text))
    first = run.slate(user)["item_id"][1]
    change_blocks(made.root, [str(first)], block=True)
    try:
        for frame in (Run(made.root).slate(user), Run(made.root).slates([user])):
            assert first not in frame["item_id"].tolist()
    finally:
        change_blocks(made.root, [str(first)], block=False)


def test_the_frames_say_what_the_funnel_says(world) -> None:
    made, _, is_text = world
    found = Run(made.root).funnel(said(user_id(USER, is_text)))
    assert found.steps["step"].tolist()[0] == "catalogue" and found.steps["items"].is_monotonic_decreasing
    assert set(found.sources["source"]) == {"towers", "neighbours"}
    assert (found.sources["shown"] <= found.sources["candidates"]).all()
    assert found.history["known_from"].isin(["export", "live events", "request"]).all()
    assert "price" in found.slate.columns  # of the table of the items
    why = Run(made.root).why(said(item_id(40, is_text)), said(user_id(USER, is_text)))
    assert why.summary and why.steps[0].name == "catalogue"


def test_neighbours_are_those_of_the_artefacts(world) -> None:
    made, _, is_text = world
    run = Run(made.root)
    chain = next((made.root / "repo").glob("*/cascade/1/chain"))
    embeddings = np.load(chain / "item_embeddings.npy")
    scores = embeddings @ embeddings[5]
    scores[5] = -np.inf
    expected = np.lexsort((np.arange(len(scores)), -scores))[:10]
    frame = run.neighbours(said(item_id(5, is_text)))
    assert frame["item_id"].tolist() == [said(item_id(row, is_text)) for row in expected]
    indptr, rows = (np.load(chain / f"neighbours/{name}.npy") for name in ("indptr", "rows"))
    raised = run.neighbours(said(item_id(5, is_text)), 300, by="raises")["item_id"].tolist()
    assert set(raised) == {said(item_id(row, is_text)) for row in rows[indptr[5] : indptr[6]]}
    raising = run.neighbours(said(item_id(5, is_text)), 300, by="raised_by")["item_id"].tolist()
    owners = [row for row in range(300) if 5 in rows[indptr[row] : indptr[row + 1]]]
    assert set(raising) == {said(item_id(row, is_text)) for row in owners}
    with pytest.raises(ValueError, match="by must be one of embedding, raises, raised_by, got 'x'"):
        run.neighbours(said(item_id(5, is_text)), by="x")


def test_tables_and_stages_are_those_of_the_run(world) -> None:
    made, _, _ = world
    run = Run(made.root)
    assert len(run.items) == pq.read_table(made.root / "data/items.parquet").num_rows == len(run.item_ids)
    assert len(run.user_ids) == 60 and "repo" in run.stages.index
    assert repr(run) == f"Run({str(made.root)!r})"


def test_figures_are_those_of_the_report(tmp_path: Path, world) -> None:
    made, _, _ = world
    with pytest.raises(ArtefactError, match="has no report; `cascade evaluate` writes one"):
        _ = Run(made.root).metrics


def test_what_is_damaged_is_a_sentence(tmp_path: Path) -> None:
    def report(folder: Path) -> None:
        (folder / "metrics.json").write_text('{"sources": {"ranker": {"auc": {"value": 0.5}}}}')

    run_stage(RunFolder(tmp_path), "report", config={}, after=[], body=report)
    assert Run(tmp_path).metrics["value"].tolist() == [0.5]
    (tmp_path / "report/metrics.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"metrics\.json has 2 bytes, its manifest says"):
        _ = Run(tmp_path).metrics
    (tmp_path / "data").mkdir()
    (tmp_path / "data/items.parquet").write_bytes(b"no")
    with pytest.raises(ArtefactError, match=r"items\.parquet cannot be read"):
        _ = Run(tmp_path).items


def test_what_is_wrong_is_a_sentence(world, tmp_path: Path) -> None:
    made, _, is_text = world
    run = Run(made.root)
    with pytest.raises(ArtefactError, match="is no folder; give a run directory"):
        Run(tmp_path / "none")
    with pytest.raises(ArtefactError, match="is no run directory"):
        _ = Run(tmp_path).stages
    with pytest.raises(ArtefactError, match=r"users\.parquet is not there"):
        _ = run.users
    with pytest.raises(RequestError, match="the chain has no such context column"):
        run.slate(said(user_id(USER, is_text)), context={"mood": "good"})
    with pytest.raises(RequestError, match="slate_size must be from 1 to"):
        run.slates([said(user_id(USER, is_text))], size=900)
    with pytest.raises(RequestError, match="unknown"):
        run.neighbours("nothing" if is_text else 8)


@pytest.mark.parametrize("wrong", [None, [1], {"a": 1}, float("nan"), 1.5, True])
def test_an_id_that_is_none_is_somebody_elses_never(world, wrong: object) -> None:
    """Rounded, 1.5 and true would be user 1; as text, None would be a visitor."""
    made, _, is_text = world
    run, user = Run(made.root), said(user_id(USER, is_text))
    if is_text and wrong is True:
        return  # a whole number is a text, too
    for ask in (lambda: run.slate(wrong), lambda: run.slates([wrong]), lambda: run.why(wrong, user)):
        with pytest.raises(RequestError, match=r"must be|unknown"):
            ask()
    for part in ("recent", "exclude"):
        with pytest.raises(RequestError, match=f"{part} must be"):
            run.slate(user, **{part: [wrong]})


def test_ids_are_taken_as_arrays_and_frames_have_them(world) -> None:
    made, _, is_text = world
    run, user = Run(made.root), said(user_id(USER, is_text))
    expected = run.slate(user)["item_id"].tolist()
    place = run.user_ids.tolist().index(user_id(USER, is_text))
    assert run.slate(run.user_ids[place])["item_id"].tolist() == expected
    assert (
        run.neighbours(run.item_ids[3])["item_id"].tolist() == run.neighbours(said(run.item_ids[3]))["item_id"].tolist()
    )
    if not is_text:
        assert run.slate(float(user))["item_id"].tolist() == expected


def test_what_is_not_known_of_the_context_may_be_none(world) -> None:
    made, _, is_text = world
    run, user = Run(made.root), said(user_id(USER, is_text))
    expected = run.slate(user, context={"device": ""})
    for missing in (None, float("nan")):
        assert run.slate(user, context={"device": missing}).equals(expected)
    assert run.slate(user, recent=None, exclude=None, context=None).equals(run.slate(user))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"context": "phone"}, "context must be a dict"),
        ({"context": {"device": ["phone"]}}, "context device must be one value"),
        ({"recent": "12"}, "recent must be a list of ids, got '12'"),
        ({"exclude": 5}, "exclude must be a list of ids, got 5"),
        ({"size": 1.5}, "slate_size must be a whole number from 1 on, got 1.5"),
        ({"size": 10**30}, "slate_size must be a whole number"),
        ({"size": float("nan")}, "slate_size must be a whole number"),
    ],
)
def test_a_part_of_a_request_that_is_none_is_named(world, given: dict, sentence: str) -> None:
    made, _, is_text = world
    with pytest.raises(RequestError, match=sentence):
        Run(made.root).slate(said(user_id(USER, is_text)), **given)


def test_a_text_is_no_list_of_users_and_neighbours_are_counted(world) -> None:
    made, _, is_text = world
    run = Run(made.root)
    with pytest.raises(RequestError, match="users must be a list of ids, got '12'"):
        run.slates("12")
    for count in (-1, 1.5, None):
        with pytest.raises(ValueError, match="count must be a whole number from 0 on"):
            run.neighbours(said(item_id(3, is_text)), count)


def test_importing_it_imports_nothing_heavy(world) -> None:
    heavy = ("pandas", "pyarrow", "onnxruntime", "faiss", "tensorflow", "merlin", "lmdb")
    code = f"import sys; from cascade_api import Run; Run(sys.argv[1]).path; print([*{{*{heavy}}} & {{*sys.modules}}])"
    found = subprocess.run([sys.executable, "-c", code, str(world[0].root)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]", found.stdout

"""Slates of two versions on a real server: drafted there, voted on, decided, and whole where a version is away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

import runtime
from cascade_client import CascadeClient, Slate
from ensemble.config import ChainConfig, Config
from ensemble.config_experiments import ExperimentConfig, VariantConfig
from ensemble.export import layouts
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.control import ModelControl
from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from operations.experiments.record import read_record
from operations.experiments.release import Servers, keep, start
from operations.experiments.show import lines
from operations.experiments.watch import WORSE, look_at, watch
from operations.feedback.join import feedback
from operations.log.collect import collect, num_open
from operations.replay.errors import NotReplayableError
from operations.signals.feedback import is_of_feedback
from operations.signals.monitor import monitor_once
from operations.signals.table import load
from operations.why.logged import explain_logged
from runtime.interleave import FIRST, NOBODY, SECOND
from runtime.log.folder import LogSettings
from tests.ensemble.serving.processes import eventually
from tests.ensemble.synthetic import make_run, user_id

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

NUM_USERS, ROTATE_S, SIZE = 260, 1.0, 8
EXPERIMENT = "drafts"


class Served(NamedTuple):
    """A server with an experiment that interleaves all users, and its folders."""

    root: Path
    server: TritonServer
    config: Config

    @property
    def target(self) -> Path:
        return self.root / "published"

    @property
    def servers(self) -> Servers:
        return Servers([self.server.grpc_url], self.server.admin_key, drain_s=0.0)

    def client(self, scheme: str = "grpc") -> CascadeClient:
        url = self.server.http_url if scheme == "http" else self.server.grpc_url
        return CascadeClient(url, experiments=self.target / "experiments.json")

    def collect(self, events: list[dict]) -> None:
        time.sleep(2.5 * ROTATE_S)
        eventually(lambda: num_open(self.root / "LOG") == 0)
        collect(self.root / "LOG", self.root / "MON")
        if not events:
            return
        path = self.root / "events.ndjson"
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        feedback(self.root / "MON", path, impressions="slate")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A version and a run whose items are others in part; logs are cut each second, as a server's are each minute."""
    root = tmp_path_factory.mktemp("drafts")
    package = Path(str(runtime.__file__)).parent
    writer = root / "writer.py"
    text = (package / "log/writer.py").read_text()
    assert "ROTATE_S, SEGMENT_BYTES" in text and ", 60.0," in text
    writer.write_text(text.replace(", 60.0,", f", {ROTATE_S},", 1))
    sources = list(layouts.runtime_sources())
    with pytest.MonkeyPatch.context() as patch:
        for module in ("ensemble.export.layouts", "ensemble.publish_draft"):
            patch.setattr(
                f"{module}.runtime_sources",
                lambda: ((writer if p == package / "log/writer.py" else p, to) for p, to in sources),
            )
        chain = ChainConfig(num_candidates=30, slate_size=SIZE, max_slate_size=20, instances=1, layouts=("fused",))
        for name, seed, num_items in (("old", 0, 60), ("new", 1, 70)):
            run, config = make_run(root / name, num_users=NUM_USERS, num_items=num_items, seed=seed, chain=chain)
            export(run, config)
            if name == "old":
                publish(run, config, root / "published", "fused")
        wanted = ExperimentConfig(
            variants=(VariantConfig(name="old"), VariantConfig(name="new", run=str(root / "new"))),
            kind="interleave",
            stages=(1.0,),
            min_hours=0.0,
            users=NUM_USERS,
        )
        config = Config(chain=chain, experiments={EXPERIMENT: wanted})
        settings = LogSettings(root / "LOG", 1.0)
        prepare_log(settings, root / "published")
        with TritonServer(root / "published", request_log=settings) as server:
            found = Served(root, server, config)
            start(config, EXPERIMENT, found.target, "fused", found.servers)
            yield found


def models(served: Served) -> dict[str, str]:
    """Names of the variants -> models."""
    return {side.name: side.model for side in read_record(served.target).find(EXPERIMENT).variants}


def asked(served: Served, model: str, users: list[int], **given: object) -> list[Slate]:
    with CascadeClient(served.server.grpc_url, model=model) as client:
        return client.recommend([user_id(user, False) for user in users], **given).slates  # type: ignore[arg-type]


def test_each_place_is_of_a_team_and_both_keep_their_order(served: Served) -> None:
    users = list(range(40))
    known = models(served)
    assert known == {"old": "", "new": "cascade_v2", "both": "cascade_v3"}
    drafts = asked(served, known["both"], users, request_id="r")
    whole = [asked(served, model, users) for model in ("cascade", known["new"])]
    chosen = []
    for draft, *orders in zip(drafts, *whole, strict=True):
        assert draft.variant == "both" and draft.team is not None
        assert draft.num_items == min(SIZE, len({item for order in orders for item in order.item_ids}))
        assert len(set(draft.item_ids)) == len(draft.item_ids)
        for place, (item, team) in enumerate(zip(draft.item_ids, draft.team, strict=True)):
            if team == NOBODY:
                assert all(order.item_ids[place] == item for order in orders)
            else:
                order = orders[team]
                assert draft.scores[place] == order.scores[order.item_ids.index(item)]
        chosen += draft.team
    assert abs(chosen.count(FIRST) - chosen.count(SECOND)) <= len(users) and chosen.count(FIRST) > 50
    # The same request again is the same slate, whoever is asked for beside the user, over HTTP too; another one is not.
    with served.client("http") as client:
        [again] = client.recommend([user_id(7, False)], request_id="r")
    assert (again.item_ids, again.team, again.experiment) == (drafts[7].item_ids, drafts[7].team, "drafts=both")
    others = [asked(served, known["both"], [7], request_id=f"r{number}")[0].team for number in range(8)]
    assert len({tuple(each or ()) for each in others}) > 1
    # Who is in no experiment is asked of the served version, as ever.
    with CascadeClient(served.server.grpc_url) as plain:
        [alone] = plain.recommend([user_id(7, False)])
    assert (alone.item_ids, alone.team) == (whole[0][7].item_ids, None)


def test_what_is_bad_is_refused_by_both_and_what_one_takes_alone_is_left_to_the_served(served: Served) -> None:
    with served.client() as client:
        few = client.recommend([user_id(3, False)], slate_size=3)[0]
        assert few.num_items == 3 and few.experiment == "drafts=both"
        with pytest.raises(Exception, match="slate_size must be from 1 to 20, got 21"):
            client.recommend([user_id(3, False)], slate_size=21)
        left = client.recommend([user_id(3, False)], exclude_item_ids=[few.item_ids], slate_size=20)[0]
        assert not set(left.item_ids) & set(few.item_ids)


def test_votes_go_to_the_team_whose_place_was_clicked(served: Served) -> None:
    rng, events = np.random.default_rng(0), []
    with served.client() as client:
        for user in range(NUM_USERS):
            slates = client.recommend([user_id(user, False)])
            [slate] = slates
            assert slate.team is not None and slate.variant == "both"
            for item, team in zip(slate.item_ids, slate.team, strict=True):
                if rng.random() < (0.5 if team == SECOND else 0.1):
                    at = time.time_ns() // 1_000_000
                    said = {"request_id": slates.request_id, "user_id": slate.user_id, "item_id": item}
                    events.append({**said, "label": "click", "at": at})
    served.collect(events)
    running, history, taken = look_at(served.root / "MON", served.target, EXPERIMENT)
    told = "\n".join(lines(running, taken, history))
    [metric] = taken.metric
    assert metric.metric == "votes by click" and metric.low is not None and metric.low > 0.3, told
    assert metric.value is not None and metric.value > 0.7 and taken.breaches == [] and taken.slates[2] >= NUM_USERS
    assert "Readers prefer new to old, in votes by click." in told
    assert "Readers prefer new to old" in (served.root / "MON/experiments/drafts.html").read_text()
    # The slates that a draft was made of are no rows of the log, and no item of either catalogue is unknown to it.
    paths = (served.root / "MON/requests").rglob("*.parquet")
    rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    drafted = [row for row in rows if row["model_version"] == 3 and row["error"] is None]
    assert len(drafted) >= NUM_USERS and all(len(row["team"]) == row["num_items"] for row in drafted)
    assert min(min(row["item_rows"]) for row in drafted if row["item_rows"]) >= 0
    assert {row["model_version"] for row in rows if row["experiment"] and row["error"] is None} == {3}
    # Nobody measures them as if they were of one version, and asking again is left to the two.
    monitor_once(served.root / "MON", now=time.time() + 3 * 86_400)
    assert 3 not in {row.model_version for row in load(served.root / "MON") if not is_of_feedback(row)}
    with pytest.raises(NotReplayableError, match="drafted from those of two versions"):
        explain_logged(served.root / "MON", max(drafted, key=lambda row: row["at"])["request_id"], "1")


def test_a_version_that_is_away_leaves_the_other_s_whole_slate(served: Served) -> None:
    known = models(served)
    with ModelControl(served.server.grpc_address, served.server.admin_key, 60.0) as control, served.client() as client:
        control.unload(known["new"])
        before = asked(served, "cascade", [5])[0]
        for user in range(NUM_USERS):
            slates = client.recommend([user_id(user, False)])
            assert slates[0].variant == "old" and set(slates[0].team or ()) == {NOBODY}
            if user == 5:
                assert slates[0].item_ids == before.item_ids
        served.collect([])
        status = watch(
            *(served.root / "MON", served.target, EXPERIMENT, served.servers),
            looks=1,
            advances=False,
            wait=lambda: False,
        )
        found = read_record(served.target).find(EXPERIMENT)
        assert status == WORSE and "new has more errors" in found.variant("new").withdrawn
        assert not list(served.target.glob("cascade_v*")) and {side.model for side in found.variants} == {""}


def test_the_one_that_is_preferred_is_kept(served: Served) -> None:
    """After a withdrawal the same experiment starts again, and ends with the new version served to all."""
    from operations.experiments.release import stop

    stop(served.target, EXPERIMENT, served.servers)
    start(served.config, EXPERIMENT, served.target, "fused", served.servers)
    with pytest.raises(Exception, match="'both' is no version"):
        keep(served.target, EXPERIMENT, "both", served.servers)
    wanted = asked(served, models(served)["new"], [3])[0]
    keep(served.target, EXPERIMENT, "new", served.servers)
    assert asked(served, "cascade", [3])[0].item_ids == wanted.item_ids
    assert not list(served.target.glob("cascade_v*"))

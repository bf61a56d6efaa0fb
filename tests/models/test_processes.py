"""What the launchers' variables say, and how the processes meet."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from models.dataset.shard import Shard
from models.training.processes import LAUNCHERS, Processes
from models.training.rendezvous import meet
from tests.ports import free_ports
from workflows.core.errors import CascadeError, ConfigError

CLUSTER = {"cluster": {"worker": ["a:7000", "b:7000", "b:7001"]}}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*(name for names in LAUNCHERS for name in names), "TF_CONFIG", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def found(monkeypatch, **variables) -> Processes:
    for name, value in variables.items():
        monkeypatch.setenv(name, value if isinstance(value, str) else json.dumps(value))
    return Processes.from_environment()


def test_without_a_launcher_there_is_one_process(monkeypatch):
    alone = found(monkeypatch)
    assert alone == Processes(0, 1, 0, ())
    assert alone.is_chief
    assert alone.shard == Shard(0, 1)
    assert found(monkeypatch, RANK="0", WORLD_SIZE="1", TF_CONFIG={"cluster": {"worker": ["a:1"]}}) == alone


@pytest.mark.parametrize("names", LAUNCHERS)
def test_every_launcher_on_one_machine(monkeypatch, names):
    variables = {names.rank: "2", names.size: "4", names.local_rank: "2", names.local_size: "4"}
    addresses = tuple(f"127.0.0.1:{port}" for port in (29501, 29502, 29503, 29504))
    assert found(monkeypatch, **variables) == Processes(2, 4, 2, addresses)
    moved = found(monkeypatch, MASTER_PORT="5000")
    assert moved.addresses[2] == "127.0.0.1:5003"
    assert not moved.is_chief


def test_horovod_under_open_mpi_agrees_with_it(monkeypatch):
    mpi = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
    assert found(monkeypatch, **mpi, HOROVOD_RANK="1", HOROVOD_SIZE="2").rank == 1
    with pytest.raises(
        ConfigError, match=r"OMPI_COMM_WORLD_RANK=1 and .*, but HOROVOD_RANK=0 and HOROVOD_SIZE=2; unset"
    ):
        found(monkeypatch, HOROVOD_RANK="0")


def test_tensorflows_own_variable_names_the_machines(monkeypatch):
    task = {"task": {"type": "worker", "index": 2}}
    addresses = tuple(CLUSTER["cluster"]["worker"])
    assert found(monkeypatch, TF_CONFIG=CLUSTER | task) == Processes(2, 3, 1, addresses)
    chief = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}
    assert found(monkeypatch, TF_CONFIG=chief) == Processes(1, 2, 0, ("a:1", "b:1"))


def test_the_launcher_gives_the_rank_where_one_tf_config_is_for_all(monkeypatch):
    launcher = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    assert found(monkeypatch, TF_CONFIG=CLUSTER, **launcher) == Processes(1, 3, 0, tuple(CLUSTER["cluster"]["worker"]))


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK=4 and WORLD_SIZE=4: expected 0 <= rank < size"),
        ({"RANK": "one", "WORLD_SIZE": "4"}, "RANK=one"),
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, "several machines .* expected TF_CONFIG"),
        ({"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "several machines .* expected TF_CONFIG"),
        ({"RANK": "0", "WORLD_SIZE": "4", "MASTER_PORT": "65535"}, "MASTER_PORT=65535: expected 1 to 65531"),
        ({"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "-1"}, "LOCAL_RANK=-1: expected a whole number"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG cannot be read"),
        ({"TF_CONFIG": {"cluster": {"worker": ["a"]}}}, r"TF_CONFIG: expected host:port of each worker, got \['a'\]"),
        ({"TF_CONFIG": CLUSTER}, "TF_CONFIG has no task and no launcher gave a rank"),
        ({"TF_CONFIG": CLUSTER | {"task": {"index": 3}}}, "TF_CONFIG: task 3 of 3"),
        ({"TF_CONFIG": CLUSTER | {"task": {"type": "ps", "index": 0}}}, "task type 'ps': expected 'worker' or 'chief'"),
        (
            {"TF_CONFIG": CLUSTER | {"task": {"index": 1}}, "RANK": "0", "WORLD_SIZE": "3"},
            "TF_CONFIG makes this process 1 of 3, but RANK=0 and WORLD_SIZE=3",
        ),
    ],
)
def test_variables_that_cannot_be_right_are_one_sentence(monkeypatch, variables, sentence):
    with pytest.raises(ConfigError, match=sentence):
        found(monkeypatch, **variables)


def free_addresses(count: int) -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


def outcomes(addresses: list[str], fingerprints: list[str], timeout_s: float = 120.0) -> list[str]:
    """How the meeting ended for each: its sentence, or nothing."""
    ends = ["hangs"] * len(fingerprints)

    def come(rank: int) -> None:
        try:
            meet(addresses, rank, fingerprints[rank], timeout_s)
            ends[rank] = ""
        except CascadeError as error:
            ends[rank] = str(error)

    threads = [threading.Thread(target=come, args=(rank,), daemon=True) for rank in range(len(fingerprints))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return ends


def test_all_meet_and_leave_their_ports_free():
    addresses = free_addresses(3)
    assert outcomes(addresses, ["same"] * 3) == ["", "", ""]
    for address in addresses:
        socket.create_server(("", int(address.rpartition(":")[2]))).close()


def test_who_does_not_come_is_named_and_the_rest_are_told():
    addresses = free_addresses(3)
    first, second = outcomes(addresses, ["same"] * 2, timeout_s=3.0)
    assert first.startswith(f"waited for process 3 ({addresses[2]}) of 3 in vain")
    assert "in vain" in second or "the first process ended before all had come" in second


def test_another_config_is_refused():
    first, second = outcomes(free_addresses(2), ["a", "b"])
    assert first.startswith("process 2 of 2 was started with another config")
    assert second == "the first process ended before all had come; its message says why"


def test_a_stranger_at_the_door_is_ignored():
    addresses = free_addresses(2)
    ends: list[object] = []
    waiting = threading.Thread(target=lambda: ends.append(meet(addresses, 0, "same", 120.0)), daemon=True)
    waiting.start()
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", int(addresses[0].rpartition(":")[2])), 1) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            break
        except ConnectionRefusedError:
            threading.Event().wait(0.05)
    meet(addresses, 1, "same", 120.0)
    waiting.join(300)
    assert ends == [None]


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be used .*set MASTER_PORT to another number"):
            meet([f"127.0.0.1:{port}", "127.0.0.1:1"], 0, "same", 1.0)

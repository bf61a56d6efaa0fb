"""The images cannot be built here; what they are made of is held together by these checks and by hadolint."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ensemble.serving.arguments import ADMIN_HEADER, server_arguments
from ensemble.serving.binary import TritonBinary
from runtime.log.folder import LogSettings

TOP = Path(__file__).parents[2]
DOCKER = TOP / "docker"
FILES = ("Dockerfile.train", "Dockerfile.serve", "Dockerfile.serve-cpu")


def instructions(name: str) -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction, continued lines joined and comments left out."""
    lines = [line for line in (DOCKER / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def stages(name: str) -> list[list[tuple[str, str]]]:
    result: list[list[tuple[str, str]]] = []
    for instruction in instructions(name):
        if instruction[0] == "FROM":
            result.append([])
        result[-1].append(instruction)
    return result


def copied(name: str) -> Iterator[str]:
    """Sources in the build context."""
    for word, rest in instructions(name):
        if word == "COPY":
            yield from rest.split()[:-1]


@pytest.mark.parametrize("name", FILES)
def test_hadolint_is_content(name: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", FILES)
def test_an_image_runs_as_a_plain_user_states_its_health_and_is_labelled(name: str) -> None:
    last = dict(stages(name)[-1])
    assert last["USER"] == "1000:1000"
    assert "HEALTHCHECK" in last
    assert "org.opencontainers.image.licenses=" in last["LABEL"]
    assert all(":" in rest and "latest" not in rest for word, rest in instructions(name) if word == "FROM")


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_exists_and_is_in_the_build_context(name: str) -> None:
    allowed = [line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in copied(name):
        assert (TOP / source).exists(), source
        assert source.split("/")[0] in allowed, source


@pytest.mark.parametrize("name", ["Dockerfile.train", "Dockerfile.serve-cpu"])
def test_the_wheel_is_installed_not_the_tree(name: str) -> None:
    build, final = stages(name)
    assert {"client", "workflows", "models", "ensemble", "operations", "scripts"} <= {
        rest.split()[0] for word, rest in build if word == "COPY"
    }
    assert not any(
        rest.startswith(("client", "workflows", "models", "ensemble", "operations", "scripts"))
        for word, rest in final
        if word == "COPY"
    )
    assert not any("--editable" in rest or " -e " in rest for _, rest in final)


@pytest.mark.parametrize("name", ["requirements-train", "requirements-triton"])
def test_the_locked_requirements_are_those_asked_for_and_all_are_hashed(name: str) -> None:
    asked = re.findall(r"^([a-z][\w-]*)(==\S+)?", (DOCKER / f"{name}.in").read_text(), flags=re.MULTILINE)
    locked = (DOCKER / f"{name}.txt").read_text()
    pins = dict(re.findall(r"^([a-z][\w-]*)(==\S+)", locked, flags=re.MULTILINE))
    for package, version in asked:
        assert package in pins
        assert version in ("", pins[package])
    entries = re.split(r"^(?=[a-z])", locked, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins)
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("models", [["cascade"], ["cascade", "cascade_events"], ["cascade", "cascade_gate"]])
@pytest.mark.parametrize("logs", [False, True])
def test_the_gpu_image_starts_triton_with_the_settings_of_cascade_serve(
    tmp_path: Path, models: list[str], logs: bool
) -> None:
    [command] = [rest for word, rest in instructions("Dockerfile.serve") if word == "CMD"]
    shell, option, script = json.loads(command)
    assert (shell, option) == ("sh", "-c")
    for model in models:
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "config.pbtxt").touch()
    script = script.replace(" /models/", f" {tmp_path}/models/")
    recorder = tmp_path / "tritonserver"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    recorder.chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CASCADE_ADMIN_KEY": "secret"}
    environment |= {"CASCADE_LOG": "/log"} if logs else {}
    done = subprocess.run([shell, option, script], env=environment, capture_output=True, text=True, check=True)
    flags = done.stdout.split()
    assert "--model-repository=/models" in flags
    assert f"--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:{ADMIN_HEADER}=secret" in flags
    binary = TritonBinary(recorder, None, (), "")
    ours = server_arguments(
        binary,
        Path("/models"),
        models,
        hosts={},
        ports={},
        shm_prefix="x",
        admin_key="secret",
        forwards_log_headers=logs,
    )
    specific_to_one_host = ("shm-region-prefix-name", "gpu-metrics", "pinned-memory", "log-format")
    assert {flag for flag in ours[1:] if not any(part in flag for part in specific_to_one_host)} == set(flags)
    del environment["CASCADE_ADMIN_KEY"]
    other = subprocess.run([shell, option, script], env=environment, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"{ADMIN_HEADER}=[0-9a-f]{{32}}\n", other)


def test_compose_trains_publishes_and_serves_what_was_published() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"train", "serve", "serve-cpu", "collect", "front"}
    for name, service in services.items():
        if "build" not in service and name != "collect":
            continue
        # What collects is in the image of training.
        build = services["train" if name == "collect" else name]["build"]
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).resolve() in (TOP / "triton_repo", TOP / "mon")
    assert services["serve"]["depends_on"] == {"train": {"condition": "service_completed_successfully"}}
    assert "--publish" in services["train"]["command"]
    assert all(port.startswith("127.0.0.1:") for name in ("serve", "serve-cpu") for port in services[name]["ports"])
    assert all(
        "--config" not in word or (TOP / "configs" / "shop.toml").is_file() for word in services["train"]["command"]
    )


def test_both_serving_images_log_where_the_collector_reads() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    variables = LogSettings(Path("/log")).variables()
    for name in ("serve", "serve-cpu"):
        environment = services[name]["environment"]
        assert {*variables} <= {*environment}
        assert all(environment[variable] == f"${{{variable}:-}}" for variable in variables if "SHARE" not in variable)
        assert environment["CASCADE_LOG_SHARE"] == f"${{CASCADE_LOG_SHARE:-{LogSettings.share}}}"
        assert "log:/log" in services[name]["volumes"]
        last = dict(stages(f"Dockerfile.{name}")[-1])
        assert re.search(r"mkdir /events /log && chown 1000:1000 /events /log", last["RUN"])
    collector = services["collect"]
    assert collector["image"] == services["train"]["image"]
    assert collector["command"] == ["log", "collect", "/log", "--out", "/mon", "--follow"]
    places = [mount.split(":")[:2] for mount in collector["volumes"]]
    assert ["log", "/log"] in places
    # Segments name the repository by its place in the server, where the collector must find it.
    assert ["../triton_repo", "/models"] in places
    assert all(":ro" not in mount for mount in collector["volumes"])


@pytest.mark.parametrize("script", sorted(DOCKER.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_executable_and_parse(script: Path) -> None:
    assert os.access(script, os.X_OK)
    shell = shutil.which("bash" if "bash" in script.read_text().splitlines()[0] else "sh")
    assert shell
    subprocess.run([shell, "-n", script], check=True)


def test_compose_of_the_monitoring_mounts_what_is_there_and_listens_on_this_machine_alone() -> None:
    compose = yaml.safe_load((DOCKER / "monitoring.yaml").read_text())
    assert set(compose["services"]) == {"prometheus", "alertmanager", "grafana"}
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).exists(), source
        listens = [*service.get("command", []), service.get("environment", {}).get("GF_SERVER_HTTP_ADDR", "")]
        assert any("127.0.0.1" in str(word) for word in listens)
